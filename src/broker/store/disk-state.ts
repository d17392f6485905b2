/**
 * Small values by name: all of them in memory, and every change in a segment on the disk. Changes that come while others are being written are one batch, in
 * which a key is written once. When more than half of the segment is dead, what lives goes to another one, which then takes its place. [STO-22]
 */

import { join } from 'node:path';
import { MILLISECOND, type Micros } from '../../base/time.ts';
import type { TimerHandle } from '../../udp/clock.ts';
import { AppendFault, type StatePort, type StoreEvents, type StoreFailure } from '../core/store-port.ts';
import { LogLife } from './disk-log.ts';
import { isFull } from './file-system.ts';
import {
  BatchFlag,
  type Change,
  encodeChanges,
  encodeMark,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
} from './format.ts';
import { SegmentWriter, SyncFailure, segmentName } from './segment-writer.ts';
import type { StoreSurroundings } from './surroundings.ts';

/** What is known of the state when it opens. */
export interface OpenedState {
  readonly folder: string;
  /** Number of its segment, and where the next batch of it goes. */
  readonly segment: number;
  readonly bytes: number;
  /** Changes in that segment. */
  readonly changes: number;
  readonly values: Map<string, Uint8Array>;
}

/** What the state asks of its store. */
export interface StateOwner {
  readonly surroundings: StoreSurroundings;
  readonly salt: number;
  /** Changes are about to be written: the last moment to make one of one's own. */
  onWrite(): void;
  saveManifest(): Promise<void>;
  wake(): void;
  /** It takes nothing more, which is to be told. */
  onFailure(log: string | null, failure: StoreFailure): void;
}

export class DiskState implements StatePort {
  written = 0;
  synced = 0;
  life: LogLife = LogLife.OPEN;
  /** Number of the segment. */
  segment: number;
  /** Changes in the segment that are on the disk. */
  changes: number;
  private readonly owner: StateOwner;
  private readonly values: Map<string, Uint8Array>;
  private readonly folder: string;
  private writer: SegmentWriter;
  /** Bytes that the values would take alone. */
  private liveBytes = 0;
  private pending = new Map<string, Uint8Array | null>();
  private work: Promise<void> | null = null;
  private timer: TimerHandle | null = null;
  /** When {@link timer} is due. */
  private timerAt: Micros = 0;
  private lastWriteAt = Number.NEGATIVE_INFINITY;
  private markedAt: number;
  private hasNews = false;
  private failure: StoreFailure | null = null;

  constructor(opened: OpenedState, owner: StateOwner) {
    this.owner = owner;
    this.folder = opened.folder;
    this.segment = opened.segment;
    this.changes = opened.changes;
    this.values = opened.values;
    this.markedAt = opened.bytes;
    this.writer = new SegmentWriter(owner.surroundings.files, opened.folder);
    for (const [key, value] of this.values) this.liveBytes += bytesOf(key, value);
  }

  async start(bytes: number): Promise<void> {
    await this.writer.resume(this.segment, bytes);
  }

  get size(): number {
    return this.values.size;
  }

  /** Bytes on the disk. */
  get bytes(): number {
    return this.writer.position;
  }

  get(key: string): Uint8Array | undefined {
    return this.values.get(key);
  }

  put(key: string, value: Uint8Array): void {
    const before = this.values.get(key);
    if (before !== undefined) this.liveBytes -= bytesOf(key, before);
    this.values.set(key, value);
    this.liveBytes += bytesOf(key, value);
    this.change(key, value);
  }

  delete(key: string): void {
    const before = this.values.get(key);
    if (before === undefined) return;
    this.values.delete(key);
    this.liveBytes -= bytesOf(key, before);
    this.change(key, null);
  }

  *entries(prefix: string): Iterable<readonly [string, Uint8Array]> {
    for (const entry of this.values) if (entry[0].startsWith(prefix)) yield entry;
  }

  // ---- for the store ----

  tell(events: StoreEvents): void {
    const { hasNews, failure } = this;
    this.hasNews = false;
    this.failure = null;
    if (hasNews) events.stateStored();
    if (failure !== null) events.storeFailed(null, failure);
  }

  /** Resolves when nothing is being written, and nothing waits to be. */
  async idle(): Promise<void> {
    while (this.life === LogLife.OPEN && (this.work !== null || this.pending.size > 0)) {
      this.cancelTimer();
      await (this.work ?? this.begin());
    }
  }

  /** Writes what waits, and that this is the end. */
  async close(): Promise<void> {
    await this.idle();
    await this.work;
    this.cancelTimer();
    const { writer } = this;
    try {
      if (this.life !== LogLife.OPEN) return;
      this.life = LogLife.CLOSED;
      await writer.writeSynced(this.mark(BatchFlag.CLOSED));
    } finally {
      await writer.close().catch(() => {});
    }
  }

  /** Lets go of its file without writing anything more. */
  async abandon(): Promise<void> {
    this.life = LogLife.CLOSED;
    this.cancelTimer();
    await this.writer.close().catch(() => {});
  }

  // ---- writing ----

  private change(key: string, value: Uint8Array | null): void {
    this.written++;
    this.pending.delete(key); // a key is where its last change is, so that changes keep their order
    this.pending.set(key, value);
    if (this.work === null && this.life === LogLife.OPEN) this.schedule();
  }

  /** At once where nothing was written lately; else when it is time, so that small changes do not keep the disk from the logs. A mark that is due later does not keep them waiting. */
  private schedule(): void {
    const { clock } = this.owner.surroundings;
    const due = this.lastWriteAt + EVERY_MS * MILLISECOND;
    if (clock.now() >= due) queueMicrotask(() => void this.begin());
    else if (this.timer === null || this.timerAt > due) this.arm(due);
  }

