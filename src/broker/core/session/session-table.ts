/**
 * All sessions that have a name, and their life: they begin with a HELLO, go away with their connection, come back with another HELLO, and are over when their time
 * is, or when their client begins anew. The store keeps them, so that they outlive the broker as well. [BRK-50] [BRK-54]
 */

import { EXPIRY_NEVER } from '../../../pubsub/session-commands.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { Client } from '../delivery/client.ts';
import type { LogPort, StoreEvents, StorePort } from '../store-port.ts';
import { type Time, Timer } from '../timers.ts';
import { AbsenceClock, AWAKENING_MS } from './absence-clock.ts';
import { type Absence, type RestoredSessions, Session, type SessionPart, SessionState } from './session.ts';
import {
  decodeNumber,
  decodeSessionRecord,
  encodeNumber,
  encodeSessionRecord,
  SESSION_KEYS,
  type SessionRecord,
} from './session-record.ts';

/** What bounds sessions. */
export interface SessionLimits {
  /** Most sessions with a name, of clients that are connected or away. */
  readonly sessionsMax: number;
  /** A session outlives a connection for so long at most, whatever its client asks. */
  readonly sessionExpiryMaxMs: number;
}

/** Where numbers come from that nobody else is given. */
export interface NumberSource {
  newNumber(): number;
}

export class SessionTable implements Partial<StoreEvents> {
  /** Told of what becomes of each session, in this order. */
  readonly parts: SessionPart[] = [];
  /** How many were over because their client was away for too long. */
  expired = 0;
  private readonly store: StorePort;
  private readonly time: Time;
  private readonly limits: SessionLimits;
  /** Of a cluster, whose numbers are no other node's; null: the broker is alone. */
  private readonly numbers: NumberSource | null;
  private readonly byName = new Map<string, Session>();
  private readonly away: AbsenceClock<Session>;
  /** Those whose client is away, also for ever. */
  private gone = 0;
  /** Those that are kept in the store and whose client is connected. */
  private presentCount = 0;
  private readonly alive = new Timer(() => this.stampAlive());
  /** The next number to be given, and the first that the store does not know of yet as given. */
  private nextNumber = 0;
  private numbersReserved = 0;
  private begun = 0;
  /** Filters that sessions remember, all together. */
  private filtersKnown = 0;

  constructor(store: StorePort, time: Time, limits: SessionLimits, numbers: NumberSource | null = null) {
    this.numbers = numbers;
    this.store = store;
    this.time = time;
    this.limits = limits;
    this.away = new AbsenceClock(time, (session) => {
      this.expired++;
      this.end(session);
    });
  }

  /** How many have a name, and how many of them are away. */
  get size(): number {
    return this.byName.size;
  }

  get awayCount(): number {
    return this.gone;
  }

  get isFull(): boolean {
    return this.byName.size >= this.limits.sessionsMax;
  }

  /** All that have a name. */
  all(): Iterable<Session> {
    return this.byName.values();
  }

  /** When a session that is away is over, on the wall clock; null: never, or it is not away. */
  overAt(session: Session): number | null {
    if (session.state !== SessionState.AWAY) return null;
    const leftMs = this.away.leftMs(session);
    return Number.isFinite(leftMs) ? this.time.wallMs + leftMs : null;
  }

  find(name: string): Session | undefined {
    return this.byName.get(name);
  }

  /** A session with this name begins. There is none, and there is room for one. */
  begin(client: Client, name: string, expiryMs: number, owner: PrincipalId | null): Session {
    const number = expiryMs > 0 ? this.newNumber() : 0;
    // Later ones of a name have a larger epoch, unless the clock is set back: then another.
    const epoch = Math.floor(this.time.wallMs) * EPOCHS_A_MS + (this.begun++ % EPOCHS_A_MS) + 1;
    const session = new Session(client, name, number, epoch);
    session.owner = owner;
    this.byName.set(name, session);
    this.setPresent(session, expiryMs);
    return session;
  }

  /** The client of a session that is away is connected again. */
  comeBack(session: Session, client: Client, expiryMs: number, owner: PrincipalId | null): void {
    this.away.stop(session);
    this.gone--;
    session.client = client;
    session.owner = owner;
    session.state = SessionState.PRESENT;
    session.recall(this.store.lastIds(session.number));
    this.setPresent(session, expiryMs);
    for (const part of this.parts) part.onBack(session);
  }

