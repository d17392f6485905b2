/** All subscriptions of one client: how they are made, and what they tell its application. */

import type { Clock } from '../udp/clock.ts';
import type { Codec } from './codec.ts';
import type { ClientCompression, UnopenedMessage } from './compression.ts';
import type { Life } from './life.ts';
import type { Message, MessageHandler, Settlement } from './message.ts';
import { OpenSubscription, type SubscriptionOwner } from './open-subscription.ts';
import type { PublishOptions } from './publish-options.ts';
import { FRESH_TOPICS, TopicTexts, type UndecodableMessage } from './reading.ts';
import type { SubscribeOptions } from './subscribe-options.ts';
import type { Gap, MissedReason, Resumed, Subscription } from './subscription.ts';

/** What a client tells of its subscriptions; each tells the like itself. */
export interface ClientSubscriptionEvents {
  /** Messages for a subscription are missing here, for the reason that is given. */
  missed: [subscription: Subscription, count: number, reason: MissedReason];
  /** A message came compressed and could not be opened; whoever subscribed does not get it. */
  unopened: [subscription: Subscription, message: UnopenedMessage];
  /** A message could not be decoded; whoever subscribed does not get it. [CLT-21] */
  undecodable: [subscription: Subscription, message: UndecodableMessage];
  /** A handler threw, or rejected with, `error`. [CLT-24] */
  handlerError: [subscription: Subscription, error: unknown, message: Message];
  /** Messages are missing here: the broker could not keep them, or does not know how many. [CLT-29] */
  gap: [subscription: Subscription, gap: Gap];
  /** A subscription goes on, on another connection. [CLT-28] */
  resumed: [subscription: Subscription, resumed: Resumed];
  /** The broker gave a subscription up for good, such as to another that took its durable name over; the connection goes on. [CLT-30] */
  lost: [subscription: Subscription, error: Error];
}

/** Tells the listeners of the client; false when there are none. */
type Tell = <K extends keyof ClientSubscriptionEvents>(
  event: K,
  ...args: ClientSubscriptionEvents[K]
) => boolean;

/** Publishes an answer to a request. */
export type PublishAnswer = (
  topic: string,
  payload: Uint8Array | string,
  options: PublishOptions | undefined,
) => boolean;

export class Subscriptions {
  private readonly life: Life;
  private readonly compression: ClientCompression;
  /** Of a subscription that has none of its own. */
  private readonly codec: Codec<unknown> | null;
  private readonly clock: Clock;
  private readonly owner: SubscriptionOwner;
  private readonly topics = new TopicTexts();
  private readonly all = new Set<OpenSubscription>();
  private readonly inboxes = new Set<OpenSubscription>();

  constructor(
    life: Life,
    compression: ClientCompression,
    { codec, clock }: { codec: Codec<unknown> | null; clock: Clock },
    tell: Tell,
    publish: PublishAnswer,
  ) {
    this.life = life;
    this.compression = compression;
    this.codec = codec;
    this.clock = clock;
    this.owner = {
      onClosed: (over, error) => {
        this.forget(over);
        if (error === null) return;
        // A client that is over tells of itself.
        queueMicrotask(() => {
          if (life.failure === null) tell('lost', over, error);
        });
      },
      onMissed: (of, count, reason) => void tell('missed', of, count, reason),
      onUnopened: (of, message) => void tell('unopened', of, message),
      onUndecodable: (of, message) => void tell('undecodable', of, message),
      onHandlerError: (of, error, message) => tell('handlerError', of, error, message),
      onGap: (of, gap) => void tell('gap', of, gap),
      onResumed: (of, resumed) => void tell('resumed', of, resumed),
      publish,
    };
  }

  get size(): number {
    return this.all.size;
  }

  /** Resolves when the broker has acknowledged it. A client that is offline asks when it is back. */
  async open(
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
  ): Promise<OpenSubscription> {
    const inflater = this.compression.inflaterFor(options.compression);
    const reading = { topics: this.topics, inflater, codec: options.codec ?? this.codec, clock: this.clock };
    const subscription = new OpenSubscription(filters, handler, options, reading, this.owner);
    this.all.add(subscription);
    this.life.use(subscription.linkUser);
    await subscription.opened(options.signal);
    return subscription;
  }

  /** For answers to requests, of which the application hears nothing. */
  async openInbox(filter: string, handler: MessageHandler): Promise<OpenSubscription> {
    const inflater = this.compression.inflaterFor(undefined);
    const reading = { topics: FRESH_TOPICS, inflater, codec: null, clock: this.clock };
    const owner = { ...SILENT, onClosed: (over: OpenSubscription) => this.forget(over) };
    const inbox = new OpenSubscription([filter], handler, { retained: 'none' }, reading, owner);
    this.inboxes.add(inbox);
    this.life.use(inbox.linkUser);
    await inbox.opened(undefined);
    return inbox;
  }

  /** Lets the application finish what it has, of all at once. [CLT-31] */
  async drain(): Promise<readonly Settlement[]> {
    const left = await Promise.all([...this.all].map((each) => each.drain()));
    return left.flat();
  }

  /** Messages with QoS 1 that the application has and has not settled. */
  get handedOver(): readonly Settlement[] {
    return [...this.all].flatMap(({ handedOver }) => handedOver);
  }

  close(): void {
    for (const each of [...this.all, ...this.inboxes]) each.close();
  }

  private forget(over: OpenSubscription): void {
    this.all.delete(over);
    this.inboxes.delete(over);
    this.life.forget(over.linkUser);
  }
}

const SILENT: SubscriptionOwner = {
  onClosed: () => {},
  onMissed: () => {},
  onUnopened: () => {},
  onUndecodable: () => {},
  onHandlerError: () => false,
  onGap: () => {},
  onResumed: () => {},
  publish: () => false,
};
