/** What a publish may say beside topic and payload, and how it is told to the broker and the subscribers: as properties. [BRK-48, CLT-13] */

import { JspError } from '../base/errors.ts';
import {
  anObject,
  checkOptions,
  flag,
  number,
  type OptionTable,
  oneOf,
  text,
  whole,
} from '../base/options.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import {
  DELIVERY_CLASS_NAMES,
  deliveryClassNamed,
  encodeProperties,
  findProperty,
  type Properties,
  PropertyType,
} from '../pubsub/properties.ts';
import { isWellFormed } from '../pubsub/topic.ts';
import { abortSignal } from '../transport/abort.ts';
import { type CompressionChoice, compressionChoice } from '../transport/compression.ts';
import { type Codec, codecOption } from './codec.ts';

export interface PublishOptions<T = unknown> {
  /**
   * 0 (default): handed on once, to whoever is subscribed. 1: the answer is a promise that resolves when the broker has stored the message; the client sends it
   * again after a lost connection until then, and it is stored once.
   */
  qos?: 0 | 1 | undefined;
  /** The broker keeps the message as the last value of its topic, for who subscribes later; an empty payload removes that. */
  retain?: boolean | undefined;
  /** How long the message is worth delivering, in ms, wherever it waits: here, in the broker, in a queue. Default: without end. */
  ttlMs?: number | undefined;
  /** Topic for answers. */
  replyTo?: string | undefined;
  /** What an answer repeats, so that it is known what it answers: up to 256 bytes. */
  correlation?: Uint8Array | string | undefined;
  /** Such as `application/json`: up to 256 bytes. */
  contentType?: string | undefined;
  /** Messages of one key stay in order where several subscribers share the work: up to 256 bytes. */
  key?: string | undefined;
  /** Of an answer to a request, 0 to 65,535: 0 or none is success, 503 says that nobody is there to answer. */
  status?: number | undefined;
  /** The application's own, for the subscribers. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** How much is done to deliver it, at most: `durable` (default) goes to its log with QoS 1; less is in no log, and `latest` and `unreliable` may be left out for newer ones. */
  class?: 'latest' | 'unreliable' | 'reliable' | 'durable' | undefined;
  /** By which the broker knows a message that it is given twice, for publishers without a session: up to 256 bytes. */
  messageId?: string | undefined;
  /** The trace that it belongs to, as W3C Trace Context has it. */
  traceparent?: string | undefined;
  /** With `retain`: the value goes with the session of this client, when that has had no connection for so long. Presence, for one. */
  owned?: { readonly graceMs?: number | undefined } | undefined;
  /** What makes the payload. Default: that of the client. */
  codec?: Codec<T> | undefined;
  /** Of QoS 1: ends the wait. A message that has not left is taken back; one that has may be stored all the same. */
  signal?: AbortSignal | undefined;
  /**
   * Which traffic goes first, on the way to the broker and from there to the subscribers. Messages of one topic stay in order within a class.
   * Default: the client's `publishPriority`.
   */
  priority?: StreamPriority | undefined;
  /**
   * Whether the payload is compressed, where that makes it smaller. Default: as the client's option `compression` says; without that option none
   * is. Subscribers that do not take compressed messages do not get it. Leave it off for a payload that holds both a secret and text that somebody else can choose.
   */
  compression?: CompressionChoice | undefined;
}

/** @throws {JspError} `ERR_JSP_OPTION_INVALID` */
export function checkPublishOptions(options: PublishOptions): void {
  checkOptions('publish', options, PUBLISH_OPTIONS);
}

/** Options as they are now, for a message that waits: their objects are the caller's, who may change them. */
export function keptOptions<O extends PublishOptions>(options: O): O {
  const { headers, owned, correlation } = options;
  return {
    ...options,
    headers: headers && { ...headers },
    owned: owned && { ...owned },
    correlation: correlation instanceof Uint8Array ? Buffer.from(correlation) : correlation,
  };
}

/**
 * The properties of a message with these options, with their length before them; null where it has none.
 *
 * @throws {JspError} `ERR_JSP_OPTION_INVALID`: one of them, or all together, have more bytes than they may
 */
export function propertiesOf(options: PublishOptions): Buffer | null {
  const { ttlMs, replyTo, correlation, contentType, key, headers, messageId, traceparent, owned, status } =
    options;
  const isPlain =
    ttlMs === undefined &&
    replyTo === undefined &&
    correlation === undefined &&
    contentType === undefined &&
    key === undefined &&
    headers === undefined &&
    messageId === undefined &&
    traceparent === undefined &&
    owned === undefined &&
    status === undefined &&
    options.class === undefined;
  if (isPlain) return null;
  return encoded({
    ttlMs,
    replyTopic: replyTo,
    correlation: typeof correlation === 'string' ? Buffer.from(correlation) : correlation,
    deliveryClass: options.class === undefined ? undefined : deliveryClassNamed(options.class),
    contentType,
    messageId,
    traceparent,
    status,
    owned: owned === undefined ? undefined : (owned.graceMs ?? GRACE_MS),
    key,
    headers,
  });
}

function encoded(properties: Properties): Buffer {
  try {
    return encodeProperties(properties);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new JspError('ERR_JSP_OPTION_INVALID', `publish: ${error.message}`, { cause: error });
  }
}

/** Where the time to live stands in properties that begin at `start`; -1 for none. */
export function ttlAt(command: Uint8Array, start: number): number {
  return findProperty(command, start, PropertyType.TTL);
}

/** By which messages are told from one another. */
function wellFormed(value: unknown): string | null {
  return typeof value === 'string' && isWellFormed(value) ? null : 'a well-formed string';
}

export const PUBLISH_OPTIONS: OptionTable<PublishOptions> = {
  qos: whole(0, 1),
  retain: flag,
  ttlMs: whole(1, 0xffff_ffff),
  replyTo: text,
  correlation: (value) =>
    typeof value === 'string' || value instanceof Uint8Array ? null : 'a Uint8Array or a string',
  contentType: text,
  status: whole(0, 0xffff),
  key: wellFormed,
  headers: (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((each) => typeof each === 'string')
      ? null
      : 'an object of strings',
  class: oneOf(DELIVERY_CLASS_NAMES),
  messageId: wellFormed,
  traceparent: text,
  owned: (value) => {
    const must = anObject(value);
    if (must !== null) return must;
    checkOptions('publish: owned', value as { graceMs?: number }, OWNED_OPTIONS);
    return null;
  },
  codec: codecOption,
  signal: abortSignal,
  priority: oneOf(STREAM_PRIORITIES),
  compression: compressionChoice,
};
const OWNED_OPTIONS = { graceMs: number(0, 0xffff_ffff) };
/** Until a value goes whose owner is away. */
export const GRACE_MS = 10_000;
