import { describe, expect, test } from 'vitest';
import { type QosScenario, runGame, runPriorities } from '../../src/bench/qos.ts';

const SCENARIO: QosScenario = {
  seed: 1,
  rttMs: 40,
  bitsPerSecond: 4e6,
  queueBytes: 20_000,
  congestion: 'cubic',
  seconds: 3,
};

describe('urgent messages', () => {
  test('take the time of the path when they are alone, and share it with transfers at 4:2:1', async () => {
    const result = await runPriorities(SCENARIO);
    expect(result.idleMs).toMatchObject({ p50: expect.closeTo(20, 0), max: expect.closeTo(20, 0) });
    expect(result.shares.media).toBeCloseTo(4 / 7, 1.2);
    expect(result.shares.bulk).toBeCloseTo(1 / 7, 1.3);
    expect(result.megabitsPerSecond).toBeGreaterThan(2.8);
    expect(result.megabitsPerSecond).toBeLessThan(4);
    expect(result.longestGapMs).toBeLessThan(500);
    // Of the time that the load adds no more is spent at the sender than is there.
    const { loadedMs, waitMs } = result;
    expect(loadedMs?.p99).toBeGreaterThan(20);
    expect(waitMs?.p99).toBeLessThanOrEqual((loadedMs?.p99 ?? 0) - 20);
  });
});

describe('a game', () => {
  const game = { ...SCENARIO, bitsPerSecond: 128_000, queueBytes: 20_000, size: 400 };

  test('on a path that carries all states sees each as old as the path is long', async () => {
    const result = await runGame({ ...game, rate: 10 });
    expect(result.perSecond).toBeGreaterThanOrEqual(9.5); // the last one is still under way
    // 25 ms more to send 400 B and headers at 128 kbit/s
    expect(result.ageMs?.p50).toBeCloseTo(20 + 28, -1);
    expect(result.oldestShownMs).toBeLessThan(170);
  });

  test('on a path too small for it sees fewer and older ones, the same for the same seed', async () => {
    const result = await runGame({ ...game, rate: 60 });
    expect(result.perSecond).toBeLessThan(45);
    expect(result.ageMs?.p95).toBeGreaterThan(60);
    expect(await runGame({ ...game, rate: 60 })).toEqual(result);
  });
});
