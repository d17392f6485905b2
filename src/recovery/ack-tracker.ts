import { RangeSet } from '../base/ranges.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';

export interface AckTrackerOptions {
  /** Initial and Handshake spaces: every ack-eliciting packet is acknowledged at once. */
  readonly isImmediate: boolean;
  /** The delay this endpoint advertises as its maximum. */
  readonly maxDelay: Micros;
}

/** The receiver's side of one packet number space: what arrived, and when to say so. */
export class AckTracker {
  /** What was received and is still reported; at most {@link RANGES_MAX} ranges, the oldest are dropped. */
  readonly ranges = new RangeSet();
  /** The largest number received, or -1. */
  largest = -1;
  /** Ack-eliciting packets received since the last acknowledgement went out. */
  pending = 0;
  /** When an acknowledgement is due at the latest, or NEVER. */
  deadline: Micros = NEVER;
  /** ECN congestion marks seen. */
  ceCount = 0;

  private readonly isImmediate: boolean;
  private readonly advertisedDelay: Micros;
  private delay: Micros;
  private threshold: number = THRESHOLD_MIN;
  private largestTime: Micros = 0;
  private largestEliciting = -1;
  /** The number at which a gap is old enough for the sender to act on. */
  private gapReportAt = NEVER;
  private isUrgent = false;
  /** Number of the peer's newest ACK_FREQUENCY, or -1. */
  private peerRequest = -1;
  /** Numbers below need not be reported again once what is pending was. */
  private settledBelow = 0;

  constructor(options: AckTrackerOptions) {
    this.isImmediate = options.isImmediate;
    this.advertisedDelay = options.maxDelay;
    this.delay = options.maxDelay;
  }

  /** Notes a packet that was opened and is not a duplicate. `isMarked`: it carried an ECN congestion mark. */
  onPacket(number: number, ackEliciting: boolean, now: Micros, isMarked = false): void {
    this.ranges.add(number, number + 1);
    if (this.ranges.size > RANGES_MAX) this.ranges.shiftRange();
    if (isMarked) this.ceCount++;
    if (ackEliciting) this.onEliciting(number, now, isMarked);
    if (number > this.largest) {
      this.largest = number;
      this.largestTime = now;
    }
  }

  /** True when an acknowledgement should go out now, alone if need be. */
  ackDue(now: Micros): boolean {
    return this.isUrgent || this.pending >= this.threshold || (this.pending > 0 && now >= this.deadline);
  }

  /** The delay field of an acknowledgement that is made now. [REC-42] */
  ackDelay(now: Micros): Micros {
    return now > this.largestTime ? now - this.largestTime : 0;
  }

  /** An acknowledgement of all {@link ranges} went out. */
  onAckSent(now: Micros): void {
    if (this.pending > 0 && this.peerRequest < 0) this.adapt(now);
    this.pending = 0;
    this.deadline = NEVER;
    this.isUrgent = false;
    if (this.settledBelow > 0) this.forgetSettled();
  }

  /** The peer acknowledged a packet with our ACK frame up to `largest`: it need not hear of those again. */
  onAckAcked(largest: number): void {
    if (largest >= this.settledBelow) this.settledBelow = largest + 1;
    // A late packet below it may not have been reported yet.
    if (this.pending === 0) this.forgetSettled();
  }

  /** The smoothed RTT changed: the delay is a quarter of it, from 1 ms to the advertised maximum. */
  onRtt(smoothed: Micros): void {
    if (this.peerRequest >= 0) return;
    // [REC-37]
    const quarter = Math.round(smoothed / 4);
    this.delay = Math.min(this.advertisedDelay, quarter > DELAY_MIN ? quarter : DELAY_MIN);
  }

  /** The peer's ACK_FREQUENCY frame. Returns 0, or the code to close the connection with. */
  onAckFrequency(request: number, threshold: number, maxDelay: Micros): number {
    // [REC-40]
    if (maxDelay < DELAY_MIN) return CloseCode.PROTOCOL_VIOLATION;
    if (request <= this.peerRequest) return 0;
    this.peerRequest = request;
    this.threshold = Math.min(Math.max(threshold, 1), THRESHOLD_MAX);
    this.delay = Math.min(maxDelay, this.advertisedDelay);
    return 0;
  }

  /** [REC-41] Few packets in a whole delay: the sender's window may be smaller than the threshold. */
  private adapt(now: Micros): void {
    if (now >= this.deadline) {
      this.threshold = Math.max(this.pending >> 1, THRESHOLD_MIN);
    } else if (this.pending >= this.threshold && this.deadline - now > this.delay / 2) {
      this.threshold = Math.min(this.threshold + 1, THRESHOLD_DEFAULT);
    }
  }

  private forgetSettled(): void {
    // [REC-39]
    this.ranges.remove(0, this.settledBelow);
    this.settledBelow = 0;
  }

  private onEliciting(number: number, now: Micros, isMarked: boolean): void {
    this.pending++;
    if (this.deadline === NEVER) this.deadline = now + this.delay;
    // [REC-35] [REC-36]
    if (this.isImmediate || isMarked || this.largestEliciting < 0) this.isUrgent = true;
    // [REC-38]
    if (number < this.largestEliciting) {
      this.isUrgent = true;
      return;
    }
    if (number >= this.gapReportAt) {
      this.isUrgent = true;
      this.gapReportAt = NEVER;
    }
    if (number > this.largest + 1) {
      this.isUrgent = true;
      this.gapReportAt = number - 1 + REORDERING_THRESHOLD;
    }
    this.largestEliciting = number;
  }
}

export const RANGES_MAX = 64;
const THRESHOLD_MIN = 2;
const THRESHOLD_DEFAULT = 10;
const THRESHOLD_MAX = 1_000;
const REORDERING_THRESHOLD = 3;
export const DELAY_MIN: Micros = MILLISECOND;
