import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { MemoryAccount, MemoryBudget } from '../../../src/base/memory-budget.ts';
import { COMPRESSION_OFF, ConnectionCompression } from '../../../src/protocol/compress/compression.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { CONNECTION_BYTES, memoryOf } from '../../../src/protocol/connection/metrics.ts';
import { ConnectionProtection } from '../../../src/protocol/fec/connection-protection.ts';
import { PROTECTION_OFF } from '../../../src/protocol/fec/protection.ts';
import { DefaultProtection } from '../../../src/protocol/fec/stream-protection.ts';
import { Streams } from '../../../src/protocol/stream/streams.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameType, MessageFlag } from '../../../src/protocol/wire/frame-type.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { cleanPath } from '../fec/planned-path.ts';
import { config, Pair } from './pair.ts';
import { fragment, integers, opening, Rogue, run } from './rogue.ts';

const F = FrameType;
const MIB = 1024 * 1024;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Bytes that the process holds. */
function held(): number {
  for (let i = 0; i < 4; i++) gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** The streams of a connection of which nobody reads anything, fed with the payloads of its peer's packets. */
class Unread {
  readonly streams: Streams<Connection>;
  readonly memory = new MemoryAccount(new MemoryBudget(2 ** 40), CONNECTION_BYTES);
  private readonly connection: Connection;
  private readonly reader = new FrameReader();
  private now = 1;

  constructor(bestEffortBytes = 4 * MIB) {
    this.connection = {
      role: 'server',
      touch: () => {},
    } as unknown as Connection;
    const settings = config({
      streamsMax: 200,
      bestEffortBytes,
      streamWindowBytes: 64 * MIB,
      connectionWindowBytes: 1024 * MIB,
      streamWindowStartBytes: 64 * MIB,
      connectionWindowStartBytes: 1024 * MIB,
    });
    this.streams = new Streams(
      this.connection,
      { ...settings, streamWindowStartBytes: 64 * MIB },
      { push: () => {} },
      this.memory,
      {
        protection: new ConnectionProtection(cleanPath()),
        defaultProtection: new DefaultProtection(PROTECTION_OFF),
        compression: new ConnectionCompression(COMPRESSION_OFF, UNKNOWN_PATH),
      },
    );
  }

  /** Takes a packet that holds these frames, and `padding` bytes of other things. */
  take(frames: readonly Uint8Array[], padding = 0): void {
    const bytes = Buffer.concat(frames);
    const data = new Uint8Array(bytes.length + padding);
    data.set(bytes);
    const { reader, streams } = this;
    reader.reset(data, 0, bytes.length);
    while (nextFrame(reader)) {
      const isMessage = reader.type >= F.MESSAGE && reader.type <= F.MESSAGES_BEST_EFFORT;
      const code = isMessage
        ? streams.onMessageFrame(reader, this.now++)
        : streams.onControlFrame(reader, this.now);
      if (code !== 0) expect(code).toBe(0); // an expect a packet would be most of the time
    }
    if (reader.error !== 0) expect(reader.error).toBe(0);
  }

  /** What it says that it holds, without what a connection costs with nothing in it. */
  get counted(): number {
    return memoryOf(this.streams, 0) - CONNECTION_BYTES;
  }
}

const bestEffort = (sequence: number, total: number) =>
  Buffer.concat([
    integers(F.MESSAGE | MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT, 0, sequence, 0, total, 0, 1),
    Uint8Array.of(1),
  ]);

/** What a peer sends, how many of it, and on how many connections, where a few would count little beside what else the collector finds. */
const SHAPES: [string, (unread: Unread, i: number) => void, number, number?][] = [
  ['empty streams', (u, i) => i > 0 && i < 200 && u.take([opening(2 * i)]), 200],
  ['empty messages, one a packet', (u, i) => u.take([run(0, i, 0)], 30), 10_000],
  ['runs of empty messages', (u, i) => u.take([run(0, i * 500, ...new Array(500).fill(0))]), 60, 40],
  ['messages of a byte, one a packet of 1,200', (u, i) => u.take([run(0, i, 1)], 1_180), 10_000],
  ['messages of 300 bytes behind a gap', (u, i) => u.take([run(0, i + 1, 300)], 40), 10_000],
  ['messages of 20 KB', (u, i) => u.take([run(0, i, 20_000)]), 200],
  ['incomplete messages of 2 bytes', (u, i) => u.take([fragment(0, i, 0, 2, 1)]), 10_000],
  [
    'a byte of each 4 KiB',
    (u, i) => u.take([fragment(0, i >> 12, (i & 4_095) * 4_096 + 9, 16 * MIB, 1)]),
    12_000,
  ],
  ['half of each message of 10 KB', (u, i) => u.take([fragment(0, i, 0, 10_000, 5_000)]), 500],
  ['incomplete best-effort messages', (u, i) => u.take([bestEffort(i, 9_000)]), 500, 400],
  [
    'best-effort messages of a byte',
    (u, i) => u.take([Buffer.concat([integers(F.MESSAGES_BEST_EFFORT, 0, i, 1, 1), Uint8Array.of(1)])], 60),
    10_000,
  ],
  [
    'ABANDON of every second message',
    (u, i) => u.take([integers(F.ABANDON, 0, 2 * i + 1, 1, 0)]),
    10_000,
    100,
  ],
];

describe('memoryBytes', () => {
  test.each(SHAPES)(
    'is what the process holds, within a factor of 2: %s [CON-50] [STR-33]',
    (_, feed, count, copies = 4) => {
      const warm = new Unread();
      warm.take([opening(0)]);
      for (let i = 0; i < Math.min(count, 500); i++) feed(warm, i);
      const unread = Array.from({ length: copies }, () => new Unread());
      const before = held();
      let counted = -unread.reduce((sum, each) => sum + each.counted, 0);
      for (const each of unread) {
        each.take([opening(0)]);
        for (let i = 0; i < count; i++) feed(each, i);
      }
      counted += unread.reduce((sum, each) => sum + each.counted, 0);
      const real = held() - before;
      expect(unread.length).toBe(copies); // they live until here
      expect(counted).toBeGreaterThan(0);
      const noise = 150_000;
      expect(real).toBeLessThan(2 * counted + noise);
      expect(counted).toBeLessThan(2 * Math.max(0, real) + noise);
    },
  );

  test('is 0 again when nothing is left, and what was reserved is given back', () => {
    const pair = new Pair().connected();
    const { memory } = pair.server.endpoint;
    expect(memory.reserved).toBeGreaterThan(0);
    pair.echo();
    const stream = pair.client.open();
    for (let i = 0; i < 50; i++) pair.client.send(stream, new Uint8Array(100_000));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 50);
    pair.client.close();
    pair.toTheEnd();
    expect(memory.reserved).toBe(0);
    expect(pair.server.endpoint.memory.metrics()).toMatchObject({ memoryBytes: 0, memoryReservedBytes: 0 });
  });
});

