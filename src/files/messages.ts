/**
 * What sender and receiver of files say to each other, byte by byte (spec/files.md). Pure: bytes in, messages out. A reader answers null for
 * bytes that are no message, whoever sent them.
 */

import { copyOf } from '../base/bytes.ts';

/** Streams of this label carry one transfer each: the side that has opened it sends. [FIL-1] */
export const FILES_LABEL = 'files/1';

/** What a sender says. [FIL-2] one message each, of exactly its layout */
export type SenderMessage =
  | { readonly type: 'plan'; readonly files: number; readonly bytes: number }
  | { readonly type: 'offer'; readonly id: number; readonly entry: OfferedEntry }
  | { readonly type: 'proof'; readonly id: number; readonly points: readonly HashPoint[] }
  | { readonly type: 'begin'; readonly id: number }
  | { readonly type: 'data'; readonly bytes: Uint8Array }
  | { readonly type: 'end'; readonly id: number; readonly hash: Uint8Array }
  | { readonly type: 'abort'; readonly id: number };

/** What a receiver answers. */
export type ReceiverMessage =
  | { readonly type: 'go'; readonly id: number; readonly offset: number }
  | { readonly type: 'check'; readonly id: number; readonly have: number; readonly step: number }
  | { readonly type: 'done'; readonly id: number; readonly identical: boolean; readonly storedAs: string }
  | { readonly type: 'refused'; readonly id: number; readonly code: number; readonly detail: string };

/** A file or folder that is offered. */
export interface OfferedEntry {
  readonly kind: EntryKind;
  /** Permission bits of the owner's system. */
  readonly mode: number;
  readonly mtimeMs: number;
  /** In bytes; 0 for a folder. */
  readonly size: number;
  /** From the folder down, as bytes: whether they are names is for names.ts to say. */
  readonly path: readonly Uint8Array[];
}

export type EntryKind = 'file' | 'folder';

/** SHA-256 of a file's first bytes. */
export interface HashPoint {
  readonly offset: number;
  readonly hash: Uint8Array;
}

/** Why a receiver does not take something, by the numbers of the wire. [FIL-10] */
export const Refusal = {
  /** The name is none that this receiver writes. */
  NAME: 1,
  /** There is such a file, with other content, and nothing is overwritten. */
  EXISTS: 2,
  /** This transfer had that name already, or one that many file systems take for the same. */
  COLLISION: 3,
  /** More files, or bytes, than this receiver takes. */
  LIMIT: 4,
  /** The disk is full. */
  NO_SPACE: 5,
  /** The file system refused something else. */
  STORAGE: 6,
  /** What came is not what was announced: length or hash. */
  MISMATCH: 7,
  /** Another sender is sending that name. */
  BUSY: 8,
  /** On the way to it stands what is no folder, or a link. */
  PATH: 9,
} as const;
export type Refusal = (typeof Refusal)[keyof typeof Refusal];

/** Why a receiver does not take something, in a word that an application may branch on; `other` is a reason that this version does not know. */
export type RefusalName =
  | 'name'
  | 'exists'
  | 'collision'
  | 'limit'
  | 'noSpace'
  | 'storage'
  | 'mismatch'
  | 'busy'
  | 'path'
  | 'other';

const REFUSAL_NAMES: Readonly<Record<Refusal, RefusalName>> = {
  [Refusal.NAME]: 'name',
  [Refusal.EXISTS]: 'exists',
  [Refusal.COLLISION]: 'collision',
  [Refusal.LIMIT]: 'limit',
  [Refusal.NO_SPACE]: 'noSpace',
  [Refusal.STORAGE]: 'storage',
  [Refusal.MISMATCH]: 'mismatch',
  [Refusal.BUSY]: 'busy',
  [Refusal.PATH]: 'path',
};

export function refusalName(code: number): RefusalName {
  return REFUSAL_NAMES[code as Refusal] ?? 'other';
}

/** Application codes with which either side resets a transfer. [FIL-3] */
export const TransferCode = {
  /** It was cancelled. */
  CANCELLED: 1,
  /** The other side broke the protocol. */
  PROTOCOL: 2,
  /** The receiver has no room for another transfer. */
  TOO_MANY: 3,
  /** Nothing came for too long. */
  STALLED: 4,
} as const;

