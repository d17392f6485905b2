/** Values of the state that are the store's own: what it remembers so that a start need not read everything, and can tell what is missing. [STO-21] */

import { readU64, writeU64 } from './format.ts';

/** Up to which offset each log was on the disk when this was written: what is not there any more was lost. [STO-11] */
export const PROVEN_KEY = 'store/proven';
/** Up to which offset of each log the ids in {@link sessionKey} are: a {@link Checkpoint}. */
export const CHECKPOINT_KEY = 'store/checkpoint';

export const SESSIONS_PREFIX = 'sequences/';

export function sessionKey(session: number): string {
  return `${SESSIONS_PREFIX}${session}`;
}

export function sessionOf(key: string): number {
  return Number(key.slice(SESSIONS_PREFIX.length));
}

/** In place of ids: the session is forgotten, and what the logs still have of it is not to bring it back. */
export const FORGOTTEN: Uint8Array = new Uint8Array([0]);

export function isForgotten(value: Uint8Array): boolean {
  return value.length === FORGOTTEN.length;
}

/** Up to which offset of a log the ids go, as long as its offsets mean the same. */
export interface Checkpoint {
  readonly epoch: number;
  readonly offset: number;
}

/** By log: number u16, epoch u64, offset u64 */
export function encodeCheckpoints(checkpoints: ReadonlyMap<number, Checkpoint>): Uint8Array {
  const bytes = Buffer.alloc(CHECKPOINT_BYTES * checkpoints.size);
  let at = 0;
  for (const [log, { epoch, offset }] of checkpoints) {
    bytes.writeUInt16BE(log, at);
    writeU64(bytes, epoch, at + 2);
    writeU64(bytes, offset, at + 10);
    at += CHECKPOINT_BYTES;
  }
  return new Uint8Array(bytes);
}

/** Empty where the value is not there, or is none. */
export function decodeCheckpoints(value: Uint8Array | undefined): Map<number, Checkpoint> {
  const checkpoints = new Map<number, Checkpoint>();
  if (value === undefined || value.length % CHECKPOINT_BYTES !== 0) return checkpoints;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  for (let at = 0; at < bytes.length; at += CHECKPOINT_BYTES) {
    const checkpoint = { epoch: readU64(bytes, at + 2), offset: readU64(bytes, at + 10) };
    checkpoints.set(bytes.readUInt16BE(at), checkpoint);
  }
  return checkpoints;
}

/** A number by log. */
export function encodeProven(offsets: ReadonlyMap<number, number>): Uint8Array {
  const bytes = Buffer.alloc(10 * offsets.size);
  let at = 0;
  for (const [log, offset] of offsets) {
    bytes.writeUInt16BE(log, at);
    writeU64(bytes, offset, at + 2);
    at += 10;
  }
  return new Uint8Array(bytes);
}

/** Empty where the value is not there, or is none. */
export function decodeProven(value: Uint8Array | undefined): Map<number, number> {
  const offsets = new Map<number, number>();
  if (value === undefined || value.length % 10 !== 0) return offsets;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  for (let at = 0; at < bytes.length; at += 10) offsets.set(bytes.readUInt16BE(at), readU64(bytes, at + 2));
  return offsets;
}

const CHECKPOINT_BYTES = 18;
