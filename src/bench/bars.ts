/** Latencies as bars of text on one scale: how far the median reaches, and how far behind it the last few messages come. */
import { whole } from './figures.ts';

/** A row of the picture: its values in ascending order, the nearest first; null where there is nothing to show. */
export interface Bar {
  readonly label: string;
  readonly values: readonly number[] | null;
}

/**
 * Draws bars with an axis below them. Each part of a bar ends at one of its values, and has its own shade.
 *
 * @param bars - rows; null leaves a line free
 * @param width - columns of the longest bar
 * @param unit - what the values are, for the axis
 */
export function drawBars(bars: readonly (Bar | null)[], width: number, unit: string): string {
  const rows = bars.map((bar) => bar ?? { label: '', values: null });
  const labelWidth = Math.max(...rows.map(({ label }) => label.length));
  const longest = Math.max(1, ...rows.map(({ values }) => values?.at(-1) ?? 0));
  const step = niceStep(longest / TICKS);
  const ticks = Math.ceil(longest / step);
  const scale = width / (step * ticks);
  const lines = rows.map(({ label, values }) => {
    const text = values === null ? '' : barOf(values, scale);
    return `${label.padEnd(labelWidth)} ${label === '' ? ' ' : '|'}${text}`.trimEnd();
  });
  let axis = '';
  let numbers = '';
  for (let i = 0; i <= ticks; i++) {
    const at = Math.round(i * step * scale);
    axis = `${axis.padEnd(at, '-')}+`;
    const number = i === ticks ? `${whole(i * step)} ${unit}` : whole(i * step);
    numbers = numbers.padEnd(at) + number;
  }
  const margin = ' '.repeat(labelWidth + 1);
  return [...lines, margin + axis, margin + numbers].join('\n');
}

/** What the shades mean. */
export function legendOf(names: readonly string[]): string {
  return names.map((name, i) => `${SHADES[i].repeat(2)} ${name}`).join('   ');
}

function barOf(values: readonly number[], scale: number): string {
  let bar = '';
  values.forEach((value, i) => {
    const end = Math.round(value * scale);
    // What is there shows, even where it is shorter than a column.
    bar = bar.padEnd(i === 0 ? Math.max(1, end) : end, SHADES[i]);
  });
  return bar;
}

/** The least of 1, 2, 2.5 and 5 times a power of ten that is not below `value`. */
function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 2.5, 5, 10].find((candidate) => candidate * power >= value * (1 - 1e-9)) ?? 10;
  return factor * power;
}

const SHADES = ['█', '▓', '▒', '░'];
/** At least about so many parts of the axis. */
const TICKS = 4;
