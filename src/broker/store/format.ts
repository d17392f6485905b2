/**
 * The bytes of a segment: its header, batches of records, and records. Readers take any bytes: what is not as it was written is told, never believed. Each
 * checksum begins from the store's salt, so that nothing that a publisher sends can pass for a batch. [STO-4]
 */

import { crc32 } from 'node:zlib';
import type { StoredRecord } from '../core/store-port.ts';

/** What the records of a segment are. */
export const SegmentKind = { LOG: 1, STATE: 2 } as const;
export type SegmentKind = (typeof SegmentKind)[keyof typeof SegmentKind];

export interface SegmentHeader {
  readonly kind: SegmentKind;
  /** Number of the log; of the state 0. */
  readonly log: number;
  /** Of the log: a name of at most {@link NAME_BYTES_MAX} ASCII characters. */
  readonly name: string;
  readonly epoch: number;
  /** Offset of its first record. */
  readonly base: number;
  readonly createdAt: number;
  readonly salt: number;
}

export const BatchFlag = {
  /** Whoever wrote it has closed the store in order. */
  CLOSED: 1,
  /** Records between what is before it and its own offset were lost, which was told; it has none. */
  HOLE: 2,
} as const;

export interface BatchHeader {
  readonly bodyBytes: number;
  /** Offset of its first record, or of the next one where it has none. */
  readonly base: number;
  readonly count: number;
  readonly flags: number;
  /** All records below were on the disk when this was written. */
  readonly syncedBefore: number;
  /** Wall clock, ms. */
  readonly time: number;
  readonly bodyCrc: number;
}

// ---- segment header [STO-3] ----

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  bytes.write(SEGMENT_MAGIC, 0, 'latin1');
  bytes.writeUInt16BE(FORMAT_VERSION, 8);
  bytes.writeUInt8(header.kind, 10);
  bytes.writeUInt32BE(header.log, 12);
  writeU64(bytes, header.epoch, 16);
  writeU64(bytes, header.base, 24);
  writeU64(bytes, header.createdAt, 32);
  bytes.writeUInt32BE(header.salt, 40);
  bytes.writeUInt8(header.name.length, 44);
  bytes.write(header.name, 45, 'latin1');
  bytes.writeUInt32BE(crc32(bytes.subarray(0, SEGMENT_HEADER_BYTES - 4)), SEGMENT_HEADER_BYTES - 4);
  return bytes;
}

/** Null: these bytes do not begin with the header of a segment. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | null {
  if (bytes.length < SEGMENT_HEADER_BYTES) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, SEGMENT_HEADER_BYTES);
  const end = SEGMENT_HEADER_BYTES - 4;
  if (
    view.toString('latin1', 0, 8) !== SEGMENT_MAGIC ||
    crc32(view.subarray(0, end)) !== view.readUInt32BE(end)
  ) {
    return null;
  }
  const kind = view.readUInt8(10);
  const nameBytes = view.readUInt8(44);
  const [epoch, base, createdAt] = [16, 24, 32].map((at) => readU64(view, at));
  if (view.readUInt16BE(8) !== FORMAT_VERSION || (kind !== SegmentKind.LOG && kind !== SegmentKind.STATE))
    return null;
  if (nameBytes > NAME_BYTES_MAX || epoch < 0 || base < 0 || createdAt < 0) return null;
  const name = view.toString('latin1', 45, 45 + nameBytes);
  return { kind, log: view.readUInt32BE(12), name, epoch, base, createdAt, salt: view.readUInt32BE(40) };
}

// ---- batches [STO-4] ----

/** Makes the header for a body that stands in `bytes` behind it, and writes it before that. */
function writeBatchHeader(
  bytes: Buffer,
  header: Omit<BatchHeader, 'bodyCrc' | 'bodyBytes'>,
  salt: number,
): void {
  bytes.writeUInt32BE(BATCH_MAGIC, 0);
  bytes.writeUInt32BE(bytes.length - BATCH_HEADER_BYTES, 4);
  writeU64(bytes, header.base, 8);
  bytes.writeUInt32BE(header.count, 16);
  bytes.writeUInt32BE(header.flags, 20);
  writeU64(bytes, header.syncedBefore, 24);
  writeU64(bytes, header.time, 32);
  bytes.writeUInt32BE(crc32(bytes.subarray(BATCH_HEADER_BYTES), salt), 40);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 44), salt), 44);
}

