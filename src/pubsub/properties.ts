/**
 * What stands between the topic and the payload of a PUBLISH with the flag PROPERTIES [BRK-48]:
 *
 *     length u16, then so many bytes of: type u8, length u16, value
 *
 * A broker passes properties on as they came. It looks for single ones without decoding the others ({@link findProperty}); who reads the message decodes
 * them all ({@link decodeProperties}).
 */

import { isUtf8 } from 'node:buffer';
import { TOPIC_BYTES_MAX } from './topic.ts';

export const PropertyType = {
  /** Time to live that is left, u32 ms. */
  TTL: 1,
  /** Topic that an answer is to go to. */
  REPLY_TOPIC: 2,
  /** Bytes that an answer repeats. */
  CORRELATION: 3,
  /** A {@link DeliveryClass}. */
  CLASS: 4,
  CONTENT_TYPE: 5,
  /** By which the broker knows a message that it is given twice. */
  MESSAGE_ID: 6,
  /** As W3C Trace Context has it. */
  TRACEPARENT: 7,
  /** Of a reply, u16: 0 or none is success; 503: there is nobody who answers. */
  STATUS: 8,
  /** The retained value goes with the publisher's session, when that has had no connection for so long: u32 ms. */
  OWNED: 9,
  /** Messages of one key are kept in order where several share the work. */
  KEY: 10,
  /** When the broker took it: u64, ms since 1970. */
  PUBLISHED_AT: 11,
  /** The how manieth delivery it is, from 1: u16. */
  ATTEMPT: 12,
  /** Of a dead letter: where it was, see {@link Origin}. */
  ORIGIN: 13,
  /** u8: 0 bytes of any kind, 1 text in UTF-8. */
  PAYLOAD_FORMAT: 14,
  /** From here to {@link PropertyType.USER_LAST}: key length u8, key, value. The number means nothing. */
  USER: 64,
  USER_LAST: 127,
} as const;

/** How a message is delivered: as far as its topic, its publisher and its subscriber all allow. */
export const DeliveryClass = { LATEST: 0, UNRELIABLE: 1, RELIABLE: 2, DURABLE: 3 } as const;
export type DeliveryClass = (typeof DeliveryClass)[keyof typeof DeliveryClass];
/** By their numbers, as applications, JSON and operators have them. */
export const DELIVERY_CLASS_NAMES = ['latest', 'unreliable', 'reliable', 'durable'] as const;

export function deliveryClassNamed(name: (typeof DELIVERY_CLASS_NAMES)[number]): DeliveryClass {
  return DELIVERY_CLASS_NAMES.indexOf(name) as DeliveryClass;
}

/** Status of a reply that the broker makes because nobody is subscribed to the topic of the request. */
export const STATUS_NO_RESPONDERS = 503;

/** Where a dead letter was, and why it is dead. */
export interface Origin {
  readonly epoch: number;
  readonly offset: number;
  readonly topic: string;
  readonly attempts: number;
  readonly reason: string;
}

