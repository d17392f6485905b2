/**
 * Which ids of one session's sequences the logs have. A sequence may publish into several logs, and each reaches the disk by itself: after a crash one may have
 * its id 6, and another have lost its id 5. So ids are known by log, and a record says which one was before it where that is in another log (its origin): what
 * a log has lost is found by those who come after it, and the publisher is told of the last id before. What no log has taken, because it was refused, leaves a
 * gap, which a record tells in the same way. [STO-20]
 */

import { idAfter, isAfter } from '../../pubsub/acknowledgement.ts';
import { NO_LOG, readU64, writeU64 } from './format.ts';

/** The record before, of the same sequence, where that is in another log, or has not the id before; id 0: there is none. */
export interface Origin {
  log: number;
  id: number;
  /** What is between the two is in no log. */
  hasGap: boolean;
  /** The id before in the log that the record is to come into; 0: none. */
  before: number;
}

export class SessionIds {
  /** Newest id of each sequence, and the log that it is in. */
  private readonly last = [0, 0, 0, 0];
  private readonly lastLog = [NO_LOG, NO_LOG, NO_LOG, NO_LOG];
  /** What comes behind this id was lost in part: the publisher is to send it again. -1: nothing was. */
  private readonly cap = [-1, -1, -1, -1];
  /** Newest id of each sequence by log. */
  private readonly logs: number[] = [];
  private readonly ids: number[][] = [];
  /** Ids of each sequence that no log has, in the order in which they were found: those between two others, and the two others. */
  private readonly gaps: [after: number, before: number][][] = [[], [], [], []];

  /** Takes a value that {@link encode} made; null: it is none. */
  static decode(value: Uint8Array): SessionIds | null {
    if (value.length < FIXED_BYTES || (value.length - FIXED_BYTES) % LOG_BYTES !== 0) return null;
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
    const decoded = new SessionIds();
    for (let i = 0; i < 4; i++) {
      decoded.last[i] = bytes.readUInt32BE(4 * i);
      decoded.lastLog[i] = bytes.readUInt16BE(16 + 2 * i);
      decoded.cap[i] = readU64(bytes, 24 + 8 * i) - 1;
    }
    for (let at = FIXED_BYTES; at < bytes.length; at += LOG_BYTES) {
      const log = bytes.readUInt16BE(at);
      if (log === NO_LOG) {
        const sequence = bytes.readUInt32BE(at + 2) & 3;
        decoded.addGap(sequence, bytes.readUInt32BE(at + 6), bytes.readUInt32BE(at + 10));
        continue;
      }
      const ids = decoded.idsIn(log);
      for (let i = 0; i < 4; i++) ids[i] = bytes.readUInt32BE(at + 2 + 4 * i);
    }
    return decoded;
  }

  /** Newest id of each sequence up to which nothing was lost. */
  lastIds(): readonly number[] {
    return this.last.map((id, sequence) => (this.cap[sequence] === -1 ? id : this.cap[sequence]));
  }

  /** A record is to come into a log. False: the log has it, or a newer one of its sequence. Else `origin` is told. */
  take(log: number, sequence: number, id: number, origin: Origin): boolean {
    const own = this.idsIn(log);
    const isNew = own[sequence] === 0 || isAfter(id, own[sequence]);
    const isAhead = this.isAhead(sequence, id);
    if (isAhead || id === this.last[sequence]) this.cap[sequence] = -1; // what was lost has been sent again
    if (!isNew) return false;
    origin.before = own[sequence];
    if (isAhead) this.goOn(log, sequence, id, origin);
    else this.fillIn(log, sequence, id, origin);
    own[sequence] = id;
    return true;
  }

  /** A record of a log was refused after it had been taken: the last that is stored of this sequence is `stored`, or none (0). */
  takeBack(log: number, sequence: number, id: number, stored: number): void {
    this.addGap(sequence, idBefore(id), idAfter(id));
    this.idsIn(log)[sequence] = stored;
    this.settle(sequence);
    if (this.last[sequence] !== stored) this.cap[sequence] = stored;
  }

  /** A record was found in a log that is being read, in the order of its offsets. */
  replay(log: number, sequence: number, id: number): void {
    const own = this.idsIn(log);
    if (own[sequence] === 0 || isAfter(id, own[sequence])) own[sequence] = id;
    if (!this.isAhead(sequence, id)) return;
    this.last[sequence] = id;
    this.lastLog[sequence] = log;
  }