/** A batch without records: only what its header says. [STO-8] */
export function encodeMark(
  base: number,
  syncedBefore: number,
  time: number,
  flags: number,
  salt: number,
): Buffer {
  const bytes = Buffer.alloc(BATCH_HEADER_BYTES);
  writeBatchHeader(bytes, { base, count: 0, flags, syncedBefore, time }, salt);
  return bytes;
}

/** Null: there is no whole header of a batch at `position`. */
export function decodeBatchHeader(bytes: Uint8Array, position: number, salt: number): BatchHeader | null {
  if (bytes.length - position < BATCH_HEADER_BYTES) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + position, BATCH_HEADER_BYTES);
  if (view.readUInt32BE(0) !== BATCH_MAGIC || crc32(view.subarray(0, 44), salt) !== view.readUInt32BE(44))
    return null;
  const header = {
    bodyBytes: view.readUInt32BE(4),
    base: readU64(view, 8),
    count: view.readUInt32BE(16),
    flags: view.readUInt32BE(20),
    syncedBefore: readU64(view, 24),
    time: readU64(view, 32),
    bodyCrc: view.readUInt32BE(40),
  };
  if (header.base < 0 || header.syncedBefore < 0 || header.time < 0) return null;
  if (header.bodyBytes > BODY_BYTES_MAX || header.count * RECORD_BYTES_MIN > header.bodyBytes) return null;
  return header;
}

/** Whether the body behind a header is whole and as it was written. */
export function isBodySound(bytes: Uint8Array, position: number, header: BatchHeader, salt: number): boolean {
  const start = position + BATCH_HEADER_BYTES;
  if (bytes.length - start < header.bodyBytes) return false;
  return crc32(bytes.subarray(start, start + header.bodyBytes), salt) === header.bodyCrc;
}

export function batchBytes(header: BatchHeader): number {
  return BATCH_HEADER_BYTES + header.bodyBytes;
}

// ---- records of a log [STO-5] ----

/** A record on its way to the disk. */
export interface OutgoingRecord extends StoredRecord {
  /** The record before of the same sequence, where that is in another log or there is a gap before it: number of the log, and its id, 0 for none. [STO-20] */
  readonly originLog: number;
  readonly originId: number;
  /** No log has what is between the two. */
  readonly hasGap: boolean;
}

/** A batch of records, from `buffer` where it is large enough; else from a new one. */
export function encodeRecords(
  records: readonly OutgoingRecord[],
  syncedBefore: number,
  time: number,
  salt: number,
  buffer: Buffer | null,
): Buffer {
  let size = BATCH_HEADER_BYTES;
  for (const record of records) size += recordBytes(record.command.length);
  const bytes =
    buffer !== null && buffer.length >= size ? buffer.subarray(0, size) : Buffer.allocUnsafe(size);
  let at = BATCH_HEADER_BYTES + 4 * records.length;
  for (let i = 0; i < records.length; i++) {
    const record = records[i];
    const { command } = record;
    const length = LOG_RECORD_BYTES + command.length;
    bytes.writeUInt32BE(length, BATCH_HEADER_BYTES + 4 * i);
    bytes.writeUInt32BE(length, at);
    bytes[at + 8] = record.sequence;
    bytes[at + 9] = record.hasGap ? RECORD_HAS_GAP : 0;
    bytes.writeUInt16BE(record.originLog, at + 10);
    bytes.writeUInt32BE(record.id, at + 12);
    bytes.writeUInt32BE(record.originId, at + 16);
    writeU64(bytes, record.session, at + 20);
    writeU64(bytes, record.expiresAt, at + 28);
    writeU64(bytes, record.publishedAt, at + 36);
    bytes.set(command, at + LOG_RECORD_BYTES);
    bytes.writeUInt32BE(crc32(bytes.subarray(at + 8, at + length), salt), at + 4);
    at += length;
  }
  writeBatchHeader(
    bytes,
    { base: records[0].offset, count: records.length, flags: 0, syncedBefore, time },
    salt,
  );
  return bytes;
}

