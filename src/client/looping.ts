/** How the loops over a subscription get its messages: each goes to the one that has waited longest. */

import type { Handled, HandledMessages } from './handling.ts';
import type { Message } from './message.ts';

/** Where {@link Loops} have their messages from, and what they tell of them. */
export interface LoopedMessages<M extends Handled = Message>
  extends Pick<HandledMessages<M>, 'open' | 'opening' | 'onHandled' | 'onIdle'> {
  /** Nothing comes any more; because of this, or of nothing in particular. */
  readonly isAtEnd: boolean;
  readonly failure: Error | null;
  /** Takes the oldest that waits. */
  shift(): M | undefined;
  /** @throws {TypeError} where a handler has the messages */
  beginLoop(): void;
  /** A loop was left, or has come to the end. */
  endLoop(): void;
}

/** All loops of one subscription. */
export class Loops<M extends Handled = Message> {
  private readonly messages: LoopedMessages<M>;
  /** Wake those that wait for a message, or for the end. */
  private readonly waiting: (() => void)[] = [];
  private running = 0;

  constructor(messages: LoopedMessages<M>) {
    this.messages = messages;
  }

  /** Messages with which a loop is not done. */
  get active(): number {
    return this.running;
  }

  /** A message has come. */
  wakeOne(): void {
    this.waiting.shift()?.();
  }

  wakeAll(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** One more loop, until nothing comes any more. */
  async *iterate(): AsyncGenerator<M, void, undefined> {
    const { messages } = this;
    messages.beginLoop();
    try {
      for (;;) {
        const { opening } = messages;
        if (opening?.isSpent) await new Promise<void>((resolve) => opening.wait(resolve));
        // Those that have waited go first.
        let message = this.waiting.length === 0 ? messages.shift() : undefined;
        if (message === undefined && messages.isAtEnd) break;
        if (message === undefined) message = await this.next();
        const given = message === undefined ? null : messages.open(message);
        if (given === null) continue;
        this.running++;
        try {
          yield given;
          messages.onHandled(given); // [CLT-24] the loop asks for the next one
        } finally {
          this.running--;
          messages.onIdle();
        }
      }
      if (messages.failure !== null) throw messages.failure;
    } finally {
      messages.endLoop();
    }
  }

  /** Waits for its turn. Undefined: look again. */
  private async next(): Promise<M | undefined> {
    let message: M | undefined;
    await new Promise<void>((resolve) => {
      this.waiting.push(() => {
        message = this.messages.shift();
        resolve();
      });
    });
    return message;
  }
}
