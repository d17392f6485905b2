/**
 * Values that are there as long as their publisher is: retained values that a session owns.
 *
 *     OWNED ── its session has no connection ──> LEAVING ── its grace is over ──> gone, and that is published as an empty message
 *     LEAVING ── the session has a connection again ──> OWNED
 *     OWNED, LEAVING ── another value takes its place, or none ──> of that one, or of nobody
 *
 * So whoever subscribes is told who is there by the values, and hears of each that comes and goes. [BRK-108]
 */

import type { HeapItem } from '../../../base/time.ts';
import { AbsenceClock, AWAKENING_MS } from '../session/absence-clock.ts';
import type { Session, SessionPart } from '../session/session.ts';
import type { Time } from '../timers.ts';

/** That a session owns the value of a topic. */
export class Ownership implements HeapItem {
  readonly topic: string;
  /** How long the value stays without a connection of its session. */
  readonly graceMs: number;
  /** Of the session; 0: one that is not kept. */
  readonly session: number;
  /** Null: nobody who could come back. */
  owner: Session | null;
  /** Its place among those that leave. */
  deadline = 0;
  heapIndex = -1;

  constructor(topic: string, graceMs: number, session: number, owner: Session | null) {
    this.topic = topic;
    this.graceMs = graceMs;
    this.session = session;
    this.owner = owner;
  }
}

export class Presence implements SessionPart {
  private readonly owned = new Map<Session, Set<Ownership>>();
  private readonly leaving: AbsenceClock<Ownership>;

  /** @param leave - told of each topic whose value is gone */
  constructor(time: Time, leave: (topic: string) => void) {
    this.leaving = new AbsenceClock(time, (ownership) => {
      this.release(ownership);
      leave(ownership.topic);
    });
  }

  /** The session, which is connected, owns the value of a topic. */
  own(session: Session, topic: string, graceMs: number): Ownership {
    const ownership = new Ownership(topic, graceMs, session.number, session);
    this.add(session, ownership);
    return ownership;
  }

  /** The value is another one, or gone. */
  release(ownership: Ownership): void {
    this.leaving.stop(ownership);
    const { owner } = ownership;
    const all = owner === null ? undefined : this.owned.get(owner);
    if (owner === null || all === undefined) return;
    all.delete(ownership);
    if (all.size === 0) this.owned.delete(owner);
  }

  /** An ownership that the store has kept. Whoever has it may still come back. */
  restore(ownership: Ownership, awayMs: number): void {
    if (ownership.owner !== null) this.add(ownership.owner, ownership);
    this.leaving.start(ownership, Math.max(AWAKENING_MS, ownership.graceMs - awayMs));
  }

  onAway(session: Session): void {
    for (const ownership of this.owned.get(session) ?? []) this.leaving.start(ownership, ownership.graceMs);
  }

  onBack(session: Session): void {
    for (const ownership of this.owned.get(session) ?? []) this.leaving.stop(ownership);
  }

  /** Its values have their grace all the same: its client may come with another session, and put others in their place. */
  onOver(session: Session): void {
    for (const ownership of this.owned.get(session) ?? []) ownership.owner = null;
    this.owned.delete(session);
  }

  private add(session: Session, ownership: Ownership): void {
    let all = this.owned.get(session);
    if (all === undefined) {
      all = new Set();
      this.owned.set(session, all);
    }
    all.add(ownership);
  }
}