/** The properties of a message; those that it does not have are undefined. */
export interface Properties {
  ttlMs?: number | undefined;
  replyTopic?: string | undefined;
  correlation?: Uint8Array | undefined;
  deliveryClass?: DeliveryClass | undefined;
  contentType?: string | undefined;
  messageId?: string | undefined;
  traceparent?: string | undefined;
  status?: number | undefined;
  /** Grace in ms. */
  owned?: number | undefined;
  key?: string | undefined;
  /** Ms since 1970. */
  publishedAt?: number | undefined;
  attempt?: number | undefined;
  origin?: Origin | undefined;
  /** Names and values of the application's own. */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** Bytes of all properties of a message together, at most. */
export const PROPERTIES_BYTES_MAX = 0xffff;

/**
 * End of the properties that begin at `start`, which is where the payload begins; -1 where they are malformed: cut off, of a length that their type does not
 * have, not UTF-8, or twice the same.
 */
export function endOfProperties(bytes: Uint8Array, start: number): number {
  if (start + 2 > bytes.length) return -1;
  const end = start + 2 + uint16(bytes, start);
  if (end > bytes.length) return -1;
  let seen = 0;
  for (let at = start + 2; at < end; ) {
    if (at + 3 > end) return -1;
    const type = bytes[at];
    const from = at + 3;
    at = from + uint16(bytes, at + 1);
    if (at > end || !isValid(bytes, type, from, at)) return -1;
    if (type <= PropertyType.PAYLOAD_FORMAT) {
      if ((seen & (1 << type)) !== 0) return -1;
      seen |= 1 << type;
    }
  }
  return end;
}

/** Where the value of this property begins, or -1. The properties begin at `start` and are well-formed; its length is in the two bytes before the value. */
export function findProperty(bytes: Uint8Array, start: number, type: number): number {
  const end = start + 2 + uint16(bytes, start);
  for (let at = start + 2; at < end; at += 3 + uint16(bytes, at + 1)) if (bytes[at] === type) return at + 3;
  return -1;
}

/** Length of a property's value, which begins there: {@link findProperty} has found it. */
export function valueLength(bytes: Uint8Array, valueAt: number): number {
  return uint16(bytes, valueAt - 2);
}

/** The value of a property that is a u32, of a PUBLISH with well-formed properties that begin at `start`, or without any; undefined: it does not have it. */
export function findNumber(publish: Uint8Array, start: number, type: number): number | undefined {
  const at = (publish[1] & WITH_PROPERTIES) === 0 ? -1 : findProperty(publish, start, type);
  return at < 0 ? undefined : uint16(publish, at) * 2 ** 16 + uint16(publish, at + 2);
}

/** Where the payload begins of a PUBLISH with well-formed properties that begin at `start`, or without any. */
export function payloadStartOf(publish: Uint8Array, start: number): number {
  return (publish[1] & WITH_PROPERTIES) === 0 ? start : start + 2 + uint16(publish, start);
}

/** The properties, each as it is encoded, of a PUBLISH with well-formed ones that begin at `start`, or without any; but for those of these types. */
export function propertiesBut(publish: Uint8Array, start: number, types: readonly number[]): Uint8Array[] {
  const others: Uint8Array[] = [];
  const end = payloadStartOf(publish, start);
  for (let at = start + 2; at < end; ) {
    const next = at + 3 + uint16(publish, at + 1);
    if (!types.includes(publish[at])) others.push(publish.subarray(at, next));
    at = next;
  }
  return others;
}

/** Encoded properties with their length before them, as they stand in a PUBLISH; null: they are longer than they may be. */
export function joinProperties(properties: readonly Uint8Array[]): Buffer | null {
  const length = properties.reduce((sum, part) => sum + part.length, 0);
  return length > PROPERTIES_BYTES_MAX
    ? null
    : Buffer.concat([Buffer.of(length >> 8, length), ...properties]);
}

/** What a PUBLISH with well-formed properties that begin at `start`, or without any, says of its class: `durable` where it says nothing. */
export function classOf(publish: Uint8Array, start: number): DeliveryClass {
  if ((publish[1] & WITH_PROPERTIES) === 0) return DeliveryClass.DURABLE;
  const at = findProperty(publish, start, PropertyType.CLASS);
  return at < 0 ? DeliveryClass.DURABLE : (publish[at] as DeliveryClass);
}

/** Decodes the well-formed properties that begin at `start`. Unknown ones are left out. */
export function decodeProperties(bytes: Uint8Array, start: number): Properties {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const properties: Properties = {};
  const end = start + 2 + uint16(bytes, start);
  for (let at = start + 2; at < end; ) {
    const type = bytes[at];
    const from = at + 3;
    at = from + uint16(bytes, at + 1);
    decodeProperty(properties, type, all.subarray(from, at));
  }
  return properties;
}

/** The properties with their length, to be put between topic and payload. Throws a RangeError when one of them, or all together, are too long. */
export function encodeProperties(properties: Properties): Buffer {
  const { headers, origin } = properties;
  const parts: Buffer[] = [];
  for (const [name, type, bytes] of NUMBERS) {
    const value = properties[name];
    if (value !== undefined) parts.push(numberProperty(type, value, bytes));
  }
  for (const [name, type] of TEXTS) {
    const value = properties[name];
    if (value !== undefined) parts.push(bounded(name, type, Buffer.from(value)));
  }
  if (properties.correlation !== undefined) {
    parts.push(bounded('correlation', PropertyType.CORRELATION, properties.correlation));
  }
  if (origin !== undefined) parts.push(property(PropertyType.ORIGIN, encodeOrigin(origin)));
  for (const [key, value] of Object.entries(headers ?? {})) {
    const keyBytes = Buffer.from(key);
    if (keyBytes.length > HEADER_KEY_BYTES_MAX)
      throw new RangeError(`a header's name is at most ${HEADER_KEY_BYTES_MAX} bytes`);
    parts.push(
      property(PropertyType.USER, Buffer.concat([Buffer.of(keyBytes.length), keyBytes, Buffer.from(value)])),
    );
  }
  const out = joinProperties(parts);
  if (out === null) throw tooLong();
  if (endOfProperties(out, 0) < 0) throw new RangeError('a property of the message is longer than it may be');
  return out;
}

function decodeProperty(properties: Properties, type: number, value: Buffer): void {
  for (const [name, itsType, bytes] of NUMBERS) {
    if (type !== itsType) continue;
    const number = bytes === 8 ? Number(value.readBigUInt64BE()) : value.readUIntBE(0, bytes);
    if (type === PropertyType.PUBLISHED_AT && number > DATE_MS_MAX) return; // publishers may say anything
    (properties as Record<string, unknown>)[name] = number;
    return;
  }
  for (const [name, itsType] of TEXTS) {
    if (type !== itsType) continue;
    properties[name] = value.toString();
    return;
  }
  if (type === PropertyType.CORRELATION) properties.correlation = value;
  else if (type === PropertyType.ORIGIN) properties.origin = decodeOrigin(value);
  else if (isUser(type)) {
    const valueAt = 1 + value[0];
    properties.headers ??= {};
    // Any name may come, that of a prototype's property too.
    Object.defineProperty(properties.headers, value.toString('utf8', 1, valueAt), {
      value: value.toString('utf8', valueAt),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
}

function isValid(bytes: Uint8Array, type: number, from: number, end: number): boolean {
  const length = end - from;
  if (isUser(type)) {
    return length >= 1 && 1 + bytes[from] <= length && isText(bytes, from + 1, from + 1 + bytes[from]);
  }
  switch (type) {
    case PropertyType.TTL:
    case PropertyType.OWNED:
      return length === 4;
    case PropertyType.CLASS:
      return length === 1 && bytes[from] <= DeliveryClass.DURABLE;
    case PropertyType.PAYLOAD_FORMAT:
      return length === 1 && bytes[from] <= 1;
    case PropertyType.STATUS:
    case PropertyType.ATTEMPT:
      return length === 2;
    case PropertyType.PUBLISHED_AT:
      return length === 8 && isSafe(bytes, from);
    case PropertyType.CORRELATION:
      return length <= SHORT_BYTES_MAX;
    case PropertyType.REPLY_TOPIC:
      return length >= 1 && length <= TOPIC_BYTES_MAX && isText(bytes, from, end);
    case PropertyType.CONTENT_TYPE:
    case PropertyType.TRACEPARENT:
    case PropertyType.KEY:
      return length <= SHORT_BYTES_MAX && isText(bytes, from, end);
    case PropertyType.MESSAGE_ID:
      return length >= 1 && length <= SHORT_BYTES_MAX && isText(bytes, from, end);
    case PropertyType.ORIGIN:
      return isOrigin(bytes, from, end);
    default:
      return type !== 0;
  }
}

function isUser(type: number): boolean {
  return type >= PropertyType.USER && type <= PropertyType.USER_LAST;
}

/** epoch u64, offset u64, attempts u16, topic length u16, topic, reason */
function encodeOrigin({ epoch, offset, topic, attempts, reason }: Origin): Buffer {
  const topicBytes = Buffer.from(topic);
  const out = Buffer.allocUnsafe(ORIGIN_BYTES_MIN + topicBytes.length);
  out.writeBigUInt64BE(BigInt(epoch), 0);
  out.writeBigUInt64BE(BigInt(offset), 8);
  out.writeUInt16BE(attempts, 16);
  out.writeUInt16BE(topicBytes.length, 18);
  out.set(topicBytes, ORIGIN_BYTES_MIN);
  return Buffer.concat([out, Buffer.from(reason)]);
}

function decodeOrigin(value: Buffer): Origin {
  const reasonAt = ORIGIN_BYTES_MIN + value.readUInt16BE(18);
  return {
    epoch: Number(value.readBigUInt64BE(0)),
    offset: Number(value.readBigUInt64BE(8)),
    attempts: value.readUInt16BE(16),
    topic: value.toString('utf8', ORIGIN_BYTES_MIN, reasonAt),
    reason: value.toString('utf8', reasonAt),
  };
}

function isOrigin(bytes: Uint8Array, from: number, end: number): boolean {
  if (end - from < ORIGIN_BYTES_MIN || !isSafe(bytes, from) || !isSafe(bytes, from + 8)) return false;
  const topicBytes = uint16(bytes, from + 18);
  const topicAt = from + ORIGIN_BYTES_MIN;
  return topicBytes <= TOPIC_BYTES_MAX && fitsIn(bytes, topicAt, topicAt + topicBytes, end);
}

/** Two texts, of which one ends where the other begins. */
function fitsIn(bytes: Uint8Array, from: number, middle: number, end: number): boolean {
  return middle <= end && isText(bytes, from, middle) && isText(bytes, middle, end);
}

/** A u64 that a number holds exactly. */
function isSafe(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0 && bytes[at + 1] < 0x20;
}

function isText(bytes: Uint8Array, from: number, end: number): boolean {
  // Most are short, and ASCII: 24 ns for one of 16 bytes instead of 168. It is done for each message by each who reads it.
  if (end - from <= SHORT_TEXT_BYTES) {
    let all = 0;
    for (let at = from; at < end; at++) all |= bytes[at];
    if (all < 0x80) return true;
  }
  return isUtf8(bytes.subarray(from, end));
}

const SHORT_TEXT_BYTES = 64;

function numberProperty(type: number, value: number, bytes: 1 | 2 | 4 | 8): Buffer {
  const out = Buffer.allocUnsafe(bytes);
  if (bytes === 8) out.writeBigUInt64BE(BigInt(value));
  else out.writeUIntBE(value, 0, bytes);
  return property(type, out);
}

/** A text, or bytes, of which the error says how many they may have. */
function bounded(name: keyof Properties, type: number, value: Uint8Array): Buffer {
  const least = type === PropertyType.REPLY_TOPIC || type === PropertyType.MESSAGE_ID ? 1 : 0;
  const most = type === PropertyType.REPLY_TOPIC ? TOPIC_BYTES_MAX : SHORT_BYTES_MAX;
  if (value.length >= least && value.length <= most) return property(type, value);
  const option = name === 'replyTopic' ? 'replyTo' : name;
  throw new RangeError(`${option} must have ${least} to ${most} bytes, not ${value.length}`);
}

function tooLong(): RangeError {
  return new RangeError(
    `the properties of a message are at most ${PROPERTIES_BYTES_MAX} bytes, headers included`,
  );
}

function property(type: number, value: Uint8Array): Buffer {
  if (value.length > PROPERTIES_BYTES_MAX) throw tooLong();
  const out = Buffer.allocUnsafe(3 + value.length);
  out[0] = type;
  out.writeUInt16BE(value.length, 1);
  out.set(value, 3);
  return out;
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

/** The flag of a PUBLISH. */
const WITH_PROPERTIES = 0x10;
const NUMBERS = [
  ['ttlMs', PropertyType.TTL, 4],
  ['deliveryClass', PropertyType.CLASS, 1],
  ['status', PropertyType.STATUS, 2],
  ['owned', PropertyType.OWNED, 4],
  ['publishedAt', PropertyType.PUBLISHED_AT, 8],
  ['attempt', PropertyType.ATTEMPT, 2],
] as const;
const TEXTS = [
  ['replyTopic', PropertyType.REPLY_TOPIC],
  ['contentType', PropertyType.CONTENT_TYPE],
  ['messageId', PropertyType.MESSAGE_ID],
  ['traceparent', PropertyType.TRACEPARENT],
  ['key', PropertyType.KEY],
] as const;
/** Correlations, content types, keys and the like. */
export const SHORT_BYTES_MAX = 256;
export const HEADER_KEY_BYTES_MAX = 255;
const ORIGIN_BYTES_MIN = 20;
/** Of ECMAScript (section 21.4.1.1): no date is later. */
const DATE_MS_MAX = 8.64e15;
