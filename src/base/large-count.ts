/**
 * Counts that pass 2^31, such as the bytes of a connection. A field that was only ever 0 has room for a small integer, to V8; once it needs more,
 * all code that was compiled for such objects is thrown away, function after function. At 500 MB/s that was four seconds after the start, and at
 * two thirds of the speed until all was compiled again.
 */

/** Zero, for a field inside: one that begins with -0 has room for any number, and sums do not know the difference. */
export const LARGE_ZERO = -0;

/** The same for fields that users see, for all objects that are made like `example`, which is changed. */
export function hasLarge<T extends object>(example: T, ...fields: readonly (keyof T & string)[]): void {
  for (const field of fields) (example as Record<string, unknown>)[field] = 0.5;
}
