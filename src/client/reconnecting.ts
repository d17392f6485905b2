/** What a client may be told of how it comes back. [CLT-3] */

import { checkOptions, number, type OptionTable } from '../base/options.ts';
import { Backoff } from '../transport/backoff.ts';

export interface ReconnectOptions {
  /** The first wait is a random part of so long, in ms. Default 250. */
  minMs?: number | undefined;
  /** Each further wait is a random part of twice as long, up to this, in ms. Default 30,000. */
  maxMs?: number | undefined;
  /** A connection counts as a success when it has lasted so long, in ms: only then the waits are short again. Default 30,000. */
  stableMs?: number | undefined;
}

/**
 * What an option asks for; null: the client does not come back.
 *
 * @param random - a number in [0, 1)
 */
export function backoffOf(
  option: boolean | ReconnectOptions | undefined,
  ways: number,
  random: () => number,
): Backoff | null {
  return option === false ? null : new Backoff(typeof option === 'object' ? option : {}, ways, random);
}

/** What the option `reconnect` may be. */
export function reconnectOption(value: unknown): string | null {
  if (value === false || value === true) return null;
  checkOptions('connectClient', value as ReconnectOptions, RECONNECT_OPTIONS);
  return null;
}

const RECONNECT_OPTIONS: OptionTable<ReconnectOptions> = {
  minMs: number(0, Number.MAX_SAFE_INTEGER),
  maxMs: number(0, Number.MAX_SAFE_INTEGER),
  stableMs: number(0, Number.MAX_SAFE_INTEGER),
};
