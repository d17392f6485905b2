import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../src/cli/line-splitter.ts';

function linesOf(chunks: readonly Buffer[], lineBytesMax = 1_000): string[] {
  const lines: string[] = [];
  const keep = (line: Uint8Array) => {
    lines.push(Buffer.from(line).toString('latin1'));
  };
  const splitter = new LineSplitter(lineBytesMax);
  for (const chunk of chunks) splitter.push(chunk, keep);
  splitter.end(keep);
  return lines;
}

describe('a line splitter', () => {
  test('gives the lines of the whole input, wherever it was cut into chunks', () => {
    const chunk = fc
      .array(fc.constantFrom('a', 'b', '\r', '\n'), { maxLength: 6 })
      .map((characters) => characters.join(''));
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 8 }), (chunks) => {
        const expected = chunks.join('').split('\n');
        for (let i = 0; i < expected.length - 1; i++) expected[i] = expected[i].replace(/\r$/, '');
        if (expected.at(-1) === '') expected.pop(); // what is behind the last newline is a line only if there is something
        expect(linesOf(chunks.map((text) => Buffer.from(text)))).toEqual(expected);
      }),
    );
  });

  test('takes the carriage return of a CRLF away, one only, and no other', () => {
    const lines = linesOf([Buffer.from('one\r'), Buffer.from('\ntwo\r\r\n\r\na\rb\nlast\r')]);
    expect(lines).toEqual(['one', 'two\r', '', 'a\rb', 'last\r']);
  });

  test('keeps empty lines', () => {
    expect(linesOf([Buffer.from('\n\na\n')])).toEqual(['', '', 'a']);
  });

  test('ends with an error before a line without an end takes all memory', () => {
    const endless = Array.from({ length: 11 }, () => Buffer.alloc(100, 'x'));
    expect(() => linesOf(endless)).toThrow(expect.objectContaining({ code: 'ERR_JSP_INPUT_TOO_LARGE' }));
  });
});
