import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  coefficient,
  inverse,
  multiply,
  multiplyAdd,
  scale,
  WordMemory,
} from '../../../src/protocol/fec/gf256.ts';
import { inverseOf, slowCoefficient, times } from './slow-code.ts';

test('products and inverses are those of polynomials modulo 0x11d', () => {
  for (let a = 0; a < 256; a++)
    for (let b = 0; b < 256; b++) if (multiply(a, b) !== times(a, b)) expect.fail(`${a} ${b}`);
  for (let a = 1; a < 256; a++) expect(inverse(a)).toBe(inverseOf(a));
});

test('coefficients are those of the spec [FEC-22]', () => {
  for (let row = 0; row < 128; row += 7) {
    const numbers = Array.from({ length: 128 }, (_, i) => 3 * 2 ** 40 + i);
    expect(numbers.map((number) => coefficient(row, number))).toEqual(
      numbers.map((n) => slowCoefficient(row, n)),
    );
  }
  expect(coefficient(255, 77)).toBe(1);
});

test('stretches are multiplied and added byte by byte, and nothing beside them changes', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 50 }),
      fc.nat(255),
      fc.nat(9),
      fc.nat(9),
      (bytes, factor, fromWord, toWord) => {
        const from = new WordMemory(100);
        const to = new WordMemory(100);
        from.bytes.set(bytes, 4 * fromWord);
        to.bytes.forEach((_, i) => {
          to.bytes[i] = i;
        });
        multiplyAdd(to, 4 * toWord, from, 4 * fromWord, bytes.length, factor);
        const expected = Uint8Array.from(
          { length: 100 },
          (_, i) => i ^ times(factor, bytes[i - 4 * toWord] ?? 0),
        );
        expect(to.bytes).toEqual(expected);
        scale(from, 4 * fromWord, bytes.length, factor);
        const scaled = Uint8Array.from({ length: 100 }, (_, i) =>
          times(factor, bytes[i - 4 * fromWord] ?? 0),
        );
        expect(from.bytes).toEqual(scaled);
      },
    ),
  );
});
