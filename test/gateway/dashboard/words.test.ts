import { describe, expect, test } from 'vitest';
import type { Snapshot } from '../../../src/broker/operations/snapshot.ts';
import { noticesOf } from '../../../src/gateway/dashboard/attention.ts';
import * as format from '../../../src/gateway/dashboard/format.ts';
import { Timeline } from '../../../src/gateway/dashboard/timeline.ts';
import { busyWorld } from '../../browser/stand-in.ts';

describe('figures on the dashboard', () => {
  test.each([
    [format.count, 0, '0'],
    [format.count, 0.42, '0.4'],
    [format.count, 9_999, '9,999'],
    [format.count, 9_999.6, '10.0 k'],
    [format.count, 999_499, '999 k'],
    [format.count, 999_501, '1.00 M'],
    [format.count, 7_210_332_014, '7.21 G'],
    [format.count, Number.NaN, '–'],
    [format.bytes, 999, '999 B'],
    [format.bytes, 1_000, '1.00 kB'],
    [format.bytes, 999_600, '1.00 MB'],
    [format.bytes, 9.2e9, '9.20 GB'],
    [format.ms, 0, '0 ms'],
    [format.ms, 0.0421, '0.042 ms'],
    [format.ms, 0.1, '0.10 ms'],
    [format.ms, 1.25, '1.25 ms'],
    [format.ms, 240.4, '240 ms'],
    [format.ms, 2_540, '2.54 s'],
    [format.ms, 90_000, '1 min 30 s'],
    [format.duration, 8_400, '8 s'],
    [format.duration, 86_400_000 * 3 + 3_600_000 * 4, '3 d 4 h'],
    [format.duration, 3_600_000, '1 h'],
    [format.duration, -5, '0 s'],
    [format.percent, 0.0004, '0.040 %'],
    [format.percent, 1, '100 %'],
  ])('%o %d is %s', (shown, value, text) => {
    expect(shown(value)).toBe(text);
  });

  test('have no zeros at an axis that say nothing', () => {
    expect(['40.0 k', '0.050 ms', '7.50 MB', '100 B', '1,000', '0'].map(format.atAxis)).toEqual([
      '40 k',
      '0.05 ms',
      '7.5 MB',
      '100 B',
      '1,000',
      '0',
    ]);
  });

  test('as a hex dump stand in rows of 16 with what is plain text', () => {
    const dump = format.hexDump(Uint8Array.from({ length: 18 }, (_, i) => 0x3f + i));
    expect(dump).toBe(
      [
        '000000  3f 40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e  ?@ABCDEFGHIJKLMN',
        `000010  4f 50${' '.repeat(42)}  OP`,
      ].join('\n'),
    );
  });
});

describe('what to look into', () => {
  test('is nothing where all is well', () => {
    expect(notices({})).toEqual([]);
  });

  test.each<[string, Partial<Snapshot>, RegExp]>([
    ['a broker that closes', { state: 'draining' }, /closing/],
    ['a store that takes nothing', { state: 'readOnly' }, /Nothing is stored/],
    ['a fault of the broker', { internalErrors: 1 }, /faults of the broker/],
    ['a full disk', { freeBytes: 5e8 }, /500 MB left/],
    [
      'queues that fill',
      { queues: { messages: 9, bytes: 9, bytesMax: 10, stopped: 0, transportBytes: 0 } },
      /90 %/,
    ],
  ])('%s is told', (_, change, words) => {
    expect(notices(change)).toEqual([expect.stringMatching(words)]);
  });

  test('has the worst first, and publishers that wait only when they have waited for seconds', () => {
    const queues = { messages: 1, bytes: 1, bytesMax: 100, stopped: 2, transportBytes: 0 };
    expect(notices({ queues }, 2)).toEqual([]);
    expect(notices({ queues, state: 'readOnly' }, 5)).toEqual([
      expect.stringMatching(/Nothing is stored/),
      expect.stringMatching(/2 publishers wait/),
    ]);
  });
});

/** Of a broker that has been so for some seconds. */
function notices(change: Partial<Snapshot>, seconds = 5): string[] {
  const timeline = new Timeline();
  const { snapshot } = busyWorld(0);
  let now: Snapshot = { ...snapshot, ...change };
  for (let i = 0; i < seconds; i++) {
    now = { ...now, at: now.at + 1_000 };
    timeline.push(now);
  }
  return noticesOf(now, timeline, null).map(({ text }) => text);
}
