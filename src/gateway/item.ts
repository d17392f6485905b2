/**
 * A message as JSON says it, in a bulk and over WebSocket: `topic`, one of `text`, `json` and `base64`, and the terms of a publish. And how it becomes a PUBLISH. [GW-24]
 */

import { nearest } from '../base/options.ts';
import { Command, HEADER_BYTES, PublishFlag } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import {
  DELIVERY_CLASS_NAMES,
  type DeliveryClass,
  deliveryClassNamed,
  encodeProperties,
  type Properties,
} from '../pubsub/properties.ts';
import { isWellFormed, topicFault } from '../pubsub/topic.ts';
import { Problem } from './problem.ts';

/** How a message is published. */
export interface PublishTerms {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly priority: StreamPriority;
  /** Null: none. */
  readonly properties: Properties | null;
}

/** A message that can be published. */
export interface PublishItem extends PublishTerms {
  readonly topic: string;
  readonly payload: Uint8Array | string;
}

/**
 * The message that a JSON object describes.
 *
 * @param isClosed - whether a member that it does not know is refused; else it is left alone
 * @throws {Problem} REQUEST_INVALID, TOPIC_INVALID
 */
export function itemOf(value: unknown, isClosed = false): PublishItem {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Problem('REQUEST_INVALID', 'A message must be an object with a topic.');
  }
  const item = value as Readonly<Record<string, unknown>>;
  const { topic, qos = 1, retain = false, priority = 'chat' } = item;
  if (typeof topic !== 'string') throw invalid('topic', 'a string');
  assertTopic(topic);
  if (qos !== 0 && qos !== 1) throw invalid('qos', '0 or 1');
  if (typeof retain !== 'boolean') throw invalid('retain', 'true or false');
  if (priority !== 'chat' && !STREAM_PRIORITIES.includes(priority as StreamPriority)) {
    throw invalid('priority', `one of ${STREAM_PRIORITIES.join(', ')}`);
  }
  const properties: Properties = {};
  let hasProperties = false;
  for (const name in item) {
    const given = item[name];
    const set = Object.hasOwn(MEMBERS, name) ? MEMBERS[name] : undefined;
    if (isClosed && set === undefined && !Object.hasOwn(OWN_MEMBERS, name)) throw unknownMember(name);
    if (set === undefined || given === undefined || given === null) continue;
    set(properties, given);
    hasProperties = true;
  }
  const payload = payloadOf(item);
  if (item.json !== undefined && properties.contentType === undefined) {
    properties.contentType = JSON_TYPE;
    hasProperties = true;
  }
  return {
    topic,
    payload,
    qos,
    retain,
    priority: priority as StreamPriority,
    properties: hasProperties ? properties : null,
  };
}

/** A message of these terms. Each member is named: an object that begins with others' members gets a hidden class of its own, each time, and whoever reads it is slow from then on. */
export function itemOfTerms(terms: PublishTerms, topic: string, payload: Uint8Array | string): PublishItem {
  const { qos, retain, priority, properties } = terms;
  return { topic, payload, qos, retain, priority, properties };
}

/** The message with other properties. */
export function withProperties(item: PublishItem, properties: Properties | null): PublishItem {
  const { topic, payload, qos, retain, priority } = item;
  return { topic, payload, qos, retain, priority, properties };
}

/**
 * The PUBLISH of a message, in bytes of its own.
 *
 * @throws {Problem} REQUEST_INVALID, where its properties are too long
 */
export function publishCommand({ topic, payload, qos, retain, properties }: PublishItem): Buffer {
  const encoded = properties === null ? null : encodedProperties(properties);
  const topicBytes = Buffer.byteLength(topic);
  const propertiesBytes = encoded?.length ?? 0;
  const payloadAt = HEADER_BYTES + topicBytes + propertiesBytes;
  const isText = typeof payload === 'string';
  const bytes = payloadAt + (isText ? Buffer.byteLength(payload) : payload.length);
  // A large one is not of Node's pool: the broker may keep it for long, and with it what else is there.
  const out = bytes < POOLED_BYTES_MAX ? Buffer.allocUnsafe(bytes) : Buffer.allocUnsafeSlow(bytes);
  out[0] = Command.PUBLISH;
  out[1] =
    (qos === 1 ? PublishFlag.QOS1 : 0) |
    (retain ? PublishFlag.RETAIN : 0) |
    (encoded === null ? 0 : PublishFlag.PROPERTIES);
  out.writeUInt16BE(topicBytes, 2);
  out.writeUInt32BE(0, 4);
  out.write(topic, HEADER_BYTES);
  if (encoded !== null) out.set(encoded, HEADER_BYTES + topicBytes);
  if (isText) out.write(payload, payloadAt);
  else out.set(payload, payloadAt);
  return out;
}

/** @throws {Problem} TOPIC_INVALID */
export function assertTopic(topic: string): void {
  if (VALID.has(topic)) return;
  const fault = topicFault(topic);
  if (fault !== null) throw new Problem('TOPIC_INVALID', `The topic ${fault}.`);
  if (VALID.size >= VALID_MAX) VALID.clear();
  VALID.add(topic);
}

/** An item of a bulk: a term that is written wrong would not hold, and a payload be missing, without anybody's noticing. [GW-24] @throws {Problem} */
export function bulkItemOf(value: unknown): PublishItem {
  return itemOf(value, true);
}

/** Sets the property that a member of an item stands for, also where it was said in a query or a header. @throws {Problem} REQUEST_INVALID */
export function setMember(properties: Properties, member: string, value: unknown): void {
  MEMBERS[member](properties, value);
}

