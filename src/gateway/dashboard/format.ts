/** How figures stand on the page: short enough to be read at a glance, and never more exact than they are. */

/** A count or a rate: `0.4`, `87`, `9,999`, `12.3 k`, `4.56 M`. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return NOTHING;
  const size = Math.abs(value);
  if (size < 9_999.5) return size < 9.95 && !Number.isInteger(value) ? value.toFixed(1) : whole(value);
  return scaled(value, 1_000, COUNT_UNITS);
}

/** A count with all its digits: `1,234,567`. */
export function whole(value: number): string {
  return Number.isFinite(value) ? WHOLE.format(value) : NOTHING;
}

/** Bytes in powers of 1,000, as networks and disks are sold: `0 B`, `640 B`, `12.3 kB`, `4.56 GB`. */
export function bytes(value: number): string {
  if (!Number.isFinite(value)) return NOTHING;
  return Math.abs(value) < 999.5 ? `${Math.round(value)} B` : scaled(value, 1_000, BYTE_UNITS);
}

/** A time that somebody waits: `0.042 ms`, `1.3 ms`, `240 ms`, `2.5 s`, then as {@link duration}. */
export function ms(value: number): string {
  if (!Number.isFinite(value)) return NOTHING;
  if (value < 999.5) return `${digits(value)} ms`;
  return value < 59_950 ? `${digits(value / 1_000)} s` : duration(value);
}

/** A time that passes, in its two largest units: `8 s`, `5 min 2 s`, `3 d 4 h`. */
export function duration(value: number): string {
  if (!Number.isFinite(value)) return NOTHING;
  const seconds = Math.max(0, Math.floor(value / 1_000));
  for (let i = 0; i < SPANS.length - 1; i++) {
    const [unit, length] = SPANS[i];
    if (seconds < length) continue;
    const [nextUnit, nextLength] = SPANS[i + 1];
    const rest = Math.floor((seconds % length) / nextLength);
    return `${Math.floor(seconds / length)} ${unit}${rest > 0 ? ` ${rest} ${nextUnit}` : ''}`;
  }
  return `${seconds} s`;
}

/** A share of one: `0 %`, `0.02 %`, `12 %`. */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${digits(100 * share)} %` : NOTHING;
}

/** The same figure without zeros that say nothing, as it stands at an axis: `40 k` for `40.0 k`. */
export function atAxis(figure: string): string {
  return figure.replace(/\.(\d*?)0+(?=\D|$)/, (_, rest: string) => (rest === '' ? '' : `.${rest}`));
}

/** The time of day of a moment, as the reader's clock has it: `14:03:07`. */
export function timeOfDay(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
}

/** Bytes as a hex dump, 16 a line: offset, digits, and what of it is plain text. */
export function hexDump(data: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < data.length; at += HEX_COLUMNS) {
    const row = data.subarray(at, at + HEX_COLUMNS);
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const plain = Array.from(row, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'));
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(HEX_COLUMNS * 3 - 1)}  ${plain.join('')}`);
  }
  return lines.join('\n');
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let unit = -1;
  let left = value;
  do {
    left /= base;
    unit++;
  } while (Math.abs(left) >= base - 0.5 && unit < units.length - 1);
  const size = Math.abs(left);
  return `${left.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0)} ${units[unit]}`;
}

/** Three digits that say something. */
function digits(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 0.0995) return value.toFixed(3);
  if (size < 0.995) return value.toFixed(2);
  return size < 99.5 ? String(Number(value.toFixed(size < 9.95 ? 2 : 1))) : whole(Math.round(value));
}

/** Stands where a figure is not known. */
export const NOTHING = '–';
const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const COUNT_UNITS = ['k', 'M', 'G', 'T'];
const BYTE_UNITS = ['kB', 'MB', 'GB', 'TB', 'PB'];
const HEX_COLUMNS = 16;
const SPANS: readonly [string, number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];
