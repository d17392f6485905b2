/**
 * A log of a cluster as a node has it: what it appends is on its way until the engine has it ({@link Appends}), what it reads is in memory or is fetched ({@link Windows}). Offsets are the
 * engine's. What the core asks is answered from what is known here; what is not is asked for, and told when it is known.
 */

import { MILLISECOND } from '../../../base/time.ts';
import type { Clock, TimerHandle } from '../../../udp/clock.ts';
import { keyOfMessage, nameIn } from '../../core/publishing/message-ids.ts';
import {
  AppendFault,
  type LogElsewhere,
  type LogOptions,
  type LogPort,
  type LogRecord,
  type StoredRecord,
  type StoreEvents,
} from '../../core/store-port.ts';
import type { ClusterLogFigures } from '../backplane.ts';
import { Appends } from './appends.ts';
import type { LogExtent, LogStream, LogStreamListener } from './log-stream.ts';
import { SeenIds } from './seen-ids.ts';
import { Windows } from './windows.ts';

export type Tell = (events: StoreEvents) => void;

export interface ClusterLogSurroundings {
  readonly clock: Clock;
  /** Of this process, unlike any other of any node. */
  readonly life: string;
  /** There is something to be told. */
  push(news: Tell): void;
  /** A record of this node has been placed. */
  onPlaced(record: LogRecord): void;
}

export class ClusterLog implements LogPort, LogElsewhere {
  readonly name: string;
  readonly filters: readonly string[];
  readonly isDurable = true;
  readonly elsewhere: LogElsewhere = this;
  private readonly stream: LogStream;
  private readonly surroundings: ClusterLogSurroundings;
  private readonly appends: Appends;
  private windows = new Windows();
  private seen = new SeenIds();
  private extent: LogExtent;
  private storedBelow: number;
  /** What the engine has acknowledged before it was gone: it has to be there when it is back. */
  private storedBefore = 0;
  /** From when on another epoch may be asked for once more. */
  private renewableAt = 0;
  /** Stretches that are being fetched, by where they begin. */
  private readonly fetching = new Set<number>();
  /** Stretches that came while it is asked whether the log has dropped what is missing before them. */
  private readonly held: { from: number; next: number; records: readonly StoredRecord[] }[] = [];
  private readonly times = new Map<number, number | null>();
  /** Messages that are known by their name, by where the first of that name is: it may be another message. */
  private readonly comparing = new Map<number, { ticket: number; key: string }[]>();
  private isRead = false;
  /** Somebody waits for what comes next. */
  private isAwaited = false;
  private isToldStored = true;
  private isToldLoaded = true;
  /** A question is on its way; and one is to be asked behind it, for that one may be answered already. */
  private asked: 'no' | 'once' | 'again' = 'no';
  private isSecond = false;
  private isHeadKnown = false;
  private fetched = 0;
  private unreadable = 0;
  private repeats = 0;
  /** Nobody reads any more; it is followed for a while. */
  private rest: TimerHandle | null = null;
  private again: TimerHandle | null = null;
  private refresh: TimerHandle | null = null;

  constructor(
    { name, filters = [] }: LogOptions,
    stream: LogStream,
    extent: LogExtent,
    surroundings: ClusterLogSurroundings,
  ) {
    this.name = name;
    this.filters = filters;
    this.stream = stream;
    this.surroundings = surroundings;
    this.extent = extent;
    this.storedBelow = extent.head;
    this.appends = new Appends(stream, surroundings.clock, surroundings.life, {
      placed: (record, ticket, offset, isDuplicate) => this.tellPlaced(record, ticket, offset, isDuplicate),
      probe: () => this.ask(),
    });
    stream.listener = this.listener();
  }

  get epoch(): number {
    return this.extent.epoch;
  }

  get earliest(): number {
    return this.extent.earliest;
  }

  get head(): number {
    return this.storedBelow;
  }

  get synced(): number {
    return this.storedBelow;
  }

  get bytes(): number {
    return this.extent.bytes;
  }

  get lastTicket(): number {
    return this.appends.lastTicket;
  }

  get placedTicket(): number {
    return this.appends.placedTicket;
  }

  get figures(): ClusterLogFigures {
    const { name, windows, fetched, unreadable, repeats } = this;
    const { pending, pendingBytes, resent, duplicates, unreachable } = this.appends.metrics;
    return {
      ...{
        name,
        isReachable: this.appends.isReachable,
        pending,
        pendingBytes,
        resent,
        duplicates,
        unreachable,
      },
      ...{ fetched, cachedBytes: windows.bytes, repeated: repeats, unreadable },
    };
  }

