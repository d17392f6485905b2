/** A message that the broker has delivered, as an answer by HTTP: its payload is the body, its content type the header of that name, and its other properties are headers. */

import { chooseLz4, DictionarySet, EnvelopeReader } from '../protocol/compress/index.ts';
import { COMMAND_BYTES_MAX, type CommandReader, PublishFlag, topicOf } from '../pubsub/command.ts';
import { DELIVERY_CLASS_NAMES, decodeProperties, type Properties } from '../pubsub/properties.ts';

export interface Delivered {
  readonly topic: string;
  readonly payload: Buffer;
  readonly properties: Properties;
  /** It is the last value of its topic, sent because somebody asked. */
  readonly isRetained: boolean;
}

/** The message in a PUBLISH, as `reader` has read it; null: its payload cannot be opened. */
export function deliveredOf(message: Buffer, reader: CommandReader): Delivered | null {
  const { flags, topicEnd, payloadStart } = reader;
  const properties = (flags & PublishFlag.PROPERTIES) === 0 ? {} : decodeProperties(message, topicEnd);
  const payload = payloadIn(message, flags, payloadStart);
  const isRetained = (flags & PublishFlag.RETAIN) !== 0;
  return payload === null ? null : { topic: topicOf(message), payload, properties, isRetained };
}

/** The content type of an answer that a message is; what stands in no header is no type. */
export function contentTypeOf({ properties: { contentType } }: Delivered): string {
  return contentType === undefined || contentType === '' || !PLAIN.test(contentType)
    ? 'application/octet-stream'
    : contentType;
}

/** What an answer says of a message beside its payload. */
export function headersOf({ properties }: Delivered): Record<string, string> {
  const headers: Record<string, string> = {};
  const { ttlMs, key, messageId, publishedAt, deliveryClass, correlation, replyTopic, traceparent } =
    properties;
  const set = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) headers[name] = headerText(`${value}`);
  };
  set('jsp-ttl', ttlMs === undefined ? undefined : `${ttlMs}ms`);
  set('jsp-key', key);
  set('jsp-message-id', messageId);
  set('jsp-published-at', publishedAt === undefined ? undefined : new Date(publishedAt).toISOString());
  set('jsp-class', deliveryClass === undefined ? undefined : DELIVERY_CLASS_NAMES[deliveryClass]);
  set('jsp-correlation', correlation === undefined ? undefined : Buffer.from(correlation).toString('base64'));
  set('jsp-reply-to', replyTopic);
  set('traceparent', traceparent);
  for (const [name, value] of Object.entries(properties.headers ?? {})) {
    if (TOKEN.test(name)) set(`jsp-header-${name.toLowerCase()}`, value);
  }
  return headers;
}

/** What stands in a header is Latin-1 without controls: all else is percent-encoded. */
function headerText(value: string): string {
  return PLAIN.test(value) ? value : encodeURIComponent(value);
}

/** The payload of a PUBLISH, taken out of its envelope where it is in one; null: that cannot be opened. */
export function payloadIn(message: Buffer, flags: number, start: number): Buffer | null {
  if ((flags & PublishFlag.COMPRESSED) === 0) return message.subarray(start);
  envelopes ??= new EnvelopeReader(chooseLz4(undefined), new DictionarySet([]), false);
  return envelopes.inflate(message, start, message.length, COMMAND_BYTES_MAX);
}

let envelopes: EnvelopeReader | null = null;
const PLAIN = /^[\x20-\x7e]*$/;
const TOKEN = /^[\w.!#$&'*+^`|~-]+$/;
