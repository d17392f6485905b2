/**
 * Options of a SUBSCRIBE, behind the bounds of its queue, each once at most [BRK-45]:
 *
 *     type u8, length u16, value
 */

import { isUtf8 } from 'node:buffer';
import { DeliveryClass } from './properties.ts';
import { TOPIC_BYTES_MAX } from './topic.ts';

export const SubscribeOption = {
  /** The subscription is durable and has this name. */
  NAME: 1,
  /** Kind u8 of {@link StartKind}, value u64. */
  START: 2,
  /** Epoch that an offset to start from belongs to, u64. */
  EPOCH: 3,
  /** u32 each: */
  UNACKED_MAX: 4,
  ACK_WAIT_MS: 5,
  /** Up to 16 of u32. */
  BACKOFF_MS: 6,
  /** u16. */
  DELIVERIES_MAX: 7,
  DEAD_LETTER: 8,
  /** Messages a second and topic, u32. */
  RATE_MAX: 9,
  EXPIRY_MS: 10,
  /** No value: members of a shared group are given the messages of a key in order. */
  KEY_ORDER: 11,
  /** u8 of {@link RetainedHandling}. */
  RETAINED: 12,
  /** u8 of DeliveryClass. */
  CLASS: 13,
  /** u8, bits of {@link AsPublished}. */
  AS_PUBLISHED: 14,
  /** Name of the log that is read. */
  LOG: 15,
  /** No value: what has a name is over with the session. */
  OF_SESSION: 16,
} as const;

/** Where a reader of a log begins. */
export const StartKind = { NEW: 0, EARLIEST: 1, LAST: 2, OFFSET: 3, TIME: 4, LAST_PER_TOPIC: 5 } as const;
export type StartKind = (typeof StartKind)[keyof typeof StartKind];
/** Those that need no value, by the names that applications and JSON have for them. */
export const NAMED_STARTS = {
  new: StartKind.NEW,
  earliest: StartKind.EARLIEST,
  last: StartKind.LAST,
  lastPerTopic: StartKind.LAST_PER_TOPIC,
} as const;

/** When the last values of topics are sent: always, only where the subscription did not exist before, never, or once more where the stream has them. */
export const RetainedHandling = { SEND: 0, IF_NEW: 1, NONE: 2, AGAIN: 3 } as const;
export type RetainedHandling = (typeof RetainedHandling)[keyof typeof RetainedHandling];

/** What a subscription is told of how messages were published: whether with RETAIN, and last values with which QoS. [BRK-131] */
export const AsPublished = { RETAIN: 0x01, QOS: 0x02 } as const;

/** What is undefined is left to the broker. */
export interface SubscribeOptionValues {
  name?: string | undefined;
  start?: StartKind | undefined;
  /** Of a start by offset: the first one that is wanted; by time: ms since 1970. */
  startValue?: number | undefined;
  epoch?: number | undefined;
  unackedMax?: number | undefined;
  ackWaitMs?: number | undefined;
  backoffMs?: readonly number[] | undefined;
  /** 0: without end. */
  deliveriesMax?: number | undefined;
  deadLetter?: string | undefined;
  rateMax?: number | undefined;
  /** Of a durable one without a subscriber; 0xffffffff: never. */
  expiryMs?: number | undefined;
  keyOrder?: boolean | undefined;
  retained?: RetainedHandling | undefined;
  deliveryClass?: DeliveryClass | undefined;
  /** Bits of {@link AsPublished}. */
  asPublished?: number | undefined;
  log?: string | undefined;
  ofSession?: boolean | undefined;
}

