/**
 * Reads the records of a log that have left memory: chunks of batches, of which the last ones that were read are kept. A read that goes on where a chunk ends has
 * the next one fetched ahead. What is damaged on the disk is left out and told: a hole in the offsets. [STO-13]
 */

import { join } from 'node:path';
import { NO_BYTES, shortLivedBuffer } from '../../base/bytes.ts';
import type { StoredRecord } from '../core/store-port.ts';
import { codeOf, writeFully } from './file-system.ts';
import {
  BATCH_HEADER_BYTES,
  batchBytes,
  decodeBatchHeader,
  decodeRecord,
  eachRecord,
  isBodySound,
} from './format.ts';
import type { OpenSegments } from './open-segments.ts';
import { nextBatch } from './scan.ts';
import { encodeIndex, type SegmentIndex } from './segment-index.ts';
import { segmentName } from './segment-writer.ts';
import type { StoreSurroundings } from './surroundings.ts';

/**
 * Records from `from` to `end`, without those that cannot be read: where they are in `bytes`. They are made of these when somebody asks for them. Thousands of objects that
 * were kept for longer than the next collection of garbage cost a reader a seventh of its time.
 */
interface Chunk {
  readonly from: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  readonly offsets: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** What is wrong with a batch: in which segment, at which byte; of the records from `from` to `until` so many cannot be read. */
export interface ReadDamage {
  readonly segment: number;
  readonly position: number;
  readonly from: number;
  readonly until: number;
  readonly records: number;
}

export interface ReaderListener {
  /** Something was read, or cannot be. */
  onLoaded(error: Error | null): void;
  onDamage(damage: ReadDamage): void;
}

export class LogReader {
  /** The disk does not let itself be read. */
  hasFailed = false;
  private readonly surroundings: StoreSurroundings;
  private readonly folder: string;
  private readonly segments: readonly SegmentIndex[];
  private readonly openSegments: OpenSegments;
  private readonly salt: number;
  private readonly listener: ReaderListener;
  /** Those that were read last, at the end. */
  private readonly chunks: Chunk[] = [];
  /** First offsets of what is being read. */
  private readonly loading = new Set<number>();
  /** What was asked for by time, and the offset that was found. */
  private readonly found = new Map<number, number>();
  private readonly finding = new Set<number>();

  constructor(
    surroundings: StoreSurroundings,
    folder: string,
    segments: readonly SegmentIndex[],
    openSegments: OpenSegments,
    salt: number,
    listener: ReaderListener,
  ) {
    this.surroundings = surroundings;
    this.folder = folder;
    this.segments = segments;
    this.openSegments = openSegments;
    this.salt = salt;
    this.listener = listener;
  }

  /** Records from `from` on, below `until`; null: they are being read. Nothing from `tailFrom` on is to be read, for that is in memory. */
  read(from: number, until: number, bytesMax: number, tailFrom: number): readonly StoredRecord[] | null {
    let at = from;
    while (at < until) {
      const chunk = this.chunkWith(at);
      if (chunk === null) {
        this.load(at);
        return null;
      }
      if (chunk.end < tailFrom && this.chunkWith(chunk.end, false) === null) this.load(chunk.end);
      const records = takeFrom(chunk, at, until, bytesMax);
      if (records.length > 0) return records;
      at = chunk.end; // all of it is a hole
    }
    return NONE;
  }

  /** Offset of the first record from `earliest` on that was taken at `timeMs` or later; null: it is being found. */
  firstAt(timeMs: number, earliest: number, tailFrom: number): number | null {
    const known = this.found.get(timeMs);
    if (known !== undefined) {
      this.found.delete(timeMs);
      return known;
    }
    if (!this.finding.has(timeMs)) {
      this.finding.add(timeMs);
      void this.find(timeMs, earliest, tailFrom);
    }
    return null;
  }

