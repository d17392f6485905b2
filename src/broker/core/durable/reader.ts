/**
 * How a subscription reads a log. [BRK-61]
 *
 *     PAUSED ── somebody takes messages ──> BEHIND ── has come to where the feed is ──> LIVE
 *     LIVE ── more waits than it may hold ──> BEHIND           BEHIND, LIVE ── nobody takes messages ──> PAUSED
 *
 * A reader that is BEHIND reads for itself, at its own pace: whatever it costs, it costs nobody else. After each {@link TURN_BYTES} it rests until others have had their turn, and what it has given
 * is on its way meanwhile: its subscriber works on that while more is read. (When a whole window was given in one turn, broker and subscriber worked by turns: with 1,000 messages of 256 B
 * the broker had nothing to do for two fifths of the time.) One that is LIVE is handed what matches its filters by
 * the {@link LogFeed} of the log, which reads each record once and finds its readers as a router finds subscribers; so records that are not for it cost it nothing.
 * It becomes LIVE in the turn in which it has read what the feed has read: nothing lies between the two, and nothing has to be buffered for the change.
 */

import { Router } from '../../../pubsub/router.ts';
import type { LogPort, StoredRecord } from '../store-port.ts';
import { Timer, type Timers } from '../timers.ts';

const ReaderState = { PAUSED: 0, BEHIND: 1, LIVE: 2 } as const;
type ReaderState = (typeof ReaderState)[keyof typeof ReaderState];

/** What a reader holds in memory is charged here. */
export interface ReadingAccount {
  readonly bytes: number;
  readonly bytesMax: number;
  charge(bytes: number): void;
}

/** Whose reader it is. */
export interface ReaderOwner {
  /** There may be something to {@link LogReader.peek}, which there was not before. */
  wake(): void;
}

/** Hands what a log has stored to those of its readers that have read everything before. */
export class LogFeed {
  readonly log: LogPort;
  readonly timers: Timers;
  private readonly router: Router<LogReader>;
  private readonly live = new Set<LogReader>();
  /** Readers that wait for records to be loaded. */
  private readonly loading = new Set<LogReader>();
  /** Readers that wait for what others have stored and this node does not know of, and how far that was asked for. */
  private readonly unknown = new Set<LogReader>();
  private askedBelow = 0;
  private fedUpTo: number;
  /** To be called when it is known where the log ends. */
  private awaitingHead: (() => void)[] = [];

  constructor(log: LogPort, timers: Timers, routesMax: number) {
    this.log = log;
    this.timers = timers;
    this.router = new Router(routesMax);
    this.fedUpTo = log.synced;
  }

  /** Offset of the first record that was not handed out. */
  get fed(): number {
    return this.fedUpTo;
  }

  /** The log has stored more. */
  stored(): void {
    const { log } = this;
    if (this.unknown.size > 0) this.wakeAll(this.unknown);
    while (this.fedUpTo < log.synced) {
      if (this.live.size === 0) {
        this.fedUpTo = log.synced;
        return;
      }
      if (this.fedUpTo < log.earliest) {
        for (const reader of this.live) reader.fallBehind(this.fedUpTo);
        continue;
      }
      const records = log.read(this.fedUpTo, log.synced, FEED_BYTES);
      if (records === null) return; // `loaded` follows
      if (records.length === 0) {
        this.fedUpTo = log.synced; // a hole
        return;
      }
      for (let i = 0; i < records.length; i++) this.handOut(records[i]);
      this.fedUpTo = records[records.length - 1].offset + 1;
    }
  }

  /** Records that somebody asked for are in memory. */
  loaded(): void {
    const acts = this.awaitingHead;
    this.awaitingHead = [];
    for (const act of acts) act();
    this.wakeAll(this.loading);
    this.stored();
  }

  /** The log is another one: nothing of it was handed out. */
  beginAnew(): void {
    this.askedBelow = 0;
    this.fedUpTo = this.log.synced;
  }

  /** True where it has to be asked first where the log ends, which others write as well: `act` is called when that is known. [CLU-33] */
  awaitHead(act: () => void): boolean {
    const { elsewhere } = this.log;
    if (elsewhere === undefined || elsewhere.headNow() !== null) return false;
    this.awaitingHead.push(act);
    return true;
  }

  /**
   * A record that was given out once, by whichever node, is in its log, though this node may not know yet that the log goes so far: then `reader` is woken when it does.
   * False: it does. [CLU-33]
   */
  awaitRecord(offset: number, reader: LogReader): boolean {
    if (this.log.elsewhere === undefined || offset < this.log.synced) return false;
    this.unknown.add(reader);
    if (offset >= this.askedBelow) {
      this.askedBelow = offset + 1;
      this.log.elsewhere.headNow();
    }
    return true;
  }

