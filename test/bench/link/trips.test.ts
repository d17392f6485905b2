import { expect, test } from 'vitest';
import type { RoundTrip } from '../../../src/bench/link/probe.ts';
import { parseRoute } from '../../../src/bench/link/system.ts';
import { clocksOf, quantiles, roundTripsOf } from '../../../src/bench/link/trips.ts';

/** There in `up` ms, 3 ms with the other end, whose clock is ahead, and back in `down`. */
function trip(sentAt: number, up: number, down: number, aheadMs = 0): RoundTrip {
  const cameAt = sentAt + up * 1e3 + aheadMs * 1e3;
  return { sentAt, cameAt, wentAt: cameAt + 3_000, returnedAt: sentAt + (up + 3 + down) * 1e3 };
}

test('a round trip does not count the time of the one who answers', () => {
  const figures = roundTripsOf([trip(0, 20, 30), trip(1e5, 22, 30), trip(2e5, 20, 34)], 4, { kind: 'same' });
  expect(figures).toMatchObject({ min: 50, p50: 52, max: 54, sent: 4, returned: 3 });
  expect(figures?.upMs).toMatchObject({ min: 20, p50: 20, max: 22 });
  expect(figures?.downMs?.max).toBe(34);
  expect(figures?.jitterMs).toBeCloseTo(2 / 16 + (2 - 2 / 16) / 16, 6);
});

test('one clock is believed where nothing comes before it was sent', () => {
  expect(clocksOf([trip(0, 20, 30)], true)).toEqual({ kind: 'same' });
  expect(clocksOf([trip(0, 20, 30, -100)], true).kind).toBe('estimated');
  expect(clocksOf([], true)).toEqual({ kind: 'unknown' });
});

test('two clocks are compared by the shortest round trip, true within half of it', () => {
  const trips = [trip(0, 90, 30, 700), trip(1e5, 21, 20, 700), trip(2e5, 20, 80, 700)];
  const clocks = clocksOf(trips, false);
  expect(clocks).toEqual({ kind: 'estimated', serverAheadMs: 700.5, uncertaintyMs: 20.5 });
  expect(roundTripsOf(trips, 3, clocks)?.upMs?.min).toBeCloseTo(19.5, 6);
  expect(roundTripsOf(trips, 3, { kind: 'unknown' })?.upMs).toBe(null);
});

test('quantiles are values that so many do not exceed', () => {
  expect(quantiles([5, 1, 4, 2, 3])).toEqual({ min: 1, p50: 3, p95: 5, p99: 5, max: 5 });
  expect(quantiles([])).toBe(null);
});

test('what the system knows of the way is its interface, or what routers have told', () => {
  const mtuOf = (device: string): number | null => (device === 'eth0' ? 1_500 : null);
  expect(parseRoute('[{"dst":"192.0.2.1","dev":"eth0","flags":[]}]', mtuOf)).toBe(1_500);
  expect(parseRoute('[{"dst":"192.0.2.1","dev":"eth0","metrics":[{"mtu":1300}]}]', mtuOf)).toBe(1_300);
  expect(parseRoute('[{"dev":"eth0","mtu":1280}]', mtuOf)).toBe(1_280);
  for (const nothing of ['', '[]', '{}', 'null', '[{"dev":"../../etc"}]'])
    expect(parseRoute(nothing, mtuOf)).toBe(null);
});
