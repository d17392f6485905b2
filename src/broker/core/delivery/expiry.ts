/** Messages that wait, and whose time to live runs: what is over is freed at that time, whether anybody reads or not. [BRK-86] */

import { DeadlineHeap, type HeapItem } from '../../../base/time.ts';
import { PublishFlag, topicEndOf, uint32 } from '../../../pubsub/command.ts';
import { findProperty, PropertyType } from '../../../pubsub/properties.ts';
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
  if ((publish[1] & PublishFlag.PROPERTIES) === 0) return 0;
  const at = findProperty(publish, topicEndOf(publish), PropertyType.TTL);
  return at < 0 ? 0 : uint32(publish, at);
}

/** A PUBLISH with a time to live, with what is left of that; itself where that is as much as before. [BRK-86] */
export function withTimeLeft(publish: Uint8Array, leftMs: number): Uint8Array {
  const at = findProperty(publish, topicEndOf(publish), PropertyType.TTL);
  const ttlMs = Math.max(1, Math.ceil(leftMs));
  if (at < 0 || uint32(publish, at) === ttlMs) return publish;
  const out = Buffer.from(publish);
  out.writeUInt32BE(ttlMs, at);
  return out;
}
