import { type Micros, SECOND } from '../../base/time.ts';

/** Which acknowledgements come: of packets sent in a probe for bandwidth, or others. */
export const Feedback = { NONE: 0, REFILLING: 1, STARTING: 2, COMING: 3, STOPPING: 4 } as const;
export type Feedback = (typeof Feedback)[keyof typeof Feedback];

/** Where a cycle of probing for bandwidth is, with what it has met so far: UP, DOWN, CRUISE, REFILL. */
export class ProbeCycle {
  startedAt: Micros = 0;
  wait: Micros = 0;
  /** Rounds since it began, and for the comparison with NewReno. */
  rounds = 0;
  roundsSinceUp = 0;
  feedback: Feedback = Feedback.NONE;
  /** What is told was sent in a probe, and may show that too much was in flight. */
  isProbeSample = false;
  /** The last probe lost too much; the last one ended at the bound, before it could. */
  wasTooHigh = false;
  wasCautious = false;
  /** Something was lost since it began, and in the one before. */
  hasLoss = false;
  lostBefore = false;
  upRounds = 0;
  upAcked = 0;
  private ackedPerIncrement = Number.POSITIVE_INFINITY;

  begin(now: Micros, share: number): void {
    this.startedAt = now;
    this.wait = PROBE_WAIT_MIN + share * PROBE_WAIT_SPREAD;
    this.rounds = 0;
    this.roundsSinceUp = share < 0.5 ? 0 : 1;
    this.ackedPerIncrement = Number.POSITIVE_INFINITY;
    this.lostBefore = this.hasLoss;
    this.hasLoss = false;
  }

  /** The probe put too much in flight, which is told once. */
  onTooHigh(): void {
    this.wasTooHigh = true;
    this.isProbeSample = false;
  }

  /** The long-term bound grows by 1, 2, 4 ... packets a round. */
  raiseSlope(window: number, mtu: number): void {
    this.ackedPerIncrement = Math.max(window / 2 ** this.upRounds, mtu);
    this.upRounds = Math.min(this.upRounds + 1, UP_ROUNDS_MAX);
  }

  /** Packets that the bound grows by. */
  increments(acked: number): number {
    this.upAcked += acked;
    if (this.upAcked < this.ackedPerIncrement) return 0;
    const count = Math.floor(this.upAcked / this.ackedPerIncrement);
    this.upAcked -= count * this.ackedPerIncrement;
    return count;
  }
}

// Of draft-ietf-ccwg-bbr section 5.3.3.
const PROBE_WAIT_MIN: Micros = 2 * SECOND;
const PROBE_WAIT_SPREAD: Micros = SECOND;
const UP_ROUNDS_MAX = 30;