  /** Writes the index of a full segment beside it. It is a hint: nothing waits for it. */
  keepIndex(index: SegmentIndex): void {
    const path = join(this.folder, indexName(index.base));
    const { files } = this.surroundings;
    const write = async () => {
      await files.remove(path).catch(() => {});
      const file = await files.create(path);
      try {
        await writeFully(file, encodeIndex(index, this.salt), 0);
      } finally {
        await file.close();
      }
    };
    write().catch(() => files.remove(path).catch(() => {}));
  }

  async remove(segments: readonly SegmentIndex[]): Promise<void> {
    const { files } = this.surroundings;
    for (const { base } of segments) {
      const path = join(this.folder, segmentName(base));
      await this.openSegments.close(path);
      await files.remove(path);
      await files.remove(join(this.folder, indexName(base))).catch(() => {});
    }
    await files.syncFolder(this.folder);
  }

  private chunkWith(offset: number, isRead = true): Chunk | null {
    for (let i = this.chunks.length - 1; i >= 0; i--) {
      const chunk = this.chunks[i];
      if (offset < chunk.from || offset >= chunk.end) continue;
      if (isRead && i < this.chunks.length - 1) this.chunks.push(this.chunks.splice(i, 1)[0]);
      return chunk;
    }
    return null;
  }

  private load(offset: number): void {
    if (this.loading.has(offset) || this.loading.size >= LOADING_MAX) return; // whoever waits asks again when something has come
    this.loading.add(offset);
    this.readChunk(offset)
      .then(
        (chunk) => {
          if (chunk !== null) this.keep(chunk);
          return null;
        },
        (error: Error) => {
          this.hasFailed = true;
          return error;
        },
      )
      .then((error) => {
        this.loading.delete(offset);
        this.listener.onLoaded(error);
      });
  }

  private keep(chunk: Chunk): void {
    this.chunks.push(chunk);
    if (this.chunks.length > CHUNKS_MAX) this.chunks.shift();
  }

  /** The batches from that of `offset` on, of about {@link CHUNK_BYTES}. Null: the segment was dropped meanwhile. */
  private async readChunk(offset: number): Promise<Chunk | null> {
    const { segments } = this;
    let at = segments.length - 1;
    while (at > 0 && segments[at].base > offset) at--;
    const segment = segments[at];
    const entry = segment.entryAt(offset);
    const end = at + 1 < segments.length ? segments[at + 1].base : segment.next;
    if (entry === -1) return { from: offset, end, bytes: NO_BYTES, offsets: [], starts: [], ends: [] };
    const position = segment.positions[entry];
    let last = entry;
    while (last + 1 < segment.positions.length && segment.endOf(last) - position < CHUNK_BYTES) last++;
    const stop = segment.endOf(last);
    const until = last + 1 < segment.offsets.length ? segment.offsets[last + 1] : end;
    try {
      const path = join(this.folder, segmentName(segment.base));
      const target = shortLivedBuffer(stop - position);
      const bytes = await this.openSegments.read(path, target, position);
      return this.decode(bytes, segment, position, Math.min(offset, segment.offsets[entry]), until);
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && !segments.includes(segment)) return null;
      throw error;
    }
  }

