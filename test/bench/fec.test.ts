import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { type Losses, predictedShare, runFec } from '../../src/bench/fec.ts';

describe('what combinatorics promise', () => {
  test.each([
    [{ data: 10, parity: 2 }, { chance: 0.1 }],
    [{ data: 4, parity: 1 }, { chance: 0.2 }],
    [{ data: 20, parity: 4 }, { chance: 0.05 }],
    [{ data: 10, parity: 2 }, { run: 4 }],
    [{ data: 4, parity: 1 }, { run: 2 }],
    [{ data: 2, parity: 1 }, { run: 4 }],
  ] satisfies [{ data: number; parity: number }, Losses][])(
    'of a block of %o at losses %o is what a count over blocks gives',
    (block, losses) => {
      const length = block.data + block.parity;
      const isLost =
        'chance' in losses ? byChance(200_000, losses.chance) : inRuns(200_000, losses.run, length);
      let lost = 0;
      let recovered = 0;
      for (let at = 0; at + length <= isLost.length; at += length) {
        const packets = isLost.subarray(at, at + length).reduce((sum, value) => sum + value, 0);
        const messages = isLost.subarray(at, at + block.data).reduce((sum, value) => sum + value, 0);
        lost += messages;
        if (packets <= block.parity) recovered += messages;
      }
      expect(predictedShare(block, losses)).toBeCloseTo(recovered / lost, 1.5);
    },
  );

  test('is everything when a run is no longer than there are repairs, and less when it is', () => {
    expect(predictedShare({ data: 20, parity: 4 }, { run: 4 })).toBe(1);
    expect(predictedShare({ data: 20, parity: 3 }, { run: 4 })).toBeLessThan(0.3);
  });
});

test('messages that are lost on the link are counted, and the same seed loses the same', async () => {
  const scenario = { seed: 5, block: { data: 4, parity: 1 }, size: 64, messages: 400 };
  const { lost } = await runFec({ ...scenario, losses: { chance: 0.2 } });
  expect(lost).toBeGreaterThan(50);
  expect(lost).toBeLessThan(110);
  const runs = await runFec({ ...scenario, losses: { run: 2 } });
  expect(runs.lost).toBeGreaterThan(15);
  expect(await runFec({ ...scenario, losses: { run: 2 } })).toEqual(runs);
});

test('repairs bring back what combinatorics promise', async () => {
  const scenario = { seed: 7, block: { data: 4, parity: 1 }, size: 64, messages: 3_000 };
  const { lost, recovered, predicted, bytesUp } = await runFec({ ...scenario, losses: { chance: 0.1 } });
  expect(recovered).toBeGreaterThan(0);
  expect(recovered / lost).toBeCloseTo(predicted, 1);
  expect(bytesUp).toBeGreaterThan(1.2);
  const runs = await runFec({ ...scenario, block: { data: 10, parity: 2 }, losses: { run: 2 } });
  expect(runs.recovered).toBe(runs.lost);
});

function byChance(count: number, chance: number): Uint8Array {
  const random = new Prng(1);
  return Uint8Array.from({ length: count }, () => (random.chance(chance) ? 1 : 0));
}

/** Runs far from each other, from all places of a block on. */
function inRuns(count: number, run: number, length: number): Uint8Array {
  const isLost = new Uint8Array(count);
  for (let from = length; from + run < count; from += 4 * length + 1) isLost.fill(1, from, from + run);
  return isLost;
}
