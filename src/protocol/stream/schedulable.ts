import { type Micros, NEVER } from '../../base/time.ts';
import type { Priority } from '../wire/frame-type.ts';

/** What an item may send in its turn. */
export const QUANTUM_BYTES = 16_384;

/**
 * What a {@link Scheduler} picks: something that has bytes to send, such as a stream. Its owner extends it, or holds one a stream. All
 * fields but `priority` are the scheduler's, so that neither a table nor an allocation is needed to pick.
 */
export class Schedulable {
  readonly priority: Priority;
  /** Deadline of its next message, NEVER for none; see {@link Scheduler.setDeadline}. */
  deadline: Micros = NEVER;
  /** Place in the heap of its class; -1 outside. */
  heapIndex = -1;
  /** It is in the ring of its class. */
  active = false;
  /** Number of the packet in which it was skipped. */
  skippedIn = 0;
  /** Neighbours in the ring of its class. */
  next: Schedulable = this;
  previous: Schedulable = this;
  /** Bytes it may still send in its turn; below 0 what it sent too much, which leaving and coming back does not forgive. */
  deficit = QUANTUM_BYTES;

  constructor(priority: Priority) {
    this.priority = priority;
  }
}
