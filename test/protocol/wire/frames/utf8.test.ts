import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isUtf8 } from '../../../../src/protocol/wire/frames/stream.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

function decodes(bytes: Uint8Array): boolean {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

test('UTF-8 is what TextDecoder takes for it [FRM-10]', () => {
  // bytes at the bounds of what a lead or trailing byte may be
  const edge = fc.constantFrom(
    ...[0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee],
    ...[0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff],
  );
  const text = fc.string({ unit: 'binary' }).map((text) => new TextEncoder().encode(text));
  const bytes = fc.oneof(
    fc.array(edge, { maxLength: 6 }).map((list) => Uint8Array.from(list)),
    text,
  );
  fc.assert(
    fc.property(bytes, (bytes) => {
      expect(isUtf8(bytes, 0, bytes.length)).toBe(decodes(bytes));
    }),
    { numRuns: 2_000 },
  );
});

test('UTF-8 is checked between start and end only', () => {
  const bytes = Uint8Array.from([0xff, 0xe2, 0x82, 0xac, 0xff]);
  expect(isUtf8(bytes, 1, 4)).toBe(true);
  expect(isUtf8(bytes, 1, 3)).toBe(false);
  expect(isUtf8(bytes, 2, 2)).toBe(true);
});
