import { describe, expect, test } from 'vitest';
import { MessageRecords, SlabPool } from '../../../../src/protocol/stream/send/message-records.ts';

describe('MessageRecords', () => {
  test('keep their memory while there is one, and give it back when there is none', () => {
    const slab = new SlabPool().takeFor(100);
    const [few, many] = [new MessageRecords(), new MessageRecords()];
    few.append(slab, 0, 1, 0);
    for (let k = 0; k < 100; k++) many.append(slab, k, 1, 0);
    const capacity = many.mask + 1;
    many.trim();
    expect([many.mask + 1, many.sequences.length]).toEqual([capacity, capacity]);
    expect(Array.from({ length: 100 }, (_, r) => many.offsets[many.index(r)])).toEqual([
      ...Array(100).keys(),
    ]);
    many.queued = 0;
    many.trim();
    expect([many.mask, many.sequences.length]).toEqual([few.mask, few.sequences.length]);
  });
});

describe('SlabPool', () => {
  test('hands out what was given back, and keeps little once nothing is in use', () => {
    const pool = new SlabPool();
    const slabs = Array.from({ length: 8 }, () => pool.takeFor(60_000));
    const own = pool.adopt(new Uint8Array(10));
    for (const slab of slabs) pool.give(slab);
    expect(pool.freeBytes).toBeGreaterThanOrEqual(7 * 65_536);
    const before = pool.freeBytes;
    expect(slabs).toContain(pool.takeFor(50_000));
    expect(pool.freeBytes).toBe(before - 65_536);
    pool.give(slabs[5]);
    pool.give(own);
    expect(pool.inUse).toBe(0);
    expect(pool.freeBytes).toBe(4 * 65_536);
    pool.trim(100_000);
    expect(pool.freeBytes).toBe(65_536);
  });

  test('makes nothing new for a transfer whose use of it comes and goes, and lets go of what a larger one had', () => {
    const pool = new SlabPool();
    const made = new Set<unknown>();
    const used: ReturnType<SlabPool['takeShared']>[] = [];
    const swing = (most: number, least: number, rounds: number): number => {
      const before = made.size;
      for (let round = 0; round < rounds; round++) {
        while (used.length < most) used.push(pool.takeShared(false, 1_400));
        for (const slab of used) made.add(slab);
        while (used.length > least) pool.give(used.shift() as never);
      }
      return made.size - before;
    };
    expect(swing(100, 20, 1)).toBe(100);
    // What it needs at most stays there, but for the little that a peak loses with time.
    expect(swing(100, 20, 50)).toBeLessThan(100);
    swing(30, 20, 4_000);
    expect(pool.freeBytes).toBeLessThan(20 * 32_768);
  });

  test('gives a message above the largest class memory of its own', () => {
    const pool = new SlabPool();
    const slab = pool.takeFor(200_000);
    expect(slab.bytes.length).toBe(200_000);
    pool.give(slab);
    expect(pool.freeBytes).toBe(0);
  });
});