  /** When all logs were read: a record goes on from this one of another log, which that log is to have. */
  checkOrigin(sequence: number, originLog: number, originId: number): void {
    const there = this.idsIn(originLog)[sequence];
    if (there !== 0 && !isAfter(originId, there)) return;
    if (this.cap[sequence] === -1 || isAfter(this.cap[sequence], there)) this.cap[sequence] = there;
  }

  /** What is known of a log is not so any more. False: nothing was. */
  forgetLog(log: number): boolean {
    const at = this.logs.indexOf(log);
    if (at === -1) return false;
    this.ids[at].fill(0);
    for (let sequence = 0; sequence < 4; sequence++) this.settle(sequence);
    return true;
  }

  get hasGaps(): boolean {
    return this.gaps.some(({ length }) => length > 0);
  }

  /** A later id of the sequence is in a log, and this one is in none. */
  isMissing(sequence: number, id: number): boolean {
    return this.gaps[sequence].some((gap) => isBetween(id, gap));
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

  /** As a value of the state. */
  encode(): Uint8Array {
    const gaps = this.gaps.flatMap((own, sequence) =>
      own.map(([after, before]) => ({ sequence, after, before })),
    );
    const bytes = Buffer.alloc(FIXED_BYTES + LOG_BYTES * (this.logs.length + gaps.length));
    for (let i = 0; i < 4; i++) {
      bytes.writeUInt32BE(this.last[i], 4 * i);
      bytes.writeUInt16BE(this.lastLog[i], 16 + 2 * i);
      writeU64(bytes, this.cap[i] + 1, 24 + 8 * i);
    }
    let at = FIXED_BYTES;
    for (const [i, log] of this.logs.entries()) {
      bytes.writeUInt16BE(log, at);
      for (let j = 0; j < 4; j++) bytes.writeUInt32BE(this.ids[i][j], at + 2 + 4 * j);
      at += LOG_BYTES;
    }
    for (const { sequence, after, before } of gaps) {
      bytes.writeUInt16BE(NO_LOG, at);
      bytes.writeUInt32BE(sequence, at + 2);
      bytes.writeUInt32BE(after, at + 6);
      bytes.writeUInt32BE(before, at + 10);
      at += LOG_BYTES;
    }
    return new Uint8Array(bytes);
  }

  private idsIn(log: number): number[] {
    let at = this.logs.indexOf(log);
    if (at === -1) {
      at = this.logs.push(log) - 1;
      this.ids.push([0, 0, 0, 0]);
    }
    return this.ids[at];
  }

  /** The record is the newest of its sequence. */
  private goOn(log: number, sequence: number, id: number, origin: Origin): void {
    const last = this.last[sequence];
    const lastLog = this.lastLog[sequence];
    const isElsewhere = lastLog !== log && lastLog !== NO_LOG;
    origin.hasGap = id !== idAfter(last);
    origin.log = isElsewhere ? lastLog : origin.hasGap ? log : NO_LOG;
    origin.id = origin.log === NO_LOG ? 0 : last;
    this.addGap(sequence, last, id);
    this.last[sequence] = id;
    this.lastLog[sequence] = log;
  }

  /** The record was lost, and is sent again behind newer ones: before it came the newest of those that are older, if that is in another log. */
  private fillIn(log: number, sequence: number, id: number, origin: Origin): void {
    origin.hasGap = false;
    origin.log = NO_LOG;
    origin.id = 0;
    for (let i = 0; i < this.logs.length; i++) {
      const other = this.ids[i][sequence];
      if (other === 0 || !isAfter(id, other) || (origin.id !== 0 && !isAfter(other, origin.id))) continue;
      origin.log = this.logs[i];
      origin.id = other;
    }
    if (origin.log === log) {
      origin.log = NO_LOG;
      origin.id = 0;
    }
    this.fillGap(sequence, id);
  }

  private isAhead(sequence: number, id: number): boolean {
    return this.last[sequence] === 0 || isAfter(id, this.last[sequence]);
  }

  /** Makes the newest id of all logs the last one. */
  private settle(sequence: number): void {
    this.last[sequence] = 0;
    this.lastLog[sequence] = NO_LOG;
    for (let i = 0; i < this.logs.length; i++) {
      const id = this.ids[i][sequence];
      if (id === 0 || !this.isAhead(sequence, id)) continue;
      this.last[sequence] = id;
      this.lastLog[sequence] = this.logs[i];
    }
  }
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
