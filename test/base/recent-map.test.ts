import { expect, test } from 'vitest';
import { RecentMap } from '../../src/base/recent-map.ts';

test('a map of what was asked for lately is bounded, and forgets what nobody asks for', () => {
  const map = new RecentMap<number, string>(100);
  for (let i = 0; i < 10_000; i++) {
    map.set(i, `${i}`);
    expect(map.get(0)).toBe('0');
    expect(map.size).toBeLessThanOrEqual(200);
  }
  expect(map.size).toBeGreaterThan(100);
  expect(map.get(9_999)).toBe('9999');
  expect(map.get(9_700)).toBeUndefined();
  map.clear();
  expect(map.get(9_999)).toBeUndefined();
});
