import { type Micros, NEVER } from '../../base/time.ts';
import { GRANULARITY, type RttEstimator } from '../path/rtt.ts';
import type { LossThresholds } from './loss.ts';
import { PacketState } from './packet-state.ts';
import type { SentPackets } from './sent-packets.ts';

/** How much reordering the path shows: the loss thresholds, which rise with each spurious loss up to a bound. */
export class Reordering implements LossThresholds {
  packetThreshold = PACKET_THRESHOLD;
  lossDelay: Micros = NEVER;
  persistentDuration: Micros = NEVER;
  persistentAfter: Micros = NEVER;

  /** What is waited beyond a round trip, as a fraction of it. */
  private extraFraction = EXTRA_FRACTION;
  private periodsSinceSpurious = 0;

  update(rtt: RttEstimator, peerMaxAckDelay: Micros): void {
    // [REC-9]
    const base = Math.max(rtt.latest, rtt.smoothed);
    const delay = Math.ceil(base * (1 + this.extraFraction));
    this.lossDelay = Math.max(delay, GRANULARITY);
    this.persistentDuration = PERSISTENT_FACTOR * (rtt.probeTimeout + peerMaxAckDelay);
    this.persistentAfter = rtt.hasSample ? rtt.firstSampleTime : NEVER;
  }

  /** A packet declared lost was acknowledged; before that, `largestAcked` was the largest acknowledged number. */
  onSpurious(sent: SentPackets, number: number, largestAcked: number): void {
    this.periodsSinceSpurious = 0;
    // [REC-10]
    if ((sent.state[number & sent.mask] & PacketState.LOST_BY_TIME) !== 0) {
      this.extraFraction = Math.min(this.extraFraction * 2, EXTRA_FRACTION_MAX);
      return;
    }
    const seen = largestAcked - number + 1;
    this.packetThreshold = Math.min(Math.max(this.packetThreshold, seen), PACKET_THRESHOLD_MAX);
  }

  /** A recovery period began. After many without a spurious loss the path is taken to be in order again. */
  onRecoveryPeriod(): void {
    if (++this.periodsSinceSpurious < PERIODS_TO_FORGET) return;
    this.packetThreshold = PACKET_THRESHOLD;
    this.extraFraction = EXTRA_FRACTION;
  }
}

const PACKET_THRESHOLD = 3;
const PACKET_THRESHOLD_MAX = 64;
const EXTRA_FRACTION = 1 / 8;
const EXTRA_FRACTION_MAX = 1;
const PERIODS_TO_FORGET = 16;
const PERSISTENT_FACTOR = 3;