describe('the memory of an endpoint', () => {
  test('has a bound that no peer passes, and leaves every connection its share [CON-50]', () => {
    const pair = new Pair({ server: { memoryBytesMax: 4 * MIB } }).connected();
    pair.server.readsAll = false;
    const stream = pair.client.open();
    for (let i = 0; i < 30; i++) pair.client.send(stream, new Uint8Array(1_000_000));
    const small = Array.from({ length: 60 }, () => pair.client.open());
    for (const each of small) for (let i = 0; i < 20; i++) pair.client.send(each, new Uint8Array(5_000));
    pair.run(5_000);
    const { memory } = pair.server.endpoint;
    expect(memory.reserved).toBeLessThanOrEqual(4 * MIB);
    expect(pair.server.endpoint.memory.metrics().memoryBytes).toBeLessThanOrEqual(4 * MIB);
    expect(pair.server.closed).toBeNull();
    // When they are read all comes.
    pair.server.readsAll = true;
    for (const each of pair.server.streams) pair.server.read(each);
    pair.until(() => pair.server.messages.get(stream.id)?.length === 30);
    pair.until(() => small.every(({ id }) => pair.server.messages.get(id)?.length === 20));
  });

  test('accepts no connection for which nothing is left, and counts it [CON-50]', () => {
    const pair = new Pair({ server: { memoryBytesMax: 60_000 } }).connect();
    pair.run(2_000);
    expect(pair.server.endpoint.counters.droppedMemoryLimit).toBeGreaterThan(0);
    expect(pair.server.endpoint.counters.connectionsOpen).toBe(0);
  });
});

