import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import {
  AppendFault,
  type LogElsewhere,
  type LogPort,
  type LogRecord,
  type StoredRecord,
  type StoreEvents,
  type StorePort,
} from '../../../../src/broker/core/store-port.ts';
import { HEADER_BYTES } from '../../../../src/pubsub/command.ts';
import { publish } from './publishing.ts';

/** Logs that are kept elsewhere, as those of a cluster: what is appended has its offset, and what others append is there, when the test says so. Logs that have offsets at once, and are stored later: slow-store.ts. */
export class RemoteStore implements StorePort {
  readonly logs: readonly RemoteLog[];
  readonly state = new MemoryStore().state;
  readonly news: ((events: StoreEvents) => void)[] = [];

  constructor(logs: readonly { name: string; filters: readonly string[] }[] = []) {
    this.logs = [{ name: 'default', filters: [] }, ...logs].map(
      ({ name, filters }) => new RemoteLog(name, filters, this.news),
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

export class RemoteLog implements LogPort, LogElsewhere {
  readonly name: string;
  readonly filters: readonly string[];
  epoch = 1;
  readonly isDurable = true;
  readonly elsewhere = this;
  readonly earliest = 1;
  readonly bytes = 0;
  readonly records: StoredRecord[] = [];
  synced = 1;
  lastTicket = 0;
  placedTicket = 0;
  isFollowed = false;
  isReachable = true;
  private readonly underWay: LogRecord[] = [];
  private readonly news: ((events: StoreEvents) => void)[];
  private isHeadKnown = false;

  constructor(name: string, filters: readonly string[], news: ((events: StoreEvents) => void)[]) {
    this.name = name;
    this.filters = filters;
    this.news = news;
  }

  get head(): number {
    return this.synced;
  }

  append(record: LogRecord): number {
    if (!this.isReachable) return AppendFault.UNREACHABLE;
    this.underWay.push(record);
    this.lastTicket++;
    return AppendFault.PENDING;
  }

  read(from: number, until: number): readonly StoredRecord[] {
    return this.records.slice(from - 1, Math.min(until, this.synced) - 1);
  }

  firstAt(): number {
    return 1;
  }

  headNow(): number | null {
    return this.isHeadKnown ? this.synced : null;
  }

  follow(isRead: boolean): void {
    this.isFollowed = isRead;
  }

  /** The next `count` that are under way are placed; or for this fault they are not. */
  place(count: number, fault: AppendFault | null = null): void {
    for (let i = 0; i < count; i++) {
      const record = this.underWay.shift();
      if (record === undefined) throw new Error('nothing is under way');
      const ticket = ++this.placedTicket;
      const offset = fault ?? this.store(record);
      this.news.push((events) => events.placed(this, ticket, offset, false));
      if (fault === null) this.news.push((events) => events.stored(this));
    }
  }

  /** The next one is known as a repetition of the one at `offset`. */
  repeat(offset: number): void {
    this.underWay.shift();
    const ticket = ++this.placedTicket;
    this.news.push((events) => events.placed(this, ticket, offset, true));
  }

  /** Another broker has appended this. */
  write(topic: string, payload: string): void {
    const command = publish(topic, payload, 1);
    const topicEnd = HEADER_BYTES + topic.length;
    this.store({ command, topicEnd, session: 0, sequence: 0, id: 0, expiresAt: 0, publishedAt: 0 });
    if (this.isFollowed) this.news.push((events) => events.stored(this));
  }

  /** What it had is gone: it is another log. */
  loseAll(epoch: number): void {
    this.epoch = epoch;
    this.records.length = 0;
    this.synced = 1;
    this.news.push((events) => events.begunAnew?.(this));
  }

  /** It is known where it ends, and that is so until what comes of it has been done. */
  tellHead(): void {
    this.news.push((events) => {
      this.isHeadKnown = true;
      events.loaded(this);
      this.isHeadKnown = false;
    });
  }

  private store(record: LogRecord): number {
    const offset = this.records.length + 1;
    new DataView(record.command.buffer, record.command.byteOffset).setUint32(4, offset);
    this.records.push({ ...record, offset });
    this.synced = offset + 1;
    return offset;
  }
}
