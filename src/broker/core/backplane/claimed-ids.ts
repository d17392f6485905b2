/**
 * Which ids of a session's publishers were taken, as they go with the session from node to node: `ids/<name>` of the state. Where its node has handed it over, or its client has gone in time, they are
 * exact. Where the node is gone they are what was known to be stored at some offset of each log; what came behind that, the logs know: they are read from there. [CLU-28]
 */

import { idAfter, idBehindUnanswered, isAfter } from '../../../pubsub/acknowledgement.ts';
import { ReasonCode } from '../../../pubsub/command.ts';
import { SEQUENCES } from '../../../pubsub/session-commands.ts';
import type { Publishers } from '../publishing/publishers.ts';
import { IDS_OF_SESSION_MAX, type RefusedId } from '../publishing/refused-ids.ts';
import { type Session, SessionState } from '../session/session.ts';
import type { LogPort, StoreEvents, StorePort } from '../store-port.ts';
import { type Time, Timer } from '../timers.ts';
import { sessionClaim } from './claim-keys.ts';

/** Where a log was. */
interface Place {
  readonly log: string;
  readonly epoch: number;
  readonly offset: number;
}

interface Ids {
  readonly isExact: boolean;
  readonly last: readonly number[];
  /** Of them, those whose messages were refused: a client that has not heard so sends them again. [BRK-83] */
  readonly refused: readonly RefusedId[];
  /** Of all logs, when that was so. */
  readonly places: readonly Place[];
}

/** A session whose ids are to be found, or have been. */
interface Sought {
  readonly session: Session;
  readonly ids: Ids;
  readonly waiting: (() => void)[];
  /** Ids behind the last that was noted, of each class, in the order in which logs were read. */
  readonly stored: readonly number[][];
}

/** A stretch of a log that is read for them. */
interface Stretch {
  readonly log: LogPort;
  readonly epoch: number;
  at: number;
  /** Where it ends; -1: that is being asked. */
  until: number;
}

/** What it needs of the broker. */
export interface IdsSurroundings extends Time {
  readonly store: StorePort;
  readonly storedAnswers: { whenLogsAreSafe(act: () => void): void };
  readonly publishers: Pick<Publishers, 'refusedOf' | 'recallRefused'>;
  readonly claims: { holds(key: string): boolean } | null;
  reportFault(error: unknown): void;
}

export class ClaimedIds implements Partial<StoreEvents> {
  private readonly broker: IdsSurroundings;
  private readonly sought = new Map<Session, Sought>();
  /** Those that are found by the reading that is under way. */
  private finding = new Map<number, Sought>();
  private stretches: Stretch[] = [];
  private readonly noted = new Map<Session, Ids>();
  /** Ids that a log has none of, and later ones of their class: their messages were refused by a node that is gone. */
  private readonly missing = new Map<Session, RefusedId[]>();
  private readonly noteTimer = new Timer(() => this.noteAll());
  private readonly readTimer = new Timer(() => this.readOn());

  constructor(broker: IdsSurroundings) {
    this.broker = broker;
  }

  /** Its client is connected: from now on more are taken. */
  begin(session: Session): void {
    const { timers, nowMs, storedAnswers } = this.broker;
    storedAnswers.whenLogsAreSafe(() => {
      if (session.state !== SessionState.PRESENT) return;
      const places = this.placesNow();
      this.put(session, { isExact: false, ...this.takenOf(session), places });
    });
    if (this.noteTimer.heapIndex < 0) timers.set(this.noteTimer, nowMs + NOTE_MS);
  }

  /** Its client is gone: when all that it published is stored, or refused, they are exact. */
  onAway(session: Session): void {
    this.noted.delete(session);
    if (session.number === 0 || session.expiryMs === 0 || this.sought.has(session)) return;
    this.broker.storedAnswers.whenLogsAreSafe(() => {
      if (session.state === SessionState.AWAY && this.isHere(session)) this.settle(session);
    });
  }

  /** It is about to be handed over, and all that it published is stored, or refused. */
  settle(session: Session): void {
    if (session.number === 0) return;
    const sought = this.sought.get(session);
    // Its client did not wait for so long: whoever has it next goes on where this node was, or none would ever come to the end.
    if (sought !== undefined) this.noteProgress(sought);
    else this.put(session, { isExact: true, ...this.takenOf(session), places: [] });
  }