// ---- writers ----

export function planMessage(files: number, bytes: number): Buffer {
  const message = start(Type.PLAN, 13);
  message.writeUInt32BE(files, 1);
  writeLength(message, bytes, 5);
  return message;
}

export function offerMessage(id: number, entry: OfferedEntry): Buffer {
  const message = start(
    Type.OFFER,
    OFFER_HEAD_BYTES + entry.path.reduce((sum, name) => sum + 1 + name.length, 0),
  );
  message.writeUInt32BE(id, 1);
  message[5] = entry.kind === 'folder' ? 1 : 0;
  message.writeUInt16BE(entry.mode & MODE_MASK, 6);
  writeLength(message, Math.max(0, Math.floor(entry.mtimeMs)), 8);
  writeLength(message, entry.size, 16);
  message[24] = entry.path.length;
  let at = OFFER_HEAD_BYTES;
  for (const name of entry.path) {
    message[at++] = name.length;
    message.set(name, at);
    at += name.length;
  }
  return message;
}

export function proofMessage(id: number, points: readonly HashPoint[]): Buffer {
  const message = start(Type.PROOF, 6 + points.length * POINT_BYTES);
  message.writeUInt32BE(id, 1);
  message[5] = points.length;
  points.forEach(({ offset, hash }, i) => {
    writeLength(message, offset, 6 + i * POINT_BYTES);
    message.set(hash, 6 + i * POINT_BYTES + 8);
  });
  return message;
}

export function beginMessage(id: number): Buffer {
  return withId(Type.BEGIN, id, 5);
}

export function endMessage(id: number, hash: Uint8Array): Buffer {
  const message = withId(Type.END, id, 5 + HASH_BYTES);
  message.set(hash, 5);
  return message;
}

export function abortMessage(id: number): Buffer {
  return withId(Type.ABORT, id, 5);
}

export function goMessage(id: number, offset: number): Buffer {
  const message = withId(Type.GO, id, 13);
  writeLength(message, offset, 5);
  return message;
}

export function checkMessage(id: number, have: number, step: number): Buffer {
  const message = withId(Type.CHECK, id, 21);
  writeLength(message, have, 5);
  writeLength(message, step, 13);
  return message;
}

export function doneMessage(id: number, identical: boolean, storedAs = ''): Buffer {
  const name = Buffer.from(storedAs);
  const message = withId(Type.DONE, id, 6 + name.length);
  message[5] = identical ? 1 : 0;
  message.set(name, 6);
  return message;
}

export function refusedMessage(id: number, code: Refusal, detail: string): Buffer {
  const text = Buffer.from(detail).subarray(0, DETAIL_BYTES_MAX);
  const message = withId(Type.REFUSED, id, 6 + text.length);
  message[5] = code;
  message.set(text, 6);
  return message;
}

// ---- readers ----

/** What a sender said; null for what is no message. */
export function readSenderMessage(bytes: Buffer): SenderMessage | null {
  const { length } = bytes;
  if (length === 0) return null;
  if (bytes[0] === Type.DATA) return length > 1 ? { type: 'data', bytes: bytes.subarray(1) } : null;
  if (length < 5) return null;
  const id = bytes.readUInt32BE(1);
  switch (bytes[0]) {
    case Type.PLAN: {
      const total = length === 13 ? readLength(bytes, 5) : null;
      return total === null ? null : { type: 'plan', files: id, bytes: total };
    }
    case Type.OFFER:
      return readOffer(bytes, id);
    case Type.PROOF:
      return readProof(bytes, id);
    case Type.BEGIN:
      return length === 5 ? { type: 'begin', id } : null;
    case Type.END:
      return length === 5 + HASH_BYTES ? { type: 'end', id, hash: bytes.subarray(5) } : null;
    case Type.ABORT:
      return length === 5 ? { type: 'abort', id } : null;
    default:
      return null;
  }
}