  private arm(at: Micros): void {
    this.cancelTimer();
    this.timerAt = at;
    this.timer = this.owner.surroundings.clock.setTimer(at, () => {
      this.timer = null;
      void this.begin();
    });
  }

  private cancelTimer(): void {
    if (this.timer !== null) this.owner.surroundings.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private begin(): Promise<void> {
    if (this.work !== null || this.life === LogLife.FAILED || this.life === LogLife.CLOSED)
      return Promise.resolve();
    this.cancelTimer();
    this.work = this.writeAll().finally(() => {
      this.work = null;
      this.afterwards();
    });
    return this.work;
  }

  private async writeAll(): Promise<void> {
    const { clock } = this.owner.surroundings;
    this.lastWriteAt = clock.now();
    try {
      if (this.life === LogLife.FULL) {
        await this.writer.probe();
        await this.owner.saveManifest();
        this.life = LogLife.OPEN;
      }
      if (this.pending.size > 0) await this.writePending();
      else if (this.writer.position !== this.markedAt) {
        await this.writer.write(this.mark(0)); // [STO-8] all before is on the disk
        this.markedAt = this.writer.position;
      }
      if (this.isHalfDead) await this.merge();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** What is to be done next, and when. */
  private afterwards(): void {
    const { clock } = this.owner.surroundings;
    if (this.life === LogLife.FULL) this.arm(clock.now() + RETRY_MS * MILLISECOND);
    else if (this.life !== LogLife.OPEN) return;
    else if (this.pending.size > 0) this.schedule();
    else if (this.writer.position !== this.markedAt) this.arm(clock.now() + MARK_AFTER_MS * MILLISECOND);
  }

  private async writePending(): Promise<void> {
    this.owner.onWrite();
    const changes = [...this.pending];
    const upTo = this.written;
    this.pending = new Map();
    try {
      await this.writeChanges(this.writer, changes);
    } catch (error) {
      for (const [key, value] of changes) if (!this.pending.has(key)) this.pending.set(key, value);
      throw error;
    }
    this.synced = upTo;
    this.hasNews = true;
    this.owner.wake();
  }

  /** In batches that are not too large; synced together. */
  private async writeChanges(writer: SegmentWriter, changes: readonly Change[]): Promise<void> {
    const { surroundings, salt } = this.owner;
    let count = this.changes;
    const start = writer.position;
    try {
      for (let at = 0; at < changes.length; ) {
        let end = at;
        for (let bytes = 0; end < changes.length && bytes < BATCH_BYTES; end++) {
          bytes += bytesOf(changes[end][0], changes[end][1]);
        }
        const batch = changes.slice(at, end);
        const bytes = encodeChanges(batch, count, this.changes, surroundings.wallMs(), salt);
        await (end === changes.length ? writer.writeSynced(bytes) : writer.write(bytes));
        count += batch.length;
        at = end;
      }
    } catch (error) {
      if (!(error instanceof SyncFailure)) await writer.clear(start).catch(() => {});
      throw error;
    }
    this.changes = count;
  }

  private get isHalfDead(): boolean {
    const { position } = this.writer;
    return position > MERGE_BYTES_MIN && position > 2 * (this.liveBytes + SEGMENT_HEADER_BYTES);
  }

  /**
   * Writes what lives to another segment, and what has changed meanwhile behind it; then the manifest names that one. Until then everything is as it was:
   * a failure in between costs nothing but the work.
   */
  private async merge(): Promise<void> {
    const { surroundings, salt } = this.owner;
    const { files } = surroundings;
    const old = { writer: this.writer, segment: this.segment, changes: this.changes };
    const writer = new SegmentWriter(files, this.folder);
    const base = old.segment + 1;
    await writer.begin({
      kind: SegmentKind.STATE,
      log: 0,
      name: '',
      epoch: 0,
      base,
      createdAt: surroundings.wallMs(),
      salt,
    });
    try {
      this.changes = 0;
      await this.writeChanges(writer, [...this.values]);
      this.markedAt = -1;
      this.writer = writer;
      this.segment = base;
      await this.owner.saveManifest();
    } catch (error) {
      this.writer = old.writer;
      this.segment = old.segment;
      this.changes = old.changes;
      await writer.close().catch(() => {});
      throw error;
    }
    await old.writer.close();
    await files.remove(join(this.folder, segmentName(old.segment))).catch(() => {}); // else at the next start
  }

  private mark(flags: number): Uint8Array {
    const { surroundings, salt } = this.owner;
    return encodeMark(this.changes, this.changes, surroundings.wallMs(), flags, salt);
  }

  /** What is in memory is what the core goes by: nothing is taken back, and it is written when there is room. */
  private fail(error: Error): void {
    const full = isFull(error) && !(error instanceof SyncFailure);
    const isNews = full ? this.life === LogLife.OPEN : this.life !== LogLife.FAILED;
    this.life = full ? LogLife.FULL : LogLife.FAILED;
    if (!isNews) return;
    const fault = full ? AppendFault.FULL : AppendFault.FAILED;
    const message = `the state of the broker: ${full ? 'the disk is full' : error.message}`;
    this.failure = { fault, message, cause: error };
    this.owner.onFailure(null, this.failure);
  }
}

/** What a value takes on the disk. */
function bytesOf(key: string, value: Uint8Array | null): number {
  return 16 + key.length + (value?.length ?? 0);
}

/** Changes are written at most this often under load. */
const EVERY_MS = 10;
const MARK_AFTER_MS = 100;
const RETRY_MS = 1_000;
const BATCH_BYTES = 1024 * 1024;
/** A smaller segment is not worth the work. */
const MERGE_BYTES_MIN = 1024 * 1024;