  onBack(): void {}

  onOver(session: Session): void {
    this.forget(session);
    if (session.number > 0) this.broker.store.state.delete(IDS_KEYS + session.name);
  }

  onMoved(session: Session): void {
    this.forget(session);
  }

  /** A session has come here. */
  takeUp(session: Session, bytes: Uint8Array | undefined): void {
    const ids = bytes === undefined ? null : decodeIds(bytes);
    session.recall(ids?.last ?? NONE);
    this.broker.publishers.recallRefused(session.sequences, ids?.refused ?? []);
    if (ids !== null && !ids.isExact)
      this.sought.set(session, { session, ids, waiting: [], stored: [[], [], [], []] });
  }

  /** A later id of the class is in a log, and this one is in none. [STO-20] */
  isMissing(session: Session, sequence: number, id: number): boolean {
    const missing = this.missing.get(session);
    return missing?.some((each) => each.sequence === sequence && each.id === id) ?? false;
  }

  /** Calls `act` when it is known which of its ids were taken. */
  whenKnown(session: Session, act: () => void): void {
    const sought = this.sought.get(session);
    if (sought === undefined) {
      act();
      return;
    }
    sought.waiting.push(act);
    if (this.finding.size === 0) this.find();
  }

  loaded(): void {
    if (this.finding.size > 0) this.readOn();
  }

  /** Reads the logs once, for all that are waited for; but those of which much is to be read do not keep the others waiting. */
  private find(): void {
    this.finding = new Map();
    this.stretches = [];
    const { store, timers, nowMs } = this.broker;
    const waiting = [...this.sought.values()].filter((sought) => sought.waiting.length > 0);
    if (waiting.length === 0) return;
    const unread = ({ ids }: Sought) =>
      Math.max(...store.logs.map((log) => log.synced - placeIn(log, ids.places)));
    const unreadMax = NOTE_RECORDS + 2 * Math.min(...waiting.map(unread));
    for (const sought of waiting) {
      if (unread(sought) <= unreadMax) this.finding.set(sought.session.number, sought);
    }
    const all = [...this.finding.values()];
    this.stretches = store.logs.map((log) => ({
      ...{ log, epoch: log.epoch, until: -1 },
      at: Math.min(...all.map(({ ids }) => placeIn(log, ids.places))),
    }));
    if (this.noteTimer.heapIndex < 0) timers.set(this.noteTimer, nowMs + NOTE_MS);
    this.readOn();
  }

  private readOn(): void {
    let left = BYTES_A_TURN;
    for (const stretch of this.stretches) {
      const { log } = stretch;
      if (stretch.until < 0) {
        const head = log.elsewhere === undefined ? log.head : log.elsewhere.headNow();
        if (head === null) continue;
        stretch.until = Math.min(head, log.synced);
      }
      while (stretch.at < stretch.until && left > 0) {
        const records = log.read(Math.max(stretch.at, log.earliest), stretch.until, READ_BYTES);
        if (records === null) break;
        for (const { session, sequence, id, command, offset } of records) {
          const found = session === 0 ? undefined : this.finding.get(session);
          if (found !== undefined && isBehind(id, found.ids.last[sequence])) found.stored[sequence].push(id);
          left -= command.length;
          stretch.at = offset + 1;
        }
        if (records.length === 0) stretch.at = stretch.until;
      }
    }
    if (this.stretches.every(({ at, until }) => until >= 0 && at >= until)) this.found();
    else if (left <= 0) this.broker.timers.set(this.readTimer, this.broker.nowMs);
  }

  private found(): void {
    const { finding } = this;
    this.finding = new Map();
    this.stretches = [];
    for (const sought of finding.values()) {
      const { session, waiting } = sought;
      this.sought.delete(session);
      this.take(sought);
      this.goOn(waiting);
    }
    if (this.finding.size === 0) this.find(); // who came meanwhile
  }

  /** What the logs have of a session was taken, and what they lack before that was not. */
  private take(sought: Sought): void {
    const { session } = sought;
    const { last, missing } = foundOf(sought);
    last.forEach((id, sequence) => {
      session.sequences.take(sequence, id);
    });
    if (missing.length > 0) this.missing.set(session, missing);
  }

