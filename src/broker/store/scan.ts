/**
 * A segment read from end to end: which batches are sound, what is between them that is not, and whether that is the torn end of an unfinished write or
 * damage to what was safe. [STO-10]
 */

import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BatchFlag,
  type BatchHeader,
  batchBytes,
  decodeBatchHeader,
  isBodySound,
  SEGMENT_HEADER_BYTES,
} from './format.ts';

export interface FoundBatch {
  readonly position: number;
  readonly header: BatchHeader;
}

/** A stretch of a segment that is not as it was written. */
export interface BadRegion {
  readonly start: number;
  readonly end: number;
  /** Offset of the first record that should be there. */
  readonly from: number;
  /** Offset at which what follows goes on; -1: nothing follows. */
  readonly until: number;
  /** Header of the batch, where that alone is sound. */
  readonly header: BatchHeader | null;
  readonly reason: string;
}

export interface SegmentScan {
  readonly batches: readonly FoundBatch[];
  readonly bad: readonly BadRegion[];
  /** End of the last sound batch, or of the header where there is none; and the offset that follows it. */
  readonly end: number;
  readonly next: number;
}

/** @param base - offset of the first record */
export function scanSegment(bytes: Uint8Array, base: number, salt: number): SegmentScan {
  const batches: FoundBatch[] = [];
  const bad: BadRegion[] = [];
  let next = base;
  let end = Math.min(SEGMENT_HEADER_BYTES, bytes.length);
  for (let at = end; at < bytes.length; ) {
    const header = decodeBatchHeader(bytes, at, salt);
    if (header === null) {
      const found = nextBatch(bytes, at + 1, next, salt);
      const until = found === null ? -1 : found.header.base;
      const stop = found?.position ?? bytes.length;
      bad.push({ start: at, end: stop, from: next, until, header: null, reason: reasonOf(bytes, at, stop) });
      if (found !== null) next = Math.max(next, until);
      at = stop;
      continue;
    }
    const size = batchBytes(header);
    const isExpected = header.base === next || (header.base > next && (header.flags & BatchFlag.HOLE) !== 0);
    if (header.base > next && !isExpected) {
      bad.push({
        start: at,
        end: at,
        from: next,
        until: header.base,
        header: null,
        reason: 'records are missing',
      });
      next = header.base;
      continue;
    }
    if (isExpected && isBodySound(bytes, at, header, salt)) {
      batches.push({ position: at, header });
      next = header.base + header.count;
      end = at + size;
    } else {
      const stop = Math.min(at + size, bytes.length);
      const after = isExpected ? header.base + header.count : next;
      const reason =
        at + size > bytes.length
          ? 'the batch is cut short'
          : isExpected
            ? 'a wrong checksum'
            : 'a batch that is out of order';
      bad.push({
        start: at,
        end: stop,
        from: next,
        until: stop < bytes.length ? after : -1,
        header: isExpected ? header : null,
        reason,
      });
      next = after;
    }
    at += size;
  }
  return { batches, bad, end, next };
}

/**
 * Which bad region is the torn end of an unfinished write: the first of which nothing says that it was safe. What is behind it was not acknowledged either, and
 * goes with it. Null: there is none.
 *
 * @param proven - records below this offset were safe, as something else than this segment says
 */
export function tornRegion(scan: SegmentScan, proven: number): BadRegion | null {
  for (const region of scan.bad) if (losesRecords(region) && !wasSafe(region, scan, proven)) return region;
  return null;
}

/** Whether records that should be there are not, for all that is known. A damaged mark, which has none, loses nothing. */
export function losesRecords(region: BadRegion): boolean {
  return region.until === -1 || region.until > region.from;
}

/** Whether anything says that what should be in a region was on the disk. */
export function wasSafe(region: BadRegion, scan: SegmentScan, proven: number): boolean {
  if (proven > region.from) return true;
  for (let i = scan.batches.length - 1; i >= 0 && scan.batches[i].position >= region.end; i--)
    if (scan.batches[i].header.syncedBefore > region.from) return true;
  return false;
}

/** The first header of a batch from `from` on whose records are not before `next`. */
export function nextBatch(bytes: Uint8Array, from: number, next: number, salt: number): FoundBatch | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = view.indexOf(MAGIC, from); at !== -1; at = view.indexOf(MAGIC, at + 1)) {
    const header = decodeBatchHeader(bytes, at, salt);
    if (header !== null && header.base >= next) return { position: at, header };
  }
  return null;
}

function reasonOf(bytes: Uint8Array, start: number, end: number): string {
  const isZero = bytes.subarray(start, end).every((byte) => byte === 0);
  if (isZero) return 'zeros where a batch should be';
  return end - start < BATCH_HEADER_BYTES
    ? 'the header of a batch is cut short'
    : 'no batch where one should be';
}

const MAGIC = Buffer.alloc(4);
MAGIC.writeUInt32BE(BATCH_MAGIC);
