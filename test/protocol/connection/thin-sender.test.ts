import { describe, expect, test } from 'vitest';
import { Delivery, FrameType, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf, recordUnacknowledged } from './internals.ts';
import { bytesOf, Pair } from './pair.ts';

describe('a thin stream', () => {
  test('over a path that loses 10 % has what it sends again in two packets [REC-60]', () => {
    const pair = lossy();
    const stream = trickle(pair, 300);
    const packets = packetsOf(pair, stream);
    const sent = [...packets.values()].map((numbers) => numbers.length);
    expect(sent.filter((times) => times === 1).length).toBeGreaterThan(200);
    expect(sent.filter((times) => times >= 3).length).toBeGreaterThan(15);
    expect(sent.filter((times) => times === 2).length).toBeLessThan(10); // none but the first losses
    for (const numbers of packets.values()) expect(new Set(numbers).size).toBe(numbers.length);
    expect(pair.server.messages.get(stream)?.length).toBe(300);
  });

  test('of ordered messages each 10 ms has 95 % of them there in 87 ms and 99 % in 110, at 10 % loss and 50 ms', () => {
    const times: number[] = [];
    for (const seed of [1, 2]) {
      const pair = new Pair({ seed, link: { delayMs: 25, loss: 0.1 } }).connected();
      const sentAt: number[] = [];
      const stream = pair.client.open({ priority: Priority.MEDIA });
      let arrived = 0;
      pair.server.onEvent = () => {
        const { length } = pair.server.messages.get(stream.id) ?? [];
        while (arrived < length) times.push(pair.now - sentAt[arrived++]);
      };
      for (let i = 0; i < 1_000; i++) {
        sentAt.push(pair.now);
        pair.client.send(stream, bytesOf(64, i));
        pair.run(10);
      }
      pair.run(1_000);
      expect(arrived).toBe(1_000);
    }
    times.sort((a, b) => a - b);
    expect(times[times.length * 0.95] / 1_000).toBeLessThanOrEqual(87);
    expect(times[times.length * 0.99] / 1_000).toBeLessThanOrEqual(110);
  });

  test('of the class bulk has it in one, for bytes matter more to it [REC-60]', () => {
    const pair = lossy();
    const times = [...packetsOf(pair, trickle(pair, 300, Priority.BULK)).values()].map(
      (numbers) => numbers.length,
    );
    expect(times.filter((count) => count >= 3).length).toBeLessThan(10); // lost twice
    expect(times.filter((count) => count === 2).length).toBeGreaterThan(10);
  });

  test('over a path that loses nothing sends each message once [REC-60]', () => {
    const pair = new Pair({ link: { delayMs: 25 } }).connected();
    const times = [...packetsOf(pair, trickle(pair, 300)).values()].map((numbers) => numbers.length);
    expect(times).toEqual(Array(300).fill(1));
  });

  test('of one message in a while gets a lost one through without waiting for the next [REC-58]', () => {
    const pair = new Pair({ link: { delayMs: 25 } }).connected();
    internalsOf(pair.client.core).recovery.path.loss.isLossy = true;
    const stream = pair.client.open();
    for (let i = 0; i < 30; i++) {
      pair.client.send(stream, bytesOf(64, i));
      pair.run(200);
    }
    const { length } = pair.client.sent;
    pair.client.filter = (data, index) => (index === length ? [] : [{ data }]);
    const from = pair.now;
    pair.client.send(stream, bytesOf(64, 99));
    const { length: before } = pair.server.messages.get(stream.id) ?? [];
    pair.until(() => pair.server.messages.get(stream.id)?.length === before + 1, 1_000);
    // a round trip, what it varies by and the peer's delay, all at least a millisecond, and a way
    expect(pair.now - from).toBeLessThanOrEqual((50 + 4 + 25) * 1_000);
  });

  test('whose peer keeps it busy with acknowledgements, and acknowledges nothing, does not look through all of them [REC-58]', () => {
    const pair = new Pair({ link: { delayMs: 25 } }).connected();
    const { core } = pair.client;
    const { recovery } = internalsOf(core);
    trickle(pair, 10);
    recovery.path.loss.isLossy = true;
    pair.client.send(pair.client.open(), bytesOf(64));
    recordUnacknowledged(core, 20_000, pair.now);
    const sent = recovery.sentPackets(PacketSpace.APPLICATION);
    const { ring } = sent;
    const looks: Uint16Array[] = [];
    sent.ring = Object.create(ring, { state: { get: () => looks[looks.push(ring.state) - 1] } });
    const at = recovery.nextTimeout();
    expect(at).toBeGreaterThan(pair.now);
    expect(at).toBeLessThan(pair.now + 1_000_000);
    expect(looks.length).toBeLessThan(1_000);
  });

  test('asks for acknowledgements at once while packets are lost, and no more when none are [REC-48]', () => {
    const pair = new Pair({ seed: 3, link: { delayMs: 25, loss: 0.1 } }).connected();
    trickle(pair, 100, Priority.MEDIA, 20);
    const [first] = pair.client.frames(FrameType.ACK_FREQUENCY);
    expect(first.number).toBe(0);
    const acks = pair.server.frames(FrameType.ACK).length;
    trickle(pair, 50, Priority.MEDIA, 20);
    expect(pair.server.frames(FrameType.ACK).length - acks).toBeGreaterThan(40);
    pair.world.network.connect('client', 'server', { delayMs: 25, loss: 0 });
    trickle(pair, 800, Priority.MEDIA, 20);
    const frames = pair.client.frames(FrameType.ACK_FREQUENCY).length;
    const packets = pair.client.packets.length;
    trickle(pair, 100, Priority.MEDIA, 20);
    expect(pair.client.frames(FrameType.ACK_FREQUENCY).length).toBe(frames);
    expect(pair.client.packets.length - packets).toBe(100);
    expect(internalsOf(pair.client.core).recovery.path.loss.isLossy).toBe(false);
  });

  test('that only acknowledges asks for nothing: what it sends is in no hurry [REC-48] [REC-57]', () => {
    const pair = lossy();
    internalsOf(pair.server.core).recovery.path.loss.isLossy = true;
    trickle(pair, 300, Priority.MEDIA, 10);
    expect(pair.server.frames(FrameType.PING).length).toBeGreaterThan(5);
    expect(pair.server.frames(FrameType.ACK_FREQUENCY)).toEqual([]);
  });

  test('over a path that delays but loses nothing sends nothing else [REC-57] [REC-58]', () => {
    const pair = new Pair({ link: { delayMs: 25, jitterMs: 12, jitterReorders: true } }).connected();
    const from = pair.client.packets.length;
    trickle(pair, 300, Priority.MEDIA, 50);
    const frames = pair.client.packets.slice(from).flatMap((packet) => packet.frames);
    const told = frames.filter(({ type }) => type !== FrameType.ACK && type !== FrameType.STREAM_OPEN);
    expect(told.map(({ type, sequence, count }) => [type, sequence, count])).toEqual(
      Array.from({ length: 300 }, (_, i) => [FrameType.MESSAGES, i, 1]),
    );
    expect(pair.client.core.counters.ptoCount).toBe(0);
  });
});

function lossy(): Pair {
  return new Pair({ seed: 3, link: { delayMs: 25, loss: 0.1 } }).connected();
}

/** Sends a small message each `everyMs` and lets all arrive; the id of the stream. */
function trickle(pair: Pair, count: number, priority: Priority = Priority.MEDIA, everyMs = 10): number {
  const stream = pair.client.open({ delivery: Delivery.RELIABLE, priority });
  for (let i = 0; i < count; i++) {
    pair.client.send(stream, bytesOf(64, i));
    pair.run(everyMs);
  }
  pair.run(1_000);
  return stream.id;
}

/** In which packets each message of a stream went, by sequence. */
function packetsOf(pair: Pair, stream: number): Map<number, number[]> {
  const packets = new Map<number, number[]>();
  for (const { frames, number } of pair.client.packets) {
    for (const { count, sequence, stream: id, type } of frames) {
      if (type !== FrameType.MESSAGES || id !== stream) continue;
      for (let k = 0; k < count; k++) {
        const numbers = packets.get(sequence + k) ?? [];
        packets.set(sequence + k, [...numbers, number]);
      }
    }
  }
  return packets;
}