  /** How far the logs were read for a session goes with it, where that tells all: each log has ids in order, and several together perhaps not. */
  private noteProgress(sought: Sought): void {
    const { session, ids, stored } = sought;
    if (this.finding.get(session.number) !== sought) return;
    if (this.stretches.length > 1 && stored.some(({ length }) => length > 0)) return;
    const { last, missing } = foundOf(sought);
    const refused = [...ids.refused, ...missing].slice(-IDS_OF_SESSION_MAX);
    const places = this.stretches.map(({ log, epoch, at }) => ({
      ...{ log: log.name, epoch },
      offset: Math.max(at, placeIn(log, ids.places)),
    }));
    this.write(session, { isExact: false, last, refused, places });
  }

  /** Now and then: so that no node has to read much of the logs when this one is gone. First those of which the most would have to be read. */
  private noteAll(): void {
    const { broker, noted } = this;
    if (noted.size === 0 && this.finding.size === 0) return;
    broker.timers.set(this.noteTimer, broker.nowMs + NOTE_MS);
    for (const sought of [...this.finding.values()].slice(0, NOTES_MAX)) this.noteProgress(sought);
    const places = this.placesNow();
    const far: { session: Session; last: readonly number[]; unread: number; hasChanged: boolean }[] = [];
    for (const [session, ids] of noted) {
      const unread = Math.max(...ids.places.map(({ offset }, i) => places[i].offset - offset));
      if (unread < NOTE_RECORDS) continue;
      const last = [...session.sequences.lastIds];
      far.push({ session, last, unread, hasChanged: last.some((id, i) => id !== ids.last[i]) });
    }
    if (far.length === 0) return;
    far.sort((a, b) => b.unread - a.unread);
    const changed = far.filter(({ hasChanged }) => hasChanged);
    const due = [
      ...changed.slice(0, Math.max(NOTES_MAX, Math.ceil(noted.size * NOTED_SHARE))),
      ...far.filter(({ hasChanged }) => !hasChanged).slice(0, NOTES_MAX),
    ];
    broker.storedAnswers.whenLogsAreSafe(() => {
      for (const { session, last } of due) {
        if (session.state !== SessionState.PRESENT) continue;
        const refused = this.takenOf(session).refused.filter(
          ({ sequence, id }) => !isAfter(id, last[sequence]),
        );
        this.put(session, { isExact: false, last, refused, places });
      }
    });
  }

  /** It is neither another node's nor about to be. */
  private isHere({ name }: Session): boolean {
    return this.broker.claims?.holds(sessionClaim(name as string)) === true;
  }

  private takenOf(session: Session): Pick<Ids, 'last' | 'refused'> {
    const { sequences } = session;
    const refused = [...(this.missing.get(session) ?? []), ...this.broker.publishers.refusedOf(sequences)];
    return { last: [...sequences.lastIds], refused: refused.slice(-IDS_OF_SESSION_MAX) };
  }

  private placesNow(): Place[] {
    return this.broker.store.logs.map(({ name, epoch, synced }) => ({ log: name, epoch, offset: synced }));
  }

  private put(session: Session, ids: Ids): void {
    if (!ids.isExact) this.noted.set(session, ids);
    this.write(session, ids);
  }

  private write(session: Session, ids: Ids): void {
    this.broker.store.state.put(IDS_KEYS + session.name, encodeIds(ids));
  }

  private forget(session: Session): void {
    const sought = this.sought.get(session);
    this.noted.delete(session);
    this.sought.delete(session);
    this.missing.delete(session);
    if (sought === undefined || this.finding.get(session.number) !== sought) return;
    this.finding.delete(session.number);
    this.goOn(sought.waiting); // whose client is gone
    if (this.finding.size === 0) this.find(); // nobody waits for what is being read
  }

  private goOn(waiting: readonly (() => void)[]): void {
    for (const act of waiting) {
      try {
        act();
      } catch (error) {
        this.broker.reportFault(error);
      }
    }
  }
}

/** Which ids were taken, as far as the logs were read, and which before the last of them were not. */
function foundOf({ ids, stored }: Sought): { last: number[]; missing: RefusedId[] } {
  const missing: RefusedId[] = [];
  const last = ids.last.map((noted, sequence) => {
    let before = noted;
    // Each log has them in order, and all together perhaps not.
    for (const id of [...stored[sequence]].sort((a, b) => (a === b ? 0 : isAfter(a, b) ? 1 : -1))) {
      // A wide one was left by a client that has taken the session up. [CLT-9]
      const isGap = before !== 0 && isAfter(id, before) && !isAfter(id, idBehindUnanswered(before));
      for (
        let at = idAfter(before);
        isGap && at !== id && missing.length < IDS_OF_SESSION_MAX;
        at = idAfter(at)
      )
        missing.push({ sequence, id: at, code: ReasonCode.STORE_FAILED });
      before = id;
    }
    return before;
  });
  return { last, missing };
}

