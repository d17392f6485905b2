import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { ReplayWindow } from '../../../src/protocol/crypto/packet-protection.ts';

describe('the replay window', () => {
  test('admits each number once [PKT-9]', () => {
    const window = new ReplayWindow();
    for (const number of [0, 1, 5, 3, 2, 100, 50, 4, 99]) {
      expect(window.seen(number)).toBe(false);
      window.mark(number);
      expect(window.seen(number)).toBe(true);
    }
    expect(window.largest).toBe(100);
    expect(window.seen(6)).toBe(false);
  });

  test('stays at 64 numbers while packets come in order', () => {
    const window = new ReplayWindow();
    for (let number = 0; number < 100_000; number++) window.mark(number);
    expect(window.span).toBe(64);
    expect(window.seen(0)).toBe(true);
    expect(window.seen(99_999)).toBe(true);
    expect(window.seen(100_000)).toBe(false);
  });

  test('grows so far that the last 4,096 numbers below the largest are always told apart [PKT-9]', () => {
    const window = new ReplayWindow();
    window.mark(0);
    window.mark(4096 + 1);
    expect(window.seen(1)).toBe(false);
    window.mark(1);
    expect(window.seen(1)).toBe(true);
    expect(window.seen(0)).toBe(true);
    expect(window.seen(2)).toBe(false);
    window.mark(1_000_000);
    expect(window.seen(1_000_000 - 4096)).toBe(false);
    expect(window.seen(2)).toBe(true);
    expect(window.span).toBe(8192);
  });

  test('survives numbers near 2^53', () => {
    const window = new ReplayWindow();
    const last = Number.MAX_SAFE_INTEGER;
    for (const number of [last - 40, last - 2, last]) {
      expect(window.seen(number)).toBe(false);
      window.mark(number);
    }
    expect(window.seen(last)).toBe(true);
    expect(window.seen(last - 1)).toBe(false);
    expect(window.seen(last - 40)).toBe(true);
    expect(window.seen(0)).toBe(true);
  });

  test('agrees with a set of all numbers for any order of arrival, losses and jumps', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 400 }), (seed, spread) => {
        const random = new Prng(seed);
        const window = new ReplayWindow();
        const all = new Set<number>();
        let next = 0;
        for (let i = 0; i < 3000; i++) {
          next += random.chance(0.01) ? random.below(spread * 20) : random.below(3);
          const number = Math.max(0, next - random.below(spread));
          const told = number > window.largest - 4096;
          if (told) assert.equal(window.seen(number), all.has(number));
          else if (all.has(number)) assert.equal(window.seen(number), true);
          if (!window.seen(number)) {
            window.mark(number);
            all.add(number);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
