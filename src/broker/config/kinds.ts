/**
 * What values of settings may be, and how they are written: in a TOML file, and as text in the environment or on the command line. Durations and sizes
 * carry their unit, for a bare number of an option that somebody else's broker counts in seconds is the error that nobody sees.
 */

import { isAbsolute, resolve } from 'node:path';
import type { OptionCheck } from '../../base/options.ts';
import { tomlString } from './toml.ts';

/** A plain value as it was written: what is in a TOML array is no longer a value with a line. */
export type Written = string | number | boolean | Date | readonly Written[];

export interface Kind<T> {
  /** The value, of what TOML has. `folder`: what a relative path is relative to. Throws {@link Refused}. */
  take(written: Written, folder: string): T;
  /** What TOML would have, of text that has no types. */
  ofText(text: string): Written;
  /** As TOML. */
  show(value: T): string;
}

/** A value that a setting cannot have: `message` ends "must be …". */
export class Refused extends Error {}

/** A kind of values that are written as they are: `check` of an option, if there is one, has the last word. */
function plain<T extends Written>(
  is: (written: Written) => written is T,
  must: string,
  ofText: (text: string) => Written,
  check?: OptionCheck,
): Kind<T> {
  return {
    take(written) {
      if (!is(written)) throw new Refused(must);
      assertIs(check, written);
      return written;
    },
    ofText,
    show: (value) => (typeof value === 'string' ? tomlString(value) : String(value)),
  };
}

const isText = (written: Written): written is string => typeof written === 'string';
const same = (text: string): string => text;

export function textOf(check?: OptionCheck): Kind<string> {
  return plain(isText, 'a string', same, check);
}

export function wordOf<const T extends string>(words: readonly T[]): Kind<T> {
  const is = (written: Written): written is T => words.includes(written as T);
  return plain(is, `one of ${words.map((word) => `"${word}"`).join(', ')}`, same);
}

export const yesOrNo: Kind<boolean> = plain(
  (written) => typeof written === 'boolean',
  'true or false',
  (text) => (text === 'true' || text === 'false' ? text === 'true' : text),
);

/** A number of things. */
export function numberOf(check: OptionCheck): Kind<number> {
  const is = (written: Written): written is number => typeof written === 'number' && !Number.isNaN(written);
  return plain(is, check('') ?? 'a number', numberOfText, check);
}

/** A number, or a word in its place. */
export function numberOrWord<const W extends string>(check: OptionCheck, word: W): Kind<number | W> {
  const is = (written: Written): written is number | W => written === word || check(written) === null;
  return plain(is, `"${word}", or ${check('')}`, (text) => (text === word ? word : numberOfText(text)));
}

/** A path, which is absolute when it is taken; one of a file is relative to where that is. */
export const path: Kind<string> = {
  take(written, folder) {
    if (typeof written !== 'string' || written === '') throw new Refused('a path');
    return isAbsolute(written) ? written : resolve(folder, written);
  },
  ofText: same,
  show: tomlString,
};

/** A time such as "30s", in ms; and 0. */
export function durationOf(check: OptionCheck): Kind<number> {
  return {
    take(written) {
      const ms = written === 0 ? 0 : typeof written === 'string' ? durationMs(written) : null;
      if (ms === null) throw new Refused('a time with its unit, such as "500ms", "30s", "5m", "2h" or "7d"');
      const must = check(ms);
      if (must !== null) throw new Refused(inUnits(must, showDuration));
      return ms;
    },
    ofText: (text) => (text === '0' ? 0 : text),
    show: showDuration,
  };
}

/** A number of bytes: 1048576, or "1MiB". */
export function bytesOf(check: OptionCheck): Kind<number> {
  return {
    take(written) {
      const bytes = typeof written === 'string' ? byteCount(written) : written;
      if (typeof bytes !== 'number')
        throw new Refused('a number of bytes, such as 1048576, "64MiB" or "10GB"');
      const must = check(bytes);
      if (must !== null) throw new Refused(inUnits(must, showBytes));
      return bytes;
    },
    ofText: numberOfText,
    show: showBytes,
  };
}

