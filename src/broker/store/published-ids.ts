/**
 * Which ids of the sessions' sequences the logs have. A sequence may publish into several logs, and each reaches the disk by itself: after a crash one may have
 * its id 6, and another have lost its id 5. So ids are known by log, and a record says which one was before it where that is in another log (its origin): what
 * a log has lost is found by those who come after it, and the publisher is told of the last id before. What no log has taken, because it was refused, leaves a
 * gap, which a record tells in the same way. [STO-20]
 */

import { idAfter, isAfter } from '../../pubsub/acknowledgement.ts';
import { NO_IDS } from '../core/store/memory-store.ts';
import type { LogRecord } from '../core/store-port.ts';
import { NO_LOG, type ReadRecord, readU64, writeU64 } from './format.ts';

/** Where the sequences of one session are. */
class SessionIds {
  /** Newest id of each sequence, and the log that it is in. */
  readonly last = [0, 0, 0, 0];
  readonly lastLog = [NO_LOG, NO_LOG, NO_LOG, NO_LOG];
  /** What comes behind this id was lost in part: the publisher is to send it again. -1: nothing was. */
  readonly cap = [-1, -1, -1, -1];
  /** Newest id of each sequence by log. */
  readonly logs: number[] = [];
  readonly ids: number[][] = [];
  /** Ids of each sequence that no log has, in the order in which they were found: those between two others, and the two others. */
  readonly gaps: [after: number, before: number][][] = [[], [], [], []];

  idsIn(log: number): number[] {
    let at = this.logs.indexOf(log);
    if (at === -1) {
      at = this.logs.push(log) - 1;
      this.ids.push([0, 0, 0, 0]);
    }
    return this.ids[at];
  }

  /** No log has what is between these ids of a sequence. */
  addGap(sequence: number, after: number, before: number): void {
    const gaps = this.gaps[sequence];
    if (idAfter(after) === before) return;
    if (gaps.some((gap) => gap[0] === after && gap[1] === before)) return;
    gaps.push([after, before]);
    if (gaps.length > GAPS_MAX) gaps.shift();
  }

  /** A log has taken it after all. */
  fillGap(sequence: number, id: number): void {
    const gaps = this.gaps[sequence];
    const at = gaps.findIndex((gap) => isBetween(id, gap));
    if (at === -1) return;
    const [after, before] = gaps[at];
    gaps.splice(at, 1);
    this.addGap(sequence, after, id);
    this.addGap(sequence, id, before);
  }
}

/** The record before, of the same sequence, where that is in another log, or has not the id before; id 0: there is none. */
export interface Origin {
  log: number;
  id: number;
  /** What is between the two is in no log. */
  hasGap: boolean;
  /** The id before in the log that the record is to come into; 0: none. */
  before: number;
}

export class PublishedIds {
  private readonly sessions = new Map<number, SessionIds>();
  /** Sessions that have changed since the last checkpoint. */
  private changed = new Set<number>();
  private readonly origin: Origin = { log: NO_LOG, id: 0, hasGap: false, before: 0 };

  lastIds(session: number): readonly number[] {
    const found = this.sessions.get(session);
    if (found === undefined) return NO_IDS;
    return found.last.map((id, sequence) => (found.cap[sequence] === -1 ? id : found.cap[sequence]));
  }

  /** A record is to come into a log. Null: the log has it, or a newer one of its sequence. Else its origin, which is good until the next call. */
  take(log: number, session: number, sequence: number, id: number): Origin | null {
    const found = this.of(session);
    const own = found.idsIn(log);
    const isNew = own[sequence] === 0 || isAfter(id, own[sequence]);
    const isAhead = found.last[sequence] === 0 || isAfter(id, found.last[sequence]);
    if (isAhead || id === found.last[sequence]) found.cap[sequence] = -1; // what was lost has been sent again
    if (!isNew) return null;
    const { origin } = this;
    origin.before = own[sequence];
    if (isAhead) this.goOn(found, log, sequence, id);
    else this.fillIn(found, log, sequence, id);
    own[sequence] = id;
    if (isAhead) {
      found.last[sequence] = id;
      found.lastLog[sequence] = log;
    }
    this.changed.add(session);
    return origin;
  }

