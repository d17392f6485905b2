/**
 * Options of public functions, checked by table: a row for each option there is, with what its value must be. A name that has no row is
 * an error that says which one was probably meant, for an option that is misspelt would otherwise do nothing, silently.
 */

import { JspError } from './errors.ts';

/** Says what a value must be, as the end of "must be …"; null when the value is that. */
export type OptionCheck = (value: unknown) => string | null;

/** A row for each option of `T`: the compiler refuses a table that lacks one, or has one too many. */
export type OptionTable<T> = { readonly [K in keyof Required<T>]: OptionCheck };

/**
 * Refuses options that `table` does not have, and values that an option cannot have. A member that is undefined counts as absent.
 *
 * @param caller - the function whose options these are, for the message
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function checkOptions<T extends object>(caller: string, options: T, table: OptionTable<T>): void {
  if (typeof options !== 'object' || options === null) {
    throw invalid(`${caller}: options must be an object, not ${shown(options)}`);
  }
  for (const name in options) {
    const check = Object.hasOwn(table, name) ? table[name] : undefined;
    if (check === undefined) {
      throw invalid(`${caller} has no option "${name}"; the nearest it has is "${nearest(name, table)}"`);
    }
    const value = options[name];
    const must = value === undefined ? null : check(value);
    if (must !== null) throw invalid(`${caller}: ${name} must be ${must}, not ${shown(value)}`);
  }
}

/**
 * Refuses an argument that is no option: `what` of `caller`, as the message says.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function checkArgument(caller: string, what: string, value: unknown, check: OptionCheck): void {
  const must = check(value);
  if (must !== null) throw invalid(`${caller}: ${what} must be ${must}, not ${shown(value)}`);
}

/** Those of `options` that have a row in `table` and are not undefined, to hand on to the function whose table it is. */
export function chosenOptions<T extends object>(options: T, table: OptionTable<T>): Given<T> {
  const chosen: Partial<T> = {};
  for (const name in table) {
    const value = options[name];
    if (value !== undefined) chosen[name] = value;
  }
  return chosen as Given<T>;
}

/** Options without those that are undefined, so that they can be laid over defaults. */
export type Given<T> = { [K in keyof T]: Exclude<T[K], undefined> };

// ---- what values must be ----

export const anything: OptionCheck = () => null;

export const flag: OptionCheck = (value) => (typeof value === 'boolean' ? null : 'true or false');

export const text: OptionCheck = (value) => (typeof value === 'string' ? null : 'a string');

export const anObject: OptionCheck = (value) =>
  typeof value === 'object' && value !== null ? null : 'an object';

/** A whole number from `low` to `high`. */
export function whole(low: number, high: number): OptionCheck {
  const must = `a whole number from ${low} to ${high}`;
  return (value) =>
    Number.isInteger(value) && (value as number) >= low && (value as number) <= high ? null : must;
}

/** Any number from `low` to `high`. */
export function number(low: number, high: number): OptionCheck {
  const must =
    high === Number.POSITIVE_INFINITY ? `a number from ${low} on` : `a number from ${low} to ${high}`;
  return (value) => (typeof value === 'number' && value >= low && value <= high ? null : must);
}

/** One of `names`. */
export function oneOf(names: readonly string[]): OptionCheck {
  const must = `one of ${names.join(', ')}`;
  return (value) => (names.includes(value as string) ? null : must);
}

// ---- inside ----

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', message);
}

/** `value` as messages about options have it, whatever it is. */
export function shown(value: unknown): string {
  if (!Array.isArray(value)) return shownAlone(value);
  const items = value
    .slice(0, SHOWN_ITEMS_MAX)
    .map((item) => (Array.isArray(item) ? 'a list' : shownAlone(item)));
  return `[${items.join(', ')}${value.length > SHOWN_ITEMS_MAX ? ', …' : ''}]`;
}

function shownAlone(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, SHOWN_CHARACTERS_MAX));
  if (value instanceof URL) return JSON.stringify(value.href.slice(0, SHOWN_CHARACTERS_MAX));
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** The name of the table that begins with `name` or takes the fewest changes to get to from it; case does not count. */
export function nearest(name: string, table: object): string {
  let best = '';
  let bestDistance = Number.POSITIVE_INFINITY;
  const wrong = name.slice(0, SHOWN_CHARACTERS_MAX).toLowerCase();
  for (const candidate of Object.keys(table)) {
    const right = candidate.toLowerCase();
    const isBeginning = wrong.length > 1 && right !== wrong && right.startsWith(wrong);
    const distance = isBeginning ? BEGINNING_DISTANCE : editDistance(wrong, right);
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/** Insertions, deletions and replacements that turn `a` into `b` (Levenshtein), a row of the matrix at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}

const SHOWN_CHARACTERS_MAX = 64;
const SHOWN_ITEMS_MAX = 4;
/** A name that was cut short is nearer than one that differs in a letter, but not than one in other case. */
const BEGINNING_DISTANCE = 0.5;