export function encodeSubscribeOptions(options: SubscribeOptionValues): Buffer {
  const { name, deadLetter, log, backoffMs = NO_BACKOFFS } = options;
  const textBytes = bytesOf(name) + bytesOf(deadLetter) + bytesOf(log);
  const out = Buffer.allocUnsafe(FIXED_BYTES + textBytes + 4 * backoffMs.length);
  let at = writeText(out, 0, SubscribeOption.NAME, name);
  if (options.start !== undefined) {
    at = writeHead(out, at, SubscribeOption.START, 9);
    out[at] = options.start;
    at = writeUint64(out, at + 1, options.startValue ?? 0);
  }
  if (options.epoch !== undefined) {
    at = writeUint64(out, writeHead(out, at, SubscribeOption.EPOCH, 8), options.epoch);
  }
  at = writeNumber(out, at, SubscribeOption.UNACKED_MAX, options.unackedMax, 4);
  at = writeNumber(out, at, SubscribeOption.ACK_WAIT_MS, options.ackWaitMs, 4);
  at = writeNumber(out, at, SubscribeOption.DELIVERIES_MAX, options.deliveriesMax, 2);
  at = writeNumber(out, at, SubscribeOption.RATE_MAX, options.rateMax, 4);
  at = writeNumber(out, at, SubscribeOption.EXPIRY_MS, options.expiryMs, 4);
  at = writeNumber(out, at, SubscribeOption.RETAINED, options.retained, 1);
  at = writeNumber(out, at, SubscribeOption.CLASS, options.deliveryClass, 1);
  at = writeNumber(out, at, SubscribeOption.AS_PUBLISHED, options.asPublished, 1);
  if (options.backoffMs !== undefined) {
    at = writeHead(out, at, SubscribeOption.BACKOFF_MS, 4 * backoffMs.length);
    for (const ms of backoffMs) at = out.writeUInt32BE(ms, at);
  }
  at = writeText(out, at, SubscribeOption.DEAD_LETTER, deadLetter);
  at = writeText(out, at, SubscribeOption.LOG, log);
  if (options.keyOrder === true) at = writeHead(out, at, SubscribeOption.KEY_ORDER, 0);
  if (options.ofSession === true) at = writeHead(out, at, SubscribeOption.OF_SESSION, 0);
  return out.subarray(0, at);
}

/** The options in bytes[start, end of bytes), or null when they are malformed or one is unknown. */
export function decodeSubscribeOptions(command: Uint8Array, start: number): SubscribeOptionValues | null {
  const bytes = Buffer.from(command.buffer, command.byteOffset, command.length);
  const options: SubscribeOptionValues = {};
  let seen = 0;
  for (let at = start; at < bytes.length; ) {
    if (at + OPTION_HEAD_BYTES > bytes.length) return null;
    const type = bytes[at];
    const from = at + OPTION_HEAD_BYTES;
    at = from + bytes.readUInt16BE(at + 1);
    if (at > bytes.length || type > SubscribeOption.OF_SESSION || (seen & (1 << type)) !== 0) return null;
    seen |= 1 << type;
    if (!decodeOption(options, type, bytes.subarray(from, at))) return null;
  }
  return options;
}