/** What a record with a command of so many bytes takes in a batch. */
export function recordBytes(commandBytes: number): number {
  return 4 + LOG_RECORD_BYTES + commandBytes;
}

/** A record that was read, with what it says of the one before it. */
export type ReadRecord = OutgoingRecord;

/**
 * The record that stands in `bytes` from `start` to `end`, whose checksum is right; null: that is none. Its command is a view of them, and the only one that is made:
 * whoever reads a log from its beginning waits for little else.
 */
export function decodeRecord(
  bytes: Uint8Array,
  offset: number,
  start = 0,
  end = bytes.length,
): ReadRecord | null {
  if (end - start < LOG_RECORD_BYTES + COMMAND_BYTES_MIN) return null;
  const sequence = bytes[start + 8];
  const session = u64At(bytes, start + 20);
  const expiresAt = u64At(bytes, start + 28);
  const publishedAt = u64At(bytes, start + 36);
  if (sequence > 3 || session < 0 || expiresAt < 0 || publishedAt < 0) return null;
  const commandAt = start + LOG_RECORD_BYTES;
  const topicEnd = COMMAND_BYTES_MIN + ((bytes[commandAt + 2] << 8) | bytes[commandAt + 3]);
  if (commandAt + topicEnd > end || u32At(bytes, commandAt + 4) !== offset >>> 0) return null;
  return {
    command: new Uint8Array(bytes.buffer, bytes.byteOffset + commandAt, end - commandAt),
    topicEnd,
    session,
    sequence,
    id: u32At(bytes, start + 12),
    expiresAt,
    publishedAt,
    offset,
    originLog: (bytes[start + 10] << 8) | bytes[start + 11],
    originId: u32At(bytes, start + 16),
    hasGap: (bytes[start + 9] & RECORD_HAS_GAP) !== 0,
  };
}

// ---- records of the state [STO-6] ----

/** A change of the state; value null: the key was deleted. */
export type Change = readonly [key: string, value: Uint8Array | null];

export function encodeChanges(
  changes: readonly Change[],
  base: number,
  syncedBefore: number,
  time: number,
  salt: number,
): Buffer {
  let size = BATCH_HEADER_BYTES;
  for (const [key, value] of changes)
    size += 4 + STATE_RECORD_BYTES + Buffer.byteLength(key) + (value?.length ?? 0);
  const bytes = Buffer.allocUnsafe(size);
  let at = BATCH_HEADER_BYTES + 4 * changes.length;
  for (let i = 0; i < changes.length; i++) {
    const [key, value] = changes[i];
    const keyBytes = bytes.write(key, at + STATE_RECORD_BYTES);
    const length = STATE_RECORD_BYTES + keyBytes + (value?.length ?? 0);
    bytes.writeUInt32BE(length, BATCH_HEADER_BYTES + 4 * i);
    bytes.writeUInt32BE(length, at);
    bytes[at + 8] = value === null ? CHANGE_DELETE : CHANGE_PUT;
    bytes[at + 9] = 0;
    bytes.writeUInt16BE(keyBytes, at + 10);
    if (value !== null) bytes.set(value, at + STATE_RECORD_BYTES + keyBytes);
    bytes.writeUInt32BE(crc32(bytes.subarray(at + 8, at + length), salt), at + 4);
    at += length;
  }
  writeBatchHeader(bytes, { base, count: changes.length, flags: 0, syncedBefore, time }, salt);
  return bytes;
}

