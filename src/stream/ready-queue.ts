import { type Micros, NEVER } from '../base/time.ts';
import type { Segment } from './segment.ts';

/** Messages that the application can read, oldest first: a linked list of segments. Flow control and the budget bound it. */
export class ReadyQueue {
  head: Segment | null = null;
  /** Messages in the queue. */
  count = 0;
  /** No deadline in the queue is earlier. */
  earliest: Micros = NEVER;
  private tail: Segment | null = null;

  push(segment: Segment): void {
    segment.previous = this.tail;
    segment.next = null;
    if (this.tail === null) this.head = segment;
    else this.tail.next = segment;
    this.tail = segment;
    this.count += segment.count;
    if (segment.deadline < this.earliest) this.earliest = segment.deadline;
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
    if (this.head === null) this.earliest = NEVER;
  }

  /** Finds {@link earliest} again, after segments with deadlines were taken out. */
  refresh(): void {
    this.earliest = NEVER;
    for (let segment = this.head; segment !== null; segment = segment.next) {
      if (segment.deadline < this.earliest) this.earliest = segment.deadline;
    }
  }
}
