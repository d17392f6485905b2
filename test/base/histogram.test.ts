import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Histogram } from '../../src/base/histogram.ts';

const LATENCY = fc.oneof(
  fc.double({ min: 0, max: 50, noNaN: true }),
  fc.double({ min: 0, max: 4e8, noNaN: true }),
);
const SHARES = [0, 0.5, 0.9, 0.99, 0.9999, 1];

function histogramOf(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

describe('a histogram', () => {
  test('tells quantiles to within a hundredth, or a tenth of a microsecond, of those of the sorted values', () => {
    fc.assert(
      fc.property(fc.array(LATENCY, { minLength: 1, maxLength: 200 }), (values) => {
        const sorted = [...values].sort((a, b) => a - b);
        const histogram = histogramOf(values);
        for (const share of SHARES) {
          const exact = sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)];
          const told = histogram.quantile(share);
          expect(Math.abs(told - exact)).toBeLessThanOrEqual(Math.max(0.1, exact / 100));
        }
        expect(histogram.quantile(1)).toBe(sorted.at(-1));
      }),
    );
  });

  test('of several processes adds up to that of all values', () => {
    fc.assert(
      fc.property(fc.array(LATENCY, { minLength: 1 }), fc.array(LATENCY), (some, others) => {
        const sum = histogramOf(some);
        sum.add(structuredClone(histogramOf(others).counted));
        expect(sum).toEqual(histogramOf([...some, ...others]));
      }),
      { numRuns: 20 },
    );
  });

  test('counts what stands for several as if it had been there as often, and nothing of what was before it was cleared', () => {
    const [three, other] = [histogramOf([9e9]), histogramOf([4])];
    three.clear();
    three.record(7, 2);
    three.add(other.counted, 3);
    expect(three).toEqual(histogramOf([7, 7, 4, 4, 4]));
  });

  test('counts how many are not above a value', () => {
    const histogram = histogramOf([1, 2, 3, 1_000, 2_000_000]);
    expect([0.5, 2, 3.1, 900, 1_010, 1e9].map((micros) => histogram.countUpTo(micros))).toEqual([
      0, 2, 3, 3, 4, 5,
    ]);
  });

  test('of nothing has no latency, and what is beyond its range counts as the last within it', () => {
    expect(new Histogram().quantile(0.5)).toBe(0);
    const beyond = histogramOf([1, 1e10, 1e12]);
    expect([beyond.quantile(0.5), beyond.quantile(1)]).toEqual([(2 ** 32 - 1) / 10, 1e12]);
  });
});
