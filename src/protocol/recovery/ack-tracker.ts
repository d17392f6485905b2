import { RangeSet } from '../../base/ranges.ts';
import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import { EcnCodepoint, type EcnCounts } from '../wire/frames/ack.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';

export interface AckTrackerOptions {
  /** Initial and Handshake spaces: an ack-eliciting packet is acknowledged with its answer, which is a millisecond away at most. */
  readonly isHandshake: boolean;
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
  /** Packets that came with an ECN codepoint; null before the first. [REC-80] */
  ecn: EcnCounts | null = null;

  private readonly isHandshake: boolean;
  private readonly advertisedDelay: Micros;
  private delay: Micros;
  private threshold: number = THRESHOLD_MIN;
  /** When the largest number of {@link ranges} came. */
  private largestTime: Micros = 0;
  private smoothedRtt: Micros = 0;
  /** When an acknowledgement last went out in a packet that is acknowledged itself. */
  private elicitedAt: Micros = 0;
  private largestEliciting = -1;
  /** The number at which a gap is old enough for the sender to act on. */
  private gapReportAt = NEVER;
  private isUrgent = false;
  /** Number of the peer's newest ACK_FREQUENCY, or -1, and whether it asks for something. */
  private peerRequest = -1;
  private isAsked = false;
  /** While this has not come a number is missing that came to be so within the last round trip. */
  private gapUntil: Micros = 0;
  /** Acknowledgements sent. */
  private frames = 0;
  /** The newest numbers that came below a larger one, and how many acknowledgements had been sent when they came. */
  private lateNumbers: number[] = NONE;
  private lateFrames: number[] = NONE;

  constructor(options: AckTrackerOptions) {
    this.isHandshake = options.isHandshake;
    this.advertisedDelay = options.maxDelay;
    this.delay = options.isHandshake ? DELAY_MIN : options.maxDelay;
    if (options.isHandshake) this.threshold = NEVER;
  }

  /**
   * Notes a packet that was opened and is not a duplicate. True when it came behind a larger number.
   *
   * @param ecn - the codepoint it came with
   * @param arrivedAt - when it came, which is earlier than now when it had to wait for a key
   * @param isPrompt - its sender waits for the acknowledgement: false of best-effort messages alone, of which nothing is kept or sent again
   */
  onPacket(
    number: number,
    ackEliciting: boolean,
    now: Micros,
    ecn: EcnCodepoint = EcnCodepoint.NOT_ECT,
    arrivedAt: Micros = now,
    isPrompt = true,
  ): boolean {
    this.ranges.add(number, number + 1);
    if (this.ranges.size > RANGES_MAX) this.ranges.shiftRange();
    if (ecn !== EcnCodepoint.NOT_ECT) this.count(ecn);
    if (ackEliciting) this.onEliciting(number, now, ecn === EcnCodepoint.CE, isPrompt);
    if (number === this.ranges.largest) this.largestTime = arrivedAt;
    if (number <= this.largest) {
      this.onLate(number);
      return true;
    }
    this.largest = number;
    return false;
  }

  /** There is news that the peer should have at once. */
  hasten(): void {
    this.isUrgent = true;
  }

  /** True when an acknowledgement should go out now, alone if need be. */
  ackDue(now: Micros): boolean {
    return this.isUrgent || this.pending >= this.threshold || (this.pending > 0 && now >= this.deadline);
  }

  /** The delay field of an acknowledgement that is made now. [REC-42] */
  ackDelay(now: Micros): Micros {
    return now > this.largestTime ? now - this.largestTime : 0;
  }

  /** Number of the next ACK frame. */
  get nextFrame(): number {
    return this.frames;
  }

  /** An acknowledgement went out. Returns its number, for {@link onFrameAcked}. */
  onAckSent(now: Micros): number {
    if (this.pending > 0 && !this.isAsked && !this.isHandshake) this.adapt(now);
    this.pending = 0;
    this.deadline = NEVER;
    this.isUrgent = false;
    return this.frames++;
  }

  /** An acknowledgement went out beside those that are due, which stay so. Returns its number. */
  onCopySent(): number {
    return this.frames++;
  }

  /**
   * The peer acknowledged a packet with an ACK frame of ours, which told the ranges from `lowest` to `largest`: it need not hear of those
   * again. What did not fit into the frame, or came after it, stays. [REC-39]
   *
   * @param number - what {@link onAckSent} returned for the frame
   */
  onFrameAcked({ largest, lowest, number: frame }: Pick<SentFrame, 'largest' | 'lowest' | 'number'>): void {
    const { ranges, lateNumbers, lateFrames } = this;
    ranges.remove(lowest, largest + 1);
    if (lateNumbers.length === 0) return; // also because setting the length of an array is slow
    let kept = 0;
    for (let i = 0; i < lateNumbers.length; i++) {
      const number = lateNumbers[i];
      const isInside = number >= lowest && number <= largest;
      if (isInside && lateFrames[i] <= frame) continue;
      if (isInside) ranges.add(number, number + 1);
      lateNumbers[kept] = number;
      lateFrames[kept++] = lateFrames[i];
    }
    lateNumbers.length = kept;
    lateFrames.length = kept;
  }

