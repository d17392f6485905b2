/** A session as the store keeps it, so that it outlives the broker: the value of the key `session/<name>`. [BRK-54] */

import { decodeFirstOwner, decodeOwner, encodeOwner } from '../access/owner-record.ts';
import type { PrincipalId } from '../access/principal.ts';

/** What is kept of a session beside its name. */
export interface SessionRecord {
  readonly number: number;
  readonly epoch: number;
  readonly expiryMs: number;
  /** Its client was connected when this was written. */
  readonly isPresent: boolean;
  /** Wall clock, ms: when this was written, which is when its client went away if it is. */
  readonly writtenAt: number;
  /** Null: nobody's in particular. */
  readonly owner: PrincipalId | null;
}

export const SESSION_KEYS = 'session/';

/** version u8, is present u8, number u48, epoch u64, expiry u32, written at u48, owner */
export function encodeSessionRecord(record: SessionRecord): Uint8Array {
  const owner = encodeOwner(record.owner);
  const bytes = new Uint8Array(HEAD_BYTES + owner.length); // not from a pool, of which it would keep the rest alive
  const view = Buffer.from(bytes.buffer);
  view[0] = VERSION;
  view[1] = record.isPresent ? 1 : 0;
  view.writeUIntBE(record.number, 2, 6);
  view.writeBigUInt64BE(BigInt(record.epoch), 8);
  view.writeUInt32BE(record.expiryMs, 16);
  view.writeUIntBE(Math.max(0, Math.floor(record.writtenAt)), 20, 6);
  bytes.set(owner, HEAD_BYTES);
  return bytes;
}

/** Null: it is none that this version can read. */
export function decodeSessionRecord(bytes: Uint8Array): SessionRecord | null {
  if (bytes.length < HEAD_BYTES || (bytes[0] !== VERSION && bytes[0] !== 1)) return null;
  const rest = bytes.subarray(HEAD_BYTES);
  const owner = bytes[0] === 1 ? decodeFirstOwner(rest) : decodeOwner(rest);
  if (owner === undefined) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    isPresent: view[1] !== 0,
    number: view.readUIntBE(2, 6),
    epoch: Number(view.readBigUInt64BE(8)),
    expiryMs: view.readUInt32BE(16),
    writtenAt: view.readUIntBE(20, 6),
    owner,
  };
}

/** A number under a key of its own. */
export function encodeNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(6);
  Buffer.from(bytes.buffer).writeUIntBE(value, 0, 6);
  return bytes;
}

/** 0 where there is none. */
export function decodeNumber(bytes: Uint8Array | undefined): number {
  if (bytes === undefined || bytes.length !== 6) return 0;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUIntBE(0, 6);
}

const VERSION = 2;
const HEAD_BYTES = 26;