  /** The record is the newest of its sequence. */
  private goOn(found: SessionIds, log: number, sequence: number, id: number): void {
    const { origin } = this;
    const last = found.last[sequence];
    const isElsewhere = found.lastLog[sequence] !== log && found.lastLog[sequence] !== NO_LOG;
    origin.hasGap = id !== idAfter(last);
    origin.log = isElsewhere ? found.lastLog[sequence] : origin.hasGap ? log : NO_LOG;
    origin.id = origin.log === NO_LOG ? 0 : last;
    found.addGap(sequence, last, id);
  }

  /** The record was lost, and is sent again behind newer ones: before it came the newest of those that are older, if that is in another log. */
  private fillIn(found: SessionIds, log: number, sequence: number, id: number): void {
    const { origin } = this;
    origin.hasGap = false;
    origin.log = NO_LOG;
    origin.id = 0;
    for (let i = 0; i < found.logs.length; i++) {
      const other = found.ids[i][sequence];
      if (other === 0 || !isAfter(id, other) || (origin.id !== 0 && !isAfter(other, origin.id))) continue;
      origin.log = found.logs[i];
      origin.id = other;
    }
    if (origin.log === log) {
      origin.log = NO_LOG;
      origin.id = 0;
    }
    found.fillGap(sequence, id);
  }

  /** A record of a log was refused after it had been taken: the last that is stored of this sequence is `stored`, or none (0). */
  takeBack(log: number, { session, sequence, id }: LogRecord, stored: number): void {
    const found = this.sessions.get(session);
    if (found === undefined) return;
    found.addGap(sequence, idBefore(id), idAfter(id));
    found.idsIn(log)[sequence] = stored;
    this.settle(found, sequence);
    if (found.last[sequence] !== stored) found.cap[sequence] = stored;
    this.changed.add(session);
  }

  /** A record was found in a log that is being read, in the order of its offsets. */
  replay(log: number, session: number, sequence: number, id: number): void {
    const found = this.of(session);
    const own = found.idsIn(log);
    if (own[sequence] === 0 || isAfter(id, own[sequence])) own[sequence] = id;
    if (found.last[sequence] === 0 || isAfter(id, found.last[sequence])) {
      found.last[sequence] = id;
      found.lastLog[sequence] = log;
    }
    this.changed.add(session);
  }

  /** When all logs were read: this record goes on from another one, which its log is to have. */
  checkOrigin({ session, sequence, id, originLog, originId, hasGap }: ReadRecord): void {
    const found = this.sessions.get(session);
    if (found === undefined) return;
    if (hasGap) found.addGap(sequence, originId, id);
    if (originId === 0) return;
    const there = found.idsIn(originLog)[sequence];
    if (there !== 0 && !isAfter(originId, there)) return;
    if (found.cap[sequence] === -1 || isAfter(found.cap[sequence], there)) found.cap[sequence] = there;
  }

  /** When all origins were checked: this record was found, whichever order it came in. */
  fillGap({ session, sequence, id }: LogRecord): void {
    this.sessions.get(session)?.fillGap(sequence, id);
  }

  /** There are gaps in what the logs have. */
  get hasGaps(): boolean {
    for (const { gaps } of this.sessions.values()) if (gaps.some(({ length }) => length > 0)) return true;
    return false;
  }

  /** A later id of the sequence is in a log, and this one is in none. */
  isMissing(session: number, sequence: number, id: number): boolean {
    return this.sessions.get(session)?.gaps[sequence].some((gap) => isBetween(id, gap)) ?? false;
  }

  /** Since the last checkpoint. */
  get hasChanged(): boolean {
    return this.changed.size > 0;
  }

  /** What is known of a log is not so any more: it is to be read anew. */
  forgetLog(log: number): void {
    for (const [session, found] of this.sessions) {
      const at = found.logs.indexOf(log);
      if (at === -1) continue;
      found.ids[at].fill(0);
      for (let sequence = 0; sequence < 4; sequence++) this.settle(found, sequence);
      this.changed.add(session);
    }
  }

  forget(session: number): void {
    this.sessions.delete(session);
    this.changed.delete(session);
  }

  has(session: number): boolean {
    return this.sessions.has(session);
  }

