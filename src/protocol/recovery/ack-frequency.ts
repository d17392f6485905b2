import { MILLISECOND, type Micros, SECOND } from '../../base/time.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { writeAckFrequency } from '../wire/frames/ack.ts';

/** What a peer can be asked for, as the threshold of ACK_FREQUENCY. */
export const AckThreshold = {
  /** Acknowledge as you see fit. */
  NONE: 0,
  /** Acknowledge each packet at once. */
  EACH: 1,
  /** Acknowledge each second packet, and each one at once while one is missing. */
  SECOND: 2,
} as const;
export type AckThreshold = (typeof AckThreshold)[keyof typeof AckThreshold];

/** How often a sender asks its peer to acknowledge, and how soon, with ACK_FREQUENCY. [REC-48] */
export class AckFrequencyRequest {
  /** What the peer is asked for, or will be. */
  asked: AckThreshold = AckThreshold.NONE;
  /** A frame is to be sent. */
  isDue = false;
  /** The newest frame has arrived. */
  private isKnown = false;
  /** What the peer's parameters say of it: the shortest delay that may be asked for, null where it does not understand; the longest. */
  private delayMin: Micros | null = null;
  private delayMax: Micros = 0;
  /** The delay that goes with {@link asked}. */
  private delay: Micros = 0;
  private wantedAt: Micros = 0;
  private sent = 0;

  onPeerParameters(delayMin: Micros | null, delayMax: Micros): void {
    this.delayMin = delayMin;
    this.delayMax = delayMax;
    this.delay = delayMax;
  }

  /** How long the peer holds an acknowledgement back at most. [REC-14] */
  get peerDelay(): Micros {
    return this.isKnown ? this.delay : this.delayMax;
  }

  /** A quarter of a round trip, as far as the peer's parameters let it: what it waits of itself once it has measured that. [REC-37] */
  quarter(smoothedRtt: Micros): Micros {
    return this.bounded(Math.round(smoothedRtt / 4));
  }

  /** Says what the peer is to be asked for. It is told that it is nothing only when that has been so for a while. */
  update(wanted: AckThreshold, smoothedRtt: Micros, now: Micros): void {
    if (this.delayMin === null) return;
    if (wanted !== AckThreshold.NONE) this.wantedAt = now;
    else if (now - this.wantedAt < HOLD_TIME) return;
    if (wanted === this.asked) return;
    this.asked = wanted;
    if (wanted === AckThreshold.NONE) this.delay = this.bounded(this.delayMax);
    else this.delay = wanted === AckThreshold.EACH ? this.bounded(0) : this.quarter(smoothedRtt);
    this.isDue = true;
    this.isKnown = false;
  }

  write(w: FrameWriter): void {
    this.isDue = false;
    writeAckFrequency(w, this.sent, this.asked, this.delay);
    w.sent.limit(FrameType.ACK_FREQUENCY, 0, this.sent++);
  }

  /** @param number - of the frame that arrived */
  onFrameAcked(number: number): void {
    if (number === this.sent - 1) this.isKnown = !this.isDue;
  }

  /** The newest frame is sent until it has arrived; older ones say nothing any more. */
  onFrameLost(number: number): void {
    if (number === this.sent - 1 && !this.isKnown) this.isDue = true;
  }

  private bounded(delay: Micros): Micros {
    return Math.max(Math.min(delay, this.delayMax), this.delayMin ?? 0, MILLISECOND);
  }
}

/** A sender that is thin now and then does not ask each time. */
const HOLD_TIME: Micros = SECOND;
