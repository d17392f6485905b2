/** Where a reader begins that is told to begin at a time, or with the last message of all or of each topic. [BRK-70] */

import { topicKey } from '../../../pubsub/command.ts';
import type { StoredRecord } from '../store-port.ts';
import type { LogFeed, LogReader, ReadingAccount } from './reader.ts';

/** Where a consumer begins, which may have to be looked for, and with which records. */
export class Beginning {
  private readonly reader: LogReader;
  private search: StartSearch | null = null;
  /** Below `until` only these are for it: it begins with the last message of each topic. */
  private selection: LastPerTopicSearch | null = null;
  private onFound: (() => void)[] = [];

  /** @param reader - is moved there */
  constructor(reader: LogReader) {
    this.reader = reader;
  }

  /** It is being looked for. */
  get isSought(): boolean {
    return this.search !== null;
  }

  /** It is where `search` finds it. */
  lookFor(search: StartSearch): void {
    this.search = search;
  }

  /** Calls `act` when it is known. */
  whenFound(act: () => void): void {
    this.lookOn();
    if (this.search === null) act();
    else this.onFound.push(act);
  }

  lookOn(): void {
    const { search } = this;
    const position = search === null ? null : search.step();
    if (position === null) return;
    this.search = null;
    if (search instanceof LastPerTopicSearch) this.selection = search;
    this.reader.moveTo(position);
    this.tell();
  }

  /** False for the record at `offset` where it is before the beginning of its topic. */
  includes(offset: number): boolean {
    if (this.selection === null) return true;
    if (offset < this.selection.until) return this.selection.offsets.has(offset);
    this.dropSelection();
    return true;
  }

  /** Nobody takes messages any more. Who has asked is answered, though it begins nowhere. */
  giveUp(): void {
    if (this.search instanceof LastPerTopicSearch) this.search.release();
    this.search = null;
    this.dropSelection();
    this.tell();
  }

  private dropSelection(): void {
    this.selection?.release();
    this.selection = null;
  }

  private tell(): void {
    const acts = this.onFound;
    this.onFound = [];
    for (const act of acts) act();
  }
}

/** Looks for an offset, a stretch of the log at a time. */
export interface StartSearch {
  /** The offset; null: not yet, the reader is woken when this is to be called again. */
  step(): number | null;
}

/** The first record that was taken at this time or later. */
export class TimeSearch implements StartSearch {
  private readonly feed: LogFeed;
  private readonly reader: LogReader;
  private readonly timeMs: number;

  /** @param timeMs - wall clock */
  constructor(feed: LogFeed, reader: LogReader, timeMs: number) {
    this.feed = feed;
    this.reader = reader;
    this.timeMs = timeMs;
  }

  step(): number | null {
    const offset = this.feed.log.firstAt(this.timeMs);
    if (offset === null) this.feed.awaitLoading(this.reader);
    return offset;
  }
}

/** The last record that matches; the head where none does. It looks from the end of the log to its beginning. */
export class LastSearch implements StartSearch {
  private readonly feed: LogFeed;
  private readonly reader: LogReader;
  private readonly head: number;
  /** The stretch that is looked at is [from, until), and that as far as `at`. */
  private until: number;
  private from: number;
  private at: number;
  private found = -1;

  constructor(feed: LogFeed, reader: LogReader) {
    this.feed = feed;
    this.reader = reader;
    this.head = feed.fed;
    this.until = this.head;
    this.from = this.head;
    this.at = this.head;
  }

  step(): number | null {
    const { log } = this.feed;
    for (let looked = 0; looked < RECORDS_A_TURN; ) {
      if (this.at >= this.until) {
        if (this.found >= 0) return this.found;
        if (this.from <= log.earliest) return this.head;
        this.until = this.from;
        this.from = Math.max(log.earliest, this.from - STRETCH);
        this.at = this.from;
      }
      this.at = Math.max(this.at, log.earliest);
      const records = readStretch(this.feed, this.reader, this.at, this.until);
      if (records === null) return null;
      for (const record of records) if (this.feed.matches(record, this.reader)) this.found = record.offset;
      this.at = records.length === 0 ? this.until : records[records.length - 1].offset + 1;
      looked += records.length + 1;
    }
    this.reader.rest();
    return null;
  }
}

/** The last record of each topic. Begins with the first of them, and what lies between them is to be passed over. */
export class LastPerTopicSearch implements StartSearch {
  /** Offsets of those records, when they are found. Below {@link until} no others are wanted. */
  readonly offsets = new Set<number>();
  until: number;
  private readonly feed: LogFeed;
  private readonly reader: LogReader;
  private readonly byTopic = new Map<string, number>();
  private at: number;
  /** What it remembers counts as what waits for its client. */
  private readonly account: ReadingAccount;
  private chargedBytes = 0;

  constructor(feed: LogFeed, reader: LogReader, account: ReadingAccount) {
    this.feed = feed;
    this.reader = reader;
    this.account = account;
    this.until = feed.fed;
    this.at = feed.log.earliest;
  }

  /** It is not needed any more, or not at the cost of this client. */
  release(): void {
    this.charge(-this.chargedBytes);
  }

  step(): number | null {
    for (let looked = 0; looked < RECORDS_A_TURN && this.at < this.until; ) {
      this.at = Math.max(this.at, this.feed.log.earliest);
      const records = readStretch(this.feed, this.reader, this.at, this.until);
      if (records === null) return null;
      for (const record of records) if (record.offset < this.until) this.look(record);
      this.at = records.length === 0 ? this.until : records[records.length - 1].offset + 1;
      looked += records.length + 1;
    }
    if (this.at < this.until) {
      this.reader.rest();
      return null;
    }
    let first = this.until;
    for (const offset of this.byTopic.values()) {
      this.offsets.add(offset);
      if (offset < first) first = offset;
    }
    this.byTopic.clear();
    this.charge(this.offsets.size * OFFSET_CHARGE_BYTES - this.chargedBytes);
    return first;
  }

  private look(record: StoredRecord): void {
    if (!this.feed.matches(record, this.reader)) return;
    const { command, offset } = record;
    const topic = topicKey(command);
    if (!this.byTopic.has(topic)) {
      // There are more topics than can be told apart: from the first one that is too many on, all records are wanted.
      if (this.byTopic.size >= TOPICS_MAX || this.account.bytes >= this.account.bytesMax) {
        this.until = offset;
        return;
      }
      this.charge(topic.length + TOPIC_CHARGE_BYTES);
    }
    this.byTopic.set(topic, offset);
  }

  private charge(bytes: number): void {
    this.chargedBytes += bytes;
    this.account.charge(bytes);
  }
}

function readStretch(
  feed: LogFeed,
  reader: LogReader,
  from: number,
  until: number,
): readonly StoredRecord[] | null {
  if (from >= until) return [];
  const records = feed.log.read(from, until, STRETCH_BYTES);
  if (records === null) feed.awaitLoading(reader);
  return records;
}

/** Some milliseconds. */
const RECORDS_A_TURN = 8_192;
const STRETCH = 1_024;
const STRETCH_BYTES = 256 * 1024;
/** Topics that one subscription tells apart. */
const TOPICS_MAX = 65_536;
/** What a topic costs beside its text while it is looked for, and an offset then. */
const TOPIC_CHARGE_BYTES = 160;
const OFFSET_CHARGE_BYTES = 40;
