import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Coverage } from '../../../../src/protocol/stream/receive/assembly.ts';

describe('Coverage', () => {
  test('counts each byte once, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_000 }),
        fc.array(fc.tuple(fc.nat(3_000), fc.integer({ min: 1, max: 200 })), { maxLength: 40 }),
        fc.boolean(),
        (total, parts, scattered) => {
          const coverage = new Coverage(total);
          const slow = new Set<number>();
          const add = (start: number, end: number) => {
            coverage.add(start, end);
            for (let i = start; i < end; i++) slow.add(i);
          };
          // more ranges than it keeps as ranges
          if (scattered) for (let i = 0; i + 1 < total && i < 1_200; i += 2) add(i, i + 1);
          for (const [start, length] of parts) if (start < total) add(start, Math.min(total, start + length));
          expect(coverage.covered).toBe(slow.size);
          add(0, total);
          expect(coverage.complete).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });
});
