/** A subscription in a browser as its application sees it; how it works is in open-subscription.ts. */

import type { Gap, MissedReason, Resumed } from '../client/subscription.ts';
import type { Message } from './message.ts';

/** A message whose payload the codec did not take. Nobody gets it. */
export interface UndecodableMessage {
  readonly topic: string;
  /** What the codec said. */
  readonly reason: string;
  /** The message, with its payload as it came. */
  readonly message: Message;
}

// As a type: what is looked up by name in an interface is no record of lists.
export type SubscriptionEvents<T = unknown> = {
  /** Messages are missing here. */
  gap: [gap: Gap];
  /** It goes on, on another connection. */
  resumed: [resumed: Resumed];
  /** Messages are missing here, for a reason that lies with the subscription, or with them. */
  missed: [count: number, reason: MissedReason];
  /** A handler threw, or rejected with, `error`. */
  handlerError: [error: unknown, message: Message<T>];
  /** A message could not be decoded. */
  undecodable: [message: UndecodableMessage];
};

/**
 * A subscription. Its messages go to its handler, or, where it has none, to whoever iterates over it; several loops share them, each message going to the loop that
 * has waited longest. Leaving a loop closes the subscription; what ended it otherwise is thrown there.
 *
 * It outlives connections: when the client is back, so is the subscription, and its loops go on. The events `resumed` and `gap` tell what that has cost.
 *
 * With QoS 1, a loop that is left has not acknowledged the message that it had: it is delivered again, unless `message.ack()` was called.
 */
export interface Subscription<T = unknown> extends AsyncIterable<Message<T>> {
  readonly filters: readonly string[];
  /** Resolves when the subscription is over: with null after {@link unsubscribe} or {@link close}, else with what ended it. */
  readonly closed: Promise<Error | null>;
  /** Messages that the broker did not send, as the event `missed` tells; those of a `gap` that has a number among them. */
  readonly missed: number;
  /** Messages that the codec could not decode. */
  readonly undecodable: number;
  /** Messages that this side dropped, because they came faster than they were handled; told by `missed` as well. */
  readonly dropped: number;
  /** Messages with QoS 1 that have come and are not settled. */
  readonly unsettled: number;
  on<K extends keyof SubscriptionEvents<T>>(
    event: K,
    listener: (...args: SubscriptionEvents<T>[K]) => void,
  ): this;
  once<K extends keyof SubscriptionEvents<T>>(
    event: K,
    listener: (...args: SubscriptionEvents<T>[K]) => void,
  ): this;
  off<K extends keyof SubscriptionEvents<T>>(
    event: K,
    listener: (...args: SubscriptionEvents<T>[K]) => void,
  ): this;
  /**
   * Takes the subscription back, and resolves when nothing comes any more: what was under way has come. A durable one is gone from the broker, with what it had not delivered;
   * {@link close} leaves it there.
   *
   * @throws {JspError} `ERR_JSP_ABORTED`; what ended the subscription, or its connection, meanwhile or before
   */
  unsubscribe(signal?: AbortSignal): Promise<void>;
  /** Ends the subscription at once: no message comes any more, not even one that has arrived. What was acknowledged stays so. */
  close(): void;
  [Symbol.asyncIterator](): AsyncGenerator<Message<T>, void, undefined>;
  [Symbol.asyncDispose](): Promise<void>;
}