/** What a receiver answered; null for what is no message. */
export function readReceiverMessage(bytes: Buffer): ReceiverMessage | null {
  const { length } = bytes;
  if (length < 6) return null;
  const id = bytes.readUInt32BE(1);
  switch (bytes[0]) {
    case Type.GO: {
      const offset = length === 13 ? readLength(bytes, 5) : null;
      return offset === null ? null : { type: 'go', id, offset };
    }
    case Type.CHECK: {
      if (length !== 21) return null;
      const have = readLength(bytes, 5);
      const step = readLength(bytes, 13);
      if (have === null || step === null || step === 0 || have / step > POINTS_MAX) return null;
      return { type: 'check', id, have, step };
    }
    case Type.DONE: {
      const storedAs = readText(bytes, NAME_BYTES_MAX);
      if (storedAs === null || bytes[5] > 1) return null;
      return { type: 'done', id, identical: bytes[5] === 1, storedAs };
    }
    case Type.REFUSED: {
      const detail = readText(bytes, DETAIL_BYTES_MAX);
      return detail === null ? null : { type: 'refused', id, code: bytes[5], detail };
    }
    default:
      return null;
  }
}

function readOffer(bytes: Buffer, id: number): SenderMessage | null {
  if (bytes.length < OFFER_HEAD_BYTES || bytes[5] > 1) return null;
  const mtimeMs = readLength(bytes, 8);
  const size = readLength(bytes, 16);
  if (mtimeMs === null || size === null) return null;
  const path: Uint8Array[] = [];
  let at = OFFER_HEAD_BYTES;
  for (let i = 0; i < bytes[24]; i++) {
    if (at >= bytes.length) return null;
    const end = at + 1 + bytes[at];
    if (end > bytes.length) return null;
    path.push(copyOf(bytes.subarray(at + 1, end)));
    at = end;
  }
  const kind = bytes[5] === 1 ? 'folder' : 'file';
  const mode = bytes.readUInt16BE(6);
  if (at !== bytes.length || mode > MODE_MASK || (kind === 'folder' && size > 0)) return null;
  return { type: 'offer', id, entry: { kind, mode, mtimeMs, size, path } };
}

function readProof(bytes: Buffer, id: number): SenderMessage | null {
  if (bytes.length < 6 || bytes.length !== 6 + bytes[5] * POINT_BYTES || bytes[5] > POINTS_MAX + 1)
    return null;
  const points: HashPoint[] = [];
  for (let at = 6; at < bytes.length; at += POINT_BYTES) {
    const offset = readLength(bytes, at);
    if (offset === null || offset <= (points.at(-1)?.offset ?? 0)) return null;
    points.push({ offset, hash: bytes.subarray(at + 8, at + POINT_BYTES) });
  }
  return { type: 'proof', id, points };
}

function start(type: number, length: number): Buffer {
  const message = Buffer.allocUnsafe(length);
  message[0] = type;
  return message;
}

function withId(type: number, id: number, length: number): Buffer {
  const message = start(type, length);
  message.writeUInt32BE(id, 1);
  return message;
}

function writeLength(message: Buffer, value: number, at: number): void {
  message.writeBigUInt64BE(BigInt(value), at);
}

/** A u64, or null above what a number holds. */
function readLength(bytes: Buffer, at: number): number | null {
  const value = bytes.readBigUInt64BE(at);
  return value > Number.MAX_SAFE_INTEGER ? null : Number(value);
}

function readText(bytes: Buffer, bytesMax: number): string | null {
  if (bytes.length > 6 + bytesMax) return null;
  return bytes.toString('utf8', 6);
}

const Type = {
  PLAN: 0x01,
  OFFER: 0x02,
  PROOF: 0x03,
  BEGIN: 0x04,
  DATA: 0x05,
  END: 0x06,
  ABORT: 0x07,
  GO: 0x11,
  CHECK: 0x12,
  DONE: 0x13,
  REFUSED: 0x14,
} as const;

/** The first byte of a message with a part of a file. */
export const DATA_TYPE: number = Type.DATA;
export const HASH_BYTES = 32;
/** Most steps of a CHECK, so that a PROOF stays small. */
export const POINTS_MAX = 64;
const POINT_BYTES = 8 + HASH_BYTES;
const OFFER_HEAD_BYTES = 25;
const MODE_MASK = 0o777;
const DETAIL_BYTES_MAX = 512;
const NAME_BYTES_MAX = 4_096;