  /** What has changed since the last time, as values of the state. */
  takeChanged(): [session: number, value: Uint8Array][] {
    const { changed } = this;
    this.changed = new Set();
    const values: [number, Uint8Array][] = [];
    for (const session of changed) {
      const found = this.sessions.get(session);
      if (found !== undefined) values.push([session, encode(found)]);
    }
    return values;
  }

  /** What was taken as changed is to be taken once more. */
  changeAgain(sessions: readonly number[]): void {
    for (const session of sessions) if (this.sessions.has(session)) this.changed.add(session);
  }

  /** Takes a value of an earlier checkpoint; one that is none is as if it were not there. */
  restore(session: number, value: Uint8Array): void {
    if (value.length < FIXED_BYTES || (value.length - FIXED_BYTES) % LOG_BYTES !== 0) return;
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
    const found = new SessionIds();
    for (let i = 0; i < 4; i++) {
      found.last[i] = bytes.readUInt32BE(4 * i);
      found.lastLog[i] = bytes.readUInt16BE(16 + 2 * i);
      found.cap[i] = readU64(bytes, 24 + 8 * i) - 1;
    }
    for (let at = FIXED_BYTES; at < bytes.length; at += LOG_BYTES) {
      if (bytes.readUInt16BE(at) === NO_LOG) {
        found.addGap(bytes.readUInt32BE(at + 2) & 3, bytes.readUInt32BE(at + 6), bytes.readUInt32BE(at + 10));
        continue;
      }
      const ids = found.idsIn(bytes.readUInt16BE(at));
      for (let i = 0; i < 4; i++) ids[i] = bytes.readUInt32BE(at + 2 + 4 * i);
    }
    this.sessions.set(session, found);
  }

  private of(session: number): SessionIds {
    let found = this.sessions.get(session);
    if (found === undefined) {
      found = new SessionIds();
      this.sessions.set(session, found);
    }
    return found;
  }

  /** The newest id of all logs. */
  private settle(found: SessionIds, sequence: number): void {
    found.last[sequence] = 0;
    found.lastLog[sequence] = NO_LOG;
    for (let i = 0; i < found.logs.length; i++) {
      const id = found.ids[i][sequence];
      if (id === 0 || (found.last[sequence] !== 0 && !isAfter(id, found.last[sequence]))) continue;
      found.last[sequence] = id;
      found.lastLog[sequence] = found.logs[i];
    }
  }
}

function encode(ids: SessionIds): Uint8Array {
  const gaps = ids.gaps.flatMap((own, sequence) =>
    own.map(([after, before]) => ({ sequence, after, before })),
  );
  const bytes = Buffer.alloc(FIXED_BYTES + LOG_BYTES * (ids.logs.length + gaps.length));
  for (let i = 0; i < 4; i++) {
    bytes.writeUInt32BE(ids.last[i], 4 * i);
    bytes.writeUInt16BE(ids.lastLog[i], 16 + 2 * i);
    writeU64(bytes, ids.cap[i] + 1, 24 + 8 * i);
  }
  for (let at = 0; at < ids.logs.length; at++) {
    const start = FIXED_BYTES + LOG_BYTES * at;
    bytes.writeUInt16BE(ids.logs[at], start);
    for (let i = 0; i < 4; i++) bytes.writeUInt32BE(ids.ids[at][i], start + 2 + 4 * i);
  }
  let at = FIXED_BYTES + LOG_BYTES * ids.logs.length;
  for (const { sequence, after, before } of gaps) {
    bytes.writeUInt16BE(NO_LOG, at);
    bytes.writeUInt32BE(sequence, at + 2);
    bytes.writeUInt32BE(after, at + 6);
    bytes.writeUInt32BE(before, at + 10);
    at += LOG_BYTES;
  }
  return new Uint8Array(bytes);
}

/** Between the two ids of a gap, which are no part of it. */
function isBetween(id: number, [after, before]: readonly [number, number]): boolean {
  return isAfter(id, after) && isAfter(before, id);
}

function idBefore(id: number): number {
  return id === 1 ? 0 : id - 1;
}

/** Of a sequence; the oldest goes first. A client that waits for answers to so many that were refused has long been told of the others. */
const GAPS_MAX = 64;
const FIXED_BYTES = 56;
const LOG_BYTES = 18;