function classNamed(name: unknown): DeliveryClass {
  const known = DELIVERY_CLASS_NAMES.find((each) => each === name);
  if (known !== undefined) return deliveryClassNamed(known);
  throw invalid('class', `one of ${DELIVERY_CLASS_NAMES.join(', ')}`);
}

/** Bytes in base64. @throws {Problem} REQUEST_INVALID */
export function bytesOfBase64(name: string, text: unknown): Buffer {
  if (typeof text !== 'string' || !BASE64.test(text)) throw invalid(name, 'base64 (RFC 4648, section 4)');
  return Buffer.from(text, 'base64');
}

/** A value that was read from JSON, as text again: reading has no limit of depth, and writing has. @throws {Problem} REQUEST_INVALID */
export function jsonText(name: string, value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    throw invalid(name, 'nested less deeply');
  }
}

function payloadOf(item: Readonly<Record<string, unknown>>): Uint8Array | string {
  const { payload, text, json, base64 } = item;
  let given = 0;
  for (const form of [payload, text, json, base64]) if (form !== undefined) given++;
  if (given > 1) {
    throw new Problem('REQUEST_INVALID', 'A message has one payload: payload, text, json or base64.');
  }
  if (json !== undefined) return jsonText('json', json);
  if (base64 !== undefined) return bytesOfBase64('base64', base64);
  const plain = payload ?? text ?? '';
  if (typeof plain !== 'string') {
    throw invalid(text === undefined ? 'payload' : 'text', 'a string; a value of JSON goes into json');
  }
  return plain;
}

/** Most messages have a content type and nothing else, and most of them the same. */
function encodedProperties(properties: Properties): Buffer {
  const { contentType } = properties;
  if (contentType === undefined || !hasOneMember(properties)) return encoded(properties);
  let known = CONTENT_TYPES.get(contentType);
  if (known === undefined) {
    known = encoded(properties);
    if (CONTENT_TYPES.size >= CONTENT_TYPES_MAX) CONTENT_TYPES.clear();
    if (contentType.length <= CONTENT_TYPE_LENGTH_MAX) CONTENT_TYPES.set(contentType, known);
  }
  return known;
}

function hasOneMember(properties: Properties): boolean {
  let count = 0;
  for (const _ in properties) count++;
  return count === 1;
}

function encoded(properties: Properties): Buffer {
  try {
    return encodeProperties(properties);
  } catch (error) {
    throw new Problem('REQUEST_INVALID', `${(error as Error).message}.`);
  }
}

function invalid(name: string, must: string): Problem {
  return new Problem('REQUEST_INVALID', `${name} must be ${must}.`);
}

function unknownMember(name: string): Problem {
  const known = nearest(name, { ...OWN_MEMBERS, ...MEMBERS });
  const given = JSON.stringify(name.slice(0, SHOWN_CHARACTERS_MAX));
  return new Problem('REQUEST_INVALID', `There is no member ${given}; the nearest is "${known}".`);
}

function text(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalid(name, 'a string');
  return value;
}

/** By which messages are told from one another. */
function wellFormed(name: string, value: unknown): string {
  if (typeof value === 'string' && isWellFormed(value)) return value;
  throw invalid(name, 'a well-formed string');
}

function whole(name: string, value: unknown, low: number, high: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value;
  throw invalid(name, `a whole number from ${low} to ${high}`);
}

function headersOf(value: unknown): Record<string, string> {
  if (
    typeof value !== 'object' ||
    value === null ||
    Array.isArray(value) ||
    Object.values(value).some((each) => typeof each !== 'string')
  ) {
    throw invalid('headers', 'an object of strings');
  }
  return value as Record<string, string>;
}

/** What each member of an item is among the properties. */
const MEMBERS: Readonly<Record<string, (properties: Properties, value: unknown) => void>> = {
  ttlMs: (to, value) => {
    to.ttlMs = whole('ttlMs', value, 1, 0xffff_ffff);
  },
  contentType: (to, value) => {
    to.contentType = text('contentType', value);
  },
  key: (to, value) => {
    to.key = wellFormed('key', value);
  },
  class: (to, value) => {
    to.deliveryClass = classNamed(value);
  },
  messageId: (to, value) => {
    to.messageId = wellFormed('messageId', value);
  },
  replyTo: (to, value) => {
    to.replyTopic = text('replyTo', value);
    const fault = topicFault(to.replyTopic);
    if (fault !== null) throw new Problem('REQUEST_INVALID', `The topic for replies ${fault}.`);
  },
  correlation: (to, value) => {
    to.correlation = bytesOfBase64('correlation', value);
  },
  status: (to, value) => {
    to.status = whole('status', value, 0, 0xffff);
  },
  headers: (to, value) => {
    to.headers = headersOf(value);
  },
  traceparent: (to, value) => {
    to.traceparent = text('traceparent', value);
  },
  ownedMs: (to, value) => {
    to.owned = whole('ownedMs', value, 0, 0xffff_ffff);
  },
};

/** The members that are no properties. */
const OWN_MEMBERS = { topic: 0, payload: 0, text: 0, json: 0, base64: 0, qos: 0, retain: 0, priority: 0 };

/** Topics that were looked at lately: most messages go where others have gone. */
const VALID = new Set<string>();
/** The properties that are a content type alone. */
const CONTENT_TYPES = new Map<string, Buffer>();
const CONTENT_TYPES_MAX = 64;
const CONTENT_TYPE_LENGTH_MAX = 128;
const POOLED_BYTES_MAX = 1_024;
const VALID_MAX = 4_096;
const SHOWN_CHARACTERS_MAX = 40;
const JSON_TYPE = 'application/json';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;
