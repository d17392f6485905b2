/**
 * What this node wants of the others: what its clients ask for, and nothing else. A subscription is answered when messages of all nodes come; where the backplane takes long to say so,
 * or cannot, it is answered all the same. [CLU-4]
 */

import { Ring } from '../../../base/ring.ts';
import { isShared, isSystem, sharedFilter } from '../../../pubsub/topic.ts';
import { type Time, Timer } from '../timers.ts';
import type { BackplaneEvents, BackplanePort } from './backplane-port.ts';

/** A filter that was asked for, and does not stand yet. */
interface Awaited {
  readonly filter: string;
  readonly untilMs: number;
  /** What is to be done then; null: it was done. */
  answers: (() => void)[] | null;
}

export class Interest implements Partial<BackplaneEvents> {
  /** Subscriptions that were answered before their interest stood. */
  late = 0;
  private readonly port: Pick<BackplanePort, 'want' | 'unwant' | 'isConnected'>;
  private readonly time: Time;
  /** How often each filter is held: by subscriptions, and by groups of either kind. */
  private readonly holders = new Map<string, number>();
  private readonly awaited = new Map<string, Awaited>();
  /** The same in the order in which they are given up. */
  private readonly queue = new Ring<Awaited>();
  private readonly timer = new Timer(() => this.giveUp());

  constructor(port: Interest['port'], time: Time) {
    this.port = port;
    this.time = time;
  }

  /** Somebody holds `filter`, who did not before. */
  add(filter: string): void {
    if (isOwn(filter)) return;
    const holders = this.holders.get(filter) ?? 0;
    this.holders.set(filter, holders + 1);
    if (holders > 0) return;
    const awaited: Awaited = { filter, untilMs: this.time.nowMs + AWAITED_MS, answers: [] };
    this.awaited.set(filter, awaited);
    while (this.queue.peek()?.answers === null) this.queue.shift();
    this.queue.push(awaited);
    if (this.queue.length === 1) this.time.timers.set(this.timer, awaited.untilMs);
    this.port.want(filter);
  }

  /** And does not any more. */
  remove(filter: string): void {
    const holders = this.holders.get(filter) ?? 0;
    if (holders > 1) this.holders.set(filter, holders - 1);
    if (holders !== 1) return;
    this.holders.delete(filter);
    this.port.unwant(filter);
    this.settle(filter);
  }

  /** Does `answer` when messages of other nodes that match `filter` come, or will not for now: at once, or soon. */
  whenStands(filter: string, answer: () => void): void {
    const awaited = this.awaited.get(filter);
    if (awaited === undefined || awaited.answers === null || !this.port.isConnected) answer();
    else awaited.answers.push(answer);
  }

  wanted(filter: string): void {
    this.settle(filter);
  }

  /** Nothing comes of what is not here: nobody waits for it. */
  disconnected(): void {
    for (const filter of [...this.awaited.keys()]) this.settle(filter);
  }

  private settle(filter: string): void {
    const awaited = this.awaited.get(filter);
    if (awaited === undefined) return;
    this.awaited.delete(filter);
    this.run(awaited);
  }

  private giveUp(): void {
    const { queue, time } = this;
    for (let first = queue.peek(); first !== undefined; first = queue.peek()) {
      if (first.answers !== null && first.untilMs > time.nowMs) {
        time.timers.set(this.timer, first.untilMs);
        return;
      }
      queue.shift();
      this.late += first.answers?.length ?? 0;
      if (this.awaited.get(first.filter) === first) this.awaited.delete(first.filter);
      this.run(first);
    }
  }

  private run(awaited: Awaited): void {
    const { answers } = awaited;
    awaited.answers = null;
    for (const answer of answers ?? []) answer();
  }
}

/** What the broker itself speaks of: each node for itself. */
function isOwn(filter: string): boolean {
  return isSystem(isShared(filter) ? sharedFilter(filter) : filter);
}

const AWAITED_MS = 1_000;
