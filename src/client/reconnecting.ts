/**
 * When a client that lost its connection tries again: after a random part of a time that doubles with each failure ("full jitter"), so that the
 * clients of a broker that was started anew do not come all at once, and come ever more rarely to one that stays away. [CLT-3]
 */

import { checkOptions, number, type OptionTable } from '../base/options.ts';

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

/** How long to wait before an attempt. */
export class Backoff {
  /** A connection that has lasted so long was a success. */
  readonly stableMs: number;
  private readonly minMs: number;
  private readonly maxMs: number;
  /** Ways to the broker, which are tried one after the other before the wait doubles. */
  private readonly ways: number;
  private readonly random: () => number;
  private failures = 0;
  private windowMs = 0;

  /** @param random - a number in [0, 1) */
  constructor(options: ReconnectOptions, ways: number, random: () => number) {
    this.minMs = options.minMs ?? MIN_MS;
    this.maxMs = Math.max(this.minMs, options.maxMs ?? MAX_MS);
    this.stableMs = options.stableMs ?? STABLE_MS;
    this.ways = ways;
    this.random = random;
  }

  /** The next wait. It counts as a failure until {@link succeeded} says otherwise. */
  nextMs(): number {
    const doublings = Math.min(DOUBLINGS_MAX, Math.floor(this.failures++ / this.ways));
    const mostMs = Math.max(Math.min(this.maxMs, this.minMs * 2 ** doublings), this.windowMs);
    this.windowMs = 0;
    return this.random() * mostMs;
  }

  /** The broker asks for all its clients to spread their return over so long. [CLT-5] */
  spreadOver(windowMs: number): void {
    this.windowMs = Math.min(windowMs, WINDOW_MS_MAX);
  }

  succeeded(): void {
    this.failures = 0;
  }
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

const MIN_MS = 250;
const MAX_MS = 30_000;
const STABLE_MS = 30_000;
const DOUBLINGS_MAX = 40;
/** A broker that asks for more is not obeyed: it may be mistaken, and the client would be away for good. */
const WINDOW_MS_MAX = 10 * 60_000;
