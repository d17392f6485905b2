import { describe, expect, test } from 'vitest';
import {
  type BenchResult,
  latencyHistogram,
  median,
  percentilesOf,
  quantilesOf,
  recordMicros,
  resultTable,
  whole,
} from '../../src/bench/figures.ts';
import { medianRun, parseCpuTicks, stolenShare } from '../../src/bench/harness.ts';

describe('latencies', () => {
  test('have percentiles that are exact to a thousandth', () => {
    const histogram = latencyHistogram();
    expect(percentilesOf(histogram)).toBeNull();
    for (let i = 10_000; i >= 1; i--) recordMicros(histogram, i);
    const { p50, p95, p99, p999 } = percentilesOf(histogram)!;
    for (const [is, should] of [
      [p50, 5_000],
      [p95, 9_500],
      [p99, 9_900],
      [p999, 9_990],
    ]) {
      expect(Math.abs(is - should) / should).toBeLessThan(0.001);
    }
    histogram.reset();
    recordMicros(histogram, 7);
    expect(percentilesOf(histogram)?.p999).toBeCloseTo(7, 2);
  });
});

describe('the median', () => {
  test('is the value in the middle, the mean of two', () => {
    expect([median([9, 1, 2]), median([4, 1]), median([5])]).toEqual([2, 2.5, 5]);
  });
});

describe('the median run', () => {
  test('is the run in the middle, the slower of two', () => {
    expect(medianRun([result(3), result(1), result(2)]).messagesPerSecond).toBe(2);
    expect(medianRun([result(3), result(1)]).messagesPerSecond).toBe(1);
    expect(() => medianRun([])).toThrow(RangeError);
  });
});

describe('the table', () => {
  test('shows one line a result, with a dash for what was not measured', () => {
    const lines = resultTable([
      { ...result(1_234_567.8), lost: 1, messages: 99 },
      { ...result(5), mtu: 0, latencyMicros: { p50: 12.34, p95: 20, p99: 30, p999: 40 } },
    ]).split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain('1,234,568');
    expect(lines[1]).toContain('1.0 %');
    expect(lines[1]).toMatch(/ - {2}/);
    expect(lines[2]).toContain('12.3');
    expect(lines[2]).toContain('50/25');
  });
});

describe('stolen CPU time', () => {
  test('is the share of all time that the host kept', () => {
    const before = parseCpuTicks('cpu  100 0 50 800 10 0 20 20 7 0\ncpu0 1 2 3\n');
    const after = parseCpuTicks('cpu  200 0 100 850 10 0 20 70 9 0\n');
    expect(before).toEqual({ total: 1_000, stolen: 20 });
    expect(stolenShare(before, after)).toBe(50 / 250);
    expect(resultTable([{ ...result(1), stolen: 0.2 }])).toMatch(/20 %$/);
  });

  test('is unknown where the system does not tell', () => {
    expect(parseCpuTicks('')).toBeNull();
    expect(stolenShare(null, { total: 1, stolen: 0 })).toBeNull();
    expect(resultTable([result(1)])).toMatch(/ -$/);
  });
});

function result(messagesPerSecond: number): BenchResult {
  return {
    workload: 'raw',
    size: 64,
    mtu: 1_472,
    seconds: 2,
    messages: 100,
    lost: 0,
    messagesPerSecond,
    megabitsPerSecond: 1,
    packetsPerSecond: 1,
    latencyMicros: null,
    cpu: { sender: 0.5, receiver: 0.25 },
    stolen: null,
  };
}

test('a quantile is the least value that so large a share does not exceed', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  expect(quantilesOf(hundred)).toEqual({ p50: 50, p95: 95, p99: 99, p999: 100, max: 100 });
  expect(quantilesOf([7])).toEqual({ p50: 7, p95: 7, p99: 7, p999: 7, max: 7 });
  expect(quantilesOf([])).toBe(null);
});

test('figures are in groups of three digits, as in English', () => {
  for (const value of [0, 7, 999, 1_000, -1, -999, -1_000, 12_345.5, 123_456_789, -9_876_543.4, 2 ** 53])
    expect(whole(value)).toBe(Math.round(value).toLocaleString('en-US'));
});
