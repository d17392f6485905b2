import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../../src/base/time.ts';
import type { EndpointEvent } from '../../../src/protocol/endpoint/index.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { internalsOf } from './internals.ts';
import { bytesOf, eachSeed, Pair, PORT, type Side } from './pair.ts';

const LINK = { delayMs: 25, bitsPerSecond: 6e6 };
const RTT = 2 * LINK.delayMs;
/** What is in flight fills the link and no queue, so that nothing is lost but by what a test does. */
const WINDOW = { congestionWindowBytesMax: 48 * 1024 };
const PAIR = { link: LINK, client: WINDOW, server: WINDOW };

describe('a client whose NAT gives it another port in mid-transfer [CON-90]', () => {
  for (const way of ['up', 'down', 'both ways'] as const) {
    test(`${way}: loses no message, stands still for less than 3 round trips, and is followed [CON-84]`, () => {
      eachSeed(1, 3, (seed) => {
        const pair = new Pair({ ...PAIR, seed }).connected();
        const transfers = begin(pair, way);
        pair.run(250 + 7 * seed);
        const rtt = rttOf(pair);
        pair.client.node.port.rebind('client', PORT + seed);
        const at = pair.now;
        pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
        expect(pair.server.core.path.port).toBe(PORT + seed);
        expect(moves(pair.server)).toEqual([{ port: PORT, reason: 'rebinding' }]);
        for (const transfer of transfers) expect(transfer.gapAfter(at)).toBeLessThan(3 * rtt);
        // Only a port changed: the way that packets take is the same, and so is what is known of it. [CON-88]
        expect(pair.server.core.metrics(pair.now).rttMinMs).toBeGreaterThan(0);
        expect(pair.client.core.metrics(pair.now).pathChanges).toBe(0);
      });
    });
  }

  test('that comes again and again is followed each time, also under loss and reordering', () => {
    eachSeed(1, 3, (seed) => {
      const pair = new Pair({
        ...PAIR,
        seed,
        link: { ...LINK, loss: 0.05, jitterMs: 10, reorder: 0.1 },
      }).connected();
      const transfers = begin(pair, 'both ways', 500);
      for (let i = 1; i <= 5; i++) {
        pair.run(300);
        pair.client.node.port.rebind('client', PORT + i);
      }
      pair.until(() => transfers.every(isOver), 60_000, 'the transfer');
      expect(pair.server.core.path.port).toBe(PORT + 5);
    });
  });
});

describe('a client that only listens, whose NAT gives it another address [CON-90]', () => {
  /** Messages a burst, and the time from one to the next as a share of a round trip. */
  for (const { burst, pause, bytes } of [
    { burst: 1, pause: 0.1, bytes: 200 },
    { burst: 1, pause: 0.6, bytes: 1_000 },
    { burst: 4, pause: 1, bytes: 1_000 },
    { burst: 1, pause: 3, bytes: 200 },
  ])
    test(`hears ${burst} of ${bytes} bytes each ${pause} round trips again after less than 3 of them`, () => {
      eachSeed(1, 4, (seed) => {
        const pair = new Pair({ ...PAIR, seed }).connected();
        const [flow] = pace(pair, burst, pause * RTT, bytes);
        const pings = (): number => pair.client.frames(FrameType.PING).length;
        pair.run(16 * pause * RTT + 1_000);
        const before = pings();
        pair.run(10 * pause * RTT + 13 * seed);
        // None while messages come in their rhythm; each pause may be the end of a burst.
        if (burst === 1) expect(pings()).toBe(before);
        pair.client.node.port.rebind(seed % 2 === 0 ? 'client' : 'elsewhere', PORT + seed);
        if (seed % 2 !== 0) pair.world.network.connect('elsewhere', 'server', LINK);
        const at = pair.now;
        pair.run(20 * pause * RTT + 1_000);
        expect(flow.stallAfter(at)).toBeLessThan(3 * RTT);
        expect(pair.server.core.path.port).toBe(PORT + seed);
        // One for each silence; where the rhythm was broken, one for each message until it is forgotten.
        if (burst === 1) expect(pings()).toBeLessThanOrEqual(pause < 1 ? 4 : 16);
      });
    });

  test('asks nothing while its application is in the background', () => {
    const pair = new Pair(PAIR).connected();
    pace(pair, 3, 3 * RTT, 200);
    pair.run(30 * RTT);
    const asked = pair.client.frames(FrameType.PING).length;
    expect(asked).toBeGreaterThan(0);
    pair.client.core.device.setAppState('background', pair.now);
    pair.run(30 * RTT);
    expect(pair.client.frames(FrameType.PING)).toHaveLength(asked);
  });

  test('is sent with the challenge what did not reach it, and nothing twice once it has moved', () => {
    const pair = new Pair(PAIR).connected();
    const [flow] = pace(pair, 1, RTT / 2, 200);
    pair.run(2_000);
    pair.client.node.port.rebind('client', PORT + 1);
    const at = pair.now;
    pair.until(() => moves(pair.server).length > 0, 1_000, 'the move');
    const challenge = pair.server.packets.find(({ frames }) =>
      frames.some(({ type }) => type === FrameType.PATH_CHALLENGE),
    );
    expect(challenge?.frames.some(({ type }) => type >= FrameType.MESSAGE)).toBe(true);
    pair.run(1_000);
    expect(flow.stallAfter(at)).toBeLessThan(2 * RTT);
  });

  test('asks once about a flow that ends, and then no more', () => {
    const pair = new Pair(PAIR).connected();
    const [flow] = pace(pair, 1, RTT / 2, 200, 40);
    pair.run(20 * RTT + 4_000);
    expect(flow.count).toBe(40);
    expect(pair.client.frames(FrameType.PING)).toHaveLength(1);
  });
});

