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
  /** The node that looks after it; null: this one. */
  node: string | null = null;
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

/** Who has the values. */
export interface PresenceOwner {
  /** The value of this topic is gone. */
  leave(topic: string): void;
  /** A node is there, and looks after its values. */
  hasNode(node: string): boolean;
  /** It was another node's to look after, and is this one's now. */
  adopted(ownership: Ownership): void;
}

export class Presence implements SessionPart {
  private readonly owned = new Map<Session, Set<Ownership>>();
  private readonly leaving: AbsenceClock<Ownership>;
  private readonly values: PresenceOwner;
  /** In a cluster, what other nodes look after: by the node, and by the session that may come here. */
  private readonly foreign = new Map<string, Set<Ownership>>();
  private readonly bySession = new Map<number, Set<Ownership>>();

  constructor(time: Time, values: PresenceOwner) {
    this.values = values;
    this.leaving = new AbsenceClock(time, (ownership) => {
      if (ownership.node !== null && values.hasNode(ownership.node)) return; // it was only cut off
      this.release(ownership);
      values.leave(ownership.topic);
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
    const { owner, node } = ownership;
    if (owner !== null) forget(this.owned, owner, ownership);
    if (node === null) return;
    forget(this.foreign, node, ownership);
    forget(this.bySession, ownership.session, ownership);
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
    if (session.number > 0) this.adopt(session);
  }

  /** It goes on at another node, which keeps its values there once more; what it does not leaves after its grace. [CLU-43] */
  onMoved(session: Session): void {
    for (const ownership of this.owned.get(session) ?? []) {
      ownership.owner = null;
      this.takeForeign(ownership, NOBODY);
      if (ownership.heapIndex < 0) this.leaving.start(ownership, ownership.graceMs);
    }
    this.owned.delete(session);
  }

  /** A value that another node looks after, or that nobody does since this one has begun anew. */
  takeForeign(ownership: Ownership, node: string): void {
    ownership.node = node;
    put(this.foreign, node, ownership);
    if (ownership.session > 0) put(this.bySession, ownership.session, ownership);
  }

  /** A node looks after nothing any more: what it did leaves after its grace, unless its owner comes to another node before. [CLU-43] */
  abandon(node: string, atLeastMs: number): void {
    for (const ownership of this.foreign.get(node) ?? []) {
      if (ownership.heapIndex >= 0) continue;
      this.leaving.start(ownership, Math.max(ownership.graceMs, atLeastMs));
    }
  }

  /** Nodes whose values are known. */
  get nodes(): Iterable<string> {
    return this.foreign.keys();
  }

  /** Its values have their grace all the same: its client may come with another session, and put others in their place. */
  onOver(session: Session): void {
    for (const ownership of this.owned.get(session) ?? []) ownership.owner = null;
    this.owned.delete(session);
  }

  private add(session: Session, ownership: Ownership): void {
    put(this.owned, session, ownership);
  }

  /** The session has come here, with what it owns. */
  private adopt(session: Session): void {
    for (const ownership of [...(this.bySession.get(session.number) ?? [])]) {
      this.release(ownership);
      ownership.node = null;
      ownership.owner = session;
      this.add(session, ownership);
      this.values.adopted(ownership);
    }
  }
}

/** The node that looks after what no node does. */
export const NOBODY = '';

function put<K>(all: Map<K, Set<Ownership>>, key: K, ownership: Ownership): void {
  const those = all.get(key);
  if (those === undefined) all.set(key, new Set([ownership]));
  else those.add(ownership);
}

function forget<K>(all: Map<K, Set<Ownership>>, key: K, ownership: Ownership): void {
  const those = all.get(key);
  if (those?.delete(ownership) && those.size === 0) all.delete(key);
}
