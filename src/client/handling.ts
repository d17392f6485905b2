/** How the handler of a subscription gets its messages: so many at once, those with one key one after the other, and others have their turn. */

import { performance } from 'node:perf_hooks';
import { throwByItself } from '../transport/listeners.ts';
import type { Clock } from '../udp/clock.ts';
import type { Message, MessageHandler } from './message.ts';
import type { BusyKeys } from './message-buffer.ts';

/** Where a {@link Handling} has its messages from, and what it tells of them. */
export interface HandledMessages {
  /** Takes the oldest that waits and whose key is not busy. */
  take(busy: BusyKeys): Message | undefined;
  /** The message as its handler gets it; null for one that nobody gets, which was told. */
  open(message: Message): Message | null;
  /** Its messages of one key are handled one after the other. */
  keyOf(message: Message): string;
  /** Calls back once when more may be opened in this turn of the event loop; null: now. */
  readonly opening: { readonly isSpent: boolean; wait(resume: () => void): void } | null;
  onHandled(message: Message): void;
  /** @param throwAgain - gives the error to nobody in particular, as the handler did */
  onFailed(message: Message, error: unknown, throwAgain: (error: unknown) => void): void;
  /** Nothing that waits can be handled now. */
  onIdle(): void;
}

/** Runs one handler. */
export class Handling {
  private readonly handler: MessageHandler;
  private readonly concurrency: number;
  private readonly messages: HandledMessages;
  private readonly clock: Clock;
  private running = 0;
  /** Keys of the messages that are being handled, where several may be. */
  private readonly busy = new Set<string>();
  /** It goes on by itself in a later turn of the event loop. */
  private resting = false;
  /** When this turn of the event loop has lasted long enough; 0: not known. */
  private restAtMs = 0;

  constructor(handler: MessageHandler, concurrency: number, messages: HandledMessages, clock: Clock) {
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
  isFreeFor(message: Message): boolean {
    if (this.resting || this.running >= this.concurrency) return false;
    return this.running === 0 || !this.busy.has(this.messages.keyOf(message));
  }

  /** Handles `message` at once. */
  handle(message: Message): void {
    const opened = this.messages.open(message);
    if (opened !== null) this.run(opened);
  }

  /** The same for a message as its handler gets it. */
  run(opened: Message): void {
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

  private await(promise: PromiseLike<unknown>, message: Message): void {
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
    const now = performance.now();
    if (this.restAtMs === 0) {
      this.restAtMs = now + TURN_MS;
      this.clock.soon(() => {
        this.restAtMs = 0;
      });
    }
    return now >= this.restAtMs;
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
const TURN_MS = 10;
