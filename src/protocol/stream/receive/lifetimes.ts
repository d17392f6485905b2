import { DeadlineHeap, type Micros, NEVER } from '../../../base/time.ts';
import type { Segment } from './segment.ts';

/** The messages of a receiving half that have a deadline, earliest first. Costs nothing until there is one. */
export class Lifetimes {
  private heap: DeadlineHeap<Segment> | null = null;

  /** The earliest deadline, NEVER without one. */
  get earliest(): Micros {
    return this.heap?.peek()?.deadline ?? NEVER;
  }

  set(segment: Segment, deadline: Micros): void {
    if (deadline === NEVER && segment.heapIndex < 0) return;
    if (this.heap === null) this.heap = new DeadlineHeap();
    this.heap.set(segment, deadline);
  }

  /** Forgets a segment, which need not be here. */
  remove(segment: Segment): void {
    if (segment.heapIndex >= 0) this.heap!.remove(segment);
  }

  /** Takes out a segment whose deadline has come, or null. */
  takeExpired(now: Micros): Segment | null {
    const { heap } = this;
    const segment = heap?.peek();
    if (heap === null || segment === undefined || segment.deadline > now) return null;
    heap.remove(segment);
    if (heap.size === 0) this.heap = null;
    return segment;
  }
}