test('a client whose NAT gives it another port before it knows that its handshake has ended is followed by its probes [REC-15]', () => {
  const pair = new Pair(PAIR).connect();
  pair.until(() => pair.server.isConnected, 10_000, 'the handshake');
  pair.client.node.port.rebind('elsewhere', PORT + 1); // what confirms it does not come
  const ended = (): boolean => internalsOf(pair.client.core).spaces[1] === null;
  pair.until(ended, 10 * RTT, 'the confirmation');
  expect(pair.client.core.counters.heartbeatsSent).toBe(0);
  pair.until(() => pair.server.core.path.host === 'elsewhere', 2 * RTT, 'the move');
});

test('a client whose NAT gives it another address begins anew there: round trips, window and packet size are those of the new path [CON-88]', () => {
  const pair = new Pair(PAIR).connected();
  const transfers = begin(pair, 'both ways');
  pair.run(300);
  const before = pair.server.core.metrics(pair.now);
  pair.world.network.connect('client', 'server', { delayMs: 60 });
  pair.client.node.port.rebind('elsewhere', PORT);
  pair.until(() => moves(pair.server).length > 0, 2_000, 'the move');
  const after = pair.server.core.metrics(pair.now);
  expect(after.rttMinMs).toBeGreaterThan(100);
  expect(before.rttMinMs).toBeLessThan(60);
  expect(after.congestionWindowBytes).toBeLessThan(before.congestionWindowBytes);
  pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
});

