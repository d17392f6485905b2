import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { CalmTag, LossFloor } from '../../../src/protocol/congestion/loss-floor.ts';

/** Tells the fate of packets of one kind, of which `lost` in a hundred are lost. */
function tell(floor: LossFloor, tag: CalmTag, packets: number, lost: number): void {
  for (let i = 0; i < packets; i++) {
    if (i % 100 < lost) floor.onLost(tag);
    else floor.onAcked(tag);
  }
  floor.update();
}

describe('the loss floor', () => {
  test('is the share lost in calm, from a hundred packets on [REC-71]', () => {
    const floor = new LossFloor();
    tell(floor, CalmTag.CRUISE, 99, 10);
    expect(floor.value).toBe(0);
    tell(floor, CalmTag.CRUISE, 101, 10);
    expect(floor.value).toBeCloseTo(0.1, 1);
    tell(floor, CalmTag.NONE, 1_000, 50);
    expect(floor.value).toBeCloseTo(0.1, 1);
  });

  test('is what is lost at the lower rate, where that is less: then it is the rate that loses packets [REC-71]', () => {
    const floor = new LossFloor();
    tell(floor, CalmTag.CRUISE, 1_000, 10);
    tell(floor, CalmTag.DOWN, 200, 2);
    expect(floor.value).toBeCloseTo(0.02, 3);
    const alike = new LossFloor();
    tell(alike, CalmTag.CRUISE, 1_000, 10);
    tell(alike, CalmTag.DOWN, 200, 9);
    expect(alike.value).toBeCloseTo(0.098, 2);
  });

  test('follows the path: what was counted before the last cycles counts less and less [REC-71]', () => {
    const floor = new LossFloor();
    tell(floor, CalmTag.CRUISE, 1_000, 10);
    for (let cycle = 0; cycle < 4; cycle++) {
      floor.onCycle();
      tell(floor, CalmTag.CRUISE, 1_000, 0);
    }
    expect(floor.value).toBeLessThan(0.005);
  });

  test('stays while a quarter of what it was made of is left, and not longer [REC-71]', () => {
    const floor = new LossFloor();
    tell(floor, CalmTag.CRUISE, 100, 10);
    for (const left of [50, 25]) {
      floor.onCycle();
      floor.update();
      expect(floor.value, `${left}`).toBeCloseTo(0.1);
    }
    floor.onCycle();
    floor.update();
    expect(floor.value).toBe(0);
  });

  test('is none where more is lost than a path can have, and takes late arrivals back [REC-71]', () => {
    const floor = new LossFloor();
    tell(floor, CalmTag.CRUISE, 1_000, 29);
    expect(floor.value).toBe(0.2);
    tell(floor, CalmTag.CRUISE, 1_000, 35);
    expect(floor.value).toBe(0);
    for (let i = 0; i < 640; i++) floor.onSpurious(CalmTag.CRUISE);
    floor.update();
    expect(floor.value).toBe(0);
  });

  test('allows two per cent, two deviations and a packet more; at first what the highest floor would [REC-72]', () => {
    const floor = new LossFloor();
    expect(floor.threshold(100)).toBeCloseTo(0.02 + 0.01, 10);
    expect(floor.thresholdAtFirst(400)).toBeCloseTo(0.26 + 0.0025, 10);
    tell(floor, CalmTag.CRUISE, 1_000, 10);
    expect(floor.threshold(100)).toBeCloseTo(0.1 + 0.02 + 2 * 0.03 + 0.01, 10);
    expect(floor.threshold(0)).toBeGreaterThan(floor.threshold(100));
  });

  test('is between 0 and 0.2 whatever happens [REC-71]', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const random = new Prng(seed);
        const floor = new LossFloor();
        for (let i = 0; i < 300; i++) {
          const tag = random.below(3) as CalmTag;
          const event = random.below(40);
          if (event === 0) floor.onCycle();
          else if (event < 4) floor.onSpurious(tag);
          else tell(floor, tag, random.below(60), random.below(100));
          floor.update();
          assert.ok(floor.value >= 0);
          assert.ok(floor.value <= 0.2);
          assert.ok(floor.threshold(random.below(1_000)) < 2.5);
        }
      }),
      { numRuns: 30 },
    );
  });
});
