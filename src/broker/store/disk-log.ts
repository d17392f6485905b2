/**
 * A log on the disk. A record that comes is kept in memory until it is on the disk, and for a while after, so that readers who are up to date never wait; all
 * that came while a batch was being written is the next batch. [STO-9]
 *
 * It is one file, for all of it is the way of a record to the disk and off it. What is in memory is a {@link RecordQueue}; what is read from the disk again is
 * `log-reader.ts`.
 *
 * The life of a log is {@link LogLife}: it is open until the disk is full, from which it comes back, or fails, from which it does not.
 */

import { MILLISECOND } from '../../base/time.ts';
import type { Clock, TimerHandle } from '../../udp/clock.ts';
import { RecordQueue } from '../core/store/record-queue.ts';
import { type Retention, retentionOf } from '../core/store/retention.ts';
import {
  AppendFault,
  type LogOptions,
  type LogPort,
  type LogRecord,
  type StoredRecord,
  type StoreEvents,
  type StoreFailure,
} from '../core/store-port.ts';
import { isFull } from './file-system.ts';
import {
  BatchFlag,
  encodeMark,
  encodeRecords,
  NO_LOG,
  type OutgoingRecord,
  recordBytes,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
} from './format.ts';
import { LogReader, type ReadDamage } from './log-reader.ts';
import type { ManifestLog } from './manifest.ts';
import type { OpenSegments } from './open-segments.ts';
import type { PublishedIds } from './published-ids.ts';
import { SegmentIndex } from './segment-index.ts';
import { SegmentWriter, SyncFailure } from './segment-writer.ts';
import type { StoreSurroundings } from './surroundings.ts';

export const LogLife = { OPEN: 0, FULL: 1, FAILED: 2, CLOSED: 3 } as const;
export type LogLife = (typeof LogLife)[keyof typeof LogLife];

/** What is known of a log when it opens. */
export interface OpenedLog {
  readonly number: number;
  readonly epoch: number;
  readonly folder: string;
  /** Its segments, the one that is written to last. */
  readonly segments: SegmentIndex[];
  readonly earliest: number;
}

/** What a log asks of its store. */
export interface LogOwner {
  readonly surroundings: StoreSurroundings;
  readonly salt: number;
  readonly ids: PublishedIds;
  readonly openSegments: OpenSegments;
  /** The segments of a log have changed: resolves when the manifest says so. */
  saveManifest(): Promise<void>;
  /** There is something to be told. */
  wake(): void;
  /** Bytes of records of this log were stored. */
  onStored(bytes: number): void;
  /** A log takes nothing more, which is to be told. */
  onFailure(log: string | null, failure: StoreFailure): void;
  /** Something that was stored cannot be read. */
  onDamage(log: DiskLog, damage: ReadDamage): void;
}

export class DiskLog implements LogPort {
  readonly name: string;
  readonly filters: readonly string[];
  readonly number: number;
  readonly epoch: number;
  readonly isDurable = true;
  earliest: number;
  synced: number;
  life: LogLife = LogLife.OPEN;
  /** Counted: records and bytes stored, and batches that they were written in. */
  readonly counters = { records: 0, bytes: 0, batches: 0 };
  private readonly owner: LogOwner;
  private readonly clock: Clock;
  private readonly retention: Retention;
  private readonly syncsAlways: boolean;
  private readonly limits: LogLimits;
  private readonly writer: SegmentWriter;
  private readonly reader: LogReader;
  private readonly segments: SegmentIndex[];
  /** The newest records, with all that are not stored yet. */
  private readonly newest: RecordQueue<NewRecord>;
  private pendingBytes = 0;
  /** Offset of the next record to be written. */
  private nextToWrite: number;
  /** On the disk for certain: as {@link synced}, but where that does not wait for the disk. */
  private onDisk: number;
  private isWriting = false;
  private isScheduled = false;
  private rollIsDue = false;
  private markIsDue = false;
  private buffer: Buffer | null = null;
  private timer: TimerHandle | null = null;
  /** Where the last mark ends. */
  private markedAt = 0;
  private syncedAt = 0;
  /** Bytes of what is stored and not dropped. */
  private kept = 0;
  private dropping: Promise<void> = Promise.resolve();
  private whenIdle: (() => void)[] = [];
  private whenStepped: (() => void)[] = [];
  private readonly news = { stored: false, trimmed: false, loaded: false };
  private failure: StoreFailure | null = null;

