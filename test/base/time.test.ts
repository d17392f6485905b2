import { describe, expect, test } from 'vitest';
import { DeadlineWatch, NEVER } from '../../src/base/time.ts';

describe('DeadlineWatch', () => {
  test('looks at the earliest deadline, but after a long look not again at once', () => {
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
