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
  /** From {@link first} on those that it has; before, places of dropped ones, which are given back now and then. */
  private records: (StoredRecord | null)[] = [];
  private first = 0;
  private bytes = 0;
  private nextOffset = 1;
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
    return this.nextOffset - (this.records.length - this.first);
  }

  get head(): number {
    return this.nextOffset;
  }

  get synced(): number {
    return this.nextOffset;
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
    const offset = this.nextOffset++;
    setId(command, offset);
    // Not spread: that makes an object with a table of its own, of three times the size.
    this.records.push({ command, topicEnd, session, sequence, id, expiresAt, publishedAt, offset });
    this.bytes += command.length + RECORD_BYTES;
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
    const { earliest, records } = this;
    const end = Math.min(until, this.nextOffset);
    const found: StoredRecord[] = [];
    let bytes = 0;
    for (let offset = Math.max(from, earliest); offset < end; offset++) {
      const record = records[this.first + offset - earliest] as StoredRecord;
      bytes += record.command.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(record);
    }
    return found;
  }

  firstAt(timeMs: number): number {
    let low = this.first;
    let high = this.records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.records[middle] as StoredRecord).publishedAt < timeMs) low = middle + 1;
      else high = middle;
    }
    return this.earliest + low - this.first;
  }

  /** Drops what is too old. */
  trim(wallMs: number): void {
    const oldest = wallMs - this.retention.ageMsMax;
    for (let record = this.records[this.first]; record && record.publishedAt < oldest; ) {
      this.drop();
      record = this.records[this.first];
    }
  }

  /** Drops old records until there is room for one of `bytes`, or says that there is none. */
  private makeRoom(bytes: number): boolean {
    const { bytesMax, messagesMax, discardsOld } = this.retention;
    if (bytes > bytesMax) return false;
    while (this.bytes + bytes > bytesMax || this.records.length - this.first >= messagesMax) {
      if (!discardsOld) return false;
      this.drop();
    }
    return true;
  }

  private drop(): void {
    const record = this.records[this.first] as StoredRecord;
    this.records[this.first++] = null;
    this.bytes -= record.command.length + RECORD_BYTES;
    this.hasTrimmed = true;
    this.news.any = true;
    if (this.first < PLACES_MIN || this.first * 2 < this.records.length) return;
    this.records = this.records.slice(this.first);
    this.first = 0;
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

/** Writes the low half of a record's offset into the id of its PUBLISH. */
export function setId(command: Uint8Array, offset: number): void {
  const id = offset >>> 0;
  command[4] = id >>> 24;
  command[5] = id >>> 16;
  command[6] = id >>> 8;
  command[7] = id;
}

export const NO_IDS: readonly number[] = [0, 0, 0, 0];
/** What a record is charged beside its command. */
const RECORD_BYTES = 240;
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;
/** Dropped records whose places are kept. */
const PLACES_MIN = 1_024;
