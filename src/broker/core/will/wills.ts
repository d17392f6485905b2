/**
 * Wills: what the broker publishes in the place of a client that is gone.
 *
 *     SET ── its connection is gone ──> WAITING ── its delay is over, or the session is ──> published
 *     SET ── taken back ──> gone        WAITING ── the session has a connection again ──> gone
 *
 * A will belongs to its session, not to a connection, so a connection whose end is noticed late does nothing to the will that the next one has set. [BRK-101]
 * The store keeps wills, so that one is published also where the broker was down meanwhile. [BRK-102]
 */

import type { HeapItem } from '../../../base/time.ts';
import { decodeFirstOwner, decodeOwner, encodeOwner } from '../access/owner-record.ts';
import type { PrincipalId } from '../access/principal.ts';
import { AbsenceClock, AWAKENING_MS } from '../session/absence-clock.ts';
import type { RestoredSessions, Session, SessionPart } from '../session/session.ts';
import type { StatePort } from '../store-port.ts';
import type { Time } from '../timers.ts';

/** What a client has left with the broker. */
class Will implements HeapItem {
  /** A PUBLISH with id 0. */
  readonly message: Uint8Array;
  readonly delayMs: number;
  /** By which the store knows it: that of its session, where that is kept as well. */
  readonly number: number;
  /** Null: the session is over. */
  readonly owner: Session | null;
  /** Who has left it, for a session does not tell when it is over; null: nobody in particular. */
  by: PrincipalId | null = null;
  /** Its place among those that wait. */
  deadline = 0;
  heapIndex = -1;

  constructor(message: Uint8Array, delayMs: number, number: number, owner: Session | null) {
    this.message = message;
    this.delayMs = delayMs;
    this.number = number;
    this.owner = owner;
  }
}

export interface WillLimits {
  /** Most bytes that all wills together keep. */
  readonly willBytesMax: number;
}

export interface WillSurroundings {
  /** A message that the broker itself publishes. */
  publish(message: Uint8Array): void;
  /** A number that no session has or has had. */
  newNumber(): number;
}

export class Wills implements SessionPart {
  /** How many were published. */
  published = 0;
  private readonly state: StatePort;
  private readonly limits: WillLimits;
  private readonly surroundings: WillSurroundings;
  private readonly wills = new Map<Session, Will>();
  /** Those of sessions that were over when the broker started. */
  private readonly orphaned = new Set<Will>();
  private readonly waiting: AbsenceClock<Will>;
  private bytes = 0;
  private isClosed = false;

  constructor(state: StatePort, time: Time, limits: WillLimits, surroundings: WillSurroundings) {
    this.state = state;
    this.limits = limits;
    this.surroundings = surroundings;
    this.waiting = new AbsenceClock(time, (will) => this.fire(will));
  }

  get usedBytes(): number {
    return this.bytes;
  }

  has(session: Session): boolean {
    return this.wills.has(session);
  }

  /** Takes the will of a session whose client is connected, in the place of an earlier one. False: it would be more than all wills together may be. */
  set(session: Session, message: Uint8Array, delayMs: number, by: PrincipalId | null): boolean {
    const earlier = this.wills.get(session);
    const freed = earlier === undefined ? 0 : chargeOf(earlier);
    const number = session.number > 0 ? session.number : (earlier?.number ?? this.surroundings.newNumber());
    const will = new Will(message, delayMs, number, session);
    will.by = by;
    if (this.bytes - freed + chargeOf(will) > this.limits.willBytesMax) return false;
    if (earlier !== undefined) this.forget(earlier);
    this.wills.set(session, will);
    this.bytes += chargeOf(will);
    this.state.put(WILL_KEYS + number, encodeWillRecord(will));
    return true;
  }

  /** The PUBLISH that the will of a session is; null: it has none. */
  messageOf(session: Session): Uint8Array | null {
    return this.wills.get(session)?.message ?? null;
  }

