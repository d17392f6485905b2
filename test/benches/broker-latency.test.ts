import { describe, expect, test } from 'vitest';
import { Arrivals, STAMP_BYTES, stamp } from '../../benches/broker/arrivals.ts';
import { pace } from '../../benches/broker/pace.ts';
import { peerNamed } from '../../benches/broker/peer.ts';
import { sharedMicros } from '../../src/bench/metronome.ts';

describe('the benchmark of latency through a broker', () => {
  test('counts latency from when a message was due, by the second in which it was, and in the total from the first measured one on', () => {
    const arrivals = new Arrivals(2, 3, 2);
    const payload = new Uint8Array(STAMP_BYTES);
    for (const [i, lateMicros] of [5_000_000, 5_000_000, 1_000_000, 2_000_000].entries()) {
      stamp(payload, sharedMicros() - lateMicros, i);
      arrivals.onMessage(payload);
    }
    const { arrived, seconds, total } = arrivals.report();
    expect(arrived).toBe(4);
    expect(seconds.map((second) => second && Math.floor(second.p50 / 1_000_000))).toEqual([5, 1, null]);
    expect(Math.floor((total?.p99 ?? 0) / 1_000_000)).toBe(2);
  });

  test('never sends a message before it is due, however late the others were', async () => {
    const early: number[] = [];
    const order: number[] = [];
    const dues: number[] = [];
    await pace('spin', 2_000, 20, (dueMicros, i) => {
      if (sharedMicros() < dueMicros) early.push(i);
      order.push(i);
      dues.push(dueMicros);
    });
    expect(early).toEqual([]);
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(dues[19] - dues[0]).toBeCloseTo(19 * 500, 1);
  });

  test('names the peers there are when asked for another', () => {
    expect(() => peerNamed('mqtt')).toThrow('no peer mqtt; there are jsp, nats tls');
  });
});
