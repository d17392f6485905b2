/**
 * Where the records of a segment are: one entry for about each 64 KiB. That of a segment that is full is kept in a file beside it, so that a start need not
 * read the segment; it is only a hint, and made anew where it is missing or wrong. [STO-15]
 */

import { crc32 } from 'node:zlib';
import { readU64, SEGMENT_HEADER_BYTES, writeU64 } from './format.ts';

export class SegmentIndex {
  readonly base: number;
  /** Bytes of the segment as far as batches go, and the offset that follows them. */
  bytes = SEGMENT_HEADER_BYTES;
  next: number;
  /** Of each entry the first offset, where its batch begins, and when its last batch was written. */
  readonly offsets: number[] = [];
  readonly positions: number[] = [];
  readonly times: number[] = [];
  private startedAt = 0;

  constructor(base: number) {
    this.base = base;
    this.next = base;
  }

  /** A batch follows. It begins an entry where the last one is of enough bytes, or old enough. */
  add(batch: IndexedBatch, bytesPerEntry: number, msPerEntry: number): void {
    const { position, size, base, count, time } = batch;
    const last = this.positions.length - 1;
    const latest = last < 0 ? time : Math.max(time, this.times[last]);
    if (count > 0) {
      const begins =
        last < 0 || position - this.positions[last] >= bytesPerEntry || latest - this.startedAt > msPerEntry;
      if (begins) {
        this.offsets.push(base);
        this.positions.push(position);
        this.times.push(latest);
        this.startedAt = latest;
      } else this.times[last] = latest;
    }
    this.next = base + count;
    this.bytes = position + size;
  }

  /** The entry that `offset` is in, or the first one where it is before all; -1: there is none. */
  entryAt(offset: number): number {
    let low = 0;
    let high = this.offsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offsets[middle] <= offset) low = middle + 1;
      else high = middle;
    }
    return this.offsets.length === 0 ? -1 : Math.max(0, low - 1);
  }

  /** Position of the first byte that is not of this entry or one before it. */
  endOf(entry: number): number {
    return entry + 1 < this.positions.length ? this.positions[entry + 1] : this.bytes;
  }
}

export interface IndexedBatch {
  readonly position: number;
  readonly size: number;
  readonly base: number;
  readonly count: number;
  readonly time: number;
}

export function encodeIndex(index: SegmentIndex, salt: number): Buffer {
  const { offsets, positions, times } = index;
  const bytes = Buffer.alloc(HEADER_BYTES + ENTRY_BYTES * offsets.length + 4);
  bytes.write(MAGIC, 0, 'latin1');
  writeU64(bytes, index.base, 8);
  writeU64(bytes, index.next, 16);
  writeU64(bytes, index.bytes, 24);
  bytes.writeUInt32BE(offsets.length, 32);
  for (let i = 0, at = HEADER_BYTES; i < offsets.length; i++, at += ENTRY_BYTES) {
    writeU64(bytes, offsets[i], at);
    bytes.writeUInt32BE(positions[i], at + 8);
    writeU64(bytes, times[i], at + 12);
  }
  bytes.writeUInt32BE(crc32(bytes.subarray(0, bytes.length - 4), salt), bytes.length - 4);
  return bytes;
}

/** Null: it is no index of that segment as it is, of so many bytes. */
export function decodeIndex(
  bytes: Uint8Array,
  base: number,
  segmentBytes: number,
  salt: number,
): SegmentIndex | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = view.length - 4;
  if (end < HEADER_BYTES || view.toString('latin1', 0, 8) !== MAGIC) return null;
  const count = view.readUInt32BE(32);
  if (
    end !== HEADER_BYTES + ENTRY_BYTES * count ||
    crc32(view.subarray(0, end), salt) !== view.readUInt32BE(end)
  ) {
    return null;
  }
  const index = new SegmentIndex(base);
  index.next = readU64(view, 16);
  index.bytes = readU64(view, 24);
  if (readU64(view, 8) !== base || index.next < base || index.bytes !== segmentBytes) return null;
  for (let i = 0, at = HEADER_BYTES; i < count; i++, at += ENTRY_BYTES) {
    index.offsets.push(readU64(view, at));
    index.positions.push(view.readUInt32BE(at + 8));
    index.times.push(readU64(view, at + 12));
  }
  return index;
}

const MAGIC = 'JSPINDEX';
const HEADER_BYTES = 36;
const ENTRY_BYTES = 20;
