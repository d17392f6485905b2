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
  const parts: Buffer[] = [];
  const add = (type: number, value: Uint8Array) => {
    const head = Buffer.allocUnsafe(3);
    head[0] = type;
    head.writeUInt16BE(value.length, 1);
    parts.push(head, Buffer.from(value));
  };
  if (options.name !== undefined) add(SubscribeOption.NAME, Buffer.from(options.name));
  if (options.start !== undefined) {
    add(SubscribeOption.START, Buffer.concat([Buffer.of(options.start), uint64(options.startValue ?? 0)]));
  }
  if (options.epoch !== undefined) add(SubscribeOption.EPOCH, uint64(options.epoch));
  for (const [name, type, bytes] of NUMBERS) {
    const value = options[name];
    if (value === undefined) continue;
    const out = Buffer.allocUnsafe(bytes);
    out.writeUIntBE(value, 0, bytes);
    add(type, out);
  }
  if (options.backoffMs !== undefined) {
    const out = Buffer.allocUnsafe(4 * options.backoffMs.length);
    options.backoffMs.forEach((ms, i) => {
      out.writeUInt32BE(ms, 4 * i);
    });
    add(SubscribeOption.BACKOFF_MS, out);
  }
  if (options.deadLetter !== undefined) add(SubscribeOption.DEAD_LETTER, Buffer.from(options.deadLetter));
  if (options.log !== undefined) add(SubscribeOption.LOG, Buffer.from(options.log));
  for (const [name, type] of FLAGS) if (options[name] === true) add(type, NO_VALUE);
  return Buffer.concat(parts);
}

/** The options in bytes[start, end of bytes), or null when they are malformed or one is unknown. */
export function decodeSubscribeOptions(command: Uint8Array, start: number): SubscribeOptionValues | null {
  const bytes = Buffer.from(command.buffer, command.byteOffset, command.length);
  const options: SubscribeOptionValues = {};
  let seen = 0;
  for (let at = start; at < bytes.length; ) {
    if (at + 3 > bytes.length) return null;
    const type = bytes[at];
    const from = at + 3;
    at = from + bytes.readUInt16BE(at + 1);
    if (at > bytes.length || type > SubscribeOption.OF_SESSION || (seen & (1 << type)) !== 0) return null;
    seen |= 1 << type;
    if (!decodeOption(options, type, bytes.subarray(from, at))) return null;
  }
  return options;
}

function decodeOption(options: SubscribeOptionValues, type: number, value: Buffer): boolean {
  for (const [name, itsType, bytes] of NUMBERS) {
    if (type !== itsType) continue;
    if (value.length !== bytes) return false;
    const number = value.readUIntBE(0, bytes);
    if (number > (LARGEST[type] ?? Number.POSITIVE_INFINITY)) return false;
    (options as Record<string, unknown>)[name] = number;
    return true;
  }
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
  }
  for (const [name, itsType] of FLAGS) {
    if (type !== itsType) continue;
    options[name] = true;
    return value.length === 0;
  }
  return false;
}

function isName(value: Buffer): boolean {
  return isUtf8(value) && !/\p{Cc}/u.test(value.toString());
}

function uint64(value: number): Buffer {
  const out = Buffer.allocUnsafe(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
}

const NUMBERS = [
  ['unackedMax', SubscribeOption.UNACKED_MAX, 4],
  ['ackWaitMs', SubscribeOption.ACK_WAIT_MS, 4],
  ['deliveriesMax', SubscribeOption.DELIVERIES_MAX, 2],
  ['rateMax', SubscribeOption.RATE_MAX, 4],
  ['expiryMs', SubscribeOption.EXPIRY_MS, 4],
  ['retained', SubscribeOption.RETAINED, 1],
  ['deliveryClass', SubscribeOption.CLASS, 1],
  ['asPublished', SubscribeOption.AS_PUBLISHED, 1],
] as const;
/** Those without a value. */
const FLAGS = [
  ['keyOrder', SubscribeOption.KEY_ORDER],
  ['ofSession', SubscribeOption.OF_SESSION],
] as const;
const NO_VALUE = Buffer.alloc(0);
const LARGEST: Partial<Record<number, number>> = {
  [SubscribeOption.RETAINED]: RetainedHandling.AGAIN,
  [SubscribeOption.CLASS]: DeliveryClass.DURABLE,
  [SubscribeOption.AS_PUBLISHED]: 3,
};
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