  constructor(options: LogOptions, opened: OpenedLog, owner: LogOwner) {
    this.name = options.name;
    this.filters = options.filters ?? [];
    this.number = opened.number;
    this.epoch = opened.epoch;
    this.owner = owner;
    this.clock = owner.surroundings.clock;
    this.retention = retentionOf(options, DISK_BYTES_MAX);
    this.syncsAlways = options.sync !== 'interval';
    this.limits = limitsOf(this.retention, owner.surroundings.segmentBytes);
    this.segments = opened.segments;
    const { next } = this.active;
    this.earliest = Math.min(opened.earliest, next);
    this.newest = new RecordQueue(next, recordBytes(0));
    this.synced = next;
    this.onDisk = next;
    this.nextToWrite = next;
    this.writer = new SegmentWriter(owner.surroundings.files, opened.folder);
    const { surroundings, openSegments, salt } = owner;
    this.reader = new LogReader(surroundings, opened.folder, this.segments, openSegments, salt, {
      onLoaded: (error) => {
        if (error !== null) this.failForGood(`cannot be read: ${error.message}`, error);
        this.news.loaded = true;
        owner.wake();
      },
      onDamage: (damage) => owner.onDamage(this, damage),
    });
  }

  /** Begins to write where the last segment ends. */
  async start(): Promise<void> {
    await this.writer.resume(this.active.base, this.active.bytes);
    this.markedAt = this.active.bytes;
    this.syncedAt = this.owner.surroundings.wallMs();
    this.trim(this.owner.surroundings.wallMs());
  }

  get head(): number {
    return this.newest.next;
  }

