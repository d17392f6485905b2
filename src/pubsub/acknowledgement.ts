/** What was stored, what was taken, and where a reader of a log is: the bodies of PUBLISHED, SUBSCRIBED, ACK, NACK and POSITION. */

import {
  ACK_RANGE_BYTES,
  Command,
  encodeBare,
  HEADER_BYTES,
  NACK_REASON_BYTES_MAX,
  PUBLISHED_ALL,
  uint32,
} from './command.ts';

/** What became of a message of QoS 1. */
export const PublishResult = {
  STORED: 0,
  /** It was taken before, under this id or message id. */
  DUPLICATE: 1,
  /** It is in no log, and nobody is subscribed. */
  NO_SUBSCRIBER: 2,
  /** Taken, but not kept on a disk: the log is in memory, or it is not for a log and was handed to its subscribers. */
  IN_MEMORY: 3,
} as const;
export type PublishResult = (typeof PublishResult)[keyof typeof PublishResult];
/** By their numbers, as applications and JSON have them. */
export const PUBLISH_RESULT_NAMES = ['stored', 'duplicate', 'noSubscriber', 'inMemory'] as const;

/** A delay of NACK: the subscription's back-off. */
export const NACK_BACKOFF = 0xffff_ffff;
/** Another one: it is not to be delivered again, for the reason that comes with it. */
export const NACK_NEVER = 0xffff_fffe;
/** Messages of a publishing stream that are taken and not answered, at which a broker reads it no longer. [BRK-84] */
export const UNANSWERED_MAX = 4_096;
const ID_MAX = 0xffff_ffff;

/** result u8, and offset u64 where there is one (not negative) */
export function encodePublished(id: number, isAll: boolean, result: PublishResult, offset = -1): Buffer {
  const out = encodeBare(Command.PUBLISHED, id, offset < 0 ? 1 : 9, isAll ? PUBLISHED_ALL : 0);
  out[HEADER_BYTES] = result;
  if (offset >= 0) writeUint64(out, HEADER_BYTES + 1, offset);
  return out;
}

/** The result, and the offset of the message in its log, or -1. */
export function decodePublished(command: Uint8Array): { result: PublishResult; offset: number } {
  const hasOffset = command.length > HEADER_BYTES + 1;
  return {
    result: command[HEADER_BYTES] as PublishResult,
    offset: hasOffset ? uint64(command, HEADER_BYTES + 1) : -1,
  };
}

/** {@link ReaderStart.missed}, as u64 all ones: some, but nobody knows how many. */
export const MISSED_UNKNOWN = 2 ** 64;

/** Where a subscription that reads a log begins. */
export interface ReaderStart {
  readonly epoch: number;
  /** Offset of the next message it may be given. */
  readonly next: number;
  /** Of the first that the log still has, and of the next that comes. */
  readonly earliest: number;
  readonly head: number;
  /** Messages that the log did not keep for it, or {@link MISSED_UNKNOWN}. */
  readonly missed: number;
  /** It goes on where it was. */
  readonly isRecovered: boolean;
}

/** epoch, next, earliest, head, missed u64 each, flags u8 (1 recovered) */
export function encodeSubscribed(id: number, start: ReaderStart): Buffer {
  const out = encodeBare(Command.SUBSCRIBED, id, 41);
  [start.epoch, start.next, start.earliest, start.head, start.missed].forEach((value, i) => {
    writeUint64(out, HEADER_BYTES + 8 * i, value);
  });
  out[HEADER_BYTES + 40] = start.isRecovered ? 1 : 0;
  return out;
}

/** Null where the subscription does not read a log. */
export function decodeSubscribed(command: Uint8Array): ReaderStart | null {
  if (command.length === HEADER_BYTES) return null;
  const [epoch, next, earliest, head, missed] = [0, 8, 16, 24, 32].map((at) =>
    uint64(command, HEADER_BYTES + at),
  );
  return { epoch, next, earliest, head, missed, isRecovered: (command[HEADER_BYTES + 40] & 1) !== 0 };
}

/** ACK of one message, with one of `AckFlag` or none. @param id - the low half of its offset */
export function encodeAck(id: number, flags = 0): Buffer {
  return encodeBare(Command.ACK, id, 0, flags);
}

