/**
 * Dead letters as an operator sees them: records of logs that say where they were, the newest first, found by reading the log backwards in stretches; and their way back,
 * to the topic where they were published. [OPS-8]
 *
 * What was sent back is remembered by offset, so that nothing is sent back twice by somebody who asks for all. What says that it is a dead letter and was not made by the broker
 * (anybody can publish that) is told apart: sending it back would let whoever made it publish where he may not.
 */

import { RangeSet } from '../../../base/ranges.ts';
import { HEADER_BYTES, PublishFlag, topicOf } from '../../../pubsub/command.ts';
import { decodeProperties, findProperty, type Origin, PropertyType } from '../../../pubsub/properties.ts';
import { DURABLE_NUMBERS_FROM } from '../durable/consumers.ts';
import { asBefore } from '../durable/dead-letter-form.ts';
import {
  AppendFault,
  type LogPort,
  type StatePort,
  type StoredRecord,
  type StoreEvents,
} from '../store-port.ts';
import type { LogReadings } from './log-readings.ts';

/** What dead letters need of the broker. */
export interface DeadLetterSurroundings {
  readonly wallMs: number;
  readonly store: { readonly state: StatePort };
  readonly routing: { ofTopic(topic: string): LogPort };
  /** A log has it; those are to get it who read none. */
  offerStored(command: Uint8Array): void;
}

export interface DeadLetter {
  readonly record: StoredRecord;
  readonly topic: string;
  readonly origin: Origin;
  /** The broker has made it. */
  readonly isCertain: boolean;
}

/** Part of the dead letters of a log, the newest first. */
export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[];
  /** Those before are below this offset; null: there are none. */
  readonly next: number | null;
}

/** Which ones are looked for. */
export interface DeadLetterQuery {
  /** Only those below this offset. */
  readonly below: number;
  readonly limit: number;
  /** Those that were sent back, too. */
  readonly all: boolean;
  isWanted(topic: string, origin: Origin): boolean;
}

export class DeadLetterBox implements Partial<StoreEvents> {
  private readonly broker: DeadLetterSurroundings;
  private readonly readings: LogReadings;
  /** Offsets of what was sent back, by log. */
  private readonly gone = new Map<LogPort, RangeSet>();
  /** On their way back: known as gone when the log that they go to has them. */
  private returning: {
    readonly from: LogPort;
    readonly offset: number;
    readonly to: LogPort;
    /** Infinite: it is on its way there, with this ticket. */
    readonly until: number;
    readonly ticket: number;
    readonly command: Uint8Array;
  }[] = [];

  constructor(broker: DeadLetterSurroundings, readings: LogReadings) {
    this.broker = broker;
    this.readings = readings;
  }

  /** Calls `done` with a page; with what was found until then where the log could not be read or was read for long. */
  list(log: LogPort, query: DeadLetterQuery, done: (page: DeadLetterPage) => void): void {
    const letters: DeadLetter[] = [];
    let stretches = 0;
    const look = (below: number): void => {
      if (below <= log.earliest) done({ letters, next: null });
      else if (letters.length >= query.limit || stretches++ >= STRETCHES_MAX) done({ letters, next: below });
      else {
        const from = Math.max(log.earliest, below - STRETCH);
        this.readStretch(log, from, below, query, query.limit - letters.length, (found) => {
          letters.push(...found.reverse());
          look(letters.length < query.limit ? below - STRETCH : letters[letters.length - 1].record.offset);
        });
      }
    };
    look(Math.min(query.below, log.synced));
  }

  /** Calls `done` with the dead letter at this offset; null: there is none. */
  find(log: LogPort, offset: number, done: (letter: DeadLetter | null) => void): void {
    const query = { below: offset + 1, limit: 1, all: true, isWanted: () => true };
    this.readings.read(log, offset, offset + 1, 0, (records) => {
      const record = records?.[0];
      done(record?.offset === offset ? this.letterOf(log, record, query) : null);
    });
  }

  /** Sends one back. Returns null, or why that cannot be. */
  redrive(log: LogPort, { record, origin }: DeadLetter): string | null {
    const { broker } = this;
    const to = broker.routing.ofTopic(origin.topic);
    const command = asBefore(record, origin.topic);
    const offset = to.append({
      command,
      topicEnd: HEADER_BYTES + Buffer.byteLength(origin.topic),
      session: 0,
      sequence: 0,
      id: 0,
      expiresAt: 0,
      publishedAt: broker.wallMs,
    });
    const isPending = offset === AppendFault.PENDING;
    if (offset < 0 && !isPending) return offset === AppendFault.FULL ? 'STORE_FULL' : 'STORE_FAILED';
    const until = isPending ? Number.POSITIVE_INFINITY : offset + 1;
    const ticket = isPending ? (to.elsewhere?.lastTicket ?? 0) : 0;
    this.returning.push({ from: log, offset: record.offset, to, until, ticket, command });
    if (!isPending) broker.offerStored(command);
    return null;
  }

