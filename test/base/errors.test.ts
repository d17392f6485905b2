import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mayBeUnprintable, printable, printableJson } from '../../src/base/errors.ts';

describe('text for people', () => {
  test('stays as it is where it is harmless', () => {
    for (const text of [
      '',
      'plain',
      'tab\tstays',
      'größer → 漢字 😀',
      'back\\slash',
      '\u00a0ÿ',
      'न\u200dm',
      '👨\u200d👩',
    ]) {
      expect(printable(text)).toBe(text);
    }
  });

  test('has no control characters: it is one line, moves no cursor and rings no bell', () => {
    expect(printable('\x1b]0;OWNED\x07\x1b[2K\nsecond line')).toBe(
      '\\x1b]0;OWNED\\x07\\x1b[2K\\nsecond line',
    );
    expect(printable('\r\x00\x7f\u0085\u009b31m')).toBe('\\r\\x00\\x7f\\x85\\x9b31m');
  });

  test('shows what turns the direction of writing, or cannot be seen', () => {
    expect(printable('a\u202eb\u2066c\u200fd\u061ce')).toBe('a\\u202eb\\u2066c\\u200fd\\u061ce');
    expect(printable('\ufeffx\u200by\u00adz\u2028\u2029')).toBe('\\ufeffx\\u200by\\xadz\\u2028\\u2029');
    expect(printable('\u{e0041}\ud800!')).toBe('\\u{e0041}\\ud800!');
  });

  test('has nothing left to escape, whatever it was made of', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = printable(text);
        expect(shown.replaceAll('\t', '')).not.toMatch(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
        expect(printable(shown)).toBe(shown);
      }),
      { numRuns: 2_000 },
    );
  });

  test('as JSON is the same value', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const json = printableJson(JSON.stringify({ text }));
        expect(JSON.parse(json)).toEqual({ text });
        expect(printable(json)).toBe(json);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is left alone after a look at its bytes only when there is nothing to escape', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const bytes = Buffer.from(text);
        const decoded = bytes.toString();
        if (!mayBeUnprintable(bytes)) expect(printable(decoded)).toBe(decoded);
      }),
      { numRuns: 5_000 },
    );
  });
});
