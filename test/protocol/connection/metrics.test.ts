import { describe, expect, test } from 'vitest';
import { Delivery, FrameType, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, eachSeed, Pair, type Side } from './pair.ts';

describe('metrics', () => {
  test('agree with what went over the network, whatever happens to it', () => {
    eachSeed(1, 12, (seed) => {
      const loss = (seed % 4) * 0.08;
      const link = { delayMs: 10, loss, duplicate: 0.05, corrupt: seed % 3 === 0 ? 0.05 : 0, reorder: 0.1 };
      const pair = new Pair({ seed, link }).connected();
      const stream = pair.client.open();
      const back = pair.server.open({ delivery: Delivery.BEST_EFFORT, ordered: false });
      for (let i = 0; i < 80; i++) {
        pair.client.send(stream, bytesOf((i * 131) % 5_000, i));
        pair.server.send(back, bytesOf((i * 71) % 800, i));
        pair.run(7);
      }
      pair.until(() => pair.server.messages.get(stream.id)?.length === 80);
      pair.run(4_000);
      for (const side of [pair.client, pair.server]) check(side);
      const [here, there] = [pair.client.core.metrics(), pair.server.core.metrics()];
      expect(here.messagesSent).toBe(80);
      expect(here.messageBytesSent).toBe(sizes((i) => (i * 131) % 5_000));
      expect(there.messagesReceived).toBe(80);
      expect(there.messageBytesReceived).toBe(here.messageBytesSent);
      expect(there.messagesSent).toBe(80);
      expect(here.messagesReceived + there.messagesLost).toBeGreaterThanOrEqual(80);
      // With nothing lost nothing is sent twice. What was lost was sent again.
      if (loss === 0 && link.corrupt === 0) expect(here.packetsLost - here.packetsSpuriouslyLost).toBe(0);
      else expect(here.packetsLost).toBeGreaterThan(0);
    });
  });

  test('count packets that were lost, as the path lost them', () => {
    const pair = new Pair({ seed: 5, link: { delayMs: 10 } }).connected();
    const stream = pair.client.open();
    let dropped = 0;
    pair.client.filter = (data, index) => {
      if (index % 10 !== 3) return [{ data }];
      dropped++;
      return [];
    };
    for (let i = 0; i < 300; i++) {
      pair.client.send(stream, bytesOf(1_000, i));
      pair.run(2);
    }
    pair.run(2_000);
    const { packetsLost, packetsSpuriouslyLost, packetLossRate, packetsSent, retransmittedBytes } =
      pair.client.core.metrics();
    // What was lost last may have been an acknowledgement, which nobody misses.
    expect(packetsSpuriouslyLost).toBe(0);
    expect(packetsLost).toBeLessThanOrEqual(dropped);
    expect(packetsLost).toBeGreaterThan(dropped * 0.8);
    expect(packetLossRate).toBeCloseTo(packetsLost / packetsSent, 10);
    expect(retransmittedBytes).toBeGreaterThan(packetsLost * 900);
    expect(pair.server.messages.get(stream.id)).toHaveLength(300);
  });

  test('measure the round trip of the path', () => {
    const pair = new Pair({ link: { delayMs: 40 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 30; i++) {
      pair.client.send(stream, 'x');
      pair.run(100);
    }
    const { rttMs, rttMinMs, rttVariationMs } = pair.client.core.metrics();
    expect(rttMinMs).toBeCloseTo(80, 0);
    expect(rttMs).toBeGreaterThanOrEqual(80);
    expect(rttMs).toBeLessThan(90);
    expect(rttVariationMs).toBeLessThan(20);
  });

  test('are 0 where there is nothing to tell', () => {
    const pair = new Pair().connect();
    const metrics = pair.client.core.metrics();
    const { mtu, congestionState, congestionWindowBytes, memoryBytes, memoryReservedBytes, ...others } =
      metrics;
    const { networkType, appState, heartbeatIntervalMs, ...counts } = others;
    expect([networkType, appState, heartbeatIntervalMs]).toEqual(['unknown', 'foreground', 5_000]);
    const { congestionStateMs, limitedBy, limitedByMs, queue, receiveCreditBytes, ...rest } = counts;
    for (const states of [congestionStateMs, limitedByMs, queue.system, queue.bulk])
      expect(new Set(Object.values(states))).toEqual(new Set([0]));
    expect(limitedBy).toBe('idle');
    expect(receiveCreditBytes).toBe(262_144);
    expect(mtu).toBe(1_200);
    expect(congestionState).toBe('slow-start');
    expect(congestionWindowBytes).toBe(12_000);
    // But for what it takes to have a connection.
    expect(memoryBytes).toBeLessThan(65_536);
    expect(memoryReservedBytes).toBeGreaterThan(memoryBytes);
    expect(new Set(Object.values(rest))).toEqual(new Set([0]));
  });

  test('divide the time of a connection by its controller, and by what holds it back [CON-70]', () => {
    const link = { delayMs: 20, bitsPerSecond: 8e6, queueBytesMax: 30_000 };
    const pair = new Pair({ link, server: { connectionWindowBytes: 262_144 } }).connected().run(200);
    const limits = () => pair.client.core.metrics(pair.now).limitedByMs;
    const during = (ms: number) => {
      const before = limits();
      pair.run(ms);
      const after = limits();
      return (limit: keyof typeof after) => after[limit] - before[limit];
    };
    expect(during(1_000)('idle')).toBeCloseTo(1_000, 6);
    const stream = pair.client.open();
    for (let i = 0; i < 1_000; i++) pair.client.send(stream, bytesOf(1_000, i));
    const transfer = during(500);
    expect(transfer('window') + transfer('pacing')).toBeGreaterThan(400);
    pair.until(() => pair.server.messages.get(stream.id)?.length === 1_000);
    pair.run(400); // with what asks about the silence behind it [CON-90]
    pair.client.send(stream, 'x');
    expect(during(1_000)('application')).toBeLessThan(100); // until it is acknowledged
    pair.server.readsAll = false;
    for (let i = 0; i < 1_000; i++) pair.client.send(stream, bytesOf(1_000, i));
    pair.run(500);
    expect(during(500)('flow-control')).toBeCloseTo(500, 6);
    const { ageMs, congestionStateMs, congestionEvents, limitedBy, limitedByMs } = pair.client.core.metrics(
      pair.now,
    );
    expect(limitedBy).toBe('flow-control');
    expect(congestionEvents).toBeGreaterThan(0);
    for (const state of ['slow-start', 'recovery', 'congestion-avoidance'] as const)
      expect(congestionStateMs[state]).toBeGreaterThan(0);
    for (const states of [congestionStateMs, limitedByMs])
      expect(Object.values(states).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(ageMs, 6);
    pair.client.reset(stream, 1);
    pair.run(100);
    expect(pair.client.core.metrics().limitedBy).not.toBe('flow-control');
  });

  test('tell what waits, by class', () => {
    const pair = new Pair({ link: { delayMs: 20, bitsPerSecond: 1e6 } }).connected();
    for (let i = 0; i < 100; i++)
      pair.client.send(pair.client.open({ priority: Priority.BULK }), bytesOf(5_000, i));
    const stream = pair.client.open({ priority: Priority.MEDIA });
    for (let i = 0; i < 50; i++)
      stream.send(bytesOf(100, i), Delivery.PARTIAL, pair.now + 300_000 * (1 + (i % 2)), false);
    const { queue, queueBytes } = pair.client.core.metrics();
    expect(queue.media).toEqual({ messages: 50, bytes: 5_000, streams: 1, oldestMs: 0 });
    expect(queue.bulk).toEqual({ messages: 100, bytes: 500_000, streams: 100, oldestMs: 0 });
    expect(queueBytes).toBe(505_000);
    pair.run(30);
    const later = pair.client.core.metrics();
    expect(later.queueBytes).toBeLessThan(505_000);
    expect(later.queueMs).toBeCloseTo((later.queueBytes / later.pacingRate) * 1_000, 6);
    pair.until(() => pair.client.core.metrics().queueBytes === 0);
    expect(pair.client.core.metrics().queue.bulk).toEqual({ messages: 0, bytes: 0, streams: 0, oldestMs: 0 });
  });

  test('tell how long the oldest message of each class has waited, to the turn in which it came [CON-70]', () => {
    const pair = new Pair({ link: { delayMs: 20, bitsPerSecond: 1e6 } }).connected();
    const { core, node } = pair.client;
    const bulk = pair.client.open({ priority: Priority.BULK });
    const oldest = (): number[] =>
      Object.values(core.metrics(pair.now).queue).map(({ oldestMs }) => oldestMs);
    for (let i = 0; i < 60; i++) pair.client.send(bulk, bytesOf(5_000, i)); // for more than two seconds
    pair.run(300);
    expect(oldest()).toEqual([0, 0, 0, 300]);
    // What waits behind it has its own age, in its class.
    const begun = pair.now;
    const media = pair.client.open({ priority: Priority.MEDIA });
    for (let i = 0; i < 200; i++) pair.client.send(media, bytesOf(400, i));
    pair.run(100);
    expect(oldest()).toEqual([0, 100, 0, 400]);
    pair.until(() => core.metrics(pair.now).queue.media.messages === 0);
    expect(oldest().slice(0, 3)).toEqual([0, 0, 0]);
    expect(oldest()[3]).toBeCloseTo((pair.now - begun) / 1_000 + 300, 6);
    // A turn that leaves nothing behind makes nothing old.
    pair.until(() => core.metrics(pair.now).queueBytes === 0);
    expect(oldest()).toEqual([0, 0, 0, 0]);
    pair.client.send(bulk, bytesOf(100, 1));
    node.wake();
    pair.run(1);
    expect(oldest()).toEqual([0, 0, 0, 0]);
  });

  test('count no message that has expired where it waits, and know in the end that nothing waits', () => {
    eachSeed(1, 10, (seed) => {
      const link = { delayMs: 20, bitsPerSecond: 1e6, loss: seed % 2 === 0 ? 0.05 : 0 };
      const server = { connectionWindowBytes: 32_768, streamWindowBytes: 16_384, messageBytesMax: 8_192 };
      const pair = new Pair({
        seed,
        link,
        server: { ...server, connectionWindowStartBytes: 16_384 },
      }).connected();
      const streams = [0, 1, 2].map(() => pair.client.open({ ordered: false }));
      for (let i = 0; i < 300; i++) {
        const lifetime = [300_000, 5_000_000, Number.POSITIVE_INFINITY][(i + seed) % 3];
        const delivery = lifetime === Number.POSITIVE_INFINITY ? Delivery.RELIABLE : Delivery.PARTIAL;
        streams[i % 3].send(bytesOf(400, i), delivery, pair.now + lifetime, false);
      }
      pair.client.node.wake();
      for (let ms = 0; ms < 800; ms += 20) {
        pair.run(20);
        const { queue } = pair.client.core.metrics();
        // At most the one that is partly sent of each stream has fewer bytes left.
        expect(queue.chat.bytes).toBeLessThanOrEqual(400 * queue.chat.messages);
        expect(queue.chat.bytes).toBeGreaterThanOrEqual(400 * (queue.chat.messages - 3));
      }
      if (seed % 3 === 0) pair.client.reset(streams[0], 1);
      pair.until(() => pair.client.core.streams.isSettled || seed % 3 === 0);
      pair.run(2_000);
      expect(pair.client.core.metrics().queue.chat).toEqual({
        messages: 0,
        bytes: 0,
        streams: 0,
        oldestMs: 0,
      });
      expect(pair.client.core.streams.sendCounts.blockedCredits).toBe(0);
      expect(pair.client.core.metrics().limitedBy).toBe('idle');
    });
  });

  test('tell heartbeats and streams', () => {
    const pair = new Pair({ client: { heartbeatMs: 100 }, server: { heartbeatMs: 0 } }).connected();
    pair.client.send(pair.client.open(), 'x');
    pair.server.send(pair.server.open(), 'x');
    pair.run(1_050);
    expect(pair.client.core.metrics()).toMatchObject({
      heartbeatsSent: 9,
      heartbeatsReceived: 0,
      streamsOpen: 2,
    });
    expect(pair.server.core.metrics()).toMatchObject({
      heartbeatsSent: 0,
      heartbeatsReceived: 9,
      streamsOpen: 2,
    });
  });
});

/** Compares what a side counted with what passed. */
function check(side: Side): void {
  const metrics = side.core.metrics();
  const { counters } = side.endpoint;
  const arrivedBytes = side.arrived.reduce((sum, { data }) => sum + data.length, 0);
  // A stateless reset, for an id that was damaged on its way, is of no connection.
  const own = side.sent.filter(({ packets }) => packets.length > 0);
  expect(metrics.datagramsSent).toBe(own.length);
  expect(metrics.bytesSent).toBe(own.reduce((sum, { data }) => sum + data.length, 0));
  expect(metrics.packetsSent).toBe(side.packets.length);
  expect(counters).toMatchObject({ datagramsSent: side.sent.length, bytesSent: side.bytesSent });
  expect(counters).toMatchObject({ datagramsReceived: side.arrived.length, bytesReceived: arrivedBytes });
  const dropped =
    counters.droppedMalformed +
    counters.droppedUnknownId +
    counters.droppedVersion +
    counters.droppedUnopened +
    counters.droppedUnpinned +
    counters.droppedUnsupported +
    counters.droppedShortInitial;
  expect(metrics.datagramsReceived + dropped).toBe(side.arrived.length);
  const acks = side.packets.filter(({ frames }) => frames.some(({ type }) => type === FrameType.ACK));
  expect(metrics.acksSent).toBe(acks.length);
  expect(metrics.bytesInFlight).toBe(0);
}

function sizes(sizeOf: (index: number) => number): number {
  return Array.from({ length: 80 }, (_, i) => sizeOf(i)).reduce((sum, size) => sum + size, 0);
}
