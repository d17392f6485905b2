import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import {
  AppendFault,
  type LogPort,
  type LogRecord,
  type StoredRecord,
  type StoreEvents,
  type StorePort,
} from '../../../../src/broker/core/store-port.ts';

/** Logs of the broker itself, on a plain list: offsets at once, and stored when the test says so. */
export class SlowStore implements StorePort {
  readonly logs: readonly SlowLog[];
  readonly state = new MemoryStore().state;
  /** Records have to be loaded first. */
  isLoading = false;
  private news: ((events: StoreEvents) => void)[] = [];

  constructor(logs: readonly { name: string; filters: readonly string[] }[] = []) {
    this.logs = [{ name: 'default', filters: [] }, ...logs].map(
      ({ name, filters }) => new SlowLog(name, filters, () => this.isLoading),
    );
  }

  log(name: string): SlowLog {
    const found = this.logs.find((log) => log.name === name);
    if (found === undefined) throw new Error(`no log ${name}`);
    return found;
  }

  /** All up to the one with offset `upTo` are stored. */
  sync(name: string, upTo = this.log(name).head - 1, isTold = true): void {
    const log = this.log(name);
    log.synced = upTo + 1;
    if (isTold) this.news.push((events) => events.stored(log));
  }

  load(name: string): void {
    this.isLoading = false;
    this.news.push((events) => events.loaded(this.log(name)));
  }

  fill(name: string): void {
    this.log(name).fault = AppendFault.FULL;
  }

  fail(name: string): void {
    const log = this.log(name);
    log.fault = AppendFault.FAILED;
    log.records.length = log.synced - 1;
    this.news.push((events) =>
      events.storeFailed(log, { fault: AppendFault.FAILED, message: 'failed', cause: null }),
    );
  }

  get hasNews(): boolean {
    return this.news.length > 0;
  }

  tell(events: StoreEvents): void {
    for (const tell of this.news.splice(0)) tell(events);
  }

  isMissing(): boolean {
    return false;
  }

  lastIds(): readonly number[] {
    return [0, 0, 0, 0];
  }

  forgetSession(): void {}
}

export class SlowLog implements LogPort {
  readonly name: string;
  readonly filters: readonly string[];
  readonly epoch = 1;
  readonly isDurable = true;
  readonly earliest = 1;
  readonly records: StoredRecord[] = [];
  synced = 1;
  fault: AppendFault | null = null;

  private readonly isLoading: () => boolean;

  constructor(name: string, filters: readonly string[], isLoading: () => boolean) {
    this.isLoading = isLoading;
    this.name = name;
    this.filters = filters;
  }

  get bytes(): number {
    return this.records.reduce((sum, { command }) => sum + command.length, 0);
  }

  get head(): number {
    return this.records.length + 1;
  }

  append(record: LogRecord): number {
    if (this.fault !== null) return this.fault;
    const offset = this.head;
    this.records.push({ ...record, offset });
    return offset;
  }

  read(from: number, until: number): readonly StoredRecord[] | null {
    if (this.isLoading()) return null;
    return this.records.slice(from - 1, Math.min(until, this.synced) - 1);
  }

  firstAt(): number {
    return 1;
  }
}
