/**
 * The last values of a node of a cluster. What a client keeps here counts here at once, and everywhere when it has its place in the order of all changes; what others
 * keep is taken over in that order. [CLU-40]
 *
 *     SETTLED ── kept or taken away here ──> PENDING: its place is not known yet, and what others have done to the topic was before it, or is told again behind it
 *     PENDING ── told of as a change of this node ──> SETTLED
 *
 * Of a value whose owner has left all nodes know, and any of them may take it away: only in the place of that very change, so that it is done, and published, once. [CLU-43]
 */

import type { Awaited, Stoppable } from '../delivery/delivery.ts';
import { NOBODY } from '../presence/presence.ts';
import type { RetainedValue, RetainedValues } from '../retained/retained-values.ts';
import type { KeptValue, ValueKeeper } from '../retained/value-keeper.ts';
import { type Time, Timer } from '../timers.ts';
import type { BackplaneEvents, BackplanePort } from './backplane-port.ts';
import type { ValueChange } from './value-port.ts';

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

  put(topic: string, record: Uint8Array): void {
    this.change(topic, record);
  }

  remove(topic: string): void {
    this.change(topic, null);
  }

  /** The node that has kept it clears up behind itself; a node that reads it later does not take it. */
  expire({ topic, revision, ownership }: KeptValue): void {
    if (revision > 0 && ownership?.node == null && !this.pending.has(topic)) {
      this.port.values.put(topic, null, revision);
    }
  }

  leave({ topic, revision }: KeptValue): boolean {
    if (this.pending.has(topic)) this.leaving.set(topic, 0);
    else this.leaving.set(topic, this.port.values.put(topic, null, revision));
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
    const { retained } = this.owner;
    const awaited = this.pending.get(topic);
    if (awaited !== undefined) {
      if (number === awaited) this.settle(topic, revision);
      return; // ours is behind it in the order
    }
    if (change.record !== null && retained.get(topic)?.revision === revision) return; // told once more
    const left = this.leaving.get(topic);
    this.leaving.delete(topic);
    if (number > 0 && number === left) retained.left(topic);
    else if (change.record !== null) this.take(change, change.record);
    else if (!this.isAlive(topic, change)) retained.remove(topic);
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

  private change(topic: string, record: Uint8Array | null): void {
    this.leaving.delete(topic);
    this.pending.set(topic, this.port.values.put(topic, record, 0));
  }

  private settle(topic: string, revision: number): void {
    this.pending.delete(topic);
    const value = this.owner.retained.get(topic);
    if (value === null) return;
    value.revision = revision;
    if (this.leaving.get(topic) === 0) this.leave(value);
  }

  private take({ topic, revision, node }: ValueChange, record: Uint8Array): void {
    const { retained } = this.owner;
    const by = node === this.port.node ? NOBODY : node; // in an earlier life
    const value = retained.take(topic, record, revision, by);
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
  private isAlive(topic: string, { isConditional, number }: ValueChange): boolean {
    const { retained } = this.owner;
    const value = retained.get(topic);
    const client = value?.ownership?.owner?.client ?? null;
    if (!isConditional || number > 0 || value === null || client === null || client.closed) return false;
    this.change(topic, value.record);
    retained.publishAgain(value);
    return true;
  }
}

/** For so long a subscription waits for the values that there were when the broker began. */
const COMPLETE_MS_MAX = 10_000;
/** Whose node is gone may come back to another one: after a start, so long at least. */
const RETURN_MS = 5_000;
