import { describe, expect, test } from 'vitest';
import { Settling } from '../../src/cli/settling.ts';

/** Messages with these offsets that wait, and what is done with them. */
function waiting(...offsets: number[]): { settling: Settling; done: unknown[] } {
  const settling = new Settling();
  const done: unknown[] = [];
  for (const offset of offsets) {
    const say = (what: string) => (detail?: unknown) => {
      done.push(detail === undefined ? [what, offset] : [what, offset, detail]);
      return true;
    };
    const [ack, nack, terminate, progress] = ['ack', 'nack', 'terminate', 'progress'].map(say);
    settling.add({ offset, ack, nack, terminate, progress });
  }
  return { settling, done };
}

describe('lines that settle messages', () => {
  test('name one by its offset, or mean the oldest that waits', () => {
    const { settling, done } = waiting(7, 8, 9, 10, 11, 12);
    for (const line of ['9', 'ack 8', '', ' y ', 'ACK', 'n']) expect(settling.take(line)).toBeNull();
    expect(done.map((each) => (each as unknown[]).slice(0, 2))).toEqual([
      ['ack', 9],
      ['ack', 8],
      ['ack', 7],
      ['ack', 10],
      ['ack', 11],
      ['nack', 12],
    ]);
    expect(settling.unsettled).toBe(0);
  });

  test('say when a message comes again, why, and that it never does', () => {
    const { settling, done } = waiting(1, 2, 3, 4, 5);
    const lines = [
      'nack 2 1.5s no room',
      'n 10s',
      'nack 3 no 5s wait',
      'terminate 4 not a number',
      'terminate',
    ];
    for (const line of lines) expect(settling.take(line)).toBeNull();
    expect(done).toEqual([
      ['nack', 2, { delayMs: 1_500, reason: 'no room' }],
      ['nack', 1, { delayMs: 10_000, reason: undefined }],
      ['nack', 3, { delayMs: undefined, reason: 'no 5s wait' }],
      ['terminate', 4, 'not a number'],
      ['terminate', 5],
    ]);
  });

  test('ask for more time, and leave the message where it is', () => {
    const { settling, done } = waiting(1, 2);
    for (const line of ['progress 2', 'progress', '1']) settling.take(line);
    expect(done).toEqual([
      ['progress', 2],
      ['progress', 1],
      ['ack', 1],
    ]);
  });

  test('acknowledge all up to one, or all that there are', () => {
    const { settling, done } = waiting(3, 1, 2, 4, 5);
    settling.take('all 3');
    expect(done).toEqual([
      ['ack', 3],
      ['ack', 1],
      ['ack', 2],
    ]);
    settling.take('all');
    expect(settling.unsettled).toBe(0);
  });

  test('that make no sense, or come too late, say so and settle nothing', () => {
    const { settling, done } = waiting(1);
    expect(settling.take('perhaps 1')).toMatch(/none of ack, y, nack/);
    expect(settling.take('ack 2')).toBe('no message with offset 2 waits');
    expect(settling.take('1')).toBeNull();
    expect(settling.take('1')).toBe('no message with offset 1 waits');
    expect(settling.take('y')).toBe('no message waits');
    settling.add({
      offset: 5,
      ack: () => false,
      nack: () => false,
      terminate: () => false,
      progress: () => false,
    });
    expect(settling.take('5')).toMatch(/^message 5 is not known any more/);
    expect(done).toEqual([['ack', 1]]);
  });
});
