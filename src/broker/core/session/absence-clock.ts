/**
 * Deadlines that run while a client is away: of its session, its will, and the values that it owns. What is due is found by a heap, so however many there are,
 * time costs only what is due.
 *
 * A time in which the broker itself stood still (the process was stopped, the machine slept) does not count, nor do a few seconds after it: clients that were there all
 * along are heard first. [BRK-51]
 */

import { DeadlineHeap, type HeapItem } from '../../../base/time.ts';
import { type Time, Timer } from '../timers.ts';

export class AbsenceClock<T extends HeapItem> {
  private readonly time: Time;
  private readonly onOver: (item: T) => void;
  /** Deadlines on the monotonic clock, less {@link stoodStillMs}. */
  private readonly heap = new DeadlineHeap<T>();
  private readonly timer = new Timer(() => this.look());
  private stoodStillMs = 0;

  /** @param onOver - told of each item whose time is over; it is in no clock any more */
  constructor(time: Time, onOver: (item: T) => void) {
    this.time = time;
    this.onOver = onOver;
  }

  get size(): number {
    return this.heap.size;
  }

  /** The time of `item` is over in so many ms; infinite: never. */
  start(item: T, inMs: number): void {
    this.heap.set(item, this.time.nowMs - this.stoodStillMs + inMs);
    if (this.timer.heapIndex < 0) this.lookLater();
    else if (this.dueMs < this.timer.deadline) this.time.timers.set(this.timer, this.dueMs);
  }

  stop(item: T): void {
    this.heap.remove(item);
  }

  /** How long the time of `item`, which runs, is not over yet. */
  leftMs(item: T): number {
    return Math.max(0, item.deadline + this.stoodStillMs - this.time.nowMs);
  }

  private look(): void {
    const { nowMs } = this.time;
    const lateMs = nowMs - this.timer.deadline;
    if (lateMs > STANDSTILL_MS) this.stoodStillMs += lateMs + AWAKENING_MS;
    try {
      while (this.dueMs <= nowMs) {
        const item = this.heap.peek() as T;
        this.heap.remove(item);
        this.onOver(item);
      }
    } finally {
      this.lookLater(); // whatever one of them has thrown
    }
  }

  /** It looks every second although nothing may be due, to see whether the broker stood still. */
  private lookLater(): void {
    if (this.heap.size === 0) return;
    this.time.timers.set(this.timer, Math.min(this.dueMs, this.time.nowMs + LOOK_MS));
  }

  private get dueMs(): number {
    return (this.heap.peek()?.deadline ?? Number.POSITIVE_INFINITY) + this.stoodStillMs;
  }
}

/** A timer that is so late means that the broker stood still. */
const STANDSTILL_MS = 1_000;
/** After a standstill, and after a start, clients have at least so long to be heard. */
export const AWAKENING_MS = 5_000;
const LOOK_MS = 1_000;
