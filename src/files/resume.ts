/**
 * How a transfer goes on where it broke off: both sides hash what they have of the file, at the same places, and go on from the last place at
 * which they agree. So a file that was changed meanwhile is never mixed with what it was. [FIL-7]
 */

import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { equalBytes } from '../base/bytes.ts';
import { type HashPoint, POINTS_MAX } from './messages.ts';

/** The hash of a file from its start, which remembers what it was at every `step` and at `end`, so that it can go on from there. */
export class HashTrail {
  private readonly step: number;
  private readonly end: number;
  private readonly marks: { offset: number; hash: Hash }[] = [];
  private readonly hash = createHash('sha256');
  private offset = 0;

  constructor(step: number, end: number) {
    this.step = step;
    this.end = end;
  }

  /** The next bytes of the file; what lies beyond `end` is not counted. */
  update(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length && this.offset < this.end) {
      const next = Math.min(this.end, (Math.floor(this.offset / this.step) + 1) * this.step);
      const taken = Math.min(bytes.length - from, next - this.offset);
      this.hash.update(bytes.subarray(from, from + taken));
      from += taken;
      this.offset += taken;
      if (this.offset === next) this.marks.push({ offset: next, hash: this.hash.copy() });
    }
  }

  /** What the hash was, place after place. */
  points(): HashPoint[] {
    return this.marks.map(({ offset, hash }) => ({ offset, hash: hash.copy().digest() }));
  }

  /** The hash of the first `offset` bytes, to go on with; null where none is known. */
  from(offset: number): Hash | null {
    if (offset === 0) return createHash('sha256');
    return this.marks.find((mark) => mark.offset === offset)?.hash.copy() ?? null;
  }
}

/** Hashes the first `end` bytes of a file, place by place. */
export async function trailOf(handle: FileHandle, step: number, end: number): Promise<HashTrail> {
  const trail = new HashTrail(step, end);
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; at < end; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(READ_BYTES, end - at), at);
    if (bytesRead === 0) break; // it has become shorter
    trail.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return trail;
}

/** Bytes from one place to the next, for a file of which `have` are there: at most 64 places, and none for less than a MiB. */
export function stepFor(have: number): number {
  return Math.max(STEP_BYTES_MIN, Math.ceil(have / POINTS_MAX / STEP_BYTES_MIN) * STEP_BYTES_MIN);
}

/** How many bytes from the start are the same for both sides, as far as these places tell. */
export function agreedBytes(mine: readonly HashPoint[], theirs: readonly HashPoint[]): number {
  let agreed = 0;
  for (const point of mine) {
    const other = theirs.find(({ offset }) => offset === point.offset);
    if (other !== undefined && equalBytes(other.hash, point.hash)) agreed = point.offset;
  }
  return agreed;
}

const STEP_BYTES_MIN = 1024 * 1024;
const READ_BYTES = 1024 * 1024;
