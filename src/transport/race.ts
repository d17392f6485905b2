import { type Micros, SECOND } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import { abortError, onAbort } from './abort.ts';

export interface RaceOptions<T> {
  readonly clock: Clock;
  /** Ends all attempts; the race then fails with ERR_JSP_ABORTED. */
  readonly signal: AbortSignal | undefined;
  /** How long an attempt may take before the next one is begun beside it. Default 250 ms. */
  readonly delay?: Micros | undefined;
  /** Lets go of what an attempt brought that was second. */
  readonly discard: (late: T) => void;
}

/**
 * Tries candidates one after the other, without waiting until one has failed: the next is started when one fails, or when the latest has
 * not won within `delay`, and the first that succeeds wins (RFC 8305 section 5). [CON-61] The others are told to end by the signal that each is given.
 *
 * @param candidates - at least one, in order of preference
 * @returns what the winner brought
 * @throws AggregateError of every attempt's error, in the order of the candidates, when none succeeds; JspError ERR_JSP_ABORTED
 */
export function race<C, T>(
  candidates: readonly C[],
  attempt: (candidate: C, signal: AbortSignal) => Promise<T>,
  options: RaceOptions<T>,
): Promise<T> {
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(abortError(signal)); // it fires no more
  return new Promise((resolve, reject) => {
    new Race(candidates, attempt, options, resolve, reject).startNext();
  });
}

class Race<C, T> {
  private readonly candidates: readonly C[];
  private readonly attempt: (candidate: C, signal: AbortSignal) => Promise<T>;
  private readonly options: RaceOptions<T>;
  private readonly resolve: (value: T) => void;
  private readonly reject: (error: unknown) => void;
  /** One for each attempt that was begun. */
  private readonly enders: AbortController[] = [];
  private isOver = false;
  private readonly forgetSignal: () => void;
  private readonly errors: unknown[] = [];
  private failed = 0;
  private timer: TimerHandle | null = null;

  constructor(
    candidates: readonly C[],
    attempt: (candidate: C, signal: AbortSignal) => Promise<T>,
    options: RaceOptions<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.candidates = candidates;
    this.attempt = attempt;
    this.options = options;
    this.resolve = resolve;
    this.reject = reject;
    this.forgetSignal = onAbort(options.signal, () => this.endAll());
  }

  startNext(): void {
    const { clock } = this.options;
    this.stopTimer();
    const ender = new AbortController();
    const index = this.enders.push(ender) - 1;
    this.attempt(this.candidates[index], ender.signal).then(
      (value) => this.onWon(index, value),
      (error) => this.onFailed(index, error),
    );
    if (this.hasMore) {
      this.timer = clock.setTimer(clock.now() + (this.options.delay ?? ATTEMPT_DELAY), () =>
        this.startNext(),
      );
    }
  }

  private get hasMore(): boolean {
    return this.enders.length < this.candidates.length;
  }

  private onWon(index: number, value: T): void {
    if (this.isOver) {
      // Second, or as the signal fired: then it is one more that did not win.
      this.options.discard(value);
      return this.onFailed(index, null);
    }
    this.forgetSignal();
    this.enders.splice(index, 1);
    this.endAll();
    this.resolve(value);
  }

  private onFailed(index: number, error: unknown): void {
    this.errors[index] = error;
    this.failed++;
    if (!this.isOver && this.hasMore) return this.startNext();
    // Not before all have ended, so that their sockets are closed by then.
    if (this.failed < this.enders.length) return;
    const { signal } = this.options;
    this.forgetSignal();
    this.reject(signal?.aborted ? abortError(signal) : new AggregateError(this.errors));
  }

  private endAll(): void {
    this.isOver = true;
    this.stopTimer();
    for (const ender of this.enders) ender.abort();
  }

  private stopTimer(): void {
    if (this.timer !== null) this.options.clock.clearTimer(this.timer);
    this.timer = null;
  }
}

/** How long an address may take before the next one is tried beside it. */
const ATTEMPT_DELAY: Micros = SECOND / 4;