describe('what makes no progress', () => {
  test('ends: an incomplete message that gets no byte for 30 s closes the connection [STR-35]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    rogue.send(opening(0), fragment(0, 0, 0, 1_000, 100));
    for (let s = 0; s < 25; s++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(1_000);
    }
    expect(pair.server.closed).toBeNull();
    rogue.send(fragment(0, 0, 100, 1_000, 1));
    for (let s = 0; s < 29; s++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(950);
    }
    expect(pair.server.closed).toBeNull();
    for (let s = 0; s < 12; s++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(1_000);
    }
    expect(pair.server.closed).toMatchObject({
      by: 'local',
      reason: 'a message was begun and not completed',
    });
  });

  test('does not end before the peer was heard often enough that it knows what arrived [STR-35]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    const { core } = pair.server;
    let wakeUps = 0;
    const onTimeout = core.onTimeout.bind(core);
    core.onTimeout = (now) => {
      wakeUps++;
      onTimeout(now);
    };
    rogue.send(opening(0), fragment(0, 0, 0, 1_000, 100));
    for (let i = 0; i < 10; i++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(7_000); // 70 s, of which the packets of 30 s and seven more were heard
    }
    expect(pair.server.closed).toBeNull();
    expect(wakeUps).toBeLessThan(60); // and meanwhile it is looked at now and then, not all the time
    for (let s = 0; s < 10; s++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(1_000);
    }
    expect(pair.server.closed?.by).toBe('local');
  });

  test('does not end while other messages of the connection get on: a slow link has many that wait [STR-35]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    rogue.send(opening(0), fragment(0, 0, 0, 1_000, 100), opening(2));
    for (let s = 0; s < 90; s++) {
      rogue.send(run(2, s, 100)); // a hundred bytes a second
      pair.run(1_000);
    }
    expect(pair.server.closed).toBeNull();
  });

  test('ends: so does a gap that nobody closes, and not when a stream is only not read [STR-35]', () => {
    const pair = new Pair().connected();
    pair.server.readsAll = false;
    const rogue = new Rogue(pair);
    rogue.send(opening(0), run(0, 0, 10, 10));
    const alive = (seconds: number) => {
      for (let s = 0; s < seconds; s++) {
        rogue.send(Uint8Array.of(F.PING));
        pair.run(1_000);
      }
    };
    alive(40);
    expect(pair.server.closed).toBeNull();
    rogue.send(run(0, 3, 10));
    alive(45);
    expect(pair.server.closed?.by).toBe('local');
  });

  test('ends: an incomplete best-effort message is dropped, and the connection goes on [STR-35]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    rogue.send(opening(0), bestEffort(0, 9_000));
    const { budget } = pair.server.core.streams.receiveCounts;
    expect(budget.used).toBeGreaterThan(9_000);
    for (let s = 0; s < 35; s++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(1_000);
    }
    expect(budget.used).toBe(0);
    expect(pair.server.closed).toBeNull();
    expect(rogue.frames(F.DROPPED).length).toBeGreaterThan(0);
  });
});

const UNKNOWN_PATH = {
  mtu: 1_200,
  rtt: { hasSample: false, smoothed: 0 },
  congestion: { pacingRate: 0 },
  loss: { rate: 0 },
};
