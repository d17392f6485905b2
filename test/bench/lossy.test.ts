import { describe, expect, test } from 'vitest';
import { PERFECT_PATH } from '../../src/bench/lab-path.ts';
import { LossyBench, type LossyScenario } from '../../src/bench/lossy.ts';

const SCENARIO: LossyScenario = {
  ...PERFECT_PATH,
  protection: 'off',
  congestion: 'cubic',
  ordered: true,
  delivery: 'reliable',
  lifetimeMs: 0,
  intervalMs: 10,
  size: 64,
  messages: 300,
  warmUpMs: 500,
};

describe('messages over a lossy link', () => {
  const bench = new LossyBench();

  test('take the time of the path to the microsecond when nothing is lost, and are what others are compared with', async () => {
    const result = await bench.run(SCENARIO);
    expect(result.oneWayMs).toEqual({ p50: 25, p95: 25, p99: 25, p999: 25, max: 25 });
    expect(result).toMatchObject({ late: 0, missing: 0, lost: 0, bytesUp: 1, bytesBoth: 1 });
    expect(result.up.packets).toBe(300);
  });

  test('all arrive, a retransmission later where they were lost, and cost what was sent again', async () => {
    const { oneWayMs, ...result } = await bench.run({ ...SCENARIO, loss: 0.1, ordered: false });
    expect(result.missing).toBe(0);
    expect(result.lost).toBeGreaterThan(10);
    expect(result.late).toBeGreaterThan(0.04);
    expect(oneWayMs?.p50).toBe(25);
    expect(oneWayMs?.p99).toBeGreaterThanOrEqual(25 + 50);
    expect(result.bytesUp).toBeGreaterThan(1.03);
  });

  test('wait for lost ones before them in order, so that more are late', async () => {
    const [ordered, unordered] = [
      await bench.run({ ...SCENARIO, loss: 0.1 }),
      await bench.run({ ...SCENARIO, loss: 0.1, ordered: false }),
    ];
    expect(ordered.late).toBeGreaterThan(2 * unordered.late);
  });

  test('are the same for the same seed, and others for another', async () => {
    const lossy = { ...SCENARIO, loss: 0.1, burst: 3, jitterMs: 4, reorder: 0.02 };
    const first = await bench.run(lossy);
    expect(await new LossyBench().run(lossy)).toEqual(first);
    expect((await bench.run({ ...lossy, seed: 2 })).up).not.toEqual(first.up);
  });

  test('are missing when they are sent but once', async () => {
    const result = await bench.run({ ...SCENARIO, loss: 0.1, ordered: false, delivery: 'bestEffort' });
    expect(result.missing).toBeGreaterThan(10);
    expect(result.late).toBe(result.missing / 300);
    expect(result.oneWayMs?.max).toBe(25);
  });

  test('come by repeats or by repairs where they are protected, mostly in time, and cost bytes only where something is lost', async () => {
    const protectedWays = { ...SCENARIO, protection: 'auto', messages: 1_000, warmUpMs: 3_000 } as const;
    const ordered = await bench.run({ ...protectedWays, loss: 0.1 });
    expect(ordered.spent.recovered).toBeGreaterThan(0);
    expect(ordered.late).toBeLessThan(0.1);
    const unordered = await bench.run({ ...protectedWays, loss: 0.1, ordered: false });
    expect(unordered.spent.repeatsUsed).toBeGreaterThan(0);
    expect(unordered.late).toBeLessThan(0.04);
    expect(await bench.run(protectedWays)).toMatchObject({
      bytesUp: 1,
      bytesBoth: 1,
      spent: { repeats: 0, repeatsUsed: 0, repairs: 0, recovered: 0 },
    });
  });

  test('are lost in runs of about the length asked for', async () => {
    const { lost } = await bench.run({ ...SCENARIO, loss: 0.1, burst: 4, messages: 2_000 });
    expect(lost).toBeGreaterThan(100);
    expect(lost).toBeLessThan(350);
  });
});
