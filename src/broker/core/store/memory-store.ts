/**
 * A store that forgets everything with the process: the twin of the one on disk, with the same bounds. What it takes is stored at once, and told of when the
 * core polls.
 */

import {
  AppendFault,
  type LogOptions,
  type LogPort,
  type LogRecord,
  type StatePort,
  type StoredRecord,
  type StoreEvents,
  type StorePort,
} from '../store-port.ts';
import { RecordQueue } from './record-queue.ts';
import { type Retention, retentionOf, withDefaultLog } from './retention.ts';

export class MemoryStore implements StorePort {
  readonly logs: readonly LogPort[];
  readonly state: StatePort & { takeNews(): boolean };
  private readonly news: News = { any: false };
  private readonly memoryLogs: readonly MemoryLog[];
  private readonly idsOf = new Map<number, number[]>();

  /**
   * @param logs - of the log `default`, which always is, or others beside it
   * @param epoch - of all its logs: another for each store that offsets may be remembered of
   */
  constructor(logs: readonly LogOptions[] = [], epoch = 1) {
    this.state = new MemoryState(this.news);
    this.memoryLogs = withDefaultLog(logs).map(
      (options) => new MemoryLog(options, epoch, this.idsOf, this.news),
    );
    this.logs = this.memoryLogs;
  }

  get hasNews(): boolean {
    return this.news.any;
  }

  tell(events: StoreEvents): void {
    this.news.any = false;
    if (this.state.takeNews()) events.stateStored();
    for (const log of this.memoryLogs) log.tell(events);
  }

  /** Drops what has become too old by `wallMs`. To be called now and then: a record that comes does the same for its log. */
  trim(wallMs: number): void {
    for (const log of this.memoryLogs) log.trim(wallMs);
  }

  lastIds(session: number): readonly number[] {
    return this.idsOf.get(session) ?? NO_IDS;
  }

  /** What was refused is known as long as the store lives: by those who refused it. */
  isMissing(): boolean {
    return false;
  }

  forgetSession(session: number): void {
    this.idsOf.delete(session);
  }
}

/** Whether anything is to be told; one object of a store and its parts. */
interface News {
  any: boolean;
}

class MemoryLog implements LogPort {
  readonly name: string;
  readonly filters: readonly string[];
  readonly epoch: number;
  readonly isDurable = false;
  private readonly retention: Retention;
  private readonly idsOf: Map<number, number[]>;
  private readonly news: News;
  private readonly records = new RecordQueue(1, RECORD_BYTES);
  private hasStored = false;
  private hasTrimmed = false;

  constructor(options: LogOptions, epoch: number, idsOf: Map<number, number[]>, news: News) {
    this.name = options.name;
    this.filters = options.filters ?? [];
    this.epoch = epoch;
    this.retention = retentionOf(options, MEMORY_BYTES_MAX);
    this.idsOf = idsOf;
    this.news = news;
  }

  get earliest(): number {
    return this.records.from;
  }

  get head(): number {
    return this.records.next;
  }

  get synced(): number {
    return this.records.next;
  }

  get bytes(): number {
    return this.records.bytes;
  }

  tell(events: StoreEvents): void {
    const { hasStored, hasTrimmed } = this;
    this.hasStored = false;
    this.hasTrimmed = false;
    if (hasTrimmed) events.trimmed(this);
    if (hasStored) events.stored(this);
  }

  append(record: LogRecord): number {
    const { command, topicEnd, session, sequence, id, expiresAt, publishedAt } = record;
    this.trim(publishedAt);
    if (!this.makeRoom(command.length + RECORD_BYTES)) return AppendFault.FULL;
    const offset = this.records.next;
    // Not spread: that makes an object with a table of its own, of three times the size.
    this.records.push({ command, topicEnd, session, sequence, id, expiresAt, publishedAt, offset });
    this.hasStored = true;
    this.news.any = true;
    if (session !== 0) {
      const ids = this.idsOf.get(session) ?? [0, 0, 0, 0];
      ids[sequence] = id;
      this.idsOf.set(session, ids);
    }
    return offset;
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] {
    const { records } = this;
    return records.read(Math.max(from, records.from), Math.min(until, records.next), bytesMax);
  }

  firstAt(timeMs: number): number {
    return this.records.firstAt(timeMs, this.records.next);
  }

  /** Drops what is too old. */
  trim(wallMs: number): void {
    const oldest = wallMs - this.retention.ageMsMax;
    const { records } = this;
    for (let record = records.oldest; record && record.publishedAt < oldest; record = records.oldest)
      this.dropOldest();
  }

  /** Drops old records until there is room for one of `bytes`, or says that there is none. */
  private makeRoom(bytes: number): boolean {
    const { bytesMax, messagesMax, discardsOld } = this.retention;
    if (bytes > bytesMax) return false;
    const { records } = this;
    while (records.bytes + bytes > bytesMax || records.length >= messagesMax) {
      if (!discardsOld) return false;
      this.dropOldest();
    }
    return true;
  }

  private dropOldest(): void {
    this.records.dropOldest();
    this.hasTrimmed = true;
    this.news.any = true;
  }
}

class MemoryState implements StatePort {
  written = 0;
  private hasNews = false;
  private readonly news: News;
  private readonly values = new Map<string, Uint8Array>();

  constructor(news: News) {
    this.news = news;
  }

  get synced(): number {
    return this.written;
  }

  get(key: string): Uint8Array | undefined {
    return this.values.get(key);
  }

  put(key: string, value: Uint8Array): void {
    this.values.set(key, value);
    this.change();
  }

  delete(key: string): void {
    if (!this.values.delete(key)) return;
    this.change();
  }

  *entries(prefix: string): Iterable<readonly [string, Uint8Array]> {
    for (const entry of this.values) if (entry[0].startsWith(prefix)) yield entry;
  }

  private change(): void {
    this.written++;
    this.hasNews = true;
    this.news.any = true;
  }

  takeNews(): boolean {
    const { hasNews } = this;
    this.hasNews = false;
    return hasNews;
  }
}

export const NO_IDS: readonly number[] = [0, 0, 0, 0];
/** What a record is charged beside its command. */
const RECORD_BYTES = 240;
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;
