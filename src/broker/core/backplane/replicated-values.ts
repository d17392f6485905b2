/**
 * The last values of a node of a cluster. What a client keeps here counts here at once, and everywhere when it has its place in the order of all changes; what others
 * keep is taken over in that order. [CLU-40]
 *
 *     SETTLED ── kept or taken away here ──> PENDING: its place is not known yet, and what others have done to the topic was before it, or is told again behind it
 *     PENDING ── it has its place ──> SETTLED
 *     PENDING ── outdone: something later was there before it ──> SETTLED, with that [CLU-45]
 *
 * Of a value whose owner has left all nodes know, and any of them may take it away: only in the place of that very change, so that it is done, and published, once. [CLU-43]
 */

import type { Awaited, Stoppable } from '../delivery/delivery.ts';
import { NOBODY } from '../presence/presence.ts';
import type { RetainedValue, RetainedValues } from '../retained/retained-values.ts';
import type { KeptValue, ValueKeeper } from '../retained/value-keeper.ts';
import { type Time, Timer } from '../timers.ts';
import type { BackplaneEvents, BackplanePort } from './backplane-port.ts';
import type { LatestChange, LogPlace, MadeChange, ValueChange } from './value-port.ts';

/** What is told to the rest of the broker. */
export interface ValuesOwner extends Time {
  readonly retained: RetainedValues;
  /** More of what was kept here is stored. */
  valuesStored(): void;
  /** Another node has kept it. */
  valueArrived(value: RetainedValue): void;
}

export class ReplicatedValues implements ValueKeeper, Awaited, Partial<BackplaneEvents> {
  private readonly port: BackplanePort;
  private readonly owner: ValuesOwner;
  /** Topics whose latest change of this node has no place yet: its number. */
  private readonly pending = new Map<string, number>();
  /** Topics whose owner has left, and which this node wants to take away: the number of that change; 0: when their own change has its place. */
  private readonly leaving = new Map<string, number>();
  /** While everything is told once more: topics of which nothing was told yet. */
  private untold: Set<string> | null = null;
  /** Streams that are not read until everything is there, each with what it does then. */
  private readonly waiting = new Map<Stoppable, () => void>();
  private readonly timer = new Timer(() => this.goOn());

  constructor(port: BackplanePort, owner: ValuesOwner) {
    this.port = port;
    this.owner = owner;
  }

  get isComplete(): boolean {
    return this.port.values.isComplete;
  }

  get recordBytesMax(): number {
    return this.port.values.recordBytesMax;
  }

  get written(): number {
    return this.port.values.written;
  }

  get synced(): number {
    return this.port.values.synced;
  }

  hasNode(node: string): boolean {
    return node !== NOBODY && this.port.hasNode(node);
  }

  /** Nothing: it is told. */
  entries(): Iterable<readonly [string, Uint8Array]> {
    return [];
  }

  put(topic: string, record: Uint8Array, place: LogPlace | null, revision: number): void {
    this.change({ topic, record, place, revision, isConditional: false });
  }

  remove(topic: string, place: LogPlace | null, revision: number): void {
    this.change({ topic, record: null, place, revision, isConditional: false });
  }

  /** The node that has kept it clears up behind itself; a node that reads it later does not take it. */
  expire(value: KeptValue): void {
    const { topic, revision, ownership } = value;
    if (revision > 0 && ownership?.node == null && !this.pending.has(topic)) this.takeAway(value);
  }

  leave(value: KeptValue): boolean {
    const { topic } = value;
    this.leaving.set(topic, this.pending.has(topic) ? 0 : this.takeAway(value));
    return false;
  }

  /** Stops a subscriber until everything that there was is known here, or that has taken too long; a command of so many bytes waits for that. [CLU-41] */
  stop(subscriber: Stoppable, bytes: number, goOn: () => void): void {
    const { timers, nowMs } = this.owner;
    if (this.waiting.size === 0) timers.set(this.timer, nowMs + COMPLETE_MS_MAX);
    this.waiting.set(subscriber, goOn);
    subscriber.waitFor(this, bytes);
  }

