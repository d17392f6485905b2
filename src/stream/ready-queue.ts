import type { Micros } from '../base/time.ts';
import { DeadlineWatch } from './deadline-watch.ts';
import type { Segment } from './segment.ts';

/** Messages that the application can read, oldest first: a linked list of segments. Flow control and the budget bound it. */
export class ReadyQueue {
  head: Segment | null = null;
  /** Messages in the queue. */
  count = 0;
  /** Deadlines of what is in the queue. */
  readonly deadlines = new DeadlineWatch();
  private tail: Segment | null = null;

  push(segment: Segment): void {
    segment.previous = this.tail;
    segment.next = null;
    if (this.tail === null) this.head = segment;
    else this.tail.next = segment;
    this.tail = segment;
    this.count += segment.count;
    this.deadlines.add(segment.deadline);
  }

  /** Takes `segment` out, with the messages that are left in it. */
  remove(segment: Segment): void {
    const { previous, next } = segment;
    if (previous === null) this.head = next;
    else previous.next = next;
    if (next === null) this.tail = previous;
    else next.previous = previous;
    segment.previous = null;
    segment.next = null;
    this.count -= segment.count;
    if (this.head === null) this.deadlines.clear();
  }

  /** Finds the earliest deadline again, after segments with deadlines were taken out. */
  refresh(now: Micros): void {
    let count = 0;
    this.deadlines.clear();
    for (let segment = this.head; segment !== null; segment = segment.next) {
      this.deadlines.add(segment.deadline);
      count++;
    }
    this.deadlines.looked(count, now);
  }
}
