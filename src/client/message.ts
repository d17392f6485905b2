/** A message as a subscriber gets it: its payload at once, all else when somebody asks. */

import { PublishFlag } from '../pubsub/command.ts';
import { type DeliveryClass, decodeProperties, type Origin, type Properties } from '../pubsub/properties.ts';
import { decodeWith, jsonCodec } from './codec.ts';

/**
 * Called with each message. When it returns a promise, or anything else with a `then`, messages wait until that settles, as many as the subscription's
 * `concurrency` does not allow beside it. What it throws or rejects with is told by the event `handlerError`. With QoS 1 the message is then delivered again,
 * later; with QoS 0, where nobody listens for that event, the error is thrown by itself. [CLT-24]
 */
export type MessageHandler<T = unknown> = (message: Message<T>) => unknown;

/** What was done with a message of QoS 1. */
export interface NackOptions {
  /** When it is delivered again, in ms. Default: as the subscription's `backoffMs` says. */
  delayMs?: number | undefined;
  /** For whoever looks at the dead letter: at most 256 bytes of UTF-8. */
  reason?: string | undefined;
}

/** An answer to a request. */
export interface RespondOptions {
  /** 0, which is the default: success. Another number, except 503, makes the request fail with it. */
  status?: number | undefined;
  contentType?: string | undefined;
  headers?: Readonly<Record<string, string>> | undefined;
}

/** What a message can ask of the subscription that it came by. */
export interface MessageSource {
  respond(message: Message, payload: unknown, options: RespondOptions): boolean;
}