/** ACK of ranges of messages: pairs of the first one's id and how many. */
export function encodeAckRanges(
  ranges: readonly (readonly [first: number, count: number])[],
  flags = 0,
): Buffer {
  const out = encodeBare(Command.ACK, 0, ACK_RANGE_BYTES * ranges.length, flags);
  ranges.forEach(([first, count], i) => {
    out.writeUInt32BE(first, HEADER_BYTES + ACK_RANGE_BYTES * i);
    out.writeUInt32BE(count, HEADER_BYTES + ACK_RANGE_BYTES * i + 4);
  });
  return out;
}

/** Calls `visit` with the first id and the count of each range of an ACK; with its id and 1 where it has none. */
export function visitAckRanges(command: Uint8Array, visit: (first: number, count: number) => void): void {
  if (command.length === HEADER_BYTES) visit(uint32(command, 4), 1);
  for (let at = HEADER_BYTES; at < command.length; at += ACK_RANGE_BYTES) {
    visit(uint32(command, at), uint32(command, at + 4));
  }
}

/** delay u32 ms, reason; one that is too long, also for a command of `bytesMax`, is cut */
export function encodeNack(
  id: number,
  delayMs: number,
  reason: string,
  bytesMax = Number.POSITIVE_INFINITY,
): Buffer {
  const room = Math.max(0, Math.min(NACK_REASON_BYTES_MAX, bytesMax - HEADER_BYTES - 4));
  const out = encodeBare(Command.NACK, id, 4 + room);
  out.writeUInt32BE(delayMs, HEADER_BYTES);
  return out.subarray(0, HEADER_BYTES + 4 + out.write(reason, HEADER_BYTES + 4));
}

export function decodeNack(command: Uint8Array): { delayMs: number; reason: string } {
  const bytes = Buffer.from(command.buffer, command.byteOffset, command.length);
  return { delayMs: bytes.readUInt32BE(HEADER_BYTES), reason: bytes.toString('utf8', HEADER_BYTES + 4) };
}

/** POSITION: the next message that may come has this offset, or one above it. */
export function encodePosition(epoch: number, offset: number): Buffer {
  const out = encodeBare(Command.POSITION, 0, 16);
  writeUint64(out, HEADER_BYTES, epoch);
  writeUint64(out, HEADER_BYTES + 8, offset);
  return out;
}

export function decodePosition(command: Uint8Array): { epoch: number; offset: number } {
  return { epoch: uint64(command, HEADER_BYTES), offset: uint64(command, HEADER_BYTES + 8) };
}

/**
 * The offset whose low half is `id` and that is nearest to `near`, an offset that is known.
 *
 * @example
 * offsetOf(0xffff_ffff, 2 ** 32); // 2 ** 32 - 1
 */
export function offsetOf(id: number, near: number): number {
  const high = Math.floor(near / 2 ** 32) * 2 ** 32;
  const offset = high + id;
  if (offset - near > 2 ** 31) return Math.max(id, offset - 2 ** 32);
  return near - offset > 2 ** 31 ? offset + 2 ** 32 : offset;
}

/** Whether `id` comes after `last` in a sequence of ids, which begins again behind the largest. */
export function isAfter(id: number, last: number): boolean {
  return ((id - last) | 0) > 0;
}

/** The id behind `last`, which is not 0. */
export function idAfter(last: number): number {
  return last >= ID_MAX ? 1 : last + 1;
}

/**
 * An id behind all that a broker may have taken after `last` without an answer: twice as far behind, for a stream is stopped only when what had come has been read.
 *
 * @param last - 0: there was none
 */
export function idBehindUnanswered(last: number): number {
  return ((last - 1 + 2 * UNANSWERED_MAX) % ID_MAX) + 1;
}

function writeUint64(out: Buffer, at: number, value: number): void {
  if (value >= MISSED_UNKNOWN) {
    out.fill(0xff, at, at + 8);
    return;
  }
  out.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  out.writeUInt32BE(value % 2 ** 32, at + 4);
}

/** As near as a number comes to it. */
function uint64(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) * 2 ** 32 + uint32(bytes, at + 4);
}
