import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Sequences } from '../../../../src/broker/core/session/sequences.ts';

test('an id is new where it comes behind the last that was taken, each sequence for itself [BRK-53]', () => {
  const sequences = new Sequences();
  expect(sequences.isNew(0, 0xffff_ffff)).toBe(true);
  sequences.take(0, 7);
  expect([6, 7, 8, 1_000_000].map((id) => sequences.isNew(0, id))).toEqual([false, false, true, true]);
  expect(sequences.isNew(1, 1)).toBe(true);
  expect(sequences.lastIds).toEqual([7, 0, 0, 0]);
  expect(new Sequences([1, 2, 3, 4]).isNew(3, 4)).toBe(false);
});

test('ids go on behind the end of 32 bits, whatever is skipped, and every repetition is known [BRK-53]', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 0xffff_ffff }),
      fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1, maxLength: 30 }),
      (start, steps) => {
        const sequences = new Sequences();
        let place = start;
        const taken: number[] = [];
        for (const step of steps) {
          place += step;
          const id = ((place - 1) % 0xffff_ffff) + 1; // 0 is never one
          expect(sequences.isNew(2, id)).toBe(true);
          sequences.take(2, id);
          taken.push(id);
          for (const old of taken) expect(sequences.isNew(2, old)).toBe(false);
        }
      },
    ),
    { numRuns: 50 },
  );
});
