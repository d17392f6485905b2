/** What the core is to do at a time. Time comes from the driver; in the core of the broker it is counted in ms. */

import { DeadlineHeap, type HeapItem } from '../../base/time.ts';

/** Something to be done, at a time that can be moved. */
export class Timer implements HeapItem {
  readonly run: () => void;
  /** Of the {@link Timers}. */
  deadline = Number.POSITIVE_INFINITY;
  heapIndex = -1;

  constructor(run: () => void) {
    this.run = run;
  }
}

/** The time as the driver tells it, and what is to be done at one. */
export interface Time {
  /** Monotonic, ms. */
  readonly nowMs: number;
  /** Since 1970, ms; it may be set back. */
  readonly wallMs: number;
  readonly timers: Timers;
}

export class Timers {
  private readonly heap = new DeadlineHeap<Timer>();

  /** When the next one is due, monotonic ms. */
  get nextMs(): number {
    return this.heap.peek()?.deadline ?? Number.POSITIVE_INFINITY;
  }

  /** Sets `timer`, in the place of what it was set to; infinite: it is not set any more. */
  set(timer: Timer, atMs: number): void {
    this.heap.set(timer, atMs);
  }

  clear(timer: Timer): void {
    this.heap.remove(timer);
  }

  /** Takes out one that is due, or returns null. */
  takeDue(nowMs: number): Timer | null {
    const first = this.heap.peek();
    if (first === undefined || first.deadline > nowMs) return null;
    this.heap.remove(first);
    return first;
  }
}