  /** Its client takes it back. */
  takeBack(session: Session): void {
    const will = this.wills.get(session);
    if (will !== undefined) this.forget(will);
  }

  /** Those whose sessions are over, and that are still to be published. */
  get orphans(): readonly Will[] {
    return [...this.orphaned];
  }

  /** It is not published. */
  drop(will: Will): void {
    this.forget(will);
  }

  /** The broker goes: what it cannot publish any more, it publishes when it comes back, if the clients do not. */
  close(): void {
    this.isClosed = true;
  }

  onAway(session: Session): void {
    const will = this.wills.get(session);
    if (will === undefined || this.isClosed) return;
    if (will.delayMs > 0) this.waiting.start(will, will.delayMs);
    else this.fire(will);
  }

  onBack(session: Session): void {
    this.takeBack(session);
  }

  onOver(session: Session): void {
    const will = this.wills.get(session);
    if (will !== undefined && !this.isClosed) this.fire(will);
  }

  /** Takes up what the store has kept. None is published at once: those who are to hear of it have to come back first, and so may its own client. */
  restore(sessions: RestoredSessions): void {
    for (const [key, bytes] of [...this.state.entries(WILL_KEYS)]) {
      const number = Number(key.slice(WILL_KEYS.length));
      const owner = sessions.get(number);
      const will = decodeWillRecord(bytes, number, owner?.session ?? null);
      if (will === null) {
        this.state.delete(key);
        continue;
      }
      this.bytes += chargeOf(will);
      if (will.owner !== null) this.wills.set(will.owner, will);
      else this.orphaned.add(will);
      const leftMs = owner === undefined ? 0 : will.delayMs - owner.awayMs;
      this.waiting.start(will, Math.max(AWAKENING_MS, leftMs));
    }
  }

  private fire(will: Will): void {
    this.forget(will);
    this.published++;
    this.surroundings.publish(will.message);
  }

  private forget(will: Will): void {
    this.waiting.stop(will);
    if (will.owner !== null) this.wills.delete(will.owner);
    this.orphaned.delete(will);
    this.bytes -= chargeOf(will);
    this.state.delete(WILL_KEYS + will.number);
  }
}

/** version u8, delay u32, length u16, who has left it, message */
function encodeWillRecord({ message, delayMs, by }: Will): Uint8Array {
  const owner = encodeOwner(by);
  const bytes = new Uint8Array(RECORD_HEAD_BYTES + owner.length + message.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = VERSION;
  view.setUint32(1, delayMs);
  view.setUint16(5, owner.length);
  bytes.set(owner, RECORD_HEAD_BYTES);
  bytes.set(message, RECORD_HEAD_BYTES + owner.length);
  return bytes;
}

function decodeWillRecord(bytes: Uint8Array, number: number, owner: Session | null): Will | null {
  if (bytes.length <= RECORD_HEAD_BYTES || !(number > 0)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const delayMs = view.getUint32(1);
  // The first version did not say who has left it.
  if (bytes[0] === 1) return new Will(bytes.slice(5), delayMs, number, owner);
  const messageAt = RECORD_HEAD_BYTES + view.getUint16(5);
  if ((bytes[0] !== VERSION && bytes[0] !== 2) || bytes.length <= messageAt) return null;
  const owned = bytes.subarray(RECORD_HEAD_BYTES, messageAt);
  const by = bytes[0] === 2 ? decodeFirstOwner(owned) : decodeOwner(owned);
  if (by === undefined) return null;
  const will = new Will(bytes.slice(messageAt), delayMs, number, owner);
  will.by = by;
  return will;
}

function chargeOf({ message }: Will): number {
  return message.length + WILL_CHARGE_BYTES;
}

const WILL_KEYS = 'will/';
const VERSION = 3;
const RECORD_HEAD_BYTES = 7;
/** What a will costs beside its message, here and in the store. */
const WILL_CHARGE_BYTES = 512;
