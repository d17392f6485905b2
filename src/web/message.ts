/** A message as a subscriber in a browser gets it, with the names of the native client's. */

import { decodeWith } from '../client/codec.ts';
import { type NackOptions, Outcome, type RespondOptions, type Settlement } from '../client/message.ts';
import { countIn, type Frame, textIn } from './frames.ts';
import { type Codec, fromBase64, jsonCodec, toBytes, toJson, toText } from './payload.ts';

/**
 * Called with each message. When it returns a promise, or anything else with a `then`, messages wait until that settles, as many as the subscription's
 * `concurrency` does not allow beside it. What it throws or rejects with is told by the event `handlerError`. With QoS 1 the message is then delivered again, later.
 */
export type MessageHandler<T = unknown> = (message: Message<T>) => unknown;

/** What a message can ask of the subscription that it came by. */
export interface MessageSource {
  respond(message: Message, payload: unknown, options: RespondOptions): boolean;
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
  /** What settles it, with QoS 1. */
  readonly delivery: Settlement | null;
  private readonly frame: Frame;
  private readonly source: MessageSource;
  private readonly codec: Codec<T> | null;
  private bytes: Uint8Array | null = null;
  private decoded: { readonly value: T } | null = null;

  /** For the subscriptions of this library. */
  constructor(frame: Frame, delivery: Settlement | null, source: MessageSource, codec: Codec<T> | null) {
    this.topic = textIn(frame, 'topic');
    this.frame = frame;
    this.delivery = delivery;
    this.source = source;
    this.codec = codec;
  }

  /** Its bytes. Of one that came as JSON: that JSON, written anew, without what stood between its values. */
  get payload(): Uint8Array {
    this.bytes ??= this.readPayload();
    return this.bytes;
  }

  /** What the codec of the subscription, or of the client, makes of the payload; without a codec the payload. */
  get value(): T {
    this.decoded ??= { value: this.decode() };
    return this.decoded.value;
  }

  /** The payload as UTF-8. */
  text(): string {
    const { text, json } = this.frame;
    if (typeof text === 'string') return text;
    return json === undefined ? toText(this.payload) : toJson(json);
  }

  /**
   * The payload as JSON.
   *
   * @throws {JspError} `ERR_JSP_PAYLOAD_INVALID`
   */
  json<J = T>(): J {
    const { json } = this.frame;
    return json === undefined ? (decodeWith(() => JSON_CODEC.decode(this.payload), this) as J) : (json as J);
  }

  /** Its number in its log; undefined with QoS 0. */
  get offset(): number | undefined {
    return this.delivery?.offset;
  }

  /** Offsets with the same epoch are of the same log, undivided; undefined with QoS 0. */
  get epoch(): number | undefined {
    return this.delivery?.epoch;
  }

  /** It may have been handed over before. */
  get redelivered(): boolean {
    return this.delivery?.isRedelivered ?? this.frame.redelivered === true;
  }

  /** The how manieth delivery this is, as far as the broker tells: 1 for the first. */
  get attempt(): number {
    return countIn(this.frame, 'attempt') ?? (this.redelivered ? 2 : 1);
  }

  /** It is the last value of its topic, sent because of a new subscription. */
  get retained(): boolean {
    return this.frame.retained === true;
  }

  /** Names and values that its publisher has given it. */
  get headers(): Readonly<Record<string, string>> {
    return (this.frame.headers as Record<string, string> | undefined) ?? NO_HEADERS;
  }

  get contentType(): string | undefined {
    return this.said('contentType');
  }

  /** Topic that an answer goes to: {@link respond}. */
  get replyTo(): string | undefined {
    return this.said('replyTo');
  }

  get correlation(): Uint8Array | undefined {
    const base64 = this.said('correlation');
    return base64 === undefined ? undefined : bytesOf(base64);
  }

  get key(): string | undefined {
    return this.said('key');
  }

  /** When the broker took it, where it tells. */
  get publishedAt(): Date | undefined {
    const { publishedAt } = this.frame;
    return publishedAt === undefined ? undefined : new Date(publishedAt as string | number);
  }

  /** All that the gateway says of it, by the names of its protocol: `messageId`, `ttlMs`, `traceparent`, `status` of a reply, `origin` of a dead letter. */
  get properties(): Readonly<Record<string, unknown>> {
    return this.frame;
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
    const { delivery } = this;
    return delivery?.settler.progress(delivery) ?? false;
  }

  /**
   * Answers a request.
   *
   * @param payload - encoded by the subscription's codec where it has one
   * @returns false when too much is queued, as `publish` does, and for a message that asks for no answer
   */
  respond(payload: unknown, options: RespondOptions = {}): boolean {
    return this.source.respond(this as Message, payload, options);
  }

  private settle(outcome: Outcome, options: NackOptions): boolean {
    const { delivery } = this;
    return delivery?.settler.settle(delivery, outcome, options) ?? false;
  }

  private said(member: string): string | undefined {
    const value = this.frame[member];
    return typeof value === 'string' ? value : undefined;
  }

  private readPayload(): Uint8Array {
    const { text, base64, json } = this.frame;
    if (typeof text === 'string') return toBytes(text);
    if (typeof base64 === 'string') return bytesOf(base64);
    return json === undefined ? new Uint8Array(0) : toBytes(toJson(json));
  }

  private decode(): T {
    const { codec, frame } = this;
    if (codec === null) return this.payload as T;
    const decode = () =>
      frame.json !== undefined && codec.decodeJson
        ? codec.decodeJson(frame.json)
        : codec.decode(this.payload);
    return decodeWith(decode, frame);
  }
}

/** [WEB-8] what is no base64 counts as absent */
function bytesOf(base64: string): Uint8Array {
  try {
    return fromBase64(base64);
  } catch {
    return new Uint8Array(0);
  }
}

const JSON_CODEC = jsonCodec();
const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({});
