/** The life of a subscription, over all its connections: where it is in it, and who waits for what comes next. */

import type { JspError } from '../base/errors.ts';
import { checkOptions } from '../base/options.ts';
import { abortError, abortSignal, onAbort, unlessAborted } from '../transport/abort.ts';
import { undertake } from './undertaking.ts';

/** Where a subscription is in its life. */
export const Phase = {
  /** The broker has not acknowledged it yet. */
  OPENING: 0,
  /** It was acknowledged, and is there again whenever the client is. */
  OPEN: 1,
  /** It is being taken back: what the broker still has is read to the end, so that its answer comes. */
  LEAVING: 2,
  /** What was handed over is finished, and with QoS 1 no more handed over. */
  DRAINING: 3,
  OVER: 4,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

export class SubscriptionLife {
  /** Resolves when it is over, with what ended it where that was not asked for. */
  readonly closed: Promise<Error | null>;
  private readonly closedError: () => JspError;
  private at: Phase = Phase.OPENING;
  private cause: Error | null = null;
  /** Settles when it is taken back; null until that is asked for. */
  private takenBack: Promise<void> | null = null;
  private whenChanged: (() => void) | null = null;
  private resolveClosed: (error: Error | null) => void = () => {};
  private settleOpened: ((error: Error | null) => void) | null = null;

  /** @param closedError - what those get who wait for it to open when it is closed */
  constructor(closedError: () => JspError) {
    this.closedError = closedError;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
  }

  get phase(): Phase {
    return this.at;
  }

  /** What ended it, where that was not asked for. */
  get failure(): Error | null {
    return this.cause;
  }

  /**
   * Resolves when the broker has acknowledged all filters for the first time.
   *
   * @param close - called when `signal` fires before
   */
  async opened(signal: AbortSignal | undefined, close: () => void): Promise<void> {
    if (this.at === Phase.OVER) throw this.cause ?? this.closedError();
    if (this.at !== Phase.OPENING) return;
    const answer = new Promise<Error | null>((resolve) => {
      this.settleOpened = resolve;
    });
    const giveUp = () => {
      this.settleOpened?.(abortError(signal as AbortSignal));
      close();
    };
    if (signal?.aborted) giveUp();
    const forget = onAbort(signal, giveUp);
    const error = await answer;
    forget();
    if (error !== null) throw error;
  }

  /** The broker has acknowledged all filters. */
  onOpened(): void {
    if (this.at !== Phase.OPENING) return;
    this.at = Phase.OPEN;
    this.settleOpened?.(null);
    this.settleOpened = null;
  }

  /**
   * Takes the subscription back, once, and resolves when it is over.
   *
   * @param leave - asks the broker, where there is a connection; one that is durable is else taken back on the next
   */
  unsubscribe(signal: AbortSignal | undefined, leave: () => Promise<void>): Promise<void> {
    return undertake(
      () => checkOptions('unsubscribe', { signal }, UNSUBSCRIBE_OPTIONS),
      async () => {
        if (this.takenBack === null) {
          this.takenBack = this.takeBack(leave);
          this.takenBack.catch(() => {}); // whoever waits hears of it
        }
        if (signal?.aborted) throw abortError(signal);
        await unlessAborted(this.takenBack, signal);
      },
    );
  }

  beginDraining(): void {
    this.at = Phase.DRAINING;
  }

  /** False: it was over before. */
  end(error: Error | null): boolean {
    if (this.at === Phase.OVER) return false;
    this.at = Phase.OVER;
    this.cause = error;
    this.settleOpened?.(error ?? this.closedError());
    this.settleOpened = null;
    this.resolveClosed(error);
    this.onChanged();
    return true;
  }

  /** Resolves when its connection is another one, or lost, or it is over. */
  change(): Promise<void> {
    return new Promise((resolve) => {
      this.whenChanged = resolve;
    });
  }

  onChanged(): void {
    this.whenChanged?.();
  }

  private async takeBack(leave: () => Promise<void>): Promise<void> {
    if (this.at !== Phase.OVER) {
      this.at = Phase.LEAVING;
      await leave();
      await this.closed;
    }
    if (this.cause !== null) throw this.cause;
  }
}

const UNSUBSCRIBE_OPTIONS = { signal: abortSignal };
