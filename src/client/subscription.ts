/** A subscription as its application sees it; how it works is in open-subscription.ts. */

import type { EventEmitter } from 'node:events';
import { DROP_REASON_NAMES } from '../pubsub/command.ts';
import type { Message } from './message.ts';
import type { UndecodableMessage } from './reading.ts';

/** Messages that a subscription should have had and does not get. */
export interface Gap {
  /** How many; `unknown` where the broker could not know: it was away, or lost its log. */
  readonly missed: number | 'unknown';
}

/** A subscription goes on after its connection was lost. */
export interface Resumed {
  /** It goes on where it was. False: what came meanwhile is missing, as `gap` has told. Always false with QoS 0, and where the broker lost its log. */
  readonly recovered: boolean;
}

/**
 * Why the broker did not send messages: their queue was full, and its policy drops (`policy`); their time was over; the log did not keep them (`retention`);
 * this client may not read them; they are above the largest that it takes (`tooLarge`); they are compressed, and the subscription does not take that; they
 * were delivered as often as is allowed, and there is no dead-letter topic (`rejected`).
 */
export type MissedReason = (typeof DROP_REASON_NAMES)[number] | 'unknown';

export interface SubscriptionEvents<T = unknown> {
  /** Messages are missing here. [CLT-29] */
  gap: [gap: Gap];
  /** It goes on, on another connection. [CLT-28] */
  resumed: [resumed: Resumed];
  /** Messages are missing here, for a reason that lies with the subscription, or with them. */
  missed: [count: number, reason: MissedReason];
  /** A handler threw, or rejected with, `error`. [CLT-24] */
  handlerError: [error: unknown, message: Message<T>];
  /** A message could not be decoded. [CLT-21] */
  undecodable: [message: UndecodableMessage];
}

/**
 * A subscription, on a stream of its own: a slow one holds up neither other subscriptions nor requests. Its messages go to its handler, or,
 * where it has none, to whoever iterates over it; several loops share them, each message going to the loop that has waited longest. Leaving a loop
 * closes the subscription; what ended it otherwise is thrown there.
 *
 * It outlives connections: when the client is back, so is the subscription, and its loops go on. The events `resumed` and `gap` tell what that has cost.
 *
 * With QoS 1, a loop that is left has not acknowledged the message that it had: it is delivered again, unless `message.ack()` was called.
 *
 * @example
 * for await (const message of await client.subscribe('sensors/+/temperature')) console.log(message.topic, message.text());
 */
export interface Subscription<T = unknown>
  extends EventEmitter<SubscriptionEvents<T>>,
    AsyncIterable<Message<T>> {
  readonly filters: readonly string[];
  /**
   * Resolves when the subscription is over: with null after {@link unsubscribe} or {@link close}, else with what ended it, such as
   * `ERR_JSP_BROKER` when the broker gave it up because nobody read its messages, or because another subscriber took its durable name over.
   */
  readonly closed: Promise<Error | null>;
  /** Messages that the broker did not send, as the event `missed` tells; those of a `gap` that has a number among them. */
  readonly missed: number;
  /** Messages that came compressed and could not be opened; the client's event `unopened` says which, and why. */
  readonly unopened: number;
  /** Messages that the codec could not decode. */
  readonly undecodable: number;
  /** Messages that this side dropped, because of a drop policy; the broker counts its own. */
  readonly dropped: number;
  /** Messages with QoS 1 that have come and are not settled. */
  readonly unsettled: number;
  /**
   * Takes the subscription back. Messages that the broker has queued still come, and have all arrived when this resolves; a handler or a
   * loop gets them, and then it is over, so this may be awaited there, too. {@link close} waits for nothing. A further call waits for the same,
   * so a handler may make one for each message that it does not want. A durable one is gone from the broker, with what it had not delivered;
   * {@link close} leaves it there.
   *
   * @param signal - ends this wait; the subscription is taken back all the same
   * @throws {JspError} `ERR_JSP_ABORTED`; what ended the subscription, or its connection, meanwhile or before
   */
  unsubscribe(signal?: AbortSignal): Promise<void>;
  /** Ends the subscription at once: no message comes any more, not even one that has arrived. What was acknowledged stays so. */
  close(): void;
  [Symbol.asyncIterator](): AsyncGenerator<Message<T>, void, undefined>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a number in DROPPED stands for. */
export function missedReasonOf(reason: number): MissedReason {
  return DROP_REASON_NAMES[reason] ?? 'unknown';
}