/** In serial arithmetic; 0 stands for none. */
function isBehind(id: number, last: number): boolean {
  return last === 0 || isAfter(id, last);
}

/** Where a log is to be read from: from its beginning, where it is another one than it was. */
function placeIn(log: LogPort, places: readonly Place[]): number {
  const place = places.find(({ log: name }) => name === log.name);
  return place?.epoch === log.epoch ? Math.max(place.offset, log.earliest) : log.earliest;
}

/** version u8, is exact u8, last ids u32 each, how many were refused u16 and of each sequence u8, id u32, code u16; then of each log: name length u8, name, epoch u64, offset u64 */
function encodeIds({ isExact, last, refused, places }: Ids): Uint8Array {
  const head = Buffer.alloc(HEAD_BYTES + REFUSED_BYTES * refused.length);
  head[0] = VERSION;
  head[1] = isExact ? 1 : 0;
  for (let i = 0; i < SEQUENCES; i++) head.writeUInt32BE(last[i], 2 + 4 * i);
  head.writeUInt16BE(refused.length, HEAD_BYTES - 2);
  refused.forEach(({ sequence, id, code }, i) => {
    const at = HEAD_BYTES + REFUSED_BYTES * i;
    head[at] = sequence;
    head.writeUInt32BE(id, at + 1);
    head.writeUInt16BE(code, at + 5);
  });
  const parts: Buffer[] = [head];
  for (const { log, epoch, offset } of places) {
    const name = Buffer.from(log);
    const rest = Buffer.alloc(16);
    rest.writeBigUInt64BE(BigInt(epoch));
    rest.writeBigUInt64BE(BigInt(offset), 8);
    parts.push(Buffer.of(name.length), name, rest);
  }
  return Uint8Array.from(Buffer.concat(parts));
}

/** Null: they cannot be read. */
function decodeIds(bytes: Uint8Array): Ids | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < HEAD_BYTES || view[0] !== VERSION) return null;
  const last = [0, 1, 2, 3].map((i) => view.readUInt32BE(2 + 4 * i));
  const count = view.readUInt16BE(HEAD_BYTES - 2);
  const placesAt = HEAD_BYTES + REFUSED_BYTES * count;
  if (count > IDS_OF_SESSION_MAX || view.length < placesAt) return null;
  const refused = Array.from({ length: count }, (_, i) => {
    const at = HEAD_BYTES + REFUSED_BYTES * i;
    return {
      sequence: view[at],
      id: view.readUInt32BE(at + 1),
      code: view.readUInt16BE(at + 5) as ReasonCode,
    };
  });
  const places: Place[] = [];
  for (let at = placesAt; at < view.length; ) {
    const nameEnd = at + 1 + view[at];
    if (view.length < nameEnd + 16) return null;
    places.push({
      log: view.toString('utf8', at + 1, nameEnd),
      epoch: Number(view.readBigUInt64BE(nameEnd)),
      offset: Number(view.readBigUInt64BE(nameEnd + 8)),
    });
    at = nameEnd + 16;
  }
  return { isExact: view[1] === 1, last, refused, places };
}

export const IDS_KEYS = 'ids/';
const NONE: readonly number[] = [0, 0, 0, 0];
const VERSION = 1;
const HEAD_BYTES = 4 + 4 * SEQUENCES;
const REFUSED_BYTES = 7;
/**
 * Ids of those who are connected are noted so often, and not before their logs have gone on by so many records: at most so many of those who have published at a time, or that share of all,
 * and so many of those who have not. What there is to read for these grows as well, and a client whose session takes longer than it waits is never let in.
 */
const NOTE_MS = 2_000;
const NOTE_RECORDS = 8_192;
const NOTES_MAX = 32;
const NOTED_SHARE = 0.2;
const READ_BYTES = 256 * 1_024;
const BYTES_A_TURN = 4 * 1_024 * 1_024;
