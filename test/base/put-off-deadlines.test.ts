import fc from 'fast-check';
import { describe, expect, it as test } from 'vitest';
import { DeadlineHeap, NEVER, PutOffDeadlines, type PutOffItem } from '../../src/base/time.ts';

class Item implements PutOffItem {
  deadline = NEVER;
  dueAt = NEVER;
  heapIndex = -1;
}

describe('deadlines that are put off', () => {
  test('gives the same first deadline as a heap in which each is moved at once', () => {
    const step = fc.tuple(fc.nat(7), fc.oneof(fc.nat(50), fc.constant(NEVER)), fc.boolean());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const putOff = new PutOffDeadlines<Item>();
        const exact = new DeadlineHeap<Item>();
        const items = Array.from({ length: 8 }, () => [new Item(), new Item()]);
        for (const [i, deadline, looks] of steps) {
          putOff.set(items[i][0], deadline);
          exact.set(items[i][1], deadline);
          if (looks) expect(putOff.peek()?.dueAt).toBe(exact.peek()?.deadline);
        }
        for (let first = exact.peek(); first !== undefined; first = exact.peek()) {
          const found = putOff.peek();
          expect(found?.dueAt).toBe(first.deadline);
          putOff.remove(found as Item);
          exact.remove(items.find(([item]) => item === found)?.[1] as Item);
        }
        expect(putOff.peek()).toBeUndefined();
      }),
    );
  });

  test('leaves an item where it is when it becomes due later', () => {
    const deadlines = new PutOffDeadlines<Item>();
    const [first, second] = [new Item(), new Item()];
    deadlines.set(first, 1);
    deadlines.set(second, 2);
    deadlines.set(first, 10);
    expect(first.heapIndex).toBe(0);
    expect(deadlines.peek()).toBe(second);
    expect(first.heapIndex).toBe(1);
  });
});
