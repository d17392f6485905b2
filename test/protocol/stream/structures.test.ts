import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeadlineWatch, NEVER } from '../../../src/base/time.ts';
import { Coverage } from '../../../src/protocol/stream/receive/assembly.ts';
import { SequenceWindow } from '../../../src/protocol/stream/receive/sequences.ts';
import { SlabPool } from '../../../src/protocol/stream/send/message-records.ts';
import { Outcomes } from '../../../src/protocol/stream/send/send-context.ts';

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

  it('agrees with a set, from the first sequences to the largest', () => {
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
          expect(fast.floor).toBe(slow.floor);
          for (let i = -3; i < 720; i++) expect(fast.has(fast.floor + i)).toBe(slow.has(fast.floor + i));
          expect(fast.contiguous).toBe(![...slow.seen].some((s) => s >= slow.floor));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('takes what is in order without memory, and gives memory back', () => {
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

describe('Coverage', () => {
  it('counts each byte once, however it is cut', () => {
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

describe('DeadlineWatch', () => {
  it('looks at the earliest deadline, but after a long look not again at once', () => {
    const watch = new DeadlineWatch();
    expect(watch.next).toBe(NEVER);
    watch.add(500);
    watch.add(300);
    watch.add(400);
    expect(watch.next).toBe(300);
    watch.clear();
    watch.looked(10_000, 300);
    watch.add(400);
    expect(watch.next).toBe(2_800);
    watch.clear();
    expect(watch.next).toBe(NEVER);
  });
});

describe('Outcomes', () => {
  it('keeps the order while it grows, and is small again when it was emptied', () => {
    const ring = new Outcomes();
    expect(ring.next()).toBe(false);
    let taken = 0;
    for (let i = 0; i < 5_000; i++) {
      ring.push(i, 0);
      if (i % 3 === 0) {
        expect(ring.next()).toBe(true);
        expect(ring.id).toBe(taken++);
      }
    }
    while (ring.next()) expect(ring.id).toBe(taken++);
    expect(taken).toBe(5_000);
    expect(ring.length).toBe(0);
  });
});

describe('SlabPool', () => {
  it('hands out what was given back, and keeps little once nothing is in use', () => {
    const pool = new SlabPool(400_000);
    const slabs = Array.from({ length: 8 }, () => pool.takeFor(60_000));
    const own = pool.adopt(new Uint8Array(10));
    for (const slab of slabs) pool.give(slab);
    // six slabs of 64 KiB are within the limit, the others are left to the garbage collector
    expect(pool.freeBytes).toBe(6 * 65_536);
    expect(slabs).toContain(pool.takeFor(50_000));
    expect(pool.freeBytes).toBe(5 * 65_536);
    pool.give(slabs[5]);
    pool.give(own);
    expect(pool.inUse).toBe(0);
    expect(pool.freeBytes).toBe(4 * 65_536);
    pool.trim(100_000);
    expect(pool.freeBytes).toBe(65_536);
  });

  it('gives a message above the largest class memory of its own', () => {
    const pool = new SlabPool();
    const slab = pool.takeFor(200_000);
    expect(slab.bytes.length).toBe(200_000);
    pool.give(slab);
    expect(pool.freeBytes).toBe(0);
  });
});
