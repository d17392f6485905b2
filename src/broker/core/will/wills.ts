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
import { claimOfState } from '../backplane/claim-keys.ts';
import { AbsenceClock, AWAKENING_MS } from '../session/absence-clock.ts';
import type { Absence, RestoredSessions, Session, SessionPart } from '../session/session.ts';
import type { StatePort } from '../store-port.ts';
import type { Time } from '../timers.ts';

/** What a client has left with the broker. */
class Will implements HeapItem {
  /** A PUBLISH with id 0. */
  readonly message: Uint8Array;
  readonly delayMs: number;
  /** That of its session, where that is kept as well. */
  readonly number: number;
  /** By which the store knows it. */
  readonly key: string;
  /** Null: the session is over. */
  owner: Session | null;
  /** Who has left it, for a session does not tell when it is over; null: nobody in particular. */
  by: PrincipalId | null = null;
  /** Its place among those that wait. */
  deadline = 0;
  heapIndex = -1;

  constructor(message: Uint8Array, delayMs: number, key: string, owner: Session | null) {
    this.message = message;
    this.delayMs = delayMs;
    this.key = key;
    this.number = numberOf(key);
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
  /** Null: the broker is alone, and what is its own stays so. */
  readonly cluster: WillCluster | null;
}

export interface WillCluster {
  /** Calls `act` when all that was written is stored, which nothing is that belongs to another node by now. */
  whenStillOwn(act: () => void): void;
  /** Nothing is left of wills without a session that belong to this claim. */
  orphansGone(claim: string): void;
}

export class Wills implements SessionPart {
  /** How many were published. */
  published = 0;
  private readonly state: StatePort;
  private readonly limits: WillLimits;
  private readonly surroundings: WillSurroundings;
  private readonly wills = new Map<Session, Will>();
  /** Which of them the store has under its key: of a session the later one, while the one before is still being published. */
  private readonly written = new Map<string, Will>();
  /** Those of sessions that are over: were when the broker started; or in a cluster, until it is sure that they are still its own to publish. */
  private readonly orphaned = new Set<Will>();
  /** In a cluster: how many of them belong to a claim. */
  private readonly orphansOf = new Map<string, number>();
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
    const key = WILL_KEYS + number;
    // In a cluster it goes where its session goes.
    const isPart = this.surroundings.cluster !== null && session.name !== null;
    const will = new Will(message, delayMs, isPart ? `${key}/${session.name}` : key, session);
    will.by = by;
    if (this.bytes - freed + chargeOf(will) > this.limits.willBytesMax) return false;
    if (earlier !== undefined) this.forget(earlier);
    this.wills.set(session, will);
    this.bytes += chargeOf(will);
    this.write(will);
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

  onMoved(session: Session): void {
    const will = this.wills.get(session);
    if (will !== undefined) this.letGo(will);
  }

  /** Something of a claim is here, though no session is. */
  hasOrphanOf(claim: string): boolean {
    return this.orphansOf.has(claim);
  }

  /** What belongs to a claim goes on at another node. */
  letOrphansGo(claim: string): void {
    if (!this.orphansOf.has(claim)) return;
    for (const will of [...this.orphaned]) if (claimOf(will.key) === claim) this.letGo(will);
  }

  /** A will comes from another node. @param absence - of its session; null: that is over */
  takeUp(key: string, bytes: Uint8Array, absence: Absence | null): void {
    this.restoreOne(key, bytes, absence);
  }

  /** Takes up what the store has kept. None is published at once: those who are to hear of it have to come back first, and so may its own client. */
  restore(sessions: RestoredSessions): void {
    for (const [key, bytes] of [...this.state.entries(WILL_KEYS)]) {
      this.restoreOne(key, bytes, sessions.get(numberOf(key)) ?? null);
    }
  }

