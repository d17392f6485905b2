import { expect, test } from 'vitest';
import { Ring } from '../../src/base/ring.ts';

test('a ring has nothing before its oldest item and behind its newest, however far round it has gone', () => {
  const ring = new Ring<number>();
  for (let i = 0; i < 100; i++) {
    ring.push(i);
    if (ring.length > 8) ring.shift(); // full from here on
    expect(ring.peek()).toBe(Math.max(0, i - 7));
    expect(ring.peek(ring.length - 1)).toBe(i);
    for (const outside of [-1, -7, -8, -16, ring.length, Number.NaN])
      expect(ring.peek(outside)).toBeUndefined();
  }
});
