import type { Micros } from '../../base/time.ts';

/**
 * A close that waits until what was sent is settled: as long as there is progress, that is messages or ends of streams acknowledged, and
 * until a deadline in any case. A peer that is there but does not read makes no progress, however many heartbeats it answers. [CON-11]
 */
export class GracefulClose {
  readonly code: number;
  readonly reason: string;
  private deadline: Micros;
  /** Time without progress. */
  private stall: Micros;
  private progressAt: Micros;

  constructor(code: number, reason: string, deadline: Micros, stall: Micros, now: Micros) {
    this.code = code;
    this.reason = reason;
    this.deadline = deadline;
    this.stall = stall;
    this.progressAt = now;
  }

  /** When the wait is over, whatever is left. */
  get end(): Micros {
    return Math.min(this.deadline, this.progressAt + this.stall);
  }

  /** Another call asked for less patience; more is not given. */
  shorten(deadline: Micros, stall: Micros): void {
    this.deadline = Math.min(this.deadline, deadline);
    this.stall = Math.min(this.stall, stall);
  }

  onProgress(now: Micros): void {
    this.progressAt = now;
  }
}
