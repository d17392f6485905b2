import { describe, expect, test } from 'vitest';
import { MemoryAccount, MemoryBudget, Overhead, SURE_OVERHEAD_BYTES } from '../../src/base/memory-budget.ts';
import { SECOND } from '../../src/base/time.ts';

const MIB = 1024 * 1024;

describe('MemoryBudget', () => {
  test('lets one account have half of what is left, and nothing of the last eighth [CON-50]', () => {
    const budget = new MemoryBudget(8 * MIB);
    const [first, second] = [new MemoryAccount(budget, 0), new MemoryAccount(budget, 0)];
    expect(first.available).toBe(3.5 * MIB);
    first.take(first.available);
    expect(second.available).toBe(1.75 * MIB);
    for (let i = 0; i < 60; i++) first.take(first.available);
    expect(budget.reserved).toBeLessThanOrEqual(7 * MIB);
    expect(budget.reserved).toBeGreaterThan(7 * MIB - 100);
    expect(second.available).toBeLessThan(100);
  });

  test('tells who waits when there is room again, and only once', () => {
    const budget = new MemoryBudget(MIB);
    const [first, second] = [new MemoryAccount(budget, 0), new MemoryAccount(budget, 0)];
    let told = 0;
    second.holder = { heldBytes: 0, onRoom: () => void told++ };
    first.take(MIB);
    second.awaitRoom();
    first.give(10);
    expect(told).toBe(0);
    first.give(MIB / 2);
    first.give(10);
    expect(told).toBe(1);
  });

  test('has one that has clearly more owe it to one that found too little, for as long as that tells so [CON-52]', () => {
    const budget = new MemoryBudget(8 * MIB);
    const [rich, poor, poorer] = [5, 2, 1].map((mib) => new MemoryAccount(budget, mib * MIB));
    const owing = (now: number) => [rich, poor, poorer].map((account) => account.owes(now));
    expect(owing(0)).toEqual([false, false, false]);
    poor.noteNeed(0);
    expect(owing(0)).toEqual([true, false, false]);
    poorer.noteNeed(10);
    poor.noteNeed(20); // who has least is who counts
    expect(owing(20)).toEqual([true, true, false]);
    poorer.take(0.7 * MIB);
    expect(owing(20)).toEqual([true, false, false]);
    expect(owing(10 + SECOND)).toEqual([false, false, false]);
    poorer.noteNeed(2 * SECOND);
    poorer.close();
    expect(owing(2 * SECOND)).toEqual([false, false, false]);
  });

  test('counts what is held by each account, and nothing of one that is closed', () => {
    const budget = new MemoryBudget(MIB);
    const account = new MemoryAccount(budget, 100);
    account.holder = { heldBytes: 70, onRoom: () => {} };
    expect(budget.metrics()).toEqual({ memoryBytes: 70, memoryReservedBytes: 100, memoryBytesMax: MIB });
    account.close();
    account.take(5);
    account.give(5);
    account.awaitRoom();
    expect(budget.metrics()).toEqual({ memoryBytes: 0, memoryReservedBytes: 0, memoryBytesMax: MIB });
  });
});

describe('Overhead', () => {
  test('is reserved in steps, as it is kept, and given back as it goes [CON-53]', () => {
    const budget = new MemoryBudget(8 * MIB);
    const overhead = new Overhead(new MemoryAccount(budget, 0));
    expect(budget.reserved).toBe(SURE_OVERHEAD_BYTES);
    let steps = 0;
    for (let i = 0; i < 1_000; i++) {
      const before = budget.reserved;
      expect(overhead.admits(1_000, false)).toBe(true);
      overhead.add(1_000);
      if (budget.reserved > before) steps++;
      expect(budget.reserved).toBeGreaterThanOrEqual(overhead.used);
    }
    expect(steps).toBeLessThan(70);
    expect(budget.reserved).toBeLessThan(1_000_000 + 50_000);
    for (let i = 0; i < 1_000; i++) {
      overhead.drop(1_000);
      expect(budget.reserved).toBeGreaterThanOrEqual(overhead.used);
      expect(budget.reserved).toBeLessThan(overhead.used + 70_000);
    }
    overhead.relax();
    expect(budget.reserved).toBe(SURE_OVERHEAD_BYTES);
  });

  test('leaves what is sure where there is no more, and the last of that to what is urgent [CON-53]', () => {
    const budget = new MemoryBudget(MIB);
    const overhead = new Overhead(new MemoryAccount(budget, 0));
    new MemoryAccount(budget, 0).take(budget.available);
    const kept = (isUrgent: boolean) => {
      let bytes = 0;
      for (; overhead.admits(64, isUrgent); bytes += 64) overhead.add(64);
      return bytes;
    };
    expect(kept(false)).toBe(SURE_OVERHEAD_BYTES - 4_096);
    expect(kept(true)).toBe(4_096);
    expect([overhead.used, budget.available]).toEqual([SURE_OVERHEAD_BYTES, 0]);
    overhead.drop(5_000);
    expect([overhead.admits(904, false), overhead.admits(905, false)]).toEqual([true, false]);
  });
});
