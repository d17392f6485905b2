import { expect, test } from 'vitest';
import { benchCompression, type CompressionResult } from '../../src/bench/compression.ts';

const results: CompressionResult[] = [
  ...benchCompression({ lz4: ['js'], seconds: 0.001, dictionaryBytes: 2_048 }),
];
const ratioOf = (kind: string | null, group?: string, withDictionary = false, codec = 'js'): number =>
  results.find(
    (each) =>
      each.kind === kind &&
      each.codec === codec &&
      (group ?? each.group) === each.group &&
      each.dictionaryBytes > 0 === withDictionary,
  )!.ratio;

test('what the corpus is compressed to is what the manual says', () => {
  expect(ratioOf(null, 'text of 10 KB')).toBeGreaterThan(3.6);
  expect(ratioOf(null, 'JSON of 1 KB')).toBeGreaterThan(2.5);
  expect(ratioOf(null, 'JSON of 1 KB', true)).toBeGreaterThan(3.1);
  expect(ratioOf(null, 'JSON of 100 to 200 B', true)).toBeGreaterThan(2);
  expect(ratioOf('English prose')).toBeGreaterThan(1.5);
  expect(ratioOf('English prose')).toBeLessThan(2);
  expect(ratioOf(null, 'text of 10 KB', false, 'deflate')).toBeGreaterThan(5.8);
  expect(ratioOf(null, 'JSON of 1 KB', false, 'deflate')).toBeGreaterThan(3.6);
  expect(ratioOf(null, 'JSON of 1 KB', true, 'deflate')).toBeGreaterThan(4.5);
  expect(ratioOf(null, 'JSON of 100 to 200 B', true, 'deflate')).toBeGreaterThan(2.5);
});

test('random bytes take no byte more, and what is not smaller is never opened', () => {
  const random = results.find(({ kind }) => kind === 'random bytes')!;
  expect([random.ratio, random.inflate]).toEqual([1, null]);
});

test('a group is all its kinds together', () => {
  const group = results.filter(
    (each) => each.group === 'text of 10 KB' && each.dictionaryBytes === 0 && each.codec === 'js',
  );
  const total = group.find(({ kind }) => kind === null)!;
  const kinds = group.filter(({ kind }) => kind !== null);
  expect(total.bytes).toBe(kinds.reduce((sum, { bytes }) => sum + bytes, 0));
  expect(total.sentBytes).toBe(kinds.reduce((sum, { sentBytes }) => sum + sentBytes, 0));
  expect(total.deflate.microsPerMessage).toBeGreaterThan(0);
});