  add(filter: string, reader: LogReader): void {
    if (this.router.filterCount === 0) this.log.elsewhere?.follow(true);
    this.router.add(filter, reader);
  }

  remove(filter: string, reader: LogReader): void {
    this.router.remove(filter, reader);
    if (this.router.filterCount === 0) this.log.elsewhere?.follow(false);
  }

  /** True when a filter of `reader` matches. */
  matches(record: StoredRecord, reader: LogReader): boolean {
    const entries = this.router.route(record.command, record.topicEnd);
    if (entries === null) return false;
    for (let i = 0; i < entries.length; i++) if (entries[i].isHeldBy(reader)) return true;
    return false;
  }

  join(reader: LogReader): void {
    this.live.add(reader);
  }

  leave(reader: LogReader): void {
    this.live.delete(reader);
    this.loading.delete(reader);
    this.unknown.delete(reader);
  }

  /** `reader` is to be woken when what it has asked for is in memory. */
  awaitLoading(reader: LogReader): void {
    this.loading.add(reader);
  }

  private wakeAll(waiting: Set<LogReader>): void {
    const readers = [...waiting];
    waiting.clear();
    for (const reader of readers) reader.wake();
  }

  private handOut(record: StoredRecord): void {
    const entries = this.router.route(record.command, record.topicEnd);
    if (entries === null) return;
    for (let i = 0; i < entries.length; i++) {
      const { subscribers } = entries[i];
      for (let j = 0; j < subscribers.length; j++) subscribers[j].hand(record);
    }
  }
}

export class LogReader {
  /** Records passed over because no filter matched, since somebody has set this to 0. */
  skipped = 0;
  private readonly feed: LogFeed;
  private readonly owner: ReaderOwner;
  private state: ReaderState = ReaderState.PAUSED;
  /** Records that were read and not taken: from {@link at} on. */
  private records: StoredRecord[] | readonly StoredRecord[] = NOTHING;
  private at = 0;
  /** Where the next ones are read, while it is not LIVE. */
  private readFrom: number;
  /** The last record that the feed has handed it: one that several of its filters match comes several times. */
  private lastHanded = 0;
  private chargedBytes = 0;
  private account: ReadingAccount | null = null;
  /** What it may give and pass over before others have their turn. */
  private turnBytesLeft = TURN_BYTES;
  private readonly breath = new Timer(() => {
    this.turnBytesLeft = TURN_BYTES;
    this.owner.wake();
  });

  constructor(feed: LogFeed, position: number, owner: ReaderOwner) {
    this.feed = feed;
    this.readFrom = position;
    this.owner = owner;
  }

  get log(): LogPort {
    return this.feed.log;
  }

  /** Offset of the next record that it may give: all before were taken or are not for it. */
  get position(): number {
    if (this.at < this.records.length) return this.records[this.at].offset;
    return this.state === ReaderState.LIVE ? Math.max(this.feed.fed, this.lastHanded + 1) : this.readFrom;
  }

  /** Begins to read. What it holds in memory is charged to `account`. */
  resume(account: ReadingAccount): void {
    this.account = account;
    this.turnBytesLeft = TURN_BYTES;
    if (this.state === ReaderState.PAUSED) this.state = ReaderState.BEHIND;
  }

  /** Reads no more, and holds nothing. */
  pause(): void {
    this.readFrom = this.position;
    this.state = ReaderState.PAUSED;
    this.dropRecords();
    this.feed.leave(this);
    this.feed.timers.clear(this.breath);
    this.account = null;
  }

  /** Begins at another place. It has read nothing yet. */
  moveTo(position: number): void {
    this.readFrom = position;
  }

  /** The next record that is for it, or null when there is none in memory: it hears of it when there is. */
  peek(): StoredRecord | null {
    if (this.turnBytesLeft <= 0) return null; // it rests
    for (;;) {
      while (this.at < this.records.length) {
        const record = this.records[this.at];
        if (this.state === ReaderState.LIVE || this.feed.matches(record, this)) return record;
        if (!this.pass()) return null;
      }
      if (this.state === ReaderState.LIVE) {
        if (this.at > 0) this.dropRecords();
        return null;
      }
      if (!this.readOn()) return null;
    }
  }

  /** Takes what {@link peek} has returned. */
  shift(): void {
    const { command } = this.records[this.at++];
    if (this.state === ReaderState.BEHIND) this.spend(command.length + RECORD_BYTES);
  }

