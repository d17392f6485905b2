/** Consumers with a name that nobody holds. Of each there is its record in the store, and here what is looked at without reading that, and when it expires. [BRK-69] */

import { DeadlineHeap, type HeapItem } from '../../../base/time.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { LogPort } from '../store-port.ts';
import { Timer, type Timers } from '../timers.ts';
import type { DurableRecord } from './durable-record.ts';

export class IdleDurable implements HeapItem {
  readonly name: string;
  /** Null: its log is not there any more. */
  readonly log: LogPort | null;
  readonly position: number;
  readonly unsettled: number;
  readonly owner: PrincipalId | null;
  /** By which logs know its dead letters. */
  readonly number: number;
  /** Number of the session with which it is over; 0: of none. */
  readonly session: number;
  deadline = Number.POSITIVE_INFINITY;
  heapIndex = -1;

  constructor(
    name: string,
    log: LogPort | null,
    { position, unsettled, owner, number, session }: DurableRecord,
  ) {
    this.name = name;
    this.log = log;
    this.position = position;
    this.owner = owner;
    this.number = number;
    this.session = session;
    this.unsettled = unsettled.reduce((sum, { count }) => sum + count, 0);
  }

  /** Records of its log that it has not settled, as far as that is there. */
  get lag(): number {
    const { log } = this;
    return log === null
      ? 0
      : Math.max(0, log.synced - Math.max(this.position, log.earliest)) + this.unsettled;
  }
}

export class IdleDurables {
  private readonly time: { readonly nowMs: number; readonly timers: Timers };
  private readonly onExpired: (durable: IdleDurable) => void;
  private readonly byName = new Map<string, IdleDurable>();
  private readonly expiring = new DeadlineHeap<IdleDurable>();
  private unsettled = 0;
  private readonly timer = new Timer(() => this.expire());

  /** @param onExpired - told of each whose time is over; it is not among them any more */
  constructor(time: IdleDurables['time'], onExpired: (durable: IdleDurable) => void) {
    this.time = time;
    this.onExpired = onExpired;
  }

  get count(): number {
    return this.byName.size;
  }

  /** Messages that they have not settled. */
  get unsettledCount(): number {
    return this.unsettled;
  }

  all(): Iterable<IdleDurable> {
    return this.byName.values();
  }

  get(name: string): IdleDurable | undefined {
    return this.byName.get(name);
  }

  add(durable: IdleDurable, expiryMs: number): void {
    this.byName.set(durable.name, durable);
    this.unsettled += durable.unsettled;
    this.expireIn(durable, expiryMs);
  }

  remove(durable: IdleDurable): void {
    if (!this.byName.delete(durable.name)) return;
    this.expiring.remove(durable);
    this.unsettled -= durable.unsettled;
  }

  expireIn(durable: IdleDurable, expiryMs: number): void {
    this.expiring.set(durable, this.time.nowMs + expiryMs);
    this.lookLater();
  }

  private expire(): void {
    for (let next = this.expiring.peek(); next !== undefined; next = this.expiring.peek()) {
      if (next.deadline > this.time.nowMs) break;
      this.remove(next);
      this.onExpired(next);
    }
    this.lookLater();
  }

  private lookLater(): void {
    this.time.timers.set(this.timer, this.expiring.peek()?.deadline ?? Number.POSITIVE_INFINITY);
  }
}
