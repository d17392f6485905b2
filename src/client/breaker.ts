/**
 * A circuit breaker: where the broker refuses one message after the other because it cannot take them now, or nobody answers requests, it spares both sides the
 * attempts for a while. [CLT-14]
 *
 *     closed --so many failures within a time--> open --a pause--> half open --a trial succeeds--> closed
 *                                                  <--a trial fails--
 */

import { JspError } from '../base/errors.ts';
import { checkOptions, number, type OptionTable, oneOf, whole } from '../base/options.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

export interface BreakerOptions {
  /** So many failures open it. Default 5; 1 to 1,000. */
  failures?: number | undefined;
  /** Within so long, in ms. Default 10,000. */
  withinMs?: number | undefined;
  /** After so long it lets one message through, as a trial, in ms. Default 5,000. */
  openMs?: number | undefined;
  /** What a publish with QoS 1 does while it is open: `fail` (default) at once, or `buffer`, wait. */
  whileOpen?: 'fail' | 'buffer' | undefined;
}

export type BreakerState = 'closed' | 'open' | 'halfOpen';

/** The breaker that an option asks for; null: none. */
export function breakerOf(
  option: boolean | BreakerOptions | undefined,
  clock: Clock,
  tell: (state: BreakerState, reason: JspError | null) => void,
): Breaker | null {
  if (option === undefined || option === false) return null;
  return new Breaker(option === true ? {} : option, clock, tell);
}

export class Breaker {
  /** What waits while it is open goes on when it is not. */
  readonly buffers: boolean;
  private readonly failuresMax: number;
  private readonly within: Micros;
  private readonly openFor: Micros;
  private readonly clock: Clock;
  private readonly tell: (state: BreakerState, reason: JspError | null) => void;
  /** Told a moment after a trial that has told nothing: another may be made. */
  onFree: () => void = () => {};
  private current: BreakerState = 'closed';
  private isTrying = false;
  /** When the last failures were. */
  private failures: Micros[] = [];
  private timer: TimerHandle | null = null;

  constructor(
    options: BreakerOptions,
    clock: Clock,
    tell: (state: BreakerState, reason: JspError | null) => void,
  ) {
    this.failuresMax = options.failures ?? FAILURES_MAX;
    this.within = (options.withinMs ?? WITHIN_MS) * MILLISECOND;
    this.openFor = (options.openMs ?? OPEN_MS) * MILLISECOND;
    this.buffers = options.whileOpen === 'buffer';
    this.clock = clock;
    this.tell = tell;
  }

  get state(): BreakerState {
    return this.current;
  }

  /** Whether another attempt may be made. Half open, the one that is told so is the trial. */
  admits(): boolean {
    if (this.current === 'closed') return true;
    if (this.current === 'open' || this.isTrying) return false;
    this.isTrying = true;
    return true;
  }

  /** An attempt has ended: with null as it should. What is nobody's trouble but the attempt's own does not count as either. */
  settled(error: JspError | null): void {
    const isFailure = error !== null && isOverload(error);
    if (this.current === 'halfOpen') {
      this.isTrying = false;
      if (isFailure) this.open(error);
      else if (error === null) this.close();
      else void SETTLED.then(() => this.free()); // it may be one of thousands whose time was over
      return;
    }
    if (!isFailure || this.current === 'open') return;
    const now = this.clock.now();
    this.failures.push(now);
    if (this.failures.length > this.failuresMax) this.failures.shift();
    if (this.failures.length === this.failuresMax && now - this.failures[0] <= this.within) this.open(error);
  }

  /** The connection of attempts under way is over, and they are made again: the trial among them has told nothing. */
  forgetTrial(): void {
    this.isTrying = false;
  }

  end(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private open(reason: JspError): void {
    this.current = 'open';
    this.failures = [];
    this.end();
    this.timer = this.clock.setTimer(this.clock.now() + this.openFor, () => {
      this.timer = null;
      this.current = 'halfOpen';
      this.isTrying = false;
      this.tell('halfOpen', null);
    });
    this.tell('open', reason);
  }

  private free(): void {
    if (this.current === 'halfOpen' && !this.isTrying) this.onFree();
  }

  private close(): void {
    this.current = 'closed';
    this.tell('closed', null);
  }
}

/** The error of a publish that is not tried. */
export function circuitOpenError(): JspError {
  return new JspError(
    'ERR_JSP_CIRCUIT_OPEN',
    'The circuit breaker of the client is open: the broker has refused several messages shortly before. Publish again when its event breaker says closed.',
  );
}

/** The broker cannot take it now, or nobody answers; another attempt would probably do no better. */
function isOverload({ code, cause }: JspError): boolean {
  const isTimeout = code === 'ERR_JSP_ABORTED' && (cause as Error | undefined)?.name === 'TimeoutError';
  return isTimeout || OVERLOADS.has(code);
}

/** What the option `breaker` may be. */
export function breakerOption(value: unknown): string | null {
  if (value === false || value === true) return null;
  checkOptions('connectClient', value as BreakerOptions, BREAKER_OPTIONS);
  return null;
}

const BREAKER_OPTIONS: OptionTable<BreakerOptions> = {
  failures: whole(1, 1_000),
  withinMs: number(1, Number.MAX_SAFE_INTEGER),
  openMs: number(1, Number.MAX_SAFE_INTEGER),
  whileOpen: oneOf(['fail', 'buffer']),
};

const OVERLOADS: ReadonlySet<string> = new Set([
  'ERR_JSP_STORE_FULL',
  'ERR_JSP_STORE_FAILED',
  'ERR_JSP_QUOTA',
  'ERR_JSP_LIMITED',
  'ERR_JSP_TIMEOUT',
]);
const SETTLED = Promise.resolve();
const FAILURES_MAX = 5;
const WITHIN_MS = 10_000;
const OPEN_MS = 5_000;