  private decode(
    bytes: Uint8Array,
    segment: SegmentIndex,
    position: number,
    from: number,
    end: number,
  ): Chunk {
    const { salt } = this;
    const damage = (found: Omit<ReadDamage, 'segment'>) =>
      this.listener.onDamage({ segment: segment.base, ...found });
    const offsets: number[] = [];
    const starts: number[] = [];
    const ends: number[] = [];
    let next = from;
    for (let at = 0; at < bytes.length; ) {
      const header = decodeBatchHeader(bytes, at, salt);
      if (header === null) {
        const found = nextBatch(bytes, at + 1, next, salt);
        const until = found?.header.base ?? end;
        if (until > next) damage({ position: position + at, from: next, until, records: until - next });
        next = until;
        at = found?.position ?? bytes.length;
        continue;
      }
      const { base, count } = header;
      const isSound = isBodySound(bytes, at, header, salt);
      const bodyAt = at + BATCH_HEADER_BYTES;
      const body = bytes.subarray(bodyAt, at + batchBytes(header));
      const before = offsets.length;
      eachRecord(body, count, isSound, salt, (index, start, stop) => {
        if (!isSound && decodeRecord(body, base + index, start, stop) === null) return; // it is told as lost
        offsets.push(base + index);
        starts.push(bodyAt + start);
        ends.push(bodyAt + stop);
      });
      next = base + count;
      if (!isSound) {
        const lost = count - (offsets.length - before);
        damage({ position: position + at, from: base, until: next, records: lost });
      }
      at += batchBytes(header);
    }
    return { from, end, bytes, offsets, starts, ends };
  }

  private async find(timeMs: number, earliest: number, tailFrom: number): Promise<void> {
    let offset = this.entryBefore(timeMs, earliest);
    let error: Error | null = null;
    try {
      while (offset < tailFrom) {
        const chunk = this.chunkWith(offset) ?? (await this.readChunk(offset));
        if (chunk === null) break;
        const found = firstAt(chunk, offset, timeMs);
        offset = found ?? chunk.end;
        if (found !== null) break;
      }
    } catch (failure) {
      this.hasFailed = true;
      error = failure as Error;
    }
    this.finding.delete(timeMs);
    this.found.set(timeMs, offset);
    if (this.found.size > FOUND_MAX) this.found.delete(this.found.keys().next().value as number);
    this.listener.onLoaded(error);
  }

  /** Everything before the entry that this is the beginning of was taken before `timeMs`. */
  private entryBefore(timeMs: number, earliest: number): number {
    let offset = earliest;
    for (const segment of this.segments) {
      for (let i = 0; i < segment.offsets.length; i++) {
        if (segment.times[i] >= timeMs) return Math.max(offset, segment.offsets[i], earliest);
        offset = i + 1 < segment.offsets.length ? segment.offsets[i + 1] : segment.next;
      }
    }
    return Math.max(offset, earliest);
  }
}

export function indexName(base: number): string {
  return segmentName(base).replace('.seg', '.idx');
}

/** Records of a chunk from `from` on, below `until`, of about `bytesMax`. */
function takeFrom(chunk: Chunk, from: number, until: number, bytesMax: number): readonly StoredRecord[] {
  const { offsets } = chunk;
  const records: StoredRecord[] = [];
  let bytes = 0;
  for (let i = placeOf(chunk, from); i < offsets.length && offsets[i] < until; i++) {
    const record = recordAt(chunk, i);
    if (record === null) continue;
    bytes += record.command.length;
    if (bytes > bytesMax && records.length > 0) break;
    records.push(record);
  }
  return records;
}

/** Offset of the first record of a chunk, from `offset` on, that was taken at `timeMs` or later. */
function firstAt(chunk: Chunk, offset: number, timeMs: number): number | null {
  for (let i = placeOf(chunk, offset); i < chunk.offsets.length; i++) {
    const record = recordAt(chunk, i);
    if (record !== null && record.publishedAt >= timeMs) return record.offset;
  }
  return null;
}

/** The place of the first record whose offset is `from` or more. */
function placeOf({ offsets }: Chunk, from: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (offsets[middle] < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

function recordAt({ bytes, offsets, starts, ends }: Chunk, i: number): StoredRecord | null {
  return decodeRecord(bytes, offsets[i], starts[i], ends[i]);
}

const NONE: readonly StoredRecord[] = [];
/** Bytes read at once. A view of a record keeps them in memory, so they are not many. */
const CHUNK_BYTES = 256 * 1024;
const CHUNKS_MAX = 16;
const LOADING_MAX = 4;
const FOUND_MAX = 64;
