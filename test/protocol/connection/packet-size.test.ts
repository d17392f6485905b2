import { describe, expect, test } from 'vitest';
import { internalsOf } from './internals.ts';
import { bytesOf, Pair, type PairOptions } from './pair.ts';

const GROWING = { mtuMax: 16_384, receiveBufferBytes: 4 * 1024 * 1024 };

describe('the packet size', () => {
  test('grows on this machine to 16,384 when there is data for it, and not before', () => {
    const pair = loopback().connected();
    pair.client.send(pair.client.open(), 'little');
    pair.run(30_000);
    expect(pair.client.core.path.mtu).toBe(1_200);
    expect(pair.client.core.counters.packetSizeProbes).toBe(0);
    flood(pair);
    expect(pair.client.core.path.mtu).toBe(16_384);
    expect(pair.client.core.counters).toMatchObject({ packetSizeProbes: 2, packetSizeProbesLost: 0 });
    expect(pair.client.core.metrics().mtu).toBe(16_384);
    expect(largest(pair)).toBe(16_384);
    // The other direction has nothing to send, and so no reason.
    expect(pair.server.core.path.mtu).toBe(1_200);
  });

  test('grows for many messages of which a packet holds one, with room left that the next one does not fit into [REC-44]', () => {
    const pair = loopback({ client: { ...GROWING, mtu: 512 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 400; i++) pair.client.send(stream, bytesOf(260));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 400);
    expect(pair.client.core.path.mtu).toBe(16_384);
  });

  test('grows only as far as four fit into what the peer can buffer [REC-43]', () => {
    const pair = loopback({ server: { ...GROWING, receiveBufferBytes: 100_000 } }).connected();
    flood(pair, 400);
    expect(pair.client.core.path.mtu).toBe(8_750);
    expect(largest(pair)).toBe(8_750);
  });

  test('is not tried with a probe that would fill the window, but in steps [REC-44]', () => {
    const large = { mtuMax: 32_768, receiveBufferBytes: 4 * 1024 * 1024 };
    const pair = loopback({ client: large, server: large, link: { delayMs: 5 } }).connected();
    const before = pair.client.sent.length;
    flood(pair, 400);
    const sizes = pair.client.sent.slice(before).map(({ data }) => data.length);
    expect(pair.client.core.path.mtu).toBe(32_768);
    expect(sizes.find((bytes) => bytes > 1_200)).toBeLessThan(32_768);
  });

  test('grows no further than the peer takes in', () => {
    const pair = loopback({ server: { ...GROWING, receiveDatagramBytesMax: 5_000 } }).connected();
    flood(pair);
    expect(pair.client.core.path.mtu).toBe(5_000);
    expect(largest(pair)).toBe(5_000);
  });

  test('shrinks to what the peer takes in', () => {
    const pair = new Pair({
      client: { mtu: 1_400, mtuMax: 1_400 },
      server: { receiveDatagramBytesMax: 700 },
    }).connected();
    expect(pair.client.core.path.mtu).toBe(700);
    const before = pair.client.sent.length;
    flood(pair);
    for (const { data } of pair.client.sent.slice(before)) expect(data.length).toBeLessThanOrEqual(700);
  });

  test('that was configured stays', () => {
    for (const mtu of [600, 1_472, 8_972]) {
      const pair = loopback({ client: { mtu, mtuMax: mtu } }).connected();
      flood(pair);
      expect(pair.client.core.path.mtu).toBe(mtu);
      expect(largest(pair)).toBe(mtu);
      expect(pair.client.core.counters.packetSizeProbes).toBe(0);
    }
  });

  test('of client and server are independent', () => {
    const pair = new Pair({
      client: { mtu: 512, mtuMax: 512 },
      server: { mtu: 1_400, mtuMax: 1_400 },
    }).connected();
    const stream = pair.client.open();
    pair.client.send(stream, bytesOf(100_000));
    pair.until(() => pair.server.messages.size === 1);
    pair.server.send(pair.server.streams[0], bytesOf(100_000));
    pair.until(() => pair.client.messages.size === 1);
    expect(Math.max(...pair.client.sent.map(({ data }) => data.length))).toBe(512);
    expect(Math.max(...pair.server.sent.map(({ data }) => data.length))).toBe(1_400);
  });

  test('settles for less where the path carries no more, without losing anything [REC-45]', () => {
    const pair = loopback({ link: { delayMs: 1, mtu: 9_000 } }).connected();
    flood(pair, 400);
    expect(pair.client.core.path.mtu).toBe(8_952);
    expect(pair.client.core.counters.packetSizeProbesLost).toBe(3);
    expect(pair.client.core.counters.packetsLost).toBe(3);
  });

  test('falls back when the path stops to carry large packets, and everything arrives all the same [REC-46]', () => {
    const pair = loopback().connected();
    flood(pair);
    expect(pair.client.core.path.mtu).toBe(16_384);
    pair.world.network.connect('client', 'server', { mtu: 1_300 });
    const stream = pair.client.open();
    for (let i = 0; i < 100; i++) pair.client.send(stream, bytesOf(10_000, i));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 100, 60_000, 'the rest');
    expect(pair.client.core.path.mtu).toBeLessThanOrEqual(1_300);
    expect(
      pair.server.messages.get(stream.id)?.every((data, i) => Buffer.compare(data, bytesOf(10_000, i)) === 0),
    ).toBe(true);
    expect(pair.client.closed ?? pair.server.closed).toBeNull();
  });

  test('is looked for off this machine only up to what the internet carries', () => {
    const pair = new Pair({ client: { mtuMax: 16_384 }, server: { mtuMax: 16_384 } }).connected();
    flood(pair);
    expect(pair.client.core.path.mtu).toBeLessThanOrEqual(1_472);
    expect(largest(pair)).toBeLessThanOrEqual(1_472);
  });

  test('keeps packets in flight within the socket buffer that the peer was granted', () => {
    const pair = loopback({ server: { ...GROWING, receiveBufferBytes: 100_000 } }).connected();
    let most = 0;
    const stream = pair.client.open();
    for (let i = 0; i < 300; i++) pair.client.send(stream, bytesOf(10_000, i));
    pair.client.node.pump = wrap(pair.client.node.pump, () => {
      most = Math.max(most, internalsOf(pair.client.core).recovery.path.bytesInFlight);
    });
    pair.until(() => pair.server.messages.get(stream.id)?.length === 300);
    expect(most).toBeLessThanOrEqual(35_000 + 16_384);
  });

  test('works with a buffer that is smaller than a packet', () => {
    const pair = loopback({ server: { ...GROWING, receiveBufferBytes: 2_000 } }).connected();
    const stream = pair.client.open();
    pair.client.send(stream, bytesOf(200_000));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 1);
  });
});

function loopback(options: PairOptions = {}): Pair {
  return new Pair({ link: { delayMs: 1 }, client: GROWING, server: GROWING, loopback: true, ...options });
}

/** Sends enough from the client that larger packets are worth it. */
function flood(pair: Pair, count = 200): void {
  const stream = pair.client.open();
  for (let i = 0; i < count; i++) pair.client.send(stream, bytesOf(10_000, i));
  pair.until(() => pair.server.messages.get(stream.id)?.length === count, 60_000, 'the flood');
}

function largest(pair: Pair): number {
  return Math.max(...pair.client.sent.map(({ data }) => data.length));
}

function wrap(first: (now: number) => void, then: () => void): (now: number) => void {
  return (now) => {
    first(now);
    then();
  };
}
