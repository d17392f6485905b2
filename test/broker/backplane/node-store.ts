/** What a core of fake-cluster.ts stands on: state of its own, and its view of the logs that all have, which may lag behind. Appends are stored at once; where they are to wait, test/broker/core/publishing/remote-store.ts. */

import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import type {
  LogElsewhere,
  LogPort,
  LogRecord,
  StoredRecord,
  StoreEvents,
  StorePort,
} from '../../../src/broker/core/store-port.ts';

export class NodeStore implements StorePort {
  readonly state = new MemoryStore().state;
  readonly logs: readonly NodeLog[];
  /** What others append it hears of when it has asked, or reads; else at once. */
  lags = false;
  /** And not then either. */
  isDeaf = false;
  private readonly shared: MemoryStore;

  constructor(shared: MemoryStore) {
    this.shared = shared;
    this.logs = shared.logs.map((log) => new NodeLog(log, this));
  }

  get hasNews(): boolean {
    return this.logs.some((log) => log.hasNews);
  }

  tell(events: StoreEvents): void {
    for (const log of this.logs) log.tell(events);
  }

  lastIds(session: number): readonly number[] {
    return this.shared.lastIds(session);
  }

  isMissing(): boolean {
    return false;
  }

  forgetSession(): void {}
}

export class NodeLog implements LogPort, LogElsewhere {
  readonly isDurable = true;
  readonly lastTicket = 0;
  readonly placedTicket = 0;
  private readonly log: LogPort;
  private readonly store: NodeStore;
  private seen: number;
  private told: number;
  /** Offset of the first record that it has not dropped. */
  dropped = 1;
  private isFollowed = false;
  /** It is asked where it ends, or that is being told. */
  private asked: 'no' | 'yes' | 'told' = 'no';

  constructor(log: LogPort, store: NodeStore) {
    this.log = log;
    this.store = store;
    this.seen = log.synced;
    this.told = log.synced;
  }

  get name(): string {
    return this.log.name;
  }

  get filters(): readonly string[] {
    return this.log.filters;
  }

  get epoch(): number {
    return this.log.epoch;
  }

  get earliest(): number {
    return Math.max(this.log.earliest, this.dropped);
  }

  get head(): number {
    return this.store.lags ? this.seen : this.log.head;
  }

  get synced(): number {
    return this.store.lags ? this.seen : this.log.synced;
  }

  get bytes(): number {
    return this.log.bytes;
  }

  get elsewhere(): LogElsewhere | undefined {
    return this.store.lags ? this : undefined;
  }

  get hasNews(): boolean {
    if (!this.store.lags) return this.told !== this.log.synced;
    return !this.store.isDeaf && (this.asked === 'yes' || (this.isFollowed && this.seen !== this.log.synced));
  }

  append(record: LogRecord): number {
    const offset = this.log.append(record);
    if (offset > 0) this.seen = offset + 1;
    return offset;
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null {
    const end = Math.min(until, this.synced);
    return from < end ? this.log.read(from, end, bytesMax) : [];
  }

  firstAt(timeMs: number): number | null {
    return this.log.firstAt(timeMs);
  }

  headNow(): number | null {
    if (this.asked === 'told') return this.head;
    this.asked = 'yes';
    return null;
  }

  follow(isRead: boolean): void {
    this.isFollowed = isRead;
  }

  tell(events: StoreEvents): void {
    if (this.store.isDeaf) return;
    const isAsked = this.asked === 'yes';
    if (isAsked || this.isFollowed || !this.store.lags) this.seen = this.log.synced;
    if (this.told !== this.synced) {
      this.told = this.synced;
      events.stored(this);
    }
    if (!isAsked) return;
    this.asked = 'told';
    events.loaded(this);
    if (this.asked === 'told') this.asked = 'no';
  }
}
