/** Messages that wait, and whose time to live runs: what is over is freed at that time, whether anybody reads or not. [BRK-86] */

import { DeadlineHeap, type HeapItem } from '../../../base/time.ts';
import { Command, PublishFlag, topicEndOf } from '../../../pubsub/command.ts';
import { findNumber, findProperty, PropertyType } from '../../../pubsub/properties.ts';
import { Timer, type Timers } from '../timers.ts';

/** Something that ends at its deadline, in monotonic ms. */
export interface Expiring extends HeapItem {
  /** The deadline has come. */
  expire(): void;
}

export class Expiry {
  private readonly heap = new DeadlineHeap<Expiring>();
  private readonly timers: Timers;
  private readonly clock: { readonly nowMs: number };
  private readonly timer = new Timer(() => this.run());

  constructor(timers: Timers, clock: { readonly nowMs: number }) {
    this.timers = timers;
    this.clock = clock;
  }

  get nowMs(): number {
    return this.clock.nowMs;
  }

  add(item: Expiring, deadlineMs: number): void {
    this.heap.set(item, deadlineMs);
    // Moved to an earlier time only: what leaves before its time costs no timer.
    if (deadlineMs < this.timer.deadline || this.timer.heapIndex < 0) this.timers.set(this.timer, deadlineMs);
  }

  remove(item: Expiring): void {
    this.heap.remove(item);
  }

  private run(): void {
    let first = this.heap.peek();
    try {
      for (; first !== undefined && first.deadline <= this.nowMs; first = this.heap.peek()) {
        this.heap.remove(first);
        first.expire();
      }
    } finally {
      // Also when one of them threw: the others have their time all the same.
      first = this.heap.peek();
      if (first !== undefined) this.timers.set(this.timer, first.deadline);
    }
  }
}

/** The time to live of a PUBLISH in ms; 0 where it has none, or lives for no longer than it takes to send it. */
export function ttlOf(publish: Uint8Array): number {
  return findNumber(publish, topicEndOf(publish), PropertyType.TTL) ?? 0;
}

/** The same of any command, which has none unless it is a PUBLISH. */
export function ttlOfCommand(command: Uint8Array): number {
  const hasProperties = command[0] === Command.PUBLISH && (command[1] & PublishFlag.PROPERTIES) !== 0;
  return hasProperties ? ttlOf(command) : 0;
}

/** A PUBLISH with a time to live, with what is left of that, rounded up; itself where that is as much as before. [BRK-86] [BRK-72] */
export function withTimeLeft(publish: Uint8Array, leftMs: number): Uint8Array {
  const topicEnd = topicEndOf(publish);
  const ttlMs = Math.min(Math.max(1, Math.ceil(leftMs)), TTL_MS_MAX);
  const told = findNumber(publish, topicEnd, PropertyType.TTL);
  if (told === undefined || told === ttlMs) return publish;
  const out = Buffer.from(publish);
  out.writeUInt32BE(ttlMs, findProperty(publish, topicEnd, PropertyType.TTL));
  return out;
}

/** A log may have been written under a clock that was ahead. */
const TTL_MS_MAX = 0xffff_ffff;
