import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { multiplyAdd, WordMemory } from '../../../src/protocol/fec/gf256.ts';
import { RepairEncoder } from '../../../src/protocol/fec/repair-encoder.ts';
import { VectorSum } from '../../../src/protocol/fec/vector-sum.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { SYMBOL_BYTES_MAX } from '../../../src/protocol/wire/frames/repair.ts';

const vectors = VectorSum.open() as VectorSum;

describe('Sums of sixteen bytes at a time', () => {
  test('are there in every Node that this runs on', () => {
    expect(vectors).not.toBeNull();
  });

  test('are those of the words, with every factor and all lengths [FEC-22]', () => {
    for (let factor = 0; factor < 256; factor++) {
      const length = 1 + ((factor * 61) % (SYMBOL_BYTES_MAX + 2));
      const from = new WordMemory((SYMBOL_BYTES_MAX + 5) & ~3);
      for (let i = 0; i < length; i++) from.bytes[i] = i * 7 + (i >> 8) + factor;
      const words = new WordMemory((SYMBOL_BYTES_MAX + 5) & ~3);
      multiplyAdd(words, 0, from, 0, length, factor);
      vectors.begin();
      vectors.add(from.bytes, 0, length, factor);
      expect(
        Buffer.compare(vectors.sum(SYMBOL_BYTES_MAX + 2), words.bytes.subarray(0, SYMBOL_BYTES_MAX + 2)),
      ).toBe(0);
    }
  });

  test('give the same repairs, whatever is covered [FEC-22]', () => {
    const symbols = fc.array(fc.uint8Array({ minLength: 1, maxLength: SYMBOL_BYTES_MAX }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(symbols, fc.boolean(), fc.nat(3), (covered, isXor, left) => {
        const [fast, slow] = [new RepairEncoder(() => vectors), new RepairEncoder(() => null)].map(
          (encoder) => {
            for (const [i, symbol] of covered.entries()) encoder.keep(i, symbol, 0, symbol.length);
            encoder.forget(left);
            const w = new FrameWriter();
            w.begin(new Uint8Array(4_096), 0, 4_096);
            encoder.write(w, covered.length, 0, covered.length, isXor);
            encoder.write(w, covered.length + 1, 0, covered.length);
            return w.out.slice(0, w.at);
          },
        );
        expect(Buffer.compare(fast, slow)).toBe(0);
      }),
    );
  });
});
