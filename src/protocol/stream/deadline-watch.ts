import { type Micros, NEVER } from '../../base/time.ts';

/**
 * When to look through a collection for things whose deadline has come: no later than the earliest of them, but not so often that
 * looking takes more than a small part of the time. What is due is found a little late then, which costs memory only: everything
 * that could be sent or read is asked for its own deadline at that moment.
 */
export class DeadlineWatch {
  /** No deadline is earlier. */
  private earliest: Micros = NEVER;
  private notBefore: Micros = 0;

  /** When to look next, or NEVER. */
  get next(): Micros {
    return Math.max(this.earliest, this.notBefore);
  }

  /** A deadline that may be the earliest. */
  add(deadline: Micros): void {
    if (deadline < this.earliest) this.earliest = deadline;
  }

  /** Begins to look: the deadlines that are found are to be added again. */
  clear(): void {
    this.earliest = NEVER;
  }

  /** Looked through `count` things. */
  looked(count: number, now: Micros): void {
    this.notBefore = now + Math.floor(count * PAUSE_MICROS_EACH);
  }
}

/** Looking at one thing takes some 10 ns. */
const PAUSE_MICROS_EACH = 0.25;