  append(record: LogRecord): number {
    if (this.life !== LogLife.OPEN) return this.life === LogLife.FULL ? AppendFault.FULL : AppendFault.FAILED;
    const { command, topicEnd, session, sequence, id, expiresAt, publishedAt } = record;
    const bytes = recordBytes(command.length);
    if (!this.hasRoomFor(bytes, publishedAt)) return AppendFault.FULL;
    let originLog = NO_LOG;
    let originId = 0;
    let hasGap = false;
    let idBefore = 0;
    if (session !== 0) {
      const origin = this.owner.ids.take(this.number, session, sequence, id);
      if (origin === null) return AppendFault.DUPLICATE; // [STO-20] stored before, in this very log
      originLog = origin.log;
      originId = origin.id;
      hasGap = origin.hasGap;
      idBefore = origin.before;
    }
    const offset = this.newest.next;
    this.newest.push({
      command,
      topicEnd,
      session,
      sequence,
      id,
      expiresAt,
      publishedAt,
      offset,
      originLog,
      originId,
      hasGap,
      idBefore,
    });
    this.pendingBytes += bytes;
    if (!this.isWriting && !this.isScheduled) this.schedule();
    return offset;
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null {
    const end = Math.min(until, this.synced);
    const start = Math.max(from, this.earliest);
    if (start >= end) return NONE;
    const { newest } = this;
    if (start >= newest.from) return newest.read(start, end, bytesMax);
    if (this.life === LogLife.FAILED && this.reader.hasFailed) return NONE;
    return this.reader.read(start, Math.min(end, newest.from), bytesMax, newest.from);
  }

  firstAt(timeMs: number): number | null {
    const { newest } = this;
    const { oldest } = newest;
    if (oldest !== undefined && oldest.publishedAt < timeMs) return newest.firstAt(timeMs, this.synced);
    const found = this.reader.firstAt(timeMs, this.earliest, newest.from);
    return found === null ? null : Math.max(found, this.earliest);
  }

  // ---- for the store ----

  tell(events: StoreEvents): void {
    const { news, failure } = this;
    const { stored, trimmed, loaded } = news;
    news.stored = false;
    news.trimmed = false;
    news.loaded = false;
    this.failure = null;
    if (trimmed) events.trimmed(this);
    if (stored) events.stored(this);
    if (failure !== null) events.storeFailed(this, failure);
    if (loaded) events.loaded(this);
  }

  /** Bytes on the disk. */
  get bytes(): number {
    let sum = 0;
    for (const segment of this.segments) sum += segment.bytes;
    return sum;
  }

  get segmentCount(): number {
    return this.segments.length;
  }

  inManifest(): ManifestLog {
    return {
      number: this.number,
      name: this.name,
      epoch: this.epoch,
      first: this.segments[0].base,
      last: this.active.base,
      segments: this.segments.length,
      earliest: this.earliest,
      proven: this.onDisk,
      interval: this.syncsAlways ? 0 : 1,
    };
  }

  /** Resolves when nothing is being written, and nothing waits to be. */
  idle(): Promise<void> {
    if (!this.isWriting && !this.isScheduled) return Promise.resolve();
    return new Promise((resolve) => this.whenIdle.push(resolve));
  }

  /** Resolves when all below `offset` is stored, or will not be. */
  async reached(offset: number): Promise<void> {
    while (this.synced < offset && this.head >= offset && this.life === LogLife.OPEN) await this.nextStep();
  }

  private nextStep(): Promise<void> {
    return new Promise((resolve) => this.whenStepped.push(resolve));
  }

  /** Lets go of its file without writing anything more. */
  async abandon(): Promise<void> {
    this.life = LogLife.CLOSED;
    this.cancelTimer();
    await this.writer.close().catch(() => {});
  }

  /** Drops what is too old, or too much. [STO-24] */
  trim(wallMs: number): void {
    const { ageMsMax, messagesMax, discardsOld } = this.retention;
    const bytesMax = discardsOld ? this.retention.bytesMax : Number.POSITIVE_INFINITY;
    let earliest = Math.max(this.earliest, this.segments[0].base);
    if (discardsOld) earliest = Math.max(earliest, this.synced - messagesMax);
    let kept = this.keptBytes(earliest);
    while (earliest < this.synced) {
      const segment = this.segmentOf(earliest);
      const entry = segment.entryAt(earliest);
      if (entry !== -1 && segment.times[entry] >= wallMs - ageMsMax && kept <= bytesMax) break;
      const isLast = entry + 1 >= segment.offsets.length;
      earliest = isLast ? Math.max(segment.next, earliest + 1) : segment.offsets[entry + 1];
      if (entry !== -1) kept -= segment.endOf(entry) - segment.positions[entry];
    }
    this.kept = Math.max(0, kept);
    if (earliest > this.earliest) {
      this.earliest = earliest;
      this.news.trimmed = true;
      this.owner.wake();
    }
    if (earliest === this.head && this.active.bytes > this.limits.emptyBytes && !this.rollIsDue) {
      this.rollIsDue = true; // all of the segment is dropped: it gives its room back
      this.schedule();
    }
    this.dropSegments();
  }

  /** Writes what waits, and that this is the end. */
  async close(): Promise<void> {
    await this.idle();
    this.cancelTimer();
    await this.dropping;
    if (this.life === LogLife.OPEN) {
      this.life = LogLife.CLOSED;
      const mark = encodeMark(
        this.head,
        this.head,
        this.owner.surroundings.wallMs(),
        BatchFlag.CLOSED,
        this.owner.salt,
      );
      try {
        if (!this.syncsAlways) await this.writer.sync();
        await this.writer.writeSynced(mark);
        this.onDisk = this.head;
      } catch (error) {
        this.life = LogLife.FAILED;
        throw error;
      } finally {
        await this.writer.close().catch(() => {});
      }
    } else await this.writer.close().catch(() => {});
  }

  // ---- writing ----

  private get active(): SegmentIndex {
    return this.segments[this.segments.length - 1];
  }

  /** What comes in the same turn goes in the same batch. */
  private schedule(): void {
    if (this.isWriting || this.isScheduled || this.life !== LogLife.OPEN) return;
    this.isScheduled = true;
    queueMicrotask(() => {
      this.isScheduled = false;
      void this.work();
    });
  }

  /** Does what is due, one thing after the other, as long as there is something. */
  private async work(): Promise<void> {
    if (this.isWriting) return; // whoever is at it sees what has come
    this.isWriting = true;
    this.cancelTimer();
    try {
      if (this.life === LogLife.FULL) await this.comeBack();
      while (this.life === LogLife.OPEN) {
        if (this.nextToWrite < this.head) await this.writeBatch();
        else if (this.rollIsDue) await this.roll();
        else if (this.markIsDue) await this.writeMark();
        else break;
      }
    } catch (error) {
      await this.fail(error as Error);
    }
    this.isWriting = false;
    this.armTimer();
    for (const resolve of this.whenIdle.splice(0)) resolve();
    for (const resolve of this.whenStepped.splice(0)) resolve();
  }

  private async writeBatch(): Promise<void> {
    const batch = this.nextBatch();
    const { surroundings, salt } = this.owner;
    const { writer, limits } = this;
    const time = surroundings.wallMs();
    this.buffer ??= Buffer.allocUnsafeSlow(limits.batchBytes);
    const bytes = encodeRecords(batch, this.onDisk, time, salt, this.buffer);
    const isFilled = writer.position + bytes.length > limits.segmentBytes;
    if (this.rollIsDue || (isFilled && writer.position > SEGMENT_HEADER_BYTES)) await this.roll();
    const { position } = writer;
    const sinceSync = time - this.syncedAt;
    const syncs = this.syncsAlways || sinceSync >= surroundings.syncIntervalMs || sinceSync < 0;
    await (syncs ? writer.writeSynced(bytes) : writer.write(bytes)); // [STO-9] one batch is under way, and the next waits for the disk
    if (this.life !== LogLife.OPEN) return; // a read has failed meanwhile, and these records were refused
    const base = batch[0].offset;
    this.nextToWrite = base + batch.length;
    if (syncs) {
      this.onDisk = this.nextToWrite;
      this.syncedAt = time;
    }
    this.active.add(
      { position, size: bytes.length, base, count: batch.length, time },
      limits.entryBytes,
      limits.entryMs,
    );
    this.synced = this.nextToWrite;
    this.counters.records += batch.length;
    this.counters.bytes += bytes.length;
    this.counters.batches++;
    for (const record of batch) this.pendingBytes -= recordBytes(record.command.length);
    this.news.stored = true;
    this.owner.onStored(bytes.length);
    this.trim(time);
    this.leaveMemory();
    this.owner.wake();
    for (const resolve of this.whenStepped.splice(0)) resolve();
  }

  private nextBatch(): NewRecord[] {
    const batch: NewRecord[] = [];
    let bytes = 0;
    for (let offset = this.nextToWrite; offset < this.head; offset++) {
      const record = this.newest.at(offset);
      bytes += recordBytes(record.command.length);
      if (bytes > this.limits.batchBytes && batch.length > 0) break;
      batch.push(record);
    }
    return batch;
  }

  /** Of a log that does not wait for the disk: all that was written is on it. [STO-23] */
  private async sync(time: number): Promise<void> {
    await this.writer.sync();
    this.onDisk = this.nextToWrite;
    this.syncedAt = time;
  }

  /** Goes on in another segment. What is before is on the disk, and the manifest names the new one before a record comes into it. [STO-14] */
  private async roll(): Promise<void> {
    this.rollIsDue = false;
    const { writer, owner, name, epoch, number: log, nextToWrite: base, active: sealed } = this;
    if (base === sealed.base) return; // nothing has come into this one yet
    const createdAt = owner.surroundings.wallMs();
    if (!this.syncsAlways) await this.sync(createdAt);
    await writer.begin({ kind: SegmentKind.LOG, log, name, epoch, base, createdAt, salt: owner.salt });
    this.segments.push(new SegmentIndex(base));
    this.markedAt = writer.position;
    this.reader.keepIndex(sealed);
    await owner.saveManifest();
    this.dropSegments();
  }

  /** Says, when nothing comes for a moment, that everything before is on the disk: so that damage to it cannot pass for an unfinished write. [STO-8] */
  private async writeMark(): Promise<void> {
    this.markIsDue = false;
    const time = this.owner.surroundings.wallMs();
    if (!this.syncsAlways && this.onDisk < this.nextToWrite) await this.sync(time);
    await this.writer.write(encodeMark(this.nextToWrite, this.onDisk, time, 0, this.owner.salt));
    this.active.bytes = this.writer.position;
    this.markedAt = this.writer.position;
  }

  /** What is to happen when nothing else does: a mark behind what was written; another try where the disk was full. */
  private armTimer(): void {
    const { life } = this;
    if (life !== LogLife.FULL && (life !== LogLife.OPEN || this.writer.position === this.markedAt)) return;
    const { syncIntervalMs } = this.owner.surroundings;
    const waitMs = life === LogLife.FULL ? RETRY_MS : this.syncsAlways ? MARK_AFTER_MS : syncIntervalMs;
    this.timer = this.clock.setTimer(this.clock.now() + waitMs * MILLISECOND, () => {
      this.timer = null;
      this.markIsDue = life === LogLife.OPEN;
      void this.work();
    });
  }

  private cancelTimer(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  // ---- failing ----

  /**
   * What was not stored is refused, whatever has become of it. A disk that is full is tried again; one that does not say that it has what it was given is
   * not: what a second sync says of it means nothing. [STO-18, STO-19]
   */
  private async fail(error: Error): Promise<void> {
    if (this.life === LogLife.FAILED) return;
    this.refusePending();
    if (isFull(error) && !(error instanceof SyncFailure)) {
      const isNews = this.life !== LogLife.FULL;
      this.life = LogLife.FULL;
      if (isNews) this.tellFailure(AppendFault.FULL, 'the disk is full', error);
      await this.writer.clear().catch(() => {}); // else it is tried again before the next write
    } else this.failForGood(error.message, error);
  }

  private failForGood(message: string, error: Error): void {
    if (this.life === LogLife.FAILED) return;
    this.life = LogLife.FAILED;
    this.refusePending();
    this.tellFailure(AppendFault.FAILED, message, error);
  }

  private tellFailure(fault: AppendFault, message: string, cause: Error): void {
    this.failure = { fault, message: `log ${this.name}: ${message}`, cause };
    this.owner.onFailure(this.name, this.failure);
  }

  private refusePending(): void {
    const { newest, owner, number } = this;
    for (let offset = newest.next - 1; offset >= this.synced; offset--) {
      const record = newest.at(offset);
      if (record.session !== 0) owner.ids.takeBack(number, record, record.idBefore);
    }
    newest.takeBack(this.synced);
    this.pendingBytes = 0;
    this.nextToWrite = this.synced;
  }

  /** The disk was full: is it still? */
  private async comeBack(): Promise<void> {
    await this.writer.probe();
    await this.owner.saveManifest(); // may be what there was no room for
    if (this.life === LogLife.FULL) this.life = LogLife.OPEN; // else a read has failed meanwhile
  }

  // ---- what is kept ----

  private hasRoomFor(bytes: number, wallMs: number): boolean {
    const { bytesMax, discardsOld } = this.retention;
    if (bytes > bytesMax || this.pendingBytes + bytes > PENDING_BYTES_MAX) return false;
    if (discardsOld || this.isBelowBounds(bytes)) return true;
    this.trim(wallMs);
    return this.isBelowBounds(bytes);
  }

  private isBelowBounds(bytes: number): boolean {
    const { bytesMax, messagesMax } = this.retention;
    return this.kept + this.pendingBytes + bytes <= bytesMax && this.head - this.earliest < messagesMax;
  }

  /** Bytes of what is stored from `earliest` on, to within an entry of the index. */
  private keptBytes(earliest: number): number {
    let sum = 0;
    for (const segment of this.segments) {
      if (segment.next <= earliest) continue;
      const entry = segment.entryAt(earliest);
      sum += entry === -1 ? 0 : segment.bytes - segment.positions[entry];
    }
    return sum;
  }

  private segmentOf(offset: number): SegmentIndex {
    let i = this.segments.length - 1;
    while (i > 0 && this.segments[i].base > offset) i--;
    return this.segments[i];
  }

  /** Removes segments that nothing of is kept: from the manifest first. [STO-16] */
  private dropSegments(): void {
    const { segments } = this;
    const gone: SegmentIndex[] = [];
    while (segments.length > 1 && segments[1].base <= this.earliest)
      gone.push(segments.shift() as SegmentIndex);
    if (gone.length === 0) return;
    this.dropping = this.dropping
      .then(() => this.owner.saveManifest())
      .then(() => this.reader.remove(gone))
      .catch(() => {}); // what the manifest does not name is removed at the next start
  }

  /** Records that are on the disk leave memory, the oldest first, where there are too many. */
  private leaveMemory(): void {
    const { newest } = this;
    const bytesMax = this.owner.surroundings.cacheBytes;
    while (newest.bytes > bytesMax && newest.from < this.synced) newest.dropOldest();
  }
}

/** A record, and which id of its sequence the log had before. */
interface NewRecord extends OutgoingRecord {
  readonly idBefore: number;
}

interface LogLimits {
  readonly segmentBytes: number;
  readonly batchBytes: number;
  /** Of an entry of the index: what retention and readers are exact to. */
  readonly entryBytes: number;
  readonly entryMs: number;
  /** A segment that nothing of is kept gives its room back when it has more than this. */
  readonly emptyBytes: number;
}

function limitsOf({ bytesMax, ageMsMax }: Retention, segmentBytesMax: number): LogLimits {
  const segmentBytes = Math.min(segmentBytesMax, Math.max(64 * KIB, Math.floor(bytesMax / 8)));
  return {
    segmentBytes,
    batchBytes: Math.min(1024 * KIB, Math.max(4 * KIB, Math.floor(segmentBytes / 4))),
    entryBytes: Math.min(64 * KIB, Math.max(KIB, Math.floor(bytesMax / 256), Math.floor(segmentBytes / 64))),
    entryMs: ageMsMax / 16,
    emptyBytes: Math.min(1024 * KIB, segmentBytes / 2),
  };
}

const KIB = 1024;
const NONE: readonly StoredRecord[] = [];
const DISK_BYTES_MAX = 4 * 1024 * 1024 * KIB;
/** Records that wait for the disk: a disk that is slower than its publishers makes the log refuse. */
const PENDING_BYTES_MAX = 64 * 1024 * KIB;
const MARK_AFTER_MS = 100;
const RETRY_MS = 1_000;
