import {
  AppendFault,
  type LogPort,
  type LogRecord,
  type StatePort,
  type StoredRecord,
  type StoreEvents,
  type StoreFailure,
  type StorePort,
} from '../../../../src/broker/core/store-port.ts';
import { isAfter } from '../../../../src/pubsub/acknowledgement.ts';

/** A store that is late with everything: it stores, loads and tells only when it is let, and forgets what it had not stored when it crashes. */
export class LateStore implements StorePort {
  readonly logs: LateLog[];
  readonly state = new LateState();
  private failure: StoreFailure | null = null;
  /** @param like - its logs have the names, filters and epochs of these */
  constructor(like: StorePort) {
    this.logs = like.logs.map(({ name, filters, epoch }) => new LateLog(name, filters, epoch));
  }

  get hasNews(): boolean {
    return this.failure !== null || this.state.hasNews || this.logs.some((log) => log.hasNews);
  }

  tell(events: StoreEvents): void {
    const { failure } = this;
    this.failure = null;
    if (failure !== null) events.storeFailed(null, failure);
    if (this.state.hasNews) {
      this.state.hasNews = false;
      events.stateStored();
    }
    for (const log of this.logs) log.tell(events);
  }

  isMissing(): boolean {
    return false;
  }

  lastIds(session: number): readonly number[] {
    const last = [0, 0, 0, 0];
    for (const log of this.logs) {
      for (const record of log.records) {
        if (record.session !== session || record.id === 0) continue;
        if (last[record.sequence] === 0 || isAfter(record.id, last[record.sequence]))
          last[record.sequence] = record.id;
      }
    }
    return last;
  }

  forgetSession(): void {}

  /** Lets one part of it go on: the state, the logs, or what is being loaded. */
  step(which: number): void {
    if (which % 3 === 0) this.state.store();
    else if (which % 3 === 1) for (const log of this.logs) log.store();
    else for (const log of this.logs) log.load();
  }

  /** Its state is not written any more. */
  fail(failure: StoreFailure): void {
    this.failure = failure;
  }

  crash(): void {
    this.state.crash();
    for (const log of this.logs) log.crash();
  }
}

class LateLog implements LogPort {
  readonly name: string;
  readonly filters: readonly string[];
  readonly epoch: number;
  readonly isDurable = true;
  readonly records: StoredRecord[] = [];
  earliest = 1;
  synced = 1;
  private readonly asked = new Set<number>();
  private readonly loaded = new Set<number>();
  private hasStored = false;
  private hasLoaded = false;
  private hasTrimmed = false;

  constructor(name: string, filters: readonly string[], epoch: number) {
    this.name = name;
    this.filters = filters;
    this.epoch = epoch;
  }

  get hasNews(): boolean {
    return this.hasStored || this.hasLoaded || this.hasTrimmed;
  }

  get bytes(): number {
    return this.records.reduce((sum, { command }) => sum + command.length, 0);
  }

  get head(): number {
    return this.records.length + 1;
  }

  append(record: LogRecord): number {
    const { session, sequence, id } = record;
    const isKnown = (other: StoredRecord) =>
      other.session === session && other.sequence === sequence && !isAfter(id, other.id);
    if (session !== 0 && id !== 0 && this.records.some(isKnown)) return AppendFault.DUPLICATE;
    const offset = this.head;
    new DataView(record.command.buffer, record.command.byteOffset).setUint32(4, offset);
    this.records.push({ ...record, offset });
    return offset;
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null {
    if (from < this.earliest) throw new Error('read below the earliest');
    if (!this.loaded.has(from)) {
      this.asked.add(from);
      return null;
    }
    const found: StoredRecord[] = [];
    let bytes = 0;
    for (const record of this.records.slice(from - 1, Math.min(until, this.synced) - 1)) {
      bytes += record.command.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(record);
    }
    return found;
  }

  firstAt(timeMs: number): number {
    return this.records.find(({ publishedAt }) => publishedAt >= timeMs)?.offset ?? this.head;
  }

  tell(events: StoreEvents): void {
    const { hasStored, hasLoaded, hasTrimmed } = this;
    this.hasStored = false;
    this.hasLoaded = false;
    this.hasTrimmed = false;
    if (hasTrimmed) events.trimmed(this);
    if (hasStored) events.stored(this);
    if (hasLoaded) events.loaded(this);
  }

  store(until = this.head): void {
    if (until <= this.synced) return;
    this.synced = until;
    this.hasStored = true;
  }

  load(): void {
    this.loaded.clear();
    for (const offset of this.asked) this.loaded.add(offset);
    this.asked.clear();
    this.hasLoaded = true;
  }

  trim(earliest: number): void {
    if (earliest <= this.earliest) return;
    this.earliest = Math.min(earliest, this.synced);
    this.hasTrimmed = true;
  }

  crash(): void {
    this.records.length = this.synced - 1;
    this.loaded.clear();
    this.asked.clear();
    this.hasStored = false;
    this.hasLoaded = false;
    this.hasTrimmed = false;
  }
}

class LateState implements StatePort {
  written = 0;
  synced = 0;
  hasNews = false;
  private values = new Map<string, Uint8Array>();
  private safe = new Map<string, Uint8Array>();

  get(key: string): Uint8Array | undefined {
    return this.values.get(key);
  }

  put(key: string, value: Uint8Array): void {
    this.values.set(key, value);
    this.written++;
  }

  delete(key: string): void {
    this.values.delete(key);
    this.written++;
  }

  *entries(prefix: string): Iterable<readonly [string, Uint8Array]> {
    for (const entry of this.values) if (entry[0].startsWith(prefix)) yield entry;
  }

  store(): void {
    if (this.synced === this.written) return;
    this.safe = new Map(this.values);
    this.synced = this.written;
    this.hasNews = true;
  }

  crash(): void {
    this.values = new Map(this.safe);
    this.written = this.synced;
    this.hasNews = false;
  }
}