describe('a client that moves on purpose', () => {
  test('proves the new path first, loses nothing, hardly pauses, and shows no id of the one path on the other [CON-83]', () => {
    eachSeed(1, 3, (seed) => {
      const pair = new Pair({ ...PAIR, seed }).connected();
      const seen = idsByAddress(pair);
      const transfers = begin(pair, 'both ways');
      pair.run(300);
      const rtt = rttOf(pair);
      const local = pair.client.node.addAddress('cellular', PORT);
      expect(migrate(pair, local)).toBe('begun');
      const at = pair.now;
      pair.until(() => moves(pair.client).length > 0, 500, 'the proof');
      expect(pair.now - at).toBeLessThan(2 * RTT * MILLISECOND);
      pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
      expect(pair.server.core.path.host).toBe('cellular');
      expect(moves(pair.server)).toEqual([{ port: PORT, reason: 'migration' }]);
      for (const transfer of transfers) expect(transfer.gapAfter(at)).toBeLessThan(2 * rtt);
      pair.run(1_000);
      const shared = [...seen('client')].filter((id) => seen('cellular').has(id));
      expect(shared).toEqual([]);
      expect(seen('cellular').size).toBe(2);
    });
  });

  test('can do so again and again: each side replaces the ids that the other one retired [CON-82]', () => {
    const pair = new Pair(PAIR).connected();
    const transfers = begin(pair, 'both ways', 900);
    for (let i = 1; i <= 6; i++) {
      pair.run(300);
      expect(migrate(pair, pair.client.node.addAddress(`network-${i}`, PORT))).toBe('begun');
      pair.until(() => pair.server.core.path.host === `network-${i}`, 1_000, `move ${i}`);
    }
    pair.until(() => transfers.every(isOver), 60_000, 'the transfer');
    expect(pair.client.core.metrics(pair.now).pathChanges).toBe(6);
    pair.client.close();
    pair.toTheEnd();
  });

  test('stays where it is when the new path carries nothing, and tells so; nothing is disturbed [CON-85]', () => {
    const pair = new Pair(PAIR).connected();
    const transfers = begin(pair, 'both ways', 500);
    pair.run(200);
    const local = pair.client.node.addAddress('dead', PORT);
    pair.world.network.connect('dead', 'server', { ...LINK, loss: 1 });
    const at = pair.now;
    migrate(pair, local);
    pair.until(() => pair.client.events.some(({ type }) => type === 'pathFailed'), 5_000, 'the failure');
    pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
    for (const transfer of transfers) expect(transfer.gapAfter(at)).toBeLessThan(RTT);
    expect(pair.client.core.path.local).toBe(0);
    expect(pair.client.core.metrics(pair.now)).toMatchObject({ pathChanges: 0, pathsFailed: 1 });
    // The id that was seen there is used nowhere else, and there is another one to try again with.
    pair.run(200);
    expect(migrate(pair, pair.client.node.addAddress('alive', PORT))).toBe('begun');
    pair.until(() => pair.server.core.path.host === 'alive', 1_000, 'the move');
  });

  test('because its network is gone waits for nothing [CON-89]', () => {
    eachSeed(1, 3, (seed) => {
      const pair = new Pair({ ...PAIR, seed }).connected();
      const transfers = begin(pair, 'both ways');
      pair.run(300);
      const rtt = rttOf(pair);
      pair.client.node.removeAddress(0);
      const at = pair.now;
      const local = pair.client.node.addAddress('cellular', PORT);
      migrate(pair, local, true);
      pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
      for (const transfer of transfers) expect(transfer.gapAfter(at)).toBeLessThan(3 * rtt);
      expect(pair.server.core.path.host).toBe('cellular');
    });
  });

  test('finds a path that carries small packets only, and goes on in those [CON-88]', () => {
    const pair = new Pair(PAIR).connected();
    const transfers = begin(pair, 'both ways');
    pair.run(200);
    const local = pair.client.node.addAddress('narrow', PORT);
    pair.world.network.connect('narrow', 'server', { ...LINK, mtu: 600 });
    migrate(pair, local);
    pair.until(() => pair.server.core.path.host === 'narrow', 3_000, 'the move');
    pair.until(() => transfers.every(isOver), 30_000, 'the transfer');
    expect(pair.client.core.path.mtu).toBeLessThanOrEqual(600);
    expect(pair.server.core.path.mtu).toBeLessThanOrEqual(600);
  });

  test('is told no by a server that wants its clients where they are, whose NATs may move them all the same [CON-92]', () => {
    const pair = new Pair({ ...PAIR, server: { takesMigration: false } }).connected();
    expect(migrate(pair, pair.client.node.addAddress('cellular', PORT))).toBe('forbidden');
    pair.client.node.port.rebind('client', PORT + 1);
    pair.echo();
    pair.until(() => pair.server.core.path.port === PORT + 1, 1_000, 'the move');
  });
});

