import { MILLISECOND, type Micros } from '../../base/time.ts';

/** The round-trip time estimate of one path (RFC 9002 section 5). All values in microseconds. */
export class RttEstimator {
  /** The newest sample, unadjusted, and when it was taken. */
  latest: Micros = 0;
  sampledAt: Micros = -1;
  /** The newest sample without the peer's acknowledgement delay. */
  adjusted: Micros = 0;
  /** The smallest sample seen; acknowledgement delay is never taken off it. */
  min: Micros = 0;
  smoothed: Micros = INITIAL_RTT;
  variance: Micros = INITIAL_RTT / 2;
  /** True from the first sample on; until then the values are assumptions. */
  hasSample = false;
  /** When the first sample was taken; meaningful once {@link hasSample}. */
  firstSampleTime: Micros = 0;
  /** The newest sample shows no queue on the path: what is lost now is not lost because we send too much. */
  isCalm = true;

  /**
   * Takes a sample.
   *
   * @param sample - time from the sending of the largest newly acknowledged packet to its acknowledgement
   * @param ackDelay - the delay the peer reports, already bounded by its maximum where that applies
   */
  update(sample: Micros, ackDelay: Micros, now: Micros): void {
    // [REC-3] A clock of whole microseconds can measure 0 on loopback.
    const latest = sample > 1 ? sample : 1;
    this.latest = latest;
    this.sampledAt = now;
    if (!this.hasSample) {
      this.hasSample = true;
      this.firstSampleTime = now;
      this.min = latest;
      // [REC-1] Packets of a handshake wait at the peer for a key that was lost on the way: no part of the path's delay.
      this.adjusted = Math.max(1, latest - ackDelay);
      this.smoothed = this.adjusted;
      this.variance = this.adjusted / 2;
      return;
    }
    if (latest < this.min) this.min = latest;
    // [REC-4] The delay comes off only where that does not push the sample below the minimum.
    const adjusted = latest >= this.min + ackDelay ? latest - ackDelay : latest;
    this.adjusted = adjusted;
    this.isCalm = adjusted <= Math.max(CALM_FACTOR * this.min, this.min + GRANULARITY);
    const deviation = Math.abs(this.smoothed - adjusted);
    this.variance = 0.75 * this.variance + 0.25 * deviation;
    this.smoothed = 0.875 * this.smoothed + 0.125 * adjusted;
  }

  /** How long to wait for an acknowledgement before a probe, without the peer's delay and without back-off. */
  get probeTimeout(): Micros {
    const spread = 4 * this.variance;
    return Math.ceil(this.smoothed + (spread > GRANULARITY ? spread : GRANULARITY));
  }

  /** Forgets what was measured: the path is another one. */
  reset(): void {
    this.latest = 0;
    this.sampledAt = -1;
    this.adjusted = 0;
    this.min = 0;
    this.smoothed = INITIAL_RTT;
    this.variance = INITIAL_RTT / 2;
    this.hasSample = false;
    this.firstSampleTime = 0;
    this.isCalm = true;
  }
}

/** What a timer can be expected to resolve (RFC 9002 kGranularity). */
export const GRANULARITY: Micros = MILLISECOND;
/** A round trip that takes no longer than this many times the shortest meets no queue. */
const CALM_FACTOR = 1.25;
/** [REC-1] Assumed before the first sample (RFC 9002 kInitialRtt). */
export const INITIAL_RTT: Micros = 333 * MILLISECOND;
