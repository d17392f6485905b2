import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSplitter, LineWriter } from '../../src/cli/lines.ts';

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

/** A stream that takes nothing more until it is told to. */
class StuckStream extends Writable {
  readonly chunks: Buffer[] = [];
  stuck = true;
  private waiting: (() => void) | null = null;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk);
    if (this.stuck) this.waiting = done;
    else done();
  }

  goOn(): void {
    this.stuck = false;
    this.waiting?.();
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
}

describe('a line writer', () => {
  test('writes many lines at once, in order, with large ones between small ones', async () => {
    const stream = new StuckStream();
    stream.goOn();
    const writer = new LineWriter(stream);
    const lines = Array.from({ length: 1_000 }, (_, i) =>
      i % 100 === 50 ? 'x'.repeat(70_000) : `line ${i}`,
    );
    for (const line of lines) await writer.writeLine(Buffer.from(line));
    await writer.finish();
    expect(stream.text === lines.map((line) => `${line}\n`).join('')).toBe(true);
    expect(stream.chunks.length).toBeLessThan(100);
  });

  test('asks to wait as long as the stream has enough, however slowly lines come', async () => {
    const stream = new StuckStream({ highWaterMark: 10 });
    const writer = new LineWriter(stream);
    expect(writer.writeLine(Buffer.from('one line of text'))).toBeNull();
    await turn();
    await turn();
    const pause = writer.writeLine(Buffer.from('two'));
    expect(pause).not.toBeNull();
    stream.goOn();
    await pause;
    expect(writer.writeLine(Buffer.from('three'))).toBeNull();
    await writer.finish();
    expect(stream.text).toBe('one line of text\ntwo\nthree\n');
  });

  test('tells when the stream has handed on what stood before a mark, and never when it could not', async () => {
    const stream = new StuckStream();
    const writer = new LineWriter(stream);
    const told: string[] = [];
    writer.writeLine(Buffer.from('one'));
    writer.mark(() => told.push('one'));
    writer.writeLine(Buffer.from('two'));
    writer.mark(() => told.push('two'));
    await turn();
    await turn();
    expect(told).toEqual([]);
    stream.goOn();
    writer.writeLine(Buffer.alloc(70_000, 'x'));
    writer.mark(() => told.push('large'));
    await writer.finish();
    writer.mark(() => told.push('nothing more'));
    await writer.finish();
    expect(told).toEqual(['one', 'two', 'large', 'nothing more']);
    stream.on('error', () => {});
    stream.destroy(new Error('nobody reads'));
    writer.writeLine(Buffer.from('lost'));
    writer.mark(() => told.push('lost'));
    await turn();
    await turn();
    expect(told).toHaveLength(4);
  });
});
