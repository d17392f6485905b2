import { Place, type Segment } from './segment.ts';

/** Messages that the application can read, oldest first: a linked list of segments. Flow control and the budget bound it. */
export class ReadyQueue {
  head: Segment | null = null;
  /** Messages in the queue. */
  count = 0;
  private tail: Segment | null = null;

  push(segment: Segment): void {
    segment.place = Place.READY;
    segment.previous = this.tail;
    segment.next = null;
    if (this.tail === null) this.head = segment;
    else this.tail.next = segment;
    this.tail = segment;
    this.count += segment.count;
  }

  /** Takes `segment` out, with the messages that are left in it. */
  remove(segment: Segment): void {
    const { previous, next } = segment;
    if (previous === null) this.head = next;
    else previous.next = next;
    if (next === null) this.tail = previous;
    else next.previous = previous;
    segment.place = Place.NOWHERE;
    segment.previous = null;
    segment.next = null;
    this.count -= segment.count;
  }
}
