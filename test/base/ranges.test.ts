import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../src/base/ranges.ts';

/** What is in the set, as a list of its numbers below 40. */
function members(set: RangeSet): number[] {
  return Array.from({ length: 40 }, (_, i) => i).filter((value) => set.contains(value));
}

/** The ranges of an ordinary set: [start, end, start, end, …]. */
function rangesOf(twin: Set<number>): number[] {
  const ranges: number[] = [];
  for (let i = 0; i <= 40; i++) if (twin.has(i) !== twin.has(i - 1)) ranges.push(i);
  return ranges;
}

const step = fc.record({
  what: fc.constantFrom('add', 'add', 'remove', 'shift', 'clear'),
  start: fc.nat(35),
  length: fc.nat(5),
});

describe('a set of ranges', () => {
  test('holds what an ordinary set of the same numbers holds, whatever is added and removed', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const set = new RangeSet();
        const twin = new Set<number>();
        for (const { what, start, length } of steps) {
          const end = start + length;
          const before = twin.size;
          if (what === 'add') {
            const added = set.add(start, end);
            for (let i = start; i < end; i++) twin.add(i);
            expect(added).toBe(twin.size - before);
          } else if (what === 'remove') {
            const removed = set.remove(start, end);
            for (let i = start; i < end; i++) twin.delete(i);
            expect(removed).toBe(before - twin.size);
          } else if (what === 'shift') {
            const [from = 0, to = 0] = rangesOf(twin);
            set.shiftRange();
            for (let i = from; i < to; i++) twin.delete(i);
          } else {
            set.clear();
            twin.clear();
          }
          const ranges = Array.from({ length: set.size }, (_, i) => [set.start(i), set.end(i)]).flat();
          expect(ranges).toEqual(rangesOf(twin));
          expect(members(set)).toEqual([...twin].sort((a, b) => a - b));
          expect([set.total, set.largest]).toEqual([twin.size, Math.max(-1, ...twin)]);
          expect(set.covers(start, end)).toBe(
            Array.from({ length }, (_, i) => start + i).every((value) => twin.has(value)),
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});
