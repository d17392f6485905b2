import { describe, expect, test } from 'vitest';
import { Delivery } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, eachSeed, Pair, type PairOptions, type Side } from './pair.ts';

/** A round trip of the links below, and what a probe timeout comes to on them. */
const DELAY_MS = 20;
const PTO_MS = 2 * DELAY_MS * 1.5 + 25;

describe('a path that drops large datagrams without a word', () => {
  for (const carries of [600, 1_100]) {
    test(`from the start, above ${carries} bytes: a server begins with what the handshake showed, and one message gets through at once [REC-43] [HS-7]`, () => {
      eachSeed(1, 10, (seed) => {
        const pair = narrow(carries, { seed }).connected();
        expect(pair.server.core.path.mtu).toBeLessThanOrEqual(carries);
        const start = pair.now;
        deliver(pair, pair.server, bytesOf(2_000));
        expect(pair.now - start).toBeLessThanOrEqual(4 * DELAY_MS * 1_000);
        for (const { data, packets } of pair.server.sent) {
          const isProbe = packets[0].frames.every(({ type }) => type <= 0x01);
          if (!isProbe) expect(data.length).toBeLessThanOrEqual(carries);
        }
      });
    });

    test(`from one moment on, above ${carries} bytes: one message gets through within a few probe timeouts [REC-46] [REC-51]`, () => {
      eachSeed(1, 10, (seed) => {
        for (const bytes of [1_100, 2_000, 20_000]) {
          const pair = new Pair({ seed, link: { delayMs: DELAY_MS } }).connected();
          deliver(pair, pair.client, bytesOf(50_000));
          deliver(pair, pair.server, bytesOf(50_000));
          shrink(pair, carries);
          const start = pair.now;
          deliver(pair, pair.server, bytesOf(bytes));
          expect(pair.now - start).toBeLessThanOrEqual(10 * PTO_MS * 1_000);
          expect(pair.server.core.path.mtu).toBeLessThanOrEqual(carries);
          expect(pair.server.core.metrics().mtuFalls).toBeGreaterThan(0);
        }
      });
    });

    test(`from one moment on, above ${carries} bytes: acknowledgements of small messages do not hide it [REC-46]`, () => {
      eachSeed(1, 5, (seed) => {
        const pair = new Pair({ seed, link: { delayMs: DELAY_MS } }).connected();
        deliver(pair, pair.server, bytesOf(50_000));
        shrink(pair, carries);
        const chatter = pair.server.open({ delivery: Delivery.BEST_EFFORT });
        const large = pair.server.open();
        const start = pair.now;
        pair.server.send(large, bytesOf(2_000));
        for (let i = 0; !pair.client.messages.has(large.id); i++) {
          if (i === 1_000) throw new Error('the message did not come');
          pair.server.send(chatter, bytesOf(50, i));
          pair.run(5);
        }
        expect(pair.now - start).toBeLessThanOrEqual(10 * PTO_MS * 1_000);
      });
    });
  }

  test('is no reason to stay small: what it carries is found', () => {
    const pair = narrow(1_100, {}).connected();
    for (let i = 0; i < 30; i++) deliver(pair, pair.server, bytesOf(30_000));
    expect(pair.server.core.path.mtu).toBe(1_024);
    shrink(pair, 1_500);
    pair.run(610_000);
    deliver(pair, pair.server, bytesOf(300_000));
    expect(pair.server.core.path.mtu).toBe(1_452);
  });

  test('is told from loss: with 20 % of all packets lost the size in use is back soon after each false alarm', () => {
    const rounds = 200;
    const small: number[] = [];
    eachSeed(1, 7, (seed) => {
      const pair = new Pair({ seed, link: { delayMs: DELAY_MS } }).connected();
      deliver(pair, pair.server, bytesOf(50_000));
      pair.world.network.connect('client', 'server', { delayMs: DELAY_MS, loss: 0.2 });
      pair.world.network.connect('server', 'client', { delayMs: DELAY_MS, loss: 0.2 });
      let count = 0;
      const stream = pair.server.open();
      for (let i = 0; i < rounds; i++) {
        pair.server.send(stream, bytesOf(3_000, i));
        pair.until(() => pair.client.messages.get(stream.id)?.length === i + 1, 60_000, `message ${i}`);
        if (pair.server.core.path.mtu < 1_200) count++;
      }
      expect(pair.server.core.metrics().packetsLost).toBeGreaterThan(100);
      expect(count, 'no size is given up by chance [REC-45]').toBeLessThan(rounds / 4);
      small.push(count);
    });
    expect(small.sort((a, b) => a - b)[3]).toBeLessThan(rounds / 20);
  });
});