/** A `switch`, and no table to look through: who connects subscribes, and many do at once. */
function decodeOption(options: SubscribeOptionValues, type: number, value: Buffer): boolean {
  switch (type) {
    case SubscribeOption.NAME:
      options.name = value.toString();
      return value.length >= 1 && value.length <= DURABLE_NAME_BYTES_MAX && isName(value);
    case SubscribeOption.DEAD_LETTER:
      options.deadLetter = value.toString();
      return value.length >= 1 && value.length <= TOPIC_BYTES_MAX && isName(value);
    case SubscribeOption.START:
      if (value.length !== 9 || value[0] > StartKind.LAST_PER_TOPIC) return false;
      options.start = value[0] as StartKind;
      options.startValue = Number(value.readBigUInt64BE(1));
      return Number.isSafeInteger(options.startValue);
    case SubscribeOption.EPOCH:
      if (value.length !== 8) return false;
      options.epoch = Number(value.readBigUInt64BE());
      return Number.isSafeInteger(options.epoch);
    case SubscribeOption.BACKOFF_MS:
      options.backoffMs = Array.from({ length: value.length >> 2 }, (_, i) => value.readUInt32BE(4 * i));
      return value.length % 4 === 0 && value.length > 0 && value.length <= 4 * BACKOFFS_MAX;
    case SubscribeOption.LOG:
      options.log = value.toString();
      return value.length >= 1 && value.length <= LOG_NAME_BYTES_MAX && isName(value);
    case SubscribeOption.KEY_ORDER:
      options.keyOrder = true;
      return value.length === 0;
    case SubscribeOption.OF_SESSION:
      options.ofSession = true;
      return value.length === 0;
    case SubscribeOption.UNACKED_MAX:
      options.unackedMax = numberIn(value, 4);
      return options.unackedMax >= 0;
    case SubscribeOption.ACK_WAIT_MS:
      options.ackWaitMs = numberIn(value, 4);
      return options.ackWaitMs >= 0;
    case SubscribeOption.DELIVERIES_MAX:
      options.deliveriesMax = numberIn(value, 2);
      return options.deliveriesMax >= 0;
    case SubscribeOption.RATE_MAX:
      options.rateMax = numberIn(value, 4);
      return options.rateMax >= 0;
    case SubscribeOption.EXPIRY_MS:
      options.expiryMs = numberIn(value, 4);
      return options.expiryMs >= 0;
    case SubscribeOption.RETAINED:
      options.retained = numberIn(value, 1) as RetainedHandling;
      return options.retained >= 0 && options.retained <= RetainedHandling.AGAIN;
    case SubscribeOption.CLASS:
      options.deliveryClass = numberIn(value, 1) as DeliveryClass;
      return options.deliveryClass >= 0 && options.deliveryClass <= DeliveryClass.DURABLE;
    case SubscribeOption.AS_PUBLISHED:
      options.asPublished = numberIn(value, 1);
      return options.asPublished >= 0 && options.asPublished <= AS_PUBLISHED_MAX;
    default:
      return false;
  }
}

/** Negative: it is not of so many bytes. */
function numberIn(value: Buffer, bytes: number): number {
  return value.length === bytes ? value.readUIntBE(0, bytes) : -1;
}

function isName(value: Buffer): boolean {
  return isUtf8(value) && !/\p{Cc}/u.test(value.toString());
}

function bytesOf(text: string | undefined): number {
  return text === undefined ? 0 : Buffer.byteLength(text);
}

// Each returns where the next one goes.

function writeHead(out: Buffer, at: number, type: number, bytes: number): number {
  out[at] = type;
  return out.writeUInt16BE(bytes, at + 1);
}

function writeText(out: Buffer, at: number, type: number, text: string | undefined): number {
  if (text === undefined) return at;
  const start = at + OPTION_HEAD_BYTES;
  const bytes = out.write(text, start);
  writeHead(out, at, type, bytes);
  return start + bytes;
}

/** @throws {RangeError} where it is no whole number of so many bytes */
function writeNumber(
  out: Buffer,
  at: number,
  type: number,
  value: number | undefined,
  bytes: number,
): number {
  return value === undefined ? at : out.writeUIntBE(value, writeHead(out, at, type, bytes), bytes);
}

/** @throws {RangeError} where it is no whole number from 0 */
function writeUint64(out: Buffer, at: number, value: number): number {
  return out.writeBigUInt64BE(BigInt(value), at);
}

const OPTION_HEAD_BYTES = 3;
/** More than all options but the texts and back-offs have together: 3 bytes each, and their values. */
const FIXED_BYTES = 16 * OPTION_HEAD_BYTES + 9 + 8 + 5 * 4 + 2 + 3;
const NO_BACKOFFS: readonly number[] = [];
const AS_PUBLISHED_MAX = AsPublished.RETAIN | AsPublished.QOS;
export const DURABLE_NAME_BYTES_MAX = 256;
export const BACKOFFS_MAX = 16;
const LOG_NAME_BYTES_MAX = 64;

/** Options of a SUBSCRIBE, as they came, without the one that each filter may have another of. */
export function sharedOptions(bytes: Uint8Array): Uint8Array {
  for (let at = 0; at < bytes.length; ) {
    const next = at + 3 + ((bytes[at + 1] << 8) | bytes[at + 2]);
    if (bytes[at] === SubscribeOption.RETAINED)
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(next)]);
    at = next;
  }
  return bytes;
}