describe('whoever sends packets again from another address, and is faster [CON-86]', () => {
  for (const way of ['up', 'down', 'both ways'] as const) {
    test(`${way}: moves nothing, disturbs nothing, and gets no more than three times what it sent`, () => {
      const quiet = new Pair(PAIR).connected();
      const undisturbed = begin(quiet, way);
      quiet.until(() => undisturbed.every(isOver), 20_000);
      const pair = new Pair(PAIR).connected();
      const attacker = spoof(pair, 1);
      const transfers = begin(pair, way);
      pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
      expect(moves(pair.server)).toEqual([]);
      expect(pair.server.core.path.port).toBe(PORT);
      expect(attacker.sent).toBeGreaterThan(1_000);
      expect(attacker.got).toBeGreaterThan(0);
      expect(attacker.got).toBeLessThanOrEqual(3 * attacker.sent);
      expect(pair.now).toBeLessThan(quiet.now * 1.02);
      expect(pair.server.core.metrics(pair.now).packetsLost).toBe(
        quiet.server.core.metrics(quiet.now).packetsLost,
      );
    });
  }

  test('from ever other addresses makes the server try no more than a few of them at a time', () => {
    const pair = new Pair(PAIR).connected();
    spoof(pair, 50);
    const transfers = begin(pair, 'both ways');
    let most = 0;
    pair.until(() => {
      most = Math.max(most, internalsOf(pair.server.core).paths.size);
      return transfers.every(isOver);
    }, 20_000);
    expect(most).toBe(4);
    expect(moves(pair.server)).toEqual([]);
  });

  test('of a packet with which a client tries to move does not keep it from moving', () => {
    eachSeed(1, 3, (seed) => {
      const pair = new Pair({ ...PAIR, seed }).connected();
      pair.run(200);
      spoof(pair, 1, 1);
      migrate(pair, pair.client.node.addAddress('cellular', PORT));
      pair.until(() => pair.server.core.path.host === 'cellular', 2_000, 'the move');
    });
  });

  test('of every other packet does not keep a client from moving for real', () => {
    eachSeed(1, 3, (seed) => {
      const pair = new Pair({ ...PAIR, seed }).connected();
      spoof(pair, 3, Number.POSITIVE_INFINITY, 2);
      const transfers = begin(pair, 'both ways');
      pair.run(200);
      pair.client.node.port.rebind('client', PORT + 9);
      pair.until(() => transfers.every(isOver), 20_000, 'the transfer');
      expect(pair.server.core.path.port).toBe(PORT + 9);
    });
  });
});

test('a challenge that its address does not answer is sent again less and less often, then no more [CON-85]', () => {
  const pair = new Pair(PAIR).connected();
  // One packet of the client is sent again from elsewhere, before the client's own comes.
  spoof(pair, 1, 1);
  pair.echo('hello'.repeat(40));
  pair.run(20_000);
  const times = pair.server.sent
    .filter(({ packets }) =>
      packets.some(({ frames }) => frames.some((f) => f.type === FrameType.PATH_CHALLENGE)),
    )
    .map(({ at }) => at);
  expect(times.length).toBeGreaterThan(1);
  expect(times.at(-1)! - times[0]).toBeLessThan(3_100_000);
  const gaps = times.slice(1).map((at, i) => at - times[i]);
  for (let i = 1; i < gaps.length - 1; i++) expect(gaps[i]).toBeGreaterThan(1.5 * gaps[i - 1]);
  expect(internalsOf(pair.server.core).paths.size).toBe(0);
});

// ---- inside ----

/** With what waits in queues. */
function rttOf({ client, now, server }: Pair): number {
  return Math.max(client.core.metrics(now).rttMs, server.core.metrics(now).rttMs);
}

function migrate(pair: Pair, local: number, isOldGone = false): string {
  const outcome = pair.client.core.device.migrate({ local, isOldGone, isSameHost: false }, pair.now);
  pair.client.node.wake();
  return outcome;
}

function moves(side: Side): { port: number; reason: string }[] {
  return side.events
    .filter((event): event is Extract<EndpointEvent, { type: 'path' }> => event.type === 'path')
    .map(({ previous, reason }) => ({ port: previous.port, reason }));
}

/** Messages that one side sends to the other, and when they came. */
interface Transfer {
  readonly isOver: () => boolean;
  /** The longest time without a message after this one, in ms. */
  gapAfter(at: number): number;
}

function isOver(transfer: Transfer): boolean {
  return transfer.isOver();
}

function begin(pair: Pair, way: 'up' | 'down' | 'both ways', count = 300): Transfer[] {
  const up = pair.client.open();
  pair.client.send(up, 'begin');
  pair.until(() => pair.server.streams.length > 0, 1_000);
  const [down] = pair.server.streams;
  const transfers: Transfer[] = [];
  if (way !== 'down') transfers.push(transfer(pair, pair.client, pair.server, up, count, 1));
  if (way !== 'up') transfers.push(transfer(pair, pair.server, pair.client, down, count, 0));
  return transfers;
}