describe('a round trip of 3 s', () => {
  test('does not leave packets at 512 after probe timeouts that were none [REC-47]', () => {
    const pair = new Pair({ link: { delayMs: 1_500 } }).connected();
    expect(pair.client.core.path.mtu).toBe(1_200);
    deliver(pair, pair.client, bytesOf(20_000));
    deliver(pair, pair.server, bytesOf(20_000));
    expect(pair.client.core.path.mtu).toBeGreaterThanOrEqual(1_200);
    expect(pair.server.core.path.mtu).toBeGreaterThanOrEqual(1_200);
  });
});

describe('an exact size [REC-52]', () => {
  const exact = { mtu: 1_472, mtuMax: 1_472, mtuIsExact: true };

  test('is used where the path carries it, from the first datagram to the last', () => {
    const pair = new Pair({ client: exact, server: exact }).connected();
    deliver(pair, pair.client, bytesOf(50_000));
    expect(pair.client.core.path.mtu).toBe(1_472);
    expect(pair.server.core.path.mtu).toBe(1_472);
  });

  test('of a server is proved before anything asks for it', () => {
    const pair = new Pair({ server: exact }).connected();
    pair.run(100);
    expect(pair.server.core.path.mtu).toBe(1_472);
  });

  test('of a client that the path does not carry is an error, and the handshake is never told complete', () => {
    const pair = narrow(1_300, { client: exact });
    pair.connect();
    pair.until(() => pair.client.closed !== null, 10_000, 'the error');
    expect(pair.client.isConnected).toBe(false);
    expect(pair.client.closed).toMatchObject({ by: 'local', cause: { code: 'ERR_JSP_MTU_NOT_CARRIED' } });
    pair.toTheEnd();
  });

  test('of a client waits for late datagrams, and for those that were lost by chance', () => {
    const late = new Pair({ link: { delayMs: 1_500 }, client: exact }).connected();
    expect(late.client.core.path.mtu).toBe(1_472);
    const lossy = new Pair({ client: exact });
    lossy.client.filter = (data, index) => (data.length > 1_200 && index < 4 ? [] : [{ data }]);
    lossy.connected();
    expect(lossy.client.core.path.mtu).toBe(1_472);
    expect(lossy.client.core.metrics().mtuFalls).toBeGreaterThan(0);
  });

  test('that the peer does not take is an error', () => {
    const pair = new Pair({ client: exact, server: { receiveDatagramBytesMax: 1_400 } });
    pair.connect();
    pair.until(() => pair.client.closed !== null, 10_000, 'the error');
    expect(pair.client.closed).toMatchObject({ cause: { code: 'ERR_JSP_MTU_NOT_CARRIED' } });
    pair.toTheEnd();
  });

  test('that the path stops to carry is an error as well', () => {
    const pair = new Pair({ client: exact }).connected();
    deliver(pair, pair.client, bytesOf(50_000));
    shrink(pair, 1_300);
    pair.client.send(pair.client.open(), bytesOf(5_000));
    pair.until(() => pair.client.closed !== null, 10_000, 'the error');
    expect(pair.client.closed).toMatchObject({ cause: { code: 'ERR_JSP_MTU_NOT_CARRIED' } });
  });
});

describe('what an application is told of the size', () => {
  test('is each change, and the fall in the handshake behind that it is complete', () => {
    const pair = narrow(1_300, { client: { mtu: 1_472, mtuMax: 1_472 } }).connected();
    expect(changes(pair.client)).toEqual(['connected', [1_472, pair.client.core.path.mtu]]);
    expect(pair.client.core.metrics()).toMatchObject({ mtuFalls: 1, mtu: 1_200 });
  });
});

/** A path that carries no more than `bytes`, in both directions. */
function narrow(bytes: number, options: PairOptions): Pair {
  const pair = new Pair({
    link: { delayMs: DELAY_MS, mtu: bytes },
    ...options,
    server: { mtuMax: 1_452, ...options.server },
    client: { mtuMax: 1_452, ...options.client },
  });
  return pair;
}

function shrink(pair: Pair, mtu: number): void {
  pair.world.network.connect('client', 'server', { delayMs: DELAY_MS, mtu });
  pair.world.network.connect('server', 'client', { delayMs: DELAY_MS, mtu });
}

/** Sends one message on a stream of its own and waits until it is there. */
function deliver(pair: Pair, from: Side, message: Uint8Array): void {
  const stream = from.open();
  const to = from === pair.client ? pair.server : pair.client;
  from.send(stream, message);
  pair.until(() => to.messages.has(stream.id), 60_000, `the message of ${message.length} bytes`);
  from.end(stream);
}

function changes({ events }: Side): unknown[] {
  return events.flatMap((event): unknown[] => {
    if (event.type === 'mtu') return [[event.previous, event.mtu]];
    return event.type === 'connected' ? ['connected'] : [];
  });
}
