/** What became of a message whose sender asked to be told. [STR-27] */
export const Outcome = {
  /** Complete at the peer's transport. */
  ACKNOWLEDGED: 0,
  /** Its deadline passed before it was known to have arrived. */
  EXPIRED: 1,
  /** A best-effort message, or a part of it, was lost. */
  LOST: 2,
  /** The peer's transport gave it up before its application read it, or the stream was reset. */
  DROPPED: 3,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

const FIRST_CAPACITY = 16;

/**
 * Outcomes on their way to those who asked. Each tracked message enters it exactly once, so that the tracked messages in
 * the send queues bound it.
 */
export class OutcomeRing {
  private ids = new Float64Array(0);
  private outcomes = new Uint8Array(0);
  private head = 0;
  private count = 0;
  /** Tracking id of the outcome that {@link next} took last. */
  id = 0;
  outcome: Outcome = Outcome.ACKNOWLEDGED;

  get length(): number {
    return this.count;
  }

  push(id: number, outcome: Outcome): void {
    if (this.count === this.ids.length) this.grow();
    const at = (this.head + this.count++) & (this.ids.length - 1);
    this.ids[at] = id;
    this.outcomes[at] = outcome;
  }

  /** Takes the oldest into `id` and `outcome`; false when there is none. */
  next(): boolean {
    if (this.count === 0) return false;
    this.id = this.ids[this.head];
    this.outcome = this.outcomes[this.head] as Outcome;
    this.head = (this.head + 1) & (this.ids.length - 1);
    if (--this.count === 0 && this.ids.length > 64 * FIRST_CAPACITY) this.shrink();
    return true;
  }

  private grow(): void {
    const capacity = Math.max(FIRST_CAPACITY, 2 * this.ids.length);
    const ids = new Float64Array(capacity);
    const outcomes = new Uint8Array(capacity);
    for (let i = 0; i < this.count; i++) {
      const from = (this.head + i) & (this.ids.length - 1);
      ids[i] = this.ids[from];
      outcomes[i] = this.outcomes[from];
    }
    this.ids = ids;
    this.outcomes = outcomes;
    this.head = 0;
  }

  private shrink(): void {
    this.ids = new Float64Array(0);
    this.outcomes = new Uint8Array(0);
    this.head = 0;
  }
}