  /** How long it outlives its connection is another time from now on; one that was to end with it does. [BRK-57] */
  expireAfter(session: Session, expiryMs: number): void {
    if (session.expiryMs > 0) session.expiryMs = Math.min(expiryMs, this.limits.sessionExpiryMaxMs);
  }

  /** Its connection is gone, and it with that if it has no name, or no time. */
  leave(session: Session): void {
    if (session.state !== SessionState.PRESENT) return;
    session.state = SessionState.AWAY;
    session.client = null;
    if (session.number > 0) this.presentCount--;
    const staysMs = session.name === null ? 0 : session.expiryMs;
    this.gone++;
    if (staysMs > 0) {
      this.away.start(session, lifeOf(staysMs));
      this.save(session);
    }
    for (const part of this.parts) part.onAway(session);
    if (staysMs === 0) this.end(session);
  }

  /**
   * Whether a session has not subscribed to `filter` before, on this connection or an earlier one, and remembers it. One for which there is no room is new each time: its
   * subscriber gets again what it has. [BRK-109]
   */
  isNewFilter(session: Session, filter: string): boolean {
    if (session.name === null) return true;
    const hash = filterHash(filter);
    session.knownFilters ??= new Set();
    const known = session.knownFilters;
    if (known.has(hash)) return false;
    if (known.size < FILTERS_KNOWN_MAX && this.filtersKnown < FILTERS_KNOWN_TOTAL_MAX) {
      known.add(hash);
      this.filtersKnown++;
    }
    return true;
  }

  /** The session has unsubscribed. */
  forgetFilter(session: Session, filter: string): void {
    if (session.knownFilters?.delete(filterHash(filter))) this.filtersKnown--;
  }

  /** Numbers are never given twice, for logs remember them: so the store knows of them first, many at a time. */
  newNumber(): number {
    if (this.numbers !== null) return this.numbers.newNumber();
    const number = Math.max(1, this.nextNumber);
    this.nextNumber = number + 1;
    if (this.nextNumber > this.numbersReserved) {
      this.numbersReserved = this.nextNumber + NUMBERS_AT_ONCE;
      this.store.state.put(NUMBERS_KEY, encodeNumber(this.numbersReserved));
    }
    return number;
  }

  /** A session that is away is over. [BRK-50] */
  end(session: Session): void {
    if (session.state === SessionState.OVER) return;
    if (session.state === SessionState.AWAY) this.gone--;
    session.state = SessionState.OVER;
    this.away.stop(session);
    this.filtersKnown -= session.knownFilters?.size ?? 0;
    if (session.name !== null) this.byName.delete(session.name);
    if (session.number > 0) this.forget(session.name as string, session.number);
    for (const part of this.parts) part.onOver(session);
  }

  /**
   * Takes up what the store has kept, when the time is known. A session whose time was over while the broker was down is gone, and is not told to the parts, which have what
   * they keep of it in the store. [BRK-54]
   */
  restore(): RestoredSessions {
    const { state } = this.store;
    const restored = new Map<number, Absence>();
    this.numbersReserved = decodeNumber(state.get(NUMBERS_KEY));
    this.nextNumber = Math.max(1, this.numbersReserved);
    const aliveAt = decodeNumber(state.get(ALIVE_KEY));
    for (const [key, bytes] of [...state.entries(SESSION_KEYS)]) {
      const record = decodeSessionRecord(bytes);
      const name = key.slice(SESSION_KEYS.length);
      if (record === null) {
        state.delete(key);
        continue;
      }
      const awayMs = this.awayFor(record, aliveAt);
      const session = this.takeUpRecord(name, record, awayMs);
      if (session !== null) restored.set(record.number, { session, awayMs });
    }
    return restored;
  }

  /** A session comes from another node, that is gone where its client was connected: from now on it is away. Null: its time is over, or there is none. */
  takeUp(name: string, bytes: Uint8Array | undefined): Absence | null {
    const record = bytes === undefined ? null : decodeSessionRecord(bytes);
    if (record === null) return null;
    const awayMs = record.isPresent ? 0 : Math.max(0, this.time.wallMs - record.writtenAt);
    const session = this.takeUpRecord(name, record, awayMs);
    return session === null ? null : { session, awayMs };
  }