function transfer(
  pair: Pair,
  from: Side,
  to: Side,
  stream: ConnectionStream,
  count: number,
  before: number,
): Transfer {
  const bytes = 1_000;
  const times: number[] = [];
  for (let i = 0; i < count; i++) from.send(stream, bytesOf(bytes, i));
  let compared = 0;
  const { onEvent } = to;
  to.onEvent = (event) => {
    onEvent(event);
    const there = (to.messages.get(stream.id)?.length ?? 0) - before;
    while (times.length < there) times.push(pair.now);
  };
  return {
    isOver: () => {
      if (times.length < count) return false;
      const received = to.messages.get(stream.id) ?? [];
      // Each once, however often this is asked.
      for (; before + compared < received.length; compared++) {
        if (Buffer.compare(received[before + compared], bytesOf(bytes, compared)) !== 0)
          throw new Error(`message ${compared} is another one`);
      }
      return true;
    },
    gapAfter: (at) => {
      let longest = 0;
      for (let i = 1; i < times.length; i++)
        if (times[i] > at) longest = Math.max(longest, times[i] - Math.max(times[i - 1], 0));
      return longest / MILLISECOND;
    },
  };
}

/** Messages that the server sends in a rhythm, to a client that has nothing to say. */
function pace(
  pair: Pair,
  burst: number,
  pauseMs: number,
  bytes: number,
  count = Number.POSITIVE_INFINITY,
): { readonly count: number; stallAfter(at: number): number }[] {
  const up = pair.client.open();
  pair.client.send(up, 'begin');
  pair.until(() => pair.server.streams.length > 0, 1_000);
  const [down] = pair.server.streams;
  const sent: number[] = [];
  const came: number[] = [];
  const { onEvent } = pair.client;
  pair.client.onEvent = (event) => {
    onEvent(event);
    const there = pair.client.messages.get(down.id)?.length ?? 0;
    while (came.length < there) came.push(pair.now);
  };
  const send = (): void => {
    for (let i = 0; i < burst; i++) {
      sent.push(pair.now);
      pair.server.send(down, bytesOf(bytes, sent.length));
    }
    if (sent.length < count) pair.world.clock.schedule(pair.now + pauseMs * MILLISECOND, send);
  };
  pair.world.clock.schedule(pair.now, send);
  return [
    {
      get count() {
        return came.length;
      },
      /** The longest time in which nothing came though something was due, in ms. */
      stallAfter: (at) => {
        let longest = 0;
        for (let i = 1; i < came.length; i++)
          if (came[i] > at)
            longest = Math.max(
              longest,
              came[i] - Math.max(came[i - 1], sent[i] + LINK.delayMs * MILLISECOND),
            );
        return longest / MILLISECOND;
      },
    },
  ];
}

/** The ids that short packets to and from an address of the client carried. */
function idsByAddress(pair: Pair): (host: string) => Set<string> {
  const ids = new Map<string, Set<string>>();
  const of = (host: string): Set<string> => {
    const set = ids.get(host) ?? new Set<string>();
    ids.set(host, set);
    return set;
  };
  pair.world.network.tap = (data, from, host) => {
    if ((data[0] & 0x80) !== 0) return;
    of(from.host === 'server' ? host : from.host).add(Buffer.from(data.subarray(1, 9)).toString('hex'));
  };
  return of;
}

/** Sends what the client sends again from other addresses, so that it comes first. */
function spoof(
  pair: Pair,
  addresses: number,
  packets = Number.POSITIVE_INFINITY,
  every = 1,
): { sent: number; got: number } {
  const { network } = pair.world;
  network.connect('attacker', 'server', { delayMs: 5 });
  const count = { sent: 0, got: 0 };
  const ports = Array.from({ length: addresses }, (_, i) =>
    network.open('attacker', 6_000 + i, ({ data }) => {
      count.got += data.length;
    }),
  );
  let next = 0;
  let seen = 0;
  network.tap = (data, from) => {
    if (
      from.home === 'server' ||
      from.home === 'attacker' ||
      (data[0] & 0x80) !== 0 ||
      next >= packets ||
      seen++ % every !== 0
    )
      return;
    count.sent += data.length;
    ports[next++ % ports.length].send(data.slice(), 'server', PORT);
  };
  return count;
}
