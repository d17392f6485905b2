import { JspError } from '../base/errors.ts';
import { MILLISECOND } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { Backoff } from './backoff.ts';
import { onHint } from './hints.ts';

/** Who is to have a connection. */
export interface RedialOwner<C> {
  /** Makes one; `signal` gives it up. */
  dial(signal: AbortSignal): Promise<C>;
  onConnection(connection: C): void;
  /** It came to nothing. Answers whether to try again. */
  onFailed(error: JspError): boolean;
  /** The next attempt follows after so long. */
  onWait(delayMs: number): void;
  /** Lets go of a connection that comes too late. */
  discard(connection: C): void;
}

/**
 * Dials until there is a connection: one attempt at a time, with the waits of a {@link Backoff} between them, which are cut short where there is reason to think that it would
 * succeed now: the machine woke up, or has other addresses. [CON-102]
 */
export class Redial<C> {
  private readonly owner: RedialOwner<C>;
  private readonly backoff: Backoff;
  private readonly clock: Clock;
  /** The attempt that is under way. */
  private attempt: AbortController | null = null;
  private timer: TimerHandle | null = null;
  private stableTimer: TimerHandle | null = null;
  /** Ends what tells that it may succeed now. */
  private endHints: () => void = () => {};
  private isOver = false;

  constructor(owner: RedialOwner<C>, backoff: Backoff, clock: Clock) {
    this.owner = owner;
    this.backoff = backoff;
    this.clock = clock;
  }

  /** Begins, or begins to wait anew; an attempt that is under way goes on. */
  begin(): void {
    this.clearStable();
    if (this.attempt === null && !this.isOver) this.wait(this.backoff.nextMs());
  }

  /** As {@link begin}, after a random part of so long. */
  beginWithin(windowMs: number): void {
    this.backoff.spreadOver(windowMs);
    this.begin();
  }

  /** Tries at once, unless an attempt is under way. */
  hurry(): void {
    if (this.attempt === null && !this.isOver) void this.dial();
  }

  /** There is a connection: when it has lasted, the next one that is lost counts as the first. */
  succeeded(): void {
    this.clearStable();
    const { backoff, clock } = this;
    this.stableTimer = clock.setTimer(clock.now() + backoff.stableMs * MILLISECOND, () =>
      backoff.succeeded(),
    );
  }

  /** No further attempt, whoever asks for one. */
  end(): void {
    this.isOver = true;
    this.clearWait();
    this.clearStable();
    this.attempt?.abort();
    this.attempt = null;
  }

  private wait(delayMs: number): void {
    this.clearWait();
    const { clock } = this;
    this.timer = clock.setTimer(clock.now() + delayMs * MILLISECOND, () => void this.dial());
    this.endHints = onHint(clock, () => void this.dial());
    this.owner.onWait(delayMs);
  }

  private async dial(): Promise<void> {
    this.clearWait();
    const attempt = new AbortController();
    this.attempt = attempt;
    let connection: C;
    try {
      connection = await this.owner.dial(attempt.signal);
    } catch (error) {
      if (attempt.signal.aborted) return; // nobody waits for it
      this.attempt = null;
      const goesOn = this.owner.onFailed(asJspError(error));
      if (goesOn && !this.isOver && this.attempt === null && this.timer === null)
        this.wait(this.backoff.nextMs());
      return;
    }
    if (attempt.signal.aborted) return this.owner.discard(connection);
    this.attempt = null;
    this.succeeded();
    this.owner.onConnection(connection);
  }

  private clearWait(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
    this.endHints();
  }

  private clearStable(): void {
    if (this.stableTimer !== null) this.clock.clearTimer(this.stableTimer);
    this.stableTimer = null;
  }
}

/** True for a failure after which no further attempt can succeed: options and URLs that cannot work, and servers that are others, or let this client not in. [CON-103] */
export function isFinalFailure(error: JspError): boolean {
  if (error.cause instanceof AggregateError) {
    // Of several that were tried, one may yet answer as it should.
    return error.cause.errors.every((each) => each instanceof JspError && isFinalFailure(each));
  }
  return FINAL_CODES.has(error.code);
}

function asJspError(error: unknown): JspError {
  if (error instanceof JspError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new JspError('ERR_JSP_CLOSED', message, { cause: error });
}

const FINAL_CODES: ReadonlySet<string> = new Set([
  'ERR_JSP_NOT_AUTHORIZED',
  'ERR_JSP_REFUSED',
  'ERR_JSP_IDENTITY_MISMATCH',
  'ERR_JSP_URL_INVALID',
  'ERR_JSP_PIN_MISSING',
  'ERR_JSP_OPTION_INVALID',
  'ERR_JSP_AEAD_UNAVAILABLE',
  'ERR_JSP_LZ4_UNAVAILABLE',
  'ERR_JSP_MTU_NOT_CARRIED',
]);
