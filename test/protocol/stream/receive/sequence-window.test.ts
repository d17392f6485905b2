import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SequenceWindow } from '../../../../src/protocol/stream/receive/sequences.ts';

/** Which sequences were seen, the slow way. */
class SlowWindow {
  floor = 0;
  readonly seen = new Set<number>();

  add(first: number, end: number): void {
    for (let i = first; i < end; i++) this.seen.add(i);
  }

  settle(): void {
    while (this.seen.has(this.floor)) this.floor++;
  }

  raise(floor: number): void {
    this.floor = Math.max(this.floor, floor);
  }

  has(sequence: number): boolean {
    return sequence < this.floor || this.seen.has(sequence);
  }
}

describe('SequenceWindow', () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('add' as const),
        ahead: fc.nat(300),
        count: fc.integer({ min: 1, max: 90 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('raise' as const),
        ahead: fc.nat(400),
        count: fc.constant(0),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('fill' as const),
        ahead: fc.constant(0),
        count: fc.integer({ min: 1, max: 400 }),
      }),
    },
  );

  test('agrees with a set, from the first sequences to the largest', () => {
    const origins = fc.constantFrom(0, 1, 2 ** 31 - 100, 2 ** 32 - 77, 2 ** 50 + 3);
    fc.assert(
      fc.property(origins, fc.array(step, { maxLength: 60 }), (origin, steps) => {
        const fast = new SequenceWindow();
        const slow = new SlowWindow();
        fast.raise(origin);
        slow.raise(origin);
        for (const { kind, ahead, count } of steps) {
          const first = fast.floor + ahead;
          if (kind === 'raise') {
            fast.raise(first);
            slow.raise(first);
          } else {
            fast.add(first, first + count);
            slow.add(first, first + count);
          }
          fast.settle();
          slow.settle();
          assert.equal(fast.floor, slow.floor);
          for (let i = -3; i < 720; i++) assert.equal(fast.has(fast.floor + i), slow.has(fast.floor + i));
          assert.equal(fast.contiguous, ![...slow.seen].some((s) => s >= slow.floor));
        }
      }),
      { numRuns: 60 },
    );
  });

  test('takes what is in order without memory, and gives memory back', () => {
    const window = new SequenceWindow();
    window.advance(1_000);
    expect(window.bytes).toBe(0);
    window.add(1_001, 100_000);
    expect(window.bytes).toBe(16_384);
    window.add(1_000, 1_001);
    window.settle();
    expect(window.floor).toBe(100_000);
    expect(window.bytes).toBe(0);
  });
});