  private restoreOne(key: string, bytes: Uint8Array, absence: Absence | null): void {
    const will = decodeWillRecord(bytes, key, absence?.session ?? null);
    if (will === null) {
      this.state.delete(key);
      return;
    }
    this.bytes += chargeOf(will);
    this.written.set(key, will);
    if (will.owner !== null) this.wills.set(will.owner, will);
    else this.orphan(will);
    const leftMs = absence === null ? 0 : will.delayMs - absence.awayMs;
    this.waiting.start(will, Math.max(AWAKENING_MS, leftMs));
  }

  /** In a cluster it is written once more before it is published: that fails where another node has it by now, and publishes it. [CLU-24] */
  private fire(will: Will): void {
    const { cluster } = this.surroundings;
    if (cluster === null) {
      this.publish(will);
      return;
    }
    this.waiting.stop(will);
    this.orphan(will);
    this.write(will);
    cluster.whenStillOwn(() => {
      if (this.orphaned.has(will)) this.publish(will);
    });
  }

  private publish(will: Will): void {
    this.forget(will);
    this.published++;
    this.surroundings.publish(will.message);
  }

  /** Its session is over, or will not be asked about it any more. */
  private orphan(will: Will): void {
    if (will.owner !== null) this.wills.delete(will.owner);
    will.owner = null;
    if (this.orphaned.has(will)) return;
    this.orphaned.add(will);
    if (this.surroundings.cluster === null) return;
    const claim = claimOf(will.key);
    this.orphansOf.set(claim, (this.orphansOf.get(claim) ?? 0) + 1);
  }

  private write(will: Will): void {
    this.written.set(will.key, will);
    this.state.put(will.key, encodeWillRecord(will));
  }

  private forget(will: Will): void {
    if (this.letGo(will)) this.state.delete(will.key);
  }

  /** True: the store has it, and not another one in its place. */
  private letGo(will: Will): boolean {
    const isWritten = this.written.get(will.key) === will && this.written.delete(will.key);
    this.waiting.stop(will);
    if (will.owner !== null) this.wills.delete(will.owner);
    this.bytes -= chargeOf(will);
    const { cluster } = this.surroundings;
    if (!this.orphaned.delete(will) || cluster === null) return isWritten;
    const claim = claimOf(will.key);
    const left = (this.orphansOf.get(claim) ?? 1) - 1;
    if (left > 0) this.orphansOf.set(claim, left);
    else {
      this.orphansOf.delete(claim);
      cluster.orphansGone(claim);
    }
    return isWritten;
  }
}

/** `will/<number>`; or in a cluster `will/<number>/<name>`, where its session has one. */
function numberOf(key: string): number {
  return Number.parseInt(key.slice(WILL_KEYS.length), 10);
}

/** The claim that it belongs to in a cluster: that of its session, or one of its own. */
function claimOf(key: string): string {
  return claimOfState(key) as string;
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

function decodeWillRecord(bytes: Uint8Array, key: string, owner: Session | null): Will | null {
  if (bytes.length <= RECORD_HEAD_BYTES || !(numberOf(key) > 0)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const delayMs = view.getUint32(1);
  // The first version did not say who has left it.
  if (bytes[0] === 1) return new Will(bytes.slice(5), delayMs, key, owner);
  const messageAt = RECORD_HEAD_BYTES + view.getUint16(5);
  if ((bytes[0] !== VERSION && bytes[0] !== 2) || bytes.length <= messageAt) return null;
  const owned = bytes.subarray(RECORD_HEAD_BYTES, messageAt);
  const by = bytes[0] === 2 ? decodeFirstOwner(owned) : decodeOwner(owned);
  if (by === undefined) return null;
  const will = new Will(bytes.slice(messageAt), delayMs, key, owner);
  will.by = by;
  return will;
}

function chargeOf({ message }: Will): number {
  return message.length + WILL_CHARGE_BYTES;
}

export const WILL_KEYS = 'will/';
const VERSION = 3;
const RECORD_HEAD_BYTES = 7;
/** What a will costs beside its message, here and in the store. */
const WILL_CHARGE_BYTES = 512;
