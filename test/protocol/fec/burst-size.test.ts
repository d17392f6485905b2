import { expect, test } from 'vitest';
import { BurstSizes, burstRepairs, REPAIRS_MAX } from '../../../src/protocol/fec/burst-size.ts';

/** LOSSY's table: repairs for k = 1, 2, 4, 8, 16, 32 so that 0.1 % and 1 % of the bursts are not whole. */
const TABLE: [loss: number, burst: number, permille: number[], percent: number[]][] = [
  [0.01, 1, [1, 1, 1, 2, 2, 3], [0, 1, 1, 1, 2, 2]],
  [0.05, 1, [2, 2, 3, 4, 5, 7], [1, 1, 2, 3, 4, 5]],
  [0.1, 1, [2, 3, 4, 5, 8, 11], [1, 2, 3, 4, 6, 9]],
  [0.2, 1, [4, 5, 6, 9, 13, 20], [2, 3, 5, 7, 10, 16]],
  [0.1, 3, [12, 13, 15, 17, 21, 26], [6, 7, 9, 11, 14, 18]],
];

test('a burst has the fewest repairs with which too many losses are rare enough [FEC-30]', () => {
  for (const [loss, burst, permille, percent] of TABLE) {
    const repairs = (residual: number) =>
      [1, 2, 4, 8, 16, 32].map((k) => burstRepairs(k, { loss, burst }, residual));
    expect(repairs(0.001)).toEqual(permille);
    expect(repairs(0.01)).toEqual(percent);
  }
});

test('the share of bursts that lose more than their repairs is what counting all ways to lose gives [FEC-30]', () => {
  for (const [loss, burst] of [
    [0.1, 1],
    [0.3, 1],
    [0.1, 3],
    [0.2, 2.5],
  ]) {
    for (const k of [1, 3, 6]) {
      for (let r = 0; r <= 6; r++) {
        const failing = shareOfLosing(k, r, loss, burst);
        expect(burstRepairs(k, { loss, burst }, failing * 1.001)).toBeLessThanOrEqual(r);
        expect(burstRepairs(k, { loss, burst }, failing * 0.999)).toBeGreaterThan(r);
      }
    }
  }
});

test('where nothing is lost there are none, and where all is lost none that would do [FEC-30]', () => {
  expect(burstRepairs(10, { loss: 0, burst: 1 }, 0.001)).toBe(0);
  expect(burstRepairs(10, { loss: 1, burst: 1 }, 0.001)).toBeGreaterThan(REPAIRS_MAX);
  expect(burstRepairs(10, { loss: 0.9, burst: 20 }, 0.001)).toBeGreaterThan(REPAIRS_MAX);
});

test('the sizes of a path are those of its losses by now', () => {
  const sizes = new BurstSizes();
  expect(sizes.repairsFor(8)).toBe(0);
  sizes.update({ loss: 0.1, burst: 1 }, 0.001);
  expect([8, 8, 100].map((k) => sizes.repairsFor(k))).toEqual([
    5,
    5,
    burstRepairs(100, { loss: 0.1, burst: 1 }, 0.001),
  ]);
  sizes.update({ loss: 0.2, burst: 1 }, 0.001);
  expect(sizes.repairsFor(8)).toBe(9);
});

/** The probability of more than r losses among k + r packets, by all their fates. */
function shareOfLosing(k: number, r: number, loss: number, burst: number): number {
  const stay = Math.max(1 - 1 / burst, loss);
  const fall = (loss * (1 - stay)) / (1 - loss);
  let share = 0;
  for (let fates = 0; fates < 2 ** (k + r); fates++) {
    let probability = 1;
    let losses = 0;
    for (let i = 0; i < k + r; i++) {
      const isLost = (fates >> i) & 1;
      const whenLost = i === 0 ? loss : (fates >> (i - 1)) & 1 ? stay : fall;
      probability *= isLost ? whenLost : 1 - whenLost;
      losses += isLost;
    }
    if (losses > r) share += probability;
  }
  return share;
}
