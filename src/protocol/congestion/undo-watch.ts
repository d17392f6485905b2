import type { Micros } from '../../base/time.ts';

/** Counts the losses behind the last window reduction, to notice when all of them turn out to have been late arrivals. */
export class UndoWatch {
  /** Losses of the period are of packets sent after this: before it, they belong to an earlier period. */
  private after: Micros = -1;
  private open = 0;

  /** A recovery period begins; the one before began at `previousStart`. */
  begin(previousStart: Micros): void {
    this.after = previousStart;
    this.open = 0;
  }

  onLost(packets: number): void {
    this.open += packets;
  }

  /** A packet sent at `sentTime` was not lost after all. True when it was the period's last. */
  onSpurious(sentTime: Micros): boolean {
    if (this.open === 0 || sentTime <= this.after) return false;
    this.open--;
    return this.open === 0;
  }

  /** The reduction stands. */
  end(): void {
    this.open = 0;
  }
}
