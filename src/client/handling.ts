/** How the handler of a subscription gets its messages: so many at once, those with one key one after the other, and others have their turn. */

import { MILLISECOND, type Micros } from '../base/time.ts';
import { throwByItself } from '../transport/throwing.ts';
import type { Clock } from '../udp/clock.ts';
import type { Message } from './message.ts';
import type { BusyKeys } from './message-buffer.ts';

/** A message, as far as it is to be handled. */
export interface Handled {
  /** How it came; null where nothing is to be done when it is handled. */
  readonly delivery: object | null;
}

/** Where a {@link Handling} has its messages from, and what it tells of them. */
export interface HandledMessages<M extends Handled = Message> {
  /** Takes the oldest that waits and whose key is not busy. */
  take(busy: BusyKeys): M | undefined;
  /** The message as its handler gets it; null for one that nobody gets, which was told. */
  open(message: M): M | null;
  /** Its messages of one key are handled one after the other. */
  keyOf(message: M): string;
  /** Calls back once when more may be opened in this turn of the event loop; null: now. */
  readonly opening: { readonly isSpent: boolean; wait(resume: () => void): void } | null;
  onHandled(message: M): void;
  /** @param throwAgain - gives the error to nobody in particular, as the handler did */
  onFailed(message: M, error: unknown, throwAgain: (error: unknown) => void): void;
  /** Nothing that waits can be handled now. */
  onIdle(): void;
}

/** Runs one handler. */
export class Handling<M extends Handled = Message> {
  private readonly handler: (message: M) => unknown;
  private readonly concurrency: number;
  private readonly messages: HandledMessages<M>;
  private readonly clock: Clock;
  private running = 0;
  /** Keys of the messages that are being handled, where several may be. */
  private readonly busy = new Set<string>();
  /** It goes on by itself in a later turn of the event loop. */
  private resting = false;
  /** When this turn of the event loop has lasted long enough; null: not known. */
  private restAt: Micros | null = null;

  constructor(
    handler: (message: M) => unknown,
    concurrency: number,
    messages: HandledMessages<M>,
    clock: Clock,
  ) {
    this.handler = handler;
    this.concurrency = concurrency;
    this.messages = messages;
    this.clock = clock;
  }

  /** Messages whose handler has not settled. */
  get active(): number {
    return this.running;
  }

  /** Nothing is being handled, and nothing keeps it from being so. */
  get isFree(): boolean {
    return this.running === 0 && !this.resting;
  }

  /** A message for which nothing waits can be handled at once. */
  isFreeFor(message: M): boolean {
    if (this.resting || this.running >= this.concurrency) return false;
    return this.running === 0 || !this.busy.has(this.messages.keyOf(message));
  }

  /** Handles `message` at once. */
  handle(message: M): void {
    const opened = this.messages.open(message);
    if (opened !== null) this.run(opened);
  }

  /** The same for a message as its handler gets it. */
  run(opened: M): void {
    let promise: PromiseLike<unknown> | null = null;
    try {
      const result: unknown = this.handler(opened);
      if (isThenable(result)) promise = result;
    } catch (error) {
      this.messages.onFailed(opened, error, throwByItself);
      return;
    }
    if (promise !== null) this.await(promise, opened);
    else if (opened.delivery !== null) this.messages.onHandled(opened);
  }

  /** Handles what waits, as far as it can. */
  goOn(): void {
    const { messages } = this;
    while (this.running < this.concurrency && !this.resting) {
      if (messages.opening?.isSpent) {
        this.restUntil((resume) => messages.opening?.wait(resume));
        return;
      }
      const message = messages.take(this.busy);
      if (message === undefined) break;
      this.handle(message);
      if (this.isTurnOver()) this.restUntil((resume) => this.clock.soon(resume));
    }
    messages.onIdle();
  }

  private await(promise: PromiseLike<unknown>, message: M): void {
    const { messages } = this;
    const key = this.concurrency > 1 ? messages.keyOf(message) : null;
    this.running++;
    if (key !== null) this.busy.add(key);
    const settle = (): void => {
      this.running--;
      if (key !== null) this.busy.delete(key);
    };
    Promise.resolve(promise).then(
      () => {
        settle();
        messages.onHandled(message);
        this.goOn();
      },
      (error) => {
        settle();
        messages.onFailed(message, error, rejectByItself);
        this.goOn();
      },
    );
  }

  private restUntil(wait: (resume: () => void) => void): void {
    this.resting = true;
    wait(() => {
      this.resting = false;
      this.goOn();
    });
  }

  /** Many messages that wait, with a handler that is quick or never lets go, would keep everybody else from the event loop. [CLT-26] */
  private isTurnOver(): boolean {
    const now = this.clock.now();
    if (this.restAt === null) {
      this.restAt = now + TURN;
      this.clock.soon(() => {
        this.restAt = null;
      });
    }
    return now >= this.restAt;
  }
}

/** It stays an unhandled rejection, which is what the handler made of it. */
function rejectByItself(error: unknown): void {
  void Promise.reject(error);
}

export function isThenable(result: unknown): result is PromiseLike<unknown> {
  return (
    typeof result === 'object' && result !== null && typeof (result as { then?: unknown }).then === 'function'
  );
}

/** How long handlers run, one after the other, before the event loop turns. */
const TURN: Micros = 10 * MILLISECOND;
