import { type Micros, NEVER } from '../../../base/time.ts';

/** What a path was measured to be, in microseconds and bytes a microsecond. */
export interface PathMeasures {
  readonly min: Micros;
  /** The newest round-trip time, without the peer's delay. */
  readonly adjusted: Micros;
  /** How long it takes at most until a packet counts as lost. */
  readonly probeTimeout: Micros;
}

/**
 * What is still worth doing for a message with a deadline, by the time that is left, the delay of the path and its rate. It is asked where
 * a message is taken out of the queue, while it is partly sent, and when something of it is lost.
 *
 *     left <= one-way delay + bytes / rate     nothing: it is given up as a whole, and costs nothing further   [STR-16] [STR-40]
 *     left < one-way delay + probe timeout     again is for the last time, and so twice: nobody would hear in time that it is lost, too   [STR-41]
 *     else                                     it is sent, or sent again
 */
export class DeadlineRule {
  /** One-way delay that the path has at least, and as it was measured last: half of the round-trip time, of which nobody knows the halves. */
  private delayMin: Micros = 0;
  private delay: Micros = 0;
  private measuredAt: Micros = 0;
  private probeTimeout: Micros = 0;
  /** Bytes a microsecond that the path carries; infinite while nobody knows. */
  private rate = Number.POSITIVE_INFINITY;

  /** @param rate - at most what the path carries, infinite while its controller still looks for that */
  onMeasured(path: PathMeasures, rate: number, now: Micros): void {
    this.delayMin = Math.floor(path.min / 2);
    this.delay = Math.floor(path.adjusted / 2);
    this.probeTimeout = path.probeTimeout;
    this.rate = rate;
    this.measuredAt = now;
  }

  /**
   * How long what is sent now is thought to be under way. [STR-16] A measure that is older than a round trip says nothing of the queues of
   * the path, which may have drained: then it is the least. So messages that would come too late are held back only while others show it.
   */
  oneWayDelay(now: Micros): Micros {
    return now - this.measuredAt <= 2 * this.delay ? this.delay : this.delayMin;
  }

  /** What remains until `deadline` when a packet that leaves now arrives; at least 1. [STR-16] */
  remaining(deadline: Micros, now: Micros): Micros {
    return deadline === NEVER ? NEVER : Math.max(1, deadline - now - this.oneWayDelay(now));
  }

  /**
   * Of a message `bytes` are to leave ahead of its last packet, whose own time the one-way delay has in it: that would arrive at or after the
   * deadline, as far as delay and rate are known. [STR-16] [STR-40] All of the rate is counted for it, so that what others need gives
   * nothing up that might have been in time.
   */
  isTooLate(deadline: Micros, bytes: number, now: Micros): boolean {
    return deadline !== NEVER && deadline - this.oneWayDelay(now) - bytes / this.rate <= now;
  }

  /** What is sent now and lost cannot be sent again in time. [STR-41] */
  isLastChance(deadline: Micros, now: Micros): boolean {
    return deadline !== NEVER && deadline - this.oneWayDelay(now) - this.probeTimeout < now;
  }
}
