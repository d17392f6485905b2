/**
 * How a client drains: handlers finish what they have, the broker gets their acknowledgements and everything that was published, and then the client goes. It
 * comes back for that where it has lost its connection. [CLT-15]
 */

import { JspError } from '../base/errors.ts';
import { Deadline } from './deadline.ts';
import type { Life } from './life.ts';
import type { Settlement } from './message.ts';
import type { Outbox } from './outbox.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface DrainOptions {
  /** How long to wait at most, in ms. Default 30,000. A later call can only shorten it. */
  timeoutMs?: number | undefined;
  /** Ends it when it fires: what is not settled by then is listed. */
  signal?: AbortSignal | undefined;
}

/** A message that a client could not settle before it went. */
export interface UnsettledMessage {
  /** `received`: the application has it, and has not acknowledged it; it is delivered again. `published`: the broker has not confirmed it. */
  readonly was: 'received' | 'published';
  readonly topic: string;
  /** Of one that was received: in its log. */
  readonly offset: number | null;
}

/** A client has gone, and this it has not settled. */
export class DrainError extends JspError {
  readonly unsettled: readonly UnsettledMessage[];

  constructor(unsettled: readonly UnsettledMessage[], cause: Error | null) {
    const received = unsettled.filter(({ was }) => was === 'received').length;
    super(
      'ERR_JSP_CLOSE_INCOMPLETE',
      `the client has gone, and ${received} messages that it had received are not acknowledged, ${unsettled.length - received} that it had published are not confirmed; the error's "unsettled" lists them`,
      { cause },
    );
    this.unsettled = unsettled;
  }
}

/** A drain that is under way. */
export class Drain {
  readonly done: Promise<void>;
  private readonly life: Life;
  private readonly subscriptions: Subscriptions;
  private readonly outbox: Outbox;
  private readonly deadline = new Deadline(() => this.endWait());
  private endWait: () => void = () => {};

  /**
   * @param close - closes the client when all is done
   * @param over - resolves when the client is over before that
   */
  constructor(
    life: Life,
    subscriptions: Subscriptions,
    outbox: Outbox,
    close: () => Promise<void>,
    over: Promise<unknown>,
  ) {
    this.subscriptions = subscriptions;
    this.outbox = outbox;
    this.life = life;
    this.done = this.run(close, over);
    this.done.catch(() => {}); // whoever waits hears of it
  }

  shorten({ timeoutMs = TIMEOUT_MS, signal }: DrainOptions): void {
    this.deadline.shorten(timeoutMs, signal);
  }

  private async run(close: () => Promise<void>, over: Promise<unknown>): Promise<void> {
    const cut = new Promise<null>((resolve) => {
      this.endWait = () => resolve(null);
      void over.then(this.endWait);
    });
    this.life.beginDraining();
    const left = await Promise.race([this.finish(), cut]);
    this.deadline.end();
    const { failure } = this.life;
    const received = left ?? this.subscriptions.handedOver;
    const unsettled = [...received.map(asReceived), ...this.outbox.unsettledTopics.map(asPublished)];
    if (left !== null && failure === null) await close();
    else this.life.end(null);
    if (unsettled.length > 0 || failure !== null) throw new DrainError(unsettled, failure);
  }

  private async finish(): Promise<readonly Settlement[] | null> {
    try {
      const left = await this.subscriptions.drain();
      await this.outbox.flushUnconfirmed();
      return left;
    } catch {
      return null; // a connection took messages with QoS 0 with it, or the client is over
    }
  }
}

function asPublished(topic: string): UnsettledMessage {
  return { was: 'published', topic, offset: null };
}

function asReceived({ topic, offset }: Settlement): UnsettledMessage {
  return { was: 'received', topic, offset };
}

const TIMEOUT_MS = 30_000;
