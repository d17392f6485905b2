import { describe, expect, test } from 'vitest';
import { MemoryAccount, MemoryBudget } from '../../src/base/memory-budget.ts';

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
    second.onRoom = () => told++;
    first.take(MIB);
    second.awaitRoom();
    first.give(10);
    expect(told).toBe(0);
    first.give(MIB / 2);
    first.give(10);
    expect(told).toBe(1);
  });

  test('counts what is held by each account, and nothing of one that is closed', () => {
    const budget = new MemoryBudget(MIB);
    const account = new MemoryAccount(budget, 100);
    account.held = () => 70;
    expect(budget.metrics()).toEqual({ memoryBytes: 70, memoryReservedBytes: 100, memoryBytesMax: MIB });
    account.close();
    account.take(5);
    account.give(5);
    account.awaitRoom();
    expect(budget.metrics()).toEqual({ memoryBytes: 0, memoryReservedBytes: 0, memoryBytesMax: MIB });
  });
});