/** What became of a delivery with QoS 1. */
export const Outcome = { ACK: 0, NACK: 1, TERMINATE: 2 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** Who settles the deliveries with QoS 1 of a subscription. */
export interface Settler {
  settle(settlement: Settlement, outcome: Outcome, options: NackOptions): boolean;
  progress(settlement: Settlement): boolean;
}

/** Where a delivery with QoS 1 stands. It outlives the message, of which it holds nothing but the topic. */
export class Settlement {
  readonly settler: Settler;
  readonly topic: string;
  /** In the log. */
  readonly offset: number;
  /** Of the log. */
  readonly epoch: number;
  isRedelivered: boolean;
  /** The application has said what is with it; and that it is not to come again. */
  isSettled = false;
  isDone = false;
  /** The application has it, or has had it. */
  isHandedOver = false;

  constructor(settler: Settler, topic: string, offset: number, epoch: number, isRedelivered: boolean) {
    this.settler = settler;
    this.topic = topic;
    this.offset = offset;
    this.epoch = epoch;
    this.isRedelivered = isRedelivered;
  }
}

/** How a message came, where it is more than a payload. */
export class Delivery {
  /** The PUBLISH, with its properties. */
  readonly command: Buffer;
  /** Where the properties begin that its flags speak of. */
  readonly topicEnd: number;
  /** Null: with QoS 0. */
  readonly settlement: Settlement | null;
  private decoded: Properties | null = null;

  constructor(command: Buffer, topicEnd: number, settlement: Settlement | null) {
    this.command = command;
    this.topicEnd = topicEnd;
    this.settlement = settlement;
  }

  get flags(): number {
    return this.command[1];
  }

  get isRedelivered(): boolean {
    return this.settlement?.isRedelivered ?? (this.flags & PublishFlag.REDELIVERED) !== 0;
  }

  /** [CLT-20] decoded when somebody asks */
  get properties(): Properties {
    if (this.decoded === null) {
      const hasProperties = (this.flags & PublishFlag.PROPERTIES) !== 0;
      this.decoded = hasProperties ? decodeProperties(this.command, this.topicEnd) : NO_PROPERTIES;
    }
    return this.decoded;
  }
}

/**
 * A message as a subscriber gets it. `T` is what the subscription's codec makes of the payload.
 *
 * With QoS 1 it is to be acknowledged: by itself when its handler is done or its loop asks for the next one, or, with `ack: 'manual'`, by {@link ack},
 * {@link nack} or {@link terminate}. Each of these answers false when there is nothing left to say: it was settled before, came with QoS 0, or
 * by a connection that is over and whose delivery the broker does not know any more.
 */
export class Message<T = unknown> {
  readonly topic: string;
  /** The publisher's bytes; they belong to the receiver. */
  readonly payload: Buffer;
  /** How it came; null for one that is nothing but topic and payload. */
  readonly delivery: Delivery | null;
  /** What the codec of the subscription, or of the client, makes of the payload; without a codec the payload. */
  readonly value: T;
  private readonly source: MessageSource;

  /** For the subscriptions of this library. */
  constructor(
    topic: string,
    payload: Buffer,
    delivery: Delivery | null,
    source: MessageSource,
    value: T = payload as T,
  ) {
    this.topic = topic;
    this.payload = payload;
    this.value = value;
    this.delivery = delivery;
    this.source = source;
  }

  /** The same message with another value. */
  withValue<V>(value: V): Message<V> {
    return new Message<V>(this.topic, this.payload, this.delivery, this.source, value);
  }

  /** The payload as UTF-8. */
  text(): string {
    return this.payload.toString();
  }

  /**
   * The payload as JSON.
   *
   * @throws {JspError} `ERR_JSP_PAYLOAD_INVALID`
   */
  json<J = T>(): J {
    return decodeWith((bytes) => JSON_CODEC.decode(bytes), this.payload) as J;
  }

  /** Its number in its log; undefined with QoS 0. */
  get offset(): number | undefined {
    return this.delivery?.settlement?.offset;
  }

  /** Offsets with the same epoch are of the same log, undivided; undefined with QoS 0. */
  get epoch(): number | undefined {
    return this.delivery?.settlement?.epoch;
  }

  /** It may have been handed over before. */
  get redelivered(): boolean {
    return this.delivery?.isRedelivered ?? false;
  }

  /** The how manieth delivery this is, as far as the broker tells: 1 for the first. */
  get attempt(): number {
    return this.properties.attempt ?? (this.redelivered ? 2 : 1);
  }

  /** It is the last value of its topic, sent because of a new subscription. */
  get retained(): boolean {
    return this.delivery !== null && (this.delivery.flags & PublishFlag.RETAIN) !== 0;
  }

  /** Names and values that its publisher has given it. */
  get headers(): Readonly<Record<string, string>> {
    return this.properties.headers ?? NO_HEADERS;
  }

  get contentType(): string | undefined {
    return this.properties.contentType;
  }

  /** Topic that an answer goes to: {@link respond}. */
  get replyTo(): string | undefined {
    return this.properties.replyTopic;
  }

  get correlation(): Uint8Array | undefined {
    return this.properties.correlation;
  }

  get key(): string | undefined {
    return this.properties.key;
  }

  /** When the broker took it, where it tells. */
  get publishedAt(): Date | undefined {
    const { publishedAt } = this.properties;
    return publishedAt === undefined ? undefined : new Date(publishedAt);
  }

  /** All that else is known: time to live, message id, trace, status of a reply, where a dead letter was. */
  get properties(): MessageProperties {
    return this.delivery?.properties ?? NO_PROPERTIES;
  }

  /** It is done: not to be delivered again. */
  ack(): boolean {
    return this.settle(Outcome.ACK, {});
  }

  /** It is not done: to be delivered again. */
  nack(options: NackOptions = {}): boolean {
    return this.settle(Outcome.NACK, options);
  }

  /** It never will be done: to go to the dead-letter topic, and not to be delivered again. */
  terminate(reason?: string): boolean {
    return this.settle(Outcome.TERMINATE, { reason });
  }

  /** It is being worked on: the time to acknowledge it begins anew. With `ack: 'auto'` that happens by itself. */
  progress(): boolean {
    const settlement = this.delivery?.settlement;
    return settlement?.settler.progress(settlement) ?? false;
  }

  /**
   * Answers a request.
   *
   * @param payload - encoded by the subscription's codec where it has one
   * @returns false when too much is queued, as `publish` does, and for a message that asks for no answer
   */
  respond(payload: unknown, options: RespondOptions = {}): boolean {
    return this.source.respond(this, payload, options);
  }

  private settle(outcome: Outcome, options: NackOptions): boolean {
    const settlement = this.delivery?.settlement;
    return settlement?.settler.settle(settlement, outcome, options) ?? false;
  }
}

/** What is known of a message beside its payload. */
export type MessageProperties = Readonly<Properties>;
export type { DeliveryClass, Origin };

const JSON_CODEC = jsonCodec();
const NO_PROPERTIES: Properties = Object.freeze({});
const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({});
