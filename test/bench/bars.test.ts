import { expect, test } from 'vitest';
import { drawBars, legendOf } from '../../src/bench/bars.ts';

test('each part of a bar ends at its value, on the scale of the axis below', () => {
  const picture = drawBars(
    [
      { label: 'a', values: [10, 20, 20, 40] },
      { label: 'long', values: [1, 1, 1, 1] },
      null,
      { label: 'b', values: null },
    ],
    40,
    'ms',
  );
  expect(picture).toBe(
    [
      'a    |██████████▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░░░░░░░░░░░',
      'long |█',
      '',
      'b    |',
      '     +---------+---------+---------+---------+',
      '     0         10        20        30        40 ms',
    ].join('\n'),
  );
});

test('the axis ends at a round number that no bar passes', () => {
  for (const longest of [0.4, 1, 7, 31, 99, 101, 256, 3_938]) {
    const lines = drawBars([{ label: 'x', values: [longest] }], 60, 'ms').split('\n');
    const end = Number(/([\d,]+) ms$/.exec(lines[2])?.[1].replace(',', ''));
    expect(end).toBeGreaterThanOrEqual(longest);
    expect(lines[0].length).toBeLessThanOrEqual(lines[1].length);
  }
});

test('the legend names the shades in the order of the values', () => {
  expect(legendOf(['p50', 'p95'])).toBe('██ p50   ▓▓ p95');
});
