import { type Micros, NEVER } from '../base/time.ts';
import type { Segment } from './segment.ts';

/** Messages that the application can read, oldest first: a linked list of segments. Flow control and the budget bound it. */
export class ReadyQueue {
  head: Segment | null = null;
  /** Messages in the queue, those that were evicted not counted. */
  count = 0;
  /** No deadline in the queue is earlier. */
  earliest: Micros = NEVER;
  private tail: Segment | null = null;

  push(segment: Segment): void {
    segment.next = null;
    if (this.tail === null) this.head = segment;
    else this.tail.next = segment;
    this.tail = segment;
    this.count += segment.count;
    if (segment.deadline < this.earliest) this.earliest = segment.deadline;
  }

  /** Takes the oldest segment out. */
  shift(): void {
    const head = this.head!;
    this.head = head.next;
    head.next = null;
    if (this.head === null) this.tail = null;
  }

  /** Takes all segments out, linked by `next`. */
  takeAll(): Segment | null {
    const first = this.head;
    this.head = null;
    this.tail = null;
    this.count = 0;
    this.earliest = NEVER;
    return first;
  }

  /** Takes out the segments whose deadline has come, linked by `next`. */
  takeExpired(now: Micros): Segment | null {
    let segment = this.takeAll();
    let expired: Segment | null = null;
    let last: Segment | null = null;
    while (segment !== null) {
      const next = segment.next;
      segment.next = null;
      if (segment.deadline > now) this.push(segment);
      else if (last === null) expired = segment;
      else last.next = segment;
      if (segment.deadline <= now) last = segment;
      segment = next;
    }
    return expired;
  }
}