  /** What is not placed stays where it was, and can be sent back again. */
  placed(log: LogPort, ticket: number, offset: number): void {
    const placed = this.returning.find((each) => each.to === log && each.ticket === ticket);
    if (placed === undefined) return;
    this.returning = this.returning.filter((each) => each !== placed);
    if (offset < 0) return;
    this.goneOf(placed.from).add(placed.offset, placed.offset + 1);
    this.save(placed.from);
    this.broker.offerStored(placed.command);
  }

  stored(log: LogPort): void {
    if (this.returning.length === 0) return;
    const changed = new Set<LogPort>();
    this.returning = this.returning.filter(({ from, offset, to, until }) => {
      if (to !== log || log.synced < until) return true;
      this.goneOf(from).add(offset, offset + 1);
      changed.add(from);
      return false;
    });
    for (const from of changed) this.save(from);
  }

  /** What a log has lost does not count as sent back. */
  storeFailed(log: LogPort | null): void {
    this.returning = this.returning.filter(({ to, until }) => to !== log || until <= to.synced);
  }

  private letterOf(log: LogPort, record: StoredRecord, query: DeadLetterQuery): DeadLetter | null {
    const { command, topicEnd, offset } = record;
    if ((command[1] & PublishFlag.PROPERTIES) === 0) return null;
    if (findProperty(command, topicEnd, PropertyType.ORIGIN) < 0) return null;
    if (!query.all && (this.goneOf(log).contains(offset) || this.isReturning(log, offset))) return null;
    const { origin } = decodeProperties(command, topicEnd);
    const topic = topicOf(command);
    if (origin === undefined || !query.isWanted(topic, origin)) return null;
    return { record, topic, origin, isCertain: record.session >= DURABLE_NUMBERS_FROM };
  }

  private isReturning(log: LogPort, offset: number): boolean {
    return this.returning.some((each) => each.from === log && each.offset === offset);
  }

  /** The last dead letters of a stretch, however many reads that takes. Other records are not kept: they may be large. */
  private readStretch(
    log: LogPort,
    from: number,
    until: number,
    query: DeadLetterQuery,
    countMax: number,
    done: (letters: DeadLetter[]) => void,
  ): void {
    const found: DeadLetter[] = [];
    const readOn = (at: number): void => {
      this.readings.read(log, at, until, STRETCH_BYTES, (records) => {
        for (const record of records ?? []) {
          const letter = this.letterOf(log, record, query);
          if (letter !== null) found.push(letter);
          if (found.length > countMax) found.shift();
        }
        const last = records?.at(-1);
        if (last === undefined || last.offset + 1 >= until) done(found);
        else readOn(last.offset + 1);
      });
    };
    readOn(from);
  }

  private goneOf(log: LogPort): RangeSet {
    let gone = this.gone.get(log);
    if (gone === undefined) {
      gone = decodeGone(this.broker.store.state.get(KEYS + log.name), log.epoch);
      this.gone.set(log, gone);
    }
    return gone;
  }

  private save(log: LogPort): void {
    const gone = this.goneOf(log);
    gone.remove(0, log.earliest);
    while (gone.size > RANGES_MAX) gone.shiftRange();
    this.broker.store.state.put(KEYS + log.name, encodeGone(gone, log.epoch));
  }
}

function encodeGone(gone: RangeSet, epoch: number): Buffer {
  const out = Buffer.allocUnsafe(8 + gone.size * 16);
  out.writeBigUInt64BE(BigInt(epoch));
  for (let i = 0; i < gone.size; i++) {
    out.writeBigUInt64BE(BigInt(gone.start(i)), 8 + i * 16);
    out.writeBigUInt64BE(BigInt(gone.end(i)), 16 + i * 16);
  }
  return out;
}

function decodeGone(bytes: Uint8Array | undefined, epoch: number): RangeSet {
  const gone = new RangeSet();
  if (bytes === undefined) return gone;
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (all.length < 8 || Number(all.readBigUInt64BE(0)) !== epoch) return gone; // offsets mean other records now
  for (let at = 8; at + 16 <= all.length; at += 16) {
    gone.add(Number(all.readBigUInt64BE(at)), Number(all.readBigUInt64BE(at + 8)));
  }
  return gone;
}

const KEYS = 'operations/redriven/';
/** Records that are read at once, backwards, and how many such stretches for one page. */
const STRETCH = 512;
const STRETCHES_MAX = 64;
const STRETCH_BYTES = 1024 * 1024;
/** Of one log; then the oldest are forgotten, and would be sent back again by who asks for all. */
const RANGES_MAX = 4_096;