  forget(subscriber: Stoppable): void {
    this.waiting.delete(subscriber);
  }

  // ---- what the backplane tells ----

  valueChanged(change: ValueChange): void {
    const { topic, number, revision } = change;
    this.untold?.delete(topic);
    if (this.pending.has(topic)) return; // ours is behind it in the order, or it is told again
    if (number > 0) {
      this.placed(topic, number, revision); // it is known already, but for what was not answered
      return;
    }
    const { retained } = this.owner;
    const known = retained.get(topic)?.revision ?? 0;
    if (known >= revision) return; // told once more
    this.leaving.delete(topic);
    if (change.record !== null) this.take(change, change.record);
    else if (!this.isAlive(topic, change)) retained.remove(topic);
  }

  valuePlaced(topic: string, number: number, revision: number): void {
    if (this.pending.get(topic) === number) this.pending.delete(topic);
    if (!this.pending.has(topic)) this.placed(topic, number, revision);
  }

  valueOutdone(topic: string, number: number, latest: LatestChange): void {
    if (this.pending.get(topic) !== number) return; // a later one of this node is on its way
    this.pending.delete(topic);
    if (latest === 'to come') return;
    if (latest !== null) this.valueChanged({ ...latest, number: 0 });
    else this.owner.retained.remove(topic);
  }

  valuesReread(): void {
    this.untold = new Set(this.owner.retained.topics());
  }

  valuesComplete(): void {
    for (const topic of this.untold ?? []) if (!this.pending.has(topic)) this.owner.retained.remove(topic);
    this.untold = null;
    const { presence } = this.owner.retained;
    for (const node of [...presence.nodes]) if (!this.hasNode(node)) presence.abandon(node, RETURN_MS);
    this.goOn();
  }

  valuesStored(): void {
    this.owner.valuesStored();
  }

  nodeGone(node: string): void {
    this.owner.retained.presence.abandon(node, 0);
  }

  private goOn(): void {
    this.owner.timers.clear(this.timer);
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const [subscriber, goOn] of waiting) {
      subscriber.goOn(this);
      goOn();
    }
  }

  private change(change: MadeChange): void {
    this.leaving.delete(change.topic);
    this.pending.set(change.topic, this.port.values.put(change));
  }

  /** Only that very value, so that it is done, and published, once; it is as old as that. */
  private takeAway({ topic, revision, place }: KeptValue): number {
    return this.port.values.put({ topic, record: null, place, revision, isConditional: true });
  }

  /** A change of this node is the latest of its topic, and none is on its way. */
  private placed(topic: string, number: number, revision: number): void {
    const left = this.leaving.get(topic);
    const { retained } = this.owner;
    if (number === left) {
      this.leaving.delete(topic);
      retained.left(topic);
      return;
    }
    const value = retained.get(topic);
    if (value === null || value.revision > revision) return;
    value.revision = revision;
    if (left === 0) this.leave(value);
  }

  private take({ topic, revision, node, place }: ValueChange, record: Uint8Array): void {
    const { retained } = this.owner;
    const by = node === this.port.node ? NOBODY : node; // in an earlier life
    const value = retained.take(topic, record, { revision, place }, by);
    if (value === null) return;
    this.owner.valueArrived(value);
    if (value.ownership !== null && this.isComplete && !this.hasNode(by)) {
      retained.presence.abandon(by, RETURN_MS);
    }
  }

  /**
   * Others held this node for gone, and have taken away what a client of it owns that is connected: it is put back, and published, for so was that it was gone. False: it
   * is gone indeed. [CLU-43]
   */
  private isAlive(topic: string, { isConditional, revision }: ValueChange): boolean {
    const { retained } = this.owner;
    const value = retained.get(topic);
    const client = value?.ownership?.owner?.client ?? null;
    if (!isConditional || value === null || client === null || client.closed) return false;
    this.put(topic, value.record, value.place, revision);
    retained.publishAgain(value);
    return true;
  }
}

/** For so long a subscription waits for the values that there were when the broker began. */
const COMPLETE_MS_MAX = 10_000;
/** Whose node is gone may come back to another one: after a start, so long at least. */
const RETURN_MS = 5_000;
