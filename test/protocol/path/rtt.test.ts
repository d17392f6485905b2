import { describe, expect, test } from 'vitest';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';

describe('RTT estimation', () => {
  test('assumes 333 ms until there is a sample [REC-1]', () => {
    const rtt = new RttEstimator();
    expect(rtt.hasSample).toBe(false);
    expect(rtt.smoothed).toBe(333_000);
    expect(rtt.variance).toBe(166_500);
    expect(rtt.probeTimeout).toBe(999_000);
  });

  test('takes the first sample less the delay that is reported, but not as its minimum [REC-1]', () => {
    const rtt = new RttEstimator();
    rtt.update(40_000, 10_000, 7);
    expect([rtt.min, rtt.smoothed, rtt.variance, rtt.latest]).toEqual([40_000, 30_000, 15_000, 40_000]);
    expect(rtt.firstSampleTime).toBe(7);
    const lied = new RttEstimator();
    lied.update(40_000, 1_000_000, 7);
    expect([lied.min, lied.smoothed]).toEqual([40_000, 1]);
  });

  test('smooths later samples and takes the reported delay off [REC-4]', () => {
    const rtt = new RttEstimator();
    rtt.update(40_000, 0, 0);
    rtt.update(60_000, 4_000, 1);
    // adjusted 56,000; deviation 16,000
    expect(rtt.variance).toBe(0.75 * 20_000 + 0.25 * 16_000);
    expect(rtt.smoothed).toBe(0.875 * 40_000 + 0.125 * 56_000);
    expect(rtt.min).toBe(40_000);
  });

  test('ignores a delay that would push the sample below the minimum [REC-4]', () => {
    const rtt = new RttEstimator();
    rtt.update(40_000, 0, 0);
    rtt.update(44_000, 20_000, 1);
    expect(rtt.smoothed).toBe(0.875 * 40_000 + 0.125 * 44_000);
  });

  test('keeps the smallest sample, unadjusted [REC-4]', () => {
    const rtt = new RttEstimator();
    rtt.update(40_000, 0, 0);
    rtt.update(30_000, 5_000, 1);
    expect(rtt.min).toBe(30_000);
    rtt.update(50_000, 0, 2);
    expect(rtt.min).toBe(30_000);
  });

  test('never takes a sample of 0 [REC-3]', () => {
    const rtt = new RttEstimator();
    rtt.update(0, 0, 0);
    expect(rtt.min).toBe(1);
  });

  test('waits at least a millisecond beyond the smoothed RTT for a probe [REC-13]', () => {
    const rtt = new RttEstimator();
    for (let i = 0; i < 100; i++) rtt.update(100, 0, i);
    expect(rtt.probeTimeout).toBe(1_100);
  });

  test('starts anew on another path', () => {
    const rtt = new RttEstimator();
    rtt.update(100, 0, 0);
    rtt.reset();
    expect(rtt).toEqual(new RttEstimator());
  });
});
