import { describe, expect, test } from 'vitest';
import { PERFECT_PATH } from '../../src/bench/lab-path.ts';
import { LossyBench, type LossyResult, type LossyScenario } from '../../src/bench/lossy.ts';
import type { Protection } from '../../src/transport/protection.ts';

/** A message of 64 bytes every 10 ms, 50 ms there and back, whose order does not matter. */
const SCENARIO: LossyScenario = {
  ...PERFECT_PATH,
  protection: 'auto',
  congestion: 'cubic',
  ordered: false,
  delivery: 'reliable',
  lifetimeMs: 0,
  intervalMs: 10,
  size: 64,
  messages: 2_000,
  warmUpMs: 3_000,
};
const SEEDS = [1, 2, 3];

const bench = new LossyBench();

async function measured(
  of: Partial<LossyScenario>,
): Promise<{ all: LossyResult[]; late: number; bytes: number }> {
  const all: LossyResult[] = [];
  for (const seed of SEEDS) all.push(await bench.run({ ...SCENARIO, ...of, seed }));
  const mean = (value: (result: LossyResult) => number): number =>
    all.reduce((sum, result) => sum + value(result), 0) / all.length;
  return { all, late: mean(({ late }) => late), bytes: mean(({ bytesUp }) => bytesUp) };
}

describe('protection that decides by itself', () => {
  test('keeps all but one in a hundred messages from being late at 10 % loss, for less than 1.8 times the bytes', async () => {
    const off = await measured({ protection: 'off', loss: 0.1 });
    const auto = await measured({ loss: 0.1 });
    expect(off.late).toBeGreaterThan(0.08);
    expect(auto.late).toBeLessThan(0.012);
    expect(auto.bytes).toBeLessThan(1.8);
    for (const { oneWayMs } of auto.all) {
      expect(oneWayMs?.p95).toBeLessThanOrEqual(37);
      expect(oneWayMs?.p999).toBeLessThanOrEqual(110);
    }
  });

  test('costs less where less is lost, and nothing where nothing is [FEC-8]', async () => {
    const five = await measured({ loss: 0.05 });
    expect(five.late).toBeLessThan(0.005);
    expect(five.bytes).toBeLessThan(1.7);
    const clean = await measured({ loss: 0 });
    expect(clean).toMatchObject({ late: 0, bytes: 1 });
  });

  test('brings best-effort messages that would be missing [FEC-6]', async () => {
    const { all } = await measured({ loss: 0.1, delivery: 'bestEffort' });
    for (const { missing } of all) expect(missing).toBeLessThan(40);
  });

  test('repeats two and three times where it may cost as much', async () => {
    const aims: Protection[] = [
      { residual: 0.001, overheadMax: 3 },
      { residual: 0.0001, overheadMax: 4, latencyMs: 25 },
    ];
    const [twice, thrice] = [
      await measured({ loss: 0.2, protection: aims[0] }),
      await measured({ loss: 0.2, protection: aims[1] }),
    ];
    expect(twice.bytes).toBeGreaterThan(2);
    expect(twice.late).toBeLessThan(0.06);
    expect(thrice.bytes).toBeGreaterThan(twice.bytes);
    for (const { oneWayMs } of thrice.all) expect(oneWayMs?.p99).toBeLessThan(75);
  });
});
