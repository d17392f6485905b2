import { describe, expect, test } from 'vitest';
import { Delivery, FrameType, Priority } from '../../../src/protocol/wire/frame-type.ts';
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
});

function lossy(): Pair {
  return new Pair({ seed: 3, link: { delayMs: 25, loss: 0.1 } }).connected();
}

/** Sends a small message each 10 ms and lets all arrive; the id of the stream. */
function trickle(pair: Pair, count: number, priority: Priority = Priority.MEDIA): number {
  const stream = pair.client.open({ delivery: Delivery.RELIABLE, priority });
  for (let i = 0; i < count; i++) {
    pair.client.send(stream, bytesOf(64, i));
    pair.run(10);
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
