import { expect, test } from 'vitest';
import { decodeProperties, encodeProperties } from '../../src/pubsub/properties.ts';

test('what many headers cost their reader grows as they do, and not with their square: a stranger chooses how many they are', () => {
  const [few, many] = [500, 7_000].map(withHeaders);
  decodeProperties(few, 0); // what is compiled meanwhile counts for nobody
  const cost = (bytes: Buffer) => Math.min(...[1, 2, 3].map(() => cpuOf(() => decodeProperties(bytes, 0))));
  expect(cost(many) / Math.max(cost(few), 200)).toBeLessThan(60); // 14 for 14 times as many; 196 where it is their square
  expect(Object.keys(decodeProperties(many, 0).headers ?? {})).toHaveLength(7_000);
});

test('a header may have any name, those of a prototype too, and the last of one name counts', () => {
  const named = encodeProperties({
    headers: JSON.parse('{ "__proto__": "a", "constructor": "b", "": "c" }'),
  });
  const { headers } = decodeProperties(named, 0);
  expect(Object.entries(headers ?? {})).toEqual([
    ['__proto__', 'a'],
    ['constructor', 'b'],
    ['', 'c'],
  ]);
  const one = encodeProperties({ headers: { twice: 'first' } }).subarray(2);
  const other = encodeProperties({ headers: { twice: 'last' } }).subarray(2);
  const both = Buffer.concat([Buffer.of(0, one.length + other.length), one, other]);
  expect(decodeProperties(both, 0).headers).toEqual({ twice: 'last' });
});

function withHeaders(count: number): Buffer {
  return encodeProperties({
    headers: Object.fromEntries(Array.from({ length: count }, (_, i) => [`h${i}`, ''])),
  });
}

/** Microseconds. */
function cpuOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