/** A list, of at most so many; in text with commas between. */
export function listOf<T>(kind: Kind<T>, lengthMax = Number.POSITIVE_INFINITY): Kind<readonly T[]> {
  return {
    take(written, folder) {
      if (!Array.isArray(written)) throw new Refused('a list: in brackets, with commas between');
      if (written.length > lengthMax) throw new Refused(`a list of at most ${lengthMax}`);
      return written.map((each) => {
        try {
          return kind.take(each, folder);
        } catch (error) {
          if (error instanceof Refused) throw new Refused(`a list, each of which is ${error.message}`);
          throw error;
        }
      });
    },
    ofText: (text) => (text.trim() === '' ? [] : text.split(',').map((each) => kind.ofText(each.trim()))),
    show: (values) => `[${values.map((each) => kind.show(each)).join(', ')}]`,
  };
}

/** A point in time, in ms since 1970: a date of TOML, with its zone. */
export const instant: Kind<number> = {
  take(written) {
    const ms =
      written instanceof Date ? written.getTime() : isText(written) ? Date.parse(written) : Number.NaN;
    if (Number.isNaN(ms)) throw new Refused('a time such as 2027-01-01T00:00:00Z');
    return ms;
  },
  ofText: same,
  show: (ms) => new Date(ms).toISOString(),
};

/** Milliseconds of "500ms", "30s", "5m", "2h" or "7d"; null of anything else. */
function durationMs(text: string): number | null {
  const match = /^(\d*\.?\d+) ?(ms|s|m|h|d)$/.exec(text);
  if (match === null) return null;
  // 0.3 s is 300 ms, not 299.99…
  return Number((Number(match[1]) * DURATIONS[match[2] as keyof typeof DURATIONS]).toFixed(6));
}

function showDuration(ms: number): string {
  if (ms === 0) return '0';
  if (!Number.isFinite(ms)) return tomlString('for ever');
  const unit = (['d', 'h', 'm', 's'] as const).find((each) => ms % DURATIONS[each] === 0) ?? 'ms';
  return tomlString(`${ms / DURATIONS[unit]}${unit}`);
}

/** Bytes of "64MiB" (powers of 1,024) or "10GB" (of 1,000); null of anything else. */
function byteCount(text: string): number | null {
  const match = /^(\d*\.?\d+) ?([KMGT]?)(i?)B?$/i.exec(text);
  if (match === null || (match[2] === '' && match[3] !== '')) return null;
  const power = ' KMGT'.indexOf(match[2].toUpperCase() || ' ');
  return Math.floor(Number(match[1]) * (match[3] === '' ? 1_000 : 1_024) ** power);
}

function showBytes(bytes: number): string {
  let power = 0;
  while (power < 4 && bytes !== 0 && bytes % 1_024 ** (power + 1) === 0) power++;
  return power === 0 ? String(bytes) : tomlString(`${bytes / 1_024 ** power}${' KMGT'[power]}iB`);
}

/** The numbers of a range as they would be written. */
function inUnits(must: string, show: (value: number) => string): string {
  const range = /^a (?:whole )?number from (\S+) to (\S+)$/.exec(must);
  if (range === null) return must;
  const [, low, high] = range.map(Number);
  return high === Number.MAX_SAFE_INTEGER ? `at least ${show(low)}` : `from ${show(low)} to ${show(high)}`;
}

function numberOfText(text: string): Written {
  return /^-?\d+(\.\d+)?$/.test(text.replaceAll('_', '')) ? Number(text.replaceAll('_', '')) : text;
}

function assertIs(check: OptionCheck | undefined, value: unknown): void {
  const must = check?.(value) ?? null;
  if (must !== null) throw new Refused(must);
}

const DURATIONS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
