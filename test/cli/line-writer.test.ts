import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { LineWriter } from '../../src/cli/line-writer.ts';

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
});