/** The change that `bytes` are, whose checksum is right; null: they are none. Its value is a copy. */
export function decodeChange(bytes: Uint8Array): Change | null {
  if (bytes.length < STATE_RECORD_BYTES) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = STATE_RECORD_BYTES + view.readUInt16BE(10);
  if (end > bytes.length) return null;
  const key = view.toString('utf8', STATE_RECORD_BYTES, end);
  if (view[8] === CHANGE_DELETE) return end === bytes.length ? [key, null] : null;
  return view[8] === CHANGE_PUT ? [key, new Uint8Array(view.subarray(end))] : null;
}

// ---- records in a body ----

/**
 * Calls `take` with each record of a body, in order: its number in the batch, and where it begins and ends in the body. Where the body is not sound these are those whose own checksum
 * is right: found by the table of lengths, and by the lengths before each record where that is damaged. [STO-25]
 *
 * @returns how many there were
 */
export function eachRecord(
  body: Uint8Array,
  count: number,
  isSound: boolean,
  salt: number,
  take: (index: number, start: number, end: number) => void,
): number {
  const view = Buffer.from(body.buffer, body.byteOffset, body.length);
  const isWhole = (at: number, length: number): boolean =>
    length >= RECORD_HEADER_BYTES &&
    at + length <= view.length &&
    (isSound || crc32(view.subarray(at + 8, at + length), salt) === view.readUInt32BE(at + 4));
  let at = 4 * count;
  let found = 0;
  for (let i = 0; i < count; i++) {
    const start = at;
    const tabled = 4 * i + 4 <= view.length ? view.readUInt32BE(4 * i) : 0;
    const own = start + 4 <= view.length ? view.readUInt32BE(start) : 0;
    const length = isWhole(start, tabled) ? tabled : isWhole(start, own) ? own : 0;
    if (length > 0) {
      take(i, start, start + length);
      found++;
      at = start + length;
    } else if (!isSound) {
      at = start + lengthOfDamaged(view, start, tabled, own, isWhole);
    } else break;
  }
  return found;
}

/** Where a damaged record is taken to end: by whichever of its lengths another whole record, or the end, follows. */
function lengthOfDamaged(
  view: Buffer,
  start: number,
  tabled: number,
  own: number,
  isWhole: (at: number, length: number) => boolean,
): number {
  for (const length of [tabled, own]) {
    const next = start + length;
    if (length < RECORD_HEADER_BYTES || next > view.length) continue;
    if (next === view.length) return length;
    if (next + 4 <= view.length && isWhole(next, view.readUInt32BE(next))) return length;
  }
  return tabled >= RECORD_HEADER_BYTES ? tabled : own;
}

// ---- numbers ----

/** Below 2^53. */
export function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value >>> 0, at + 4);
}

/** -1 where it is 2^53 or more. */
export function readU64(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32BE(at);
  return high < 2 ** 21 ? high * 2 ** 32 + bytes.readUInt32BE(at + 4) : -1;
}

/** The same of any bytes, for those who know that there are as many. */
function u64At(bytes: Uint8Array, at: number): number {
  const high = u32At(bytes, at);
  return high < 2 ** 21 ? high * 2 ** 32 + u32At(bytes, at + 4) : -1;
}

function u32At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

const SEGMENT_MAGIC = 'JSPSTORE';
const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 128;
export const NAME_BYTES_MAX = 64;
/** "JSPB". */
export const BATCH_MAGIC = 0x4a535042;
export const BATCH_HEADER_BYTES = 48;
/** Of a batch: the largest command, and room for what is before it. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;
/** Length and checksum. */
const RECORD_HEADER_BYTES = 8;
const LOG_RECORD_BYTES = 44;
const RECORD_HAS_GAP = 1;
const STATE_RECORD_BYTES = 12;
/** The smallest record with its entry in the table. */
const RECORD_BYTES_MIN = 4 + STATE_RECORD_BYTES;
const COMMAND_BYTES_MIN = 8;
const CHANGE_PUT = 1;
const CHANGE_DELETE = 2;
/** In place of the number of a log: none. */
export const NO_LOG = 0xffff;