  /**
   * True when an acknowledgement that goes out now should elicit one: there are many ranges, of which the peer need not hear again once
   * it is known to have heard of them, and it has had a round trip to tell so. [REC-50]
   */
  wantsAcknowledgement(now: Micros): boolean {
    return (
      !this.isHandshake && this.ranges.size > RANGES_TO_SETTLE && now - this.elicitedAt >= this.smoothedRtt
    );
  }

  /** The packet with the newest acknowledgement is ack-eliciting. */
  onElicitingAckSent(now: Micros): void {
    this.elicitedAt = now;
  }

  /** The smoothed RTT changed: the delay is a quarter of it, from 1 ms to the advertised maximum. */
  onRtt(smoothed: Micros): void {
    this.smoothedRtt = smoothed;
    if (this.isAsked || this.isHandshake) return;
    // [REC-37] A quarter of a round trip, from 1 ms to the advertised maximum.
    const quarter = Math.round(smoothed / 4);
    this.delay = Math.min(this.advertisedDelay, quarter > DELAY_MIN ? quarter : DELAY_MIN);
  }

  /** The peer's ACK_FREQUENCY frame. Returns 0, or the code to close the connection with. */
  onAckFrequency(request: number, threshold: number, maxDelay: Micros): number {
    // [REC-40] Less than was advertised as possible is a violation; of several requests the newest counts.
    if (maxDelay < DELAY_MIN) return CloseCode.PROTOCOL_VIOLATION;
    if (request <= this.peerRequest) return 0;
    this.peerRequest = request;
    this.isAsked = threshold > 0;
    this.threshold = this.isAsked ? Math.min(threshold, THRESHOLD_MAX) : THRESHOLD_MIN;
    this.delay = Math.min(maxDelay, this.advertisedDelay);
    if (!this.isAsked && this.smoothedRtt > 0) this.onRtt(this.smoothedRtt);
    return 0;
  }

  private count(ecn: EcnCodepoint): void {
    this.ecn ??= { ect0: 0, ect1: 0, ce: 0 };
    if (ecn === EcnCodepoint.ECT0) this.ecn.ect0++;
    else if (ecn === EcnCodepoint.ECT1) this.ecn.ect1++;
    else this.ecn.ce++;
  }

  /** [REC-41] Few packets in a whole delay: the sender's window may be smaller than the threshold. */
  private adapt(now: Micros): void {
    if (now >= this.deadline) {
      this.threshold = Math.max(this.pending >> 1, THRESHOLD_MIN);
    } else if (this.pending >= this.threshold && this.deadline - now > this.delay / 2) {
      this.threshold = Math.min(this.threshold + 1, THRESHOLD_DEFAULT);
    }
  }

  private onLate(number: number): void {
    if (this.lateNumbers === NONE) {
      this.lateNumbers = [];
      this.lateFrames = [];
    }
    this.lateNumbers.push(number);
    this.lateFrames.push(this.frames);
    if (this.lateNumbers.length <= RANGES_MAX) return;
    this.lateNumbers.shift();
    this.lateFrames.shift();
  }

  private onEliciting(number: number, now: Micros, isMarked: boolean, isPrompt: boolean): void {
    this.pending++;
    const mayWait = !isPrompt && !this.isAsked && !this.isHandshake;
    // [REC-97] What nobody waits for may wait for more of its kind, as long as probe timeouts allow for in any case.
    const deadline = now + (mayWait ? Math.max(this.delay, PATIENCE * this.advertisedDelay) : this.delay);
    if (deadline < this.deadline) this.deadline = deadline;
    // [REC-35] [REC-36] The first application packet is acknowledged at once, [REC-38] and one with a congestion mark.
    if (isMarked || (this.largestEliciting < 0 && !this.isHandshake)) this.isUrgent = true;
    // [REC-38] And a late packet, a gap, and the packet that makes a gap count as a loss.
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
      this.gapUntil = now + this.smoothedRtt;
      this.gapReportAt = number - 1 + REORDERING_THRESHOLD;
    }
    // [REC-59] An acknowledgement that is lost costs the time to the next packet, not a delay.
    if (this.isAsked && this.threshold <= THRESHOLD_MIN && now < this.gapUntil) this.isUrgent = true;
    this.largestEliciting = number;
  }
}

/** What all have that no packet came late to: never written to. */
const NONE: number[] = [];
export const RANGES_MAX = 64;
/** With more ranges than this an acknowledgement is worth one of its own. */
const RANGES_TO_SETTLE = 4;
/** Of the advertised delay: the rest is for timers that are late, for a sender takes no more than what was advertised off a round trip. */
const PATIENCE = 0.8;
const THRESHOLD_MIN = 2;
const THRESHOLD_DEFAULT = 10;
const THRESHOLD_MAX = 1_000;
const REORDERING_THRESHOLD = 3;
export const DELAY_MIN: Micros = MILLISECOND;