  /** Passes over what {@link peek} has returned. False: others have their turn before it is to look again. */
  pass(): boolean {
    this.at++;
    this.skipped++;
    this.spend(SKIP_BYTES);
    return this.turnBytesLeft > 0;
  }

  /** The log ends at `head`, which it had not stored beyond: one that waits for what comes behind that waits for what comes now. */
  goBackTo(head: number): void {
    this.readFrom = Math.min(this.readFrom, head);
    this.lastHanded = Math.min(this.lastHanded, head - 1);
  }

  /** How many records the log has dropped that it had not read; it goes on behind them. */
  takeMissed(): number {
    const missed = this.feed.log.earliest - this.position;
    if (missed <= 0) return 0;
    const isBehind = this.state !== ReaderState.PAUSED;
    this.dropRecords();
    this.readFrom = this.feed.log.earliest;
    if (this.state === ReaderState.LIVE) this.feed.leave(this);
    if (isBehind) this.state = ReaderState.BEHIND;
    return missed;
  }

  /** Records that were asked for are in memory. */
  wake(): void {
    this.owner.wake();
  }

  /** It is woken when others have had their turn. */
  rest(): void {
    this.feed.timers.set(this.breath, 0);
  }

  /** A record that one of its filters matches was stored. */
  hand(record: StoredRecord): void {
    if (this.state !== ReaderState.LIVE || record.offset <= this.lastHanded) return;
    const chargeBytes = record.command.length + RECORD_BYTES;
    if (this.chargedBytes + chargeBytes > this.bytesMax && this.at < this.records.length) {
      this.fallBehind(record.offset);
      return;
    }
    this.lastHanded = record.offset;
    if (this.at === this.records.length) {
      this.dropRecords();
      this.records = [];
    }
    this.charge(chargeBytes);
    (this.records as StoredRecord[]).push(record);
    if (this.records.length - this.at === 1) this.owner.wake();
  }

  /** Reads for itself from `offset` on, which the feed does not hand it; or from where it begins, where that is still to be stored. */
  fallBehind(offset: number): void {
    this.readFrom = Math.max(offset, this.lastHanded + 1);
    this.state = ReaderState.BEHIND;
    this.feed.leave(this);
    this.owner.wake();
  }

  /** Reads the next stretch, or finds that there is nothing to read. True when {@link peek} is to look again. */
  private readOn(): boolean {
    const { feed } = this;
    if (this.state === ReaderState.PAUSED) return false;
    this.dropRecords();
    if (this.readFrom < feed.log.earliest) return false; // its owner asks for what it has missed
    if (this.readFrom >= feed.fed) {
      this.lastHanded = this.readFrom - 1; // it may begin with what is still to be stored
      this.state = ReaderState.LIVE;
      feed.join(this);
      return false;
    }
    const records = feed.log.read(this.readFrom, feed.fed, this.bytesMax);
    if (records === null) {
      feed.awaitLoading(this);
      return false;
    }
    if (records.length === 0) {
      this.readFrom = feed.fed; // a hole
      return true;
    }
    const room = this.room;
    let bytes = 0;
    let count = 0;
    for (; count < records.length; count++) {
      const charge = records[count].command.length + RECORD_BYTES;
      if (count > 0 && bytes + charge > room) break;
      bytes += charge;
    }
    this.charge(bytes);
    this.records = count === records.length ? records : records.slice(0, count);
    this.readFrom = records[count - 1].offset + 1;
    return true;
  }

  /** Less where its client holds much already; a single record is always read. */
  private get bytesMax(): number {
    return Math.max(0, Math.min(STRETCH_BYTES, this.room));
  }

  /** What its client may hold beside what it holds otherwise. */
  private get room(): number {
    const { account } = this;
    return account === null ? 0 : account.bytesMax - account.bytes + this.chargedBytes;
  }

  private spend(bytes: number): void {
    this.turnBytesLeft -= bytes;
    if (this.turnBytesLeft <= 0) this.rest();
  }

  private charge(bytes: number): void {
    this.chargedBytes += bytes;
    this.account?.charge(bytes);
  }

  private dropRecords(): void {
    this.account?.charge(-this.chargedBytes);
    this.chargedBytes = 0;
    this.records = NOTHING;
    this.at = 0;
  }
}

const NOTHING: readonly never[] = [];
const FEED_BYTES = 4 * 1024 * 1024;
/** Of records that one reader holds. */
const STRETCH_BYTES = 256 * 1024;
/** Of a record beside its command. */
const RECORD_BYTES = 160;
/** Of records with what each costs beside its command: some hundred microseconds. */
const TURN_BYTES = 128 * 1024;
/** What it takes to pass a record over, beside to give one. */
const SKIP_BYTES = 16;
