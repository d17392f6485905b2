/**
 * A point in time, or a duration, in whole microseconds. Below the sans-IO line time is handed in by the
 * driver; points count from an origin of the driver's choice and never go back.
 */
export type Micros = number;

/** "Never", as a deadline or timeout. */
export const NEVER: Micros = Number.POSITIVE_INFINITY;
export const MILLISECOND: Micros = 1_000;
export const SECOND: Micros = 1_000_000;