  /** A session that is away goes on at another node. */
  letGo(session: Session): void {
    if (session.state !== SessionState.AWAY) return;
    this.gone--;
    session.state = SessionState.OVER;
    this.away.stop(session);
    this.filtersKnown -= session.knownFilters?.size ?? 0;
    this.byName.delete(session.name as string);
    for (const part of this.parts) part.onMoved?.(session);
  }

  /** Null: its time is over. */
  private takeUpRecord(name: string, record: SessionRecord, awayMs: number): Session | null {
    const lifeMs = lifeOf(record.expiryMs);
    if (awayMs >= lifeMs) {
      this.expired++;
      this.forget(name, record.number);
      return null;
    }
    const session = new Session(null, name, record.number, record.epoch);
    session.expiryMs = record.expiryMs;
    session.owner = record.owner;
    session.state = SessionState.AWAY;
    this.byName.set(name, session);
    this.gone++;
    this.away.start(session, Math.max(AWAKENING_MS, lifeMs - awayMs));
    if (record.isPresent) this.save(session, this.time.wallMs - awayMs);
    return session;
  }

  /** What the log had not stored yet is gone: ids that were taken with it are new again, or their publishers would hold them for stored. [BRK-53] */
  storeFailed(log: LogPort | null): void {
    if (log === null) return;
    for (const session of this.byName.values()) {
      if (session.number > 0) session.sequences.goBackTo(this.store.lastIds(session.number));
    }
  }

  /** The time may have been set back meanwhile: then no time has passed. */
  private awayFor({ isPresent, writtenAt, expiryMs }: SessionRecord, aliveAt: number): number {
    // When the broker died is known only so exactly. It is not held against the client.
    const leftAt = isPresent ? Math.max(writtenAt, aliveAt) + Math.min(ALIVE_MS, expiryMs) : writtenAt;
    return Math.max(0, this.time.wallMs - leftAt);
  }

  private setPresent(session: Session, expiryMs: number): void {
    session.expiryMs = Math.min(expiryMs, this.limits.sessionExpiryMaxMs);
    if (session.number === 0) return;
    this.presentCount++;
    this.save(session);
    if (this.alive.heapIndex < 0) this.time.timers.set(this.alive, this.time.nowMs + ALIVE_MS);
  }

  private save(session: Session, writtenAt = this.time.wallMs): void {
    const { number, epoch, expiryMs, state, owner } = session;
    const isPresent = state === SessionState.PRESENT;
    const record = encodeSessionRecord({ number, epoch, expiryMs, isPresent, writtenAt, owner });
    this.store.state.put(SESSION_KEYS + session.name, record);
  }

  private forget(name: string, number: number): void {
    this.store.state.delete(SESSION_KEYS + name);
    this.store.forgetSession(number);
  }

  /** Says in the store, now and then, that the clients that are connected still are. */
  private stampAlive(): void {
    if (this.presentCount === 0) return;
    this.store.state.put(ALIVE_KEY, encodeNumber(Math.max(0, Math.floor(this.time.wallMs))));
    this.time.timers.set(this.alive, this.time.nowMs + ALIVE_MS);
  }
}

function lifeOf(expiryMs: number): number {
  return expiryMs === EXPIRY_NEVER ? Number.POSITIVE_INFINITY : expiryMs;
}

/** 53 bits of a filter, so that it costs no string: another filter of the same session with the same is next to impossible. */
function filterHash(filter: string): number {
  let low = 0x811c9dc5 | 0;
  let high = 0x9e3779b9 | 0;
  for (let i = 0; i < filter.length; i++) {
    low = Math.imul(low ^ filter.charCodeAt(i), 0x01000193);
    high = Math.imul(high ^ filter.charCodeAt(i), 0x85ebca6b) + i;
  }
  return (high & 0x1f_ffff) * 2 ** 32 + (low >>> 0);
}

const NUMBERS_KEY = 'sessions/numbers';
const ALIVE_KEY = 'sessions/alive';
const NUMBERS_AT_ONCE = 1_024;
const ALIVE_MS = 5_000;
/** Filters that a session remembers, and all sessions together. */
const FILTERS_KNOWN_MAX = 1_024;
const FILTERS_KNOWN_TOTAL_MAX = 1_000_000;
/** Until the year 2109 the result is a whole number. */
const EPOCHS_A_MS = 2_048;
