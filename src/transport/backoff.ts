/**
 * When somebody who lost a connection tries again: after a random part of a time that doubles with each failure ("full jitter"), so that the
 * clients of a server that was started anew do not come all at once, and come ever more rarely to one that stays away. [CON-102] [CLT-3]
 */

/** Times in ms. */
export interface BackoffTimes {
  /** The first wait is a random part of so long. Default 250. */
  readonly minMs?: number | undefined;
  /** Each further wait is a random part of twice as long, up to this. Default 30,000. */
  readonly maxMs?: number | undefined;
  /** A connection that has lasted so long was a success: only then the waits are short again. Default 30,000. */
  readonly stableMs?: number | undefined;
}

/** How long to wait before an attempt. */
export class Backoff {
  /** A connection that has lasted so long was a success. */
  readonly stableMs: number;
  private readonly minMs: number;
  private readonly maxMs: number;
  /** Ways to the server, which are tried one after the other before the wait doubles. */
  private readonly ways: number;
  private readonly random: () => number;
  private failures = 0;
  private windowMs = 0;

  /** @param random - a number in [0, 1) */
  constructor(times: BackoffTimes, ways: number, random: () => number) {
    this.minMs = times.minMs ?? MIN_MS;
    this.maxMs = Math.max(this.minMs, times.maxMs ?? MAX_MS);
    this.stableMs = times.stableMs ?? STABLE_MS;
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

  /** The server asks for all its clients to spread their return over so long. [CON-101] [CLT-5] */
  spreadOver(windowMs: number): void {
    this.windowMs = Math.min(windowMs, WINDOW_MS_MAX);
  }

  succeeded(): void {
    this.failures = 0;
  }
}

const MIN_MS = 250;
const MAX_MS = 30_000;
const STABLE_MS = 30_000;
const DOUBLINGS_MAX = 40;
/** A server that asks for more is not obeyed: it may be mistaken, and the client would be away for good. */
const WINDOW_MS_MAX = 10 * 60_000;