  append(record: LogRecord): number {
    return this.appends.append(record);
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null {
    const end = Math.min(until, this.storedBelow);
    if (from >= end) return NOTHING;
    const records = this.windows.read(from, end, bytesMax);
    if (records !== null) return records;
    const at = this.windows.endOf(from);
    if (this.windows.tailNext >= 0 && at >= this.windows.tailNext)
      this.isAwaited = true; // it comes
    else this.fetch(at, end, bytesMax);
    return null;
  }

  firstAt(timeMs: number): number | null {
    const known = this.times.get(timeMs);
    if (known !== undefined && known !== null) {
      this.times.delete(timeMs);
      return Math.min(known, this.head);
    }
    if (known === null) return null; // it is being asked for
    while (this.times.size >= TIMES_MAX) this.times.delete(this.times.keys().next().value as number);
    this.times.set(timeMs, null);
    this.stream.find(timeMs);
    return null;
  }

  headNow(): number | null {
    if (this.isHeadKnown || !this.stream.isUp) return this.head;
    this.ask();
    return null;
  }

  follow(isRead: boolean): void {
    const { clock } = this.surroundings;
    this.isRead = isRead;
    if (this.rest !== null) clock.clearTimer(this.rest);
    this.rest = null;
    if (!isRead) {
      if (this.windows.tailNext < 0) return;
      this.rest = clock.setTimer(clock.now() + REST_MS * MILLISECOND, () => {
        this.rest = null;
        this.windows.follow(null);
        this.stream.follow(null);
      });
      return;
    }
    if (this.windows.tailNext < 0) this.begin(this.storedBelow);
    this.refreshLater();
  }

  /** Nothing is sent or told any more. */
  close(): void {
    const { clock } = this.surroundings;
    for (const timer of [this.rest, this.refresh, this.again]) if (timer !== null) clock.clearTimer(timer);
    this.appends.close();
    this.stream.follow(null);
    this.stream.listener = null;
  }

  // ---- what the engine tells ----

  private listener(): LogStreamListener {
    return {
      up: () => this.up(),
      down: () => this.down(),
      placed: (ticket, offset, isDuplicate) => this.onPlaced(ticket, offset, isDuplicate),
      refused: (ticket, fault) => this.appends.refused(ticket, fault),
      looked: (extent) => this.looked(extent),
      read: (from, records, next) => this.onRead(from, records, next),
      found: (timeMs, offset) => this.found(timeMs, offset),
      arrived: (record, offset) => this.arrived(record, offset),
    };
  }

  private up(): void {
    this.appends.up();
    if (this.windows.tailNext >= 0) this.stream.follow(this.windows.tailNext);
    for (const [offset] of this.comparing) this.stream.read(offset, offset + 1, 0);
    for (const [timeMs, offset] of this.times) if (offset === null) this.stream.find(timeMs);
    this.ask();
    this.retry();
  }

  private down(): void {
    this.storedBefore = Math.max(this.storedBefore, this.storedBelow);
    this.appends.down();
    this.fetching.clear();
    this.asked = 'no';
    this.tellHead();
  }

  private onPlaced(ticket: number, offset: number, isDuplicate: boolean): void {
    const record = isDuplicate ? this.appends.recordOf(ticket) : undefined;
    const key = record === undefined ? null : keyOfMessage(record.command, record.topicEnd);
    this.stored(offset + 1);
    if (key === null || nameIn(key) === key) {
      this.appends.placed(ticket, offset, isDuplicate);
      return;
    }
    const comparing = this.comparing.get(offset) ?? [];
    this.comparing.set(offset, comparing);
    comparing.push({ ticket, key });
    this.stream.read(offset, offset + 1, 0);
  }

  private looked(extent: LogExtent | null): void {
    // Who has asked behind a question is answered by the next one: at the latest, however many go on asking.
    const isAgain = this.asked === 'again' && !this.isSecond && extent !== null;
    this.isSecond = isAgain;
    this.asked = 'no';
    if (extent !== null && this.take(extent)) this.appends.answered();
    for (const { from, next, records } of this.held.splice(0))
      this.windows.add(Math.max(from, this.earliest), next, records);
    if (isAgain) this.ask();
    else this.tellHead();
  }

  /** False: it has lost what it had acknowledged, and gets another epoch before it is appended to. */
  private take(extent: LogExtent): boolean {
    const { earliest, epoch } = this.extent;
    if (extent.epoch !== epoch) {
      this.beginAnew(extent);
      return true;
    }
    if (extent.head < this.storedBefore) {
      const now = this.surroundings.clock.now();
      if (now < this.renewableAt) return false; // that is on its way
      this.renewableAt = now + RENEW_MS * MILLISECOND;
      this.stream.beginAnew();
      return false;
    }
    this.storedBefore = 0;
    this.extent = extent;
    if (extent.earliest > earliest) this.surroundings.push((events) => events.trimmed(this));
    this.stored(extent.head);
    return true;
  }

  /** The log is another one. Nothing of it is known. [CLU-36] */
  private beginAnew(extent: LogExtent): void {
    this.extent = extent;
    this.storedBelow = extent.head;
    this.storedBefore = 0;
    this.renewableAt = 0;
    this.windows = new Windows();
    this.seen = new SeenIds();
    this.fetching.clear();
    this.held.length = 0;
    if (this.isRead) this.begin(extent.head);
    else this.stream.follow(null);
    this.surroundings.push((events) => events.begunAnew?.(this));
  }

  private onRead(from: number, records: readonly StoredRecord[] | null, next: number): void {
    this.fetching.delete(from);
    this.compare(from, records);
    if (records === null) {
      this.retryLater();
      return;
    }
    this.fetched++;
    const kept = records.filter((record) => !this.isRepeated(record));
    const first = records[0]?.offset ?? next;
    if (first > from && from > this.earliest) {
      // The log may have dropped what is missing: whoever reads is told, when that is known.
      this.held.push({ from, next, records: kept });
      this.ask();
      return;
    }
    this.windows.add(from, next, kept);
    this.retry();
  }

  private found(timeMs: number, offset: number | null): void {
    if (this.times.get(timeMs) !== null) return;
    if (offset === null) this.times.delete(timeMs);
    else this.times.set(timeMs, offset);
    if (offset === null) this.retryLater();
    else this.tellLoaded();
  }

  private arrived(record: StoredRecord | null, offset: number): void {
    if (record === null) this.unreadable++;
    if (offset > this.windows.tailNext) this.ask(); // the log may have dropped what is between
    this.windows.arrived(record === null || this.isRepeated(record) ? null : record, offset);
    this.stored(offset + 1);
    if (this.isAwaited) this.tellLoaded();
    this.isAwaited = false;
  }

  /** The first message of a name is known: one that names itself so and is another one is told. [BRK-91] */
  private compare(offset: number, records: readonly StoredRecord[] | null): void {
    const comparing = this.comparing.get(offset);
    if (comparing === undefined || records === null) return;
    this.comparing.delete(offset);
    const first = records.find((record) => record.offset === offset);
    const known = first === undefined ? null : keyOfMessage(first.command, first.topicEnd);
    for (const { ticket, key } of comparing) {
      if (known === null || known === key) this.appends.placed(ticket, offset, true);
      else this.appends.refused(ticket, AppendFault.CONTRADICTION);
    }
  }

  private isRepeated(record: StoredRecord): boolean {
    if (!this.seen.isRepeated(record)) return false;
    this.repeats++;
    return true;
  }

  private fetch(from: number, until: number, bytesMax: number): void {
    if (this.fetching.has(from)) return;
    if (!this.stream.isUp || this.fetching.size >= FETCHES_MAX) return; // those who wait ask again when something has come
    this.fetching.add(from);
    this.stream.read(from, until, Math.max(bytesMax, FETCH_BYTES_MIN));
  }

  private begin(from: number): void {
    this.windows.follow(from);
    this.stream.follow(from);
  }

  private ask(): void {
    if (this.asked === 'no') {
      this.asked = 'once';
      this.stream.look();
    } else this.asked = 'again';
  }

  /** Where the log begins is looked at now and then while somebody reads. */
  private refreshLater(): void {
    const { clock } = this.surroundings;
    this.refresh ??= clock.setTimer(clock.now() + REFRESH_MS * MILLISECOND, () => {
      this.refresh = null;
      if (!this.isRead) return;
      if (this.stream.isUp && this.asked === 'no') this.ask();
      this.refreshLater();
    });
  }

  private retryLater(): void {
    const { clock } = this.surroundings;
    this.again ??= clock.setTimer(clock.now() + RETRY_MS * MILLISECOND, () => {
      this.again = null;
      if (this.stream.isUp) this.retry();
    });
  }

  /** Those who wait for what was not to be had ask again. */
  private retry(): void {
    this.tellLoaded();
  }

  // ---- what the core is told ----

  private tellPlaced(record: LogRecord, ticket: number, offset: number, isDuplicate: boolean): void {
    if (offset > 0) this.surroundings.onPlaced(record);
    this.surroundings.push((events) => events.placed(this, ticket, offset, isDuplicate));
  }

  private stored(next: number): void {
    if (next <= this.storedBelow) return;
    this.storedBelow = next;
    if (!this.isToldStored) return;
    this.isToldStored = false;
    this.surroundings.push((events) => {
      this.isToldStored = true;
      events.stored(this);
    });
  }

  private tellLoaded(): void {
    if (!this.isToldLoaded) return;
    this.isToldLoaded = false;
    this.surroundings.push((events) => {
      this.isToldLoaded = true;
      events.loaded(this);
    });
  }

  /** It is known where the log ends, for as long as the core does what has waited for that. */
  private tellHead(): void {
    this.surroundings.push((events) => {
      this.isHeadKnown = true;
      events.loaded(this);
      this.isHeadKnown = false;
    });
  }
}

const NOTHING: readonly never[] = [];
/** Stretches that are fetched at once. */
const FETCHES_MAX = 16;
const FETCH_BYTES_MIN = 64 * 1024;
const RETRY_MS = 500;
const RENEW_MS = 2_000;
/** Whoever reads no more may be back soon. */
const REST_MS = 10_000;
const REFRESH_MS = 10_000;
/** Times whose offset is asked for. */
const TIMES_MAX = 64;
