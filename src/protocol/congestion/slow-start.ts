import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';

/**
 * [REC-31] HyStart++ (RFC 9406): slow start that ends when the round-trip time of a round rises, instead of with a loss. After a rise it
 * grows at a quarter of the speed for five rounds (conservative slow start), in case the rise was a hiccup.
 *
 * A round ends with the acknowledgement of a packet sent after the round began, by its sent time.
 */
export class SlowStart {
  /** True once slow start is over: the caller makes the window its threshold. */
  isFinished = false;
  private roundStart: Micros = 0;
  private minLastRound: Micros = NEVER;
  private minThisRound: Micros = NEVER;
  private samples = 0;
  /** The round minimum that started conservative slow start, or NEVER outside of it. */
  private baseline: Micros = NEVER;
  private conservativeRounds = 0;

  /** How many bytes the window grows for `bytes` newly acknowledged. */
  grow(bytes: number, sentTime: Micros, now: Micros, rtt: Micros): number {
    if (sentTime >= this.roundStart) this.beginRound(now);
    if (rtt < this.minThisRound) this.minThisRound = rtt;
    this.samples++;
    if (this.baseline === NEVER) {
      this.watchForRise();
      return bytes;
    }
    this.watchForHiccup();
    return bytes / CSS_GROWTH_DIVISOR;
  }

  /** Slow start begins again, after persistent congestion. */
  restart(): void {
    this.isFinished = false;
    this.roundStart = 0;
    this.minLastRound = NEVER;
    this.minThisRound = NEVER;
    this.samples = 0;
    this.baseline = NEVER;
    this.conservativeRounds = 0;
  }

  private beginRound(now: Micros): void {
    this.roundStart = now;
    this.minLastRound = this.minThisRound;
    this.minThisRound = NEVER;
    this.samples = 0;
    if (this.baseline !== NEVER && ++this.conservativeRounds > CSS_ROUNDS) this.isFinished = true;
  }

  private watchForRise(): void {
    if (this.samples < RTT_SAMPLES_MIN || this.minLastRound === NEVER) return;
    const eighth = this.minLastRound / MIN_RTT_DIVISOR;
    const rise = Math.max(RTT_RISE_MIN, Math.min(eighth, RTT_RISE_MAX));
    if (this.minThisRound < this.minLastRound + rise) return;
    this.baseline = this.minThisRound;
    this.conservativeRounds = 1;
  }

  private watchForHiccup(): void {
    if (this.samples < RTT_SAMPLES_MIN || this.minThisRound >= this.baseline) return;
    this.baseline = NEVER;
  }
}

// RFC 9406 section 4.3.
const RTT_RISE_MIN: Micros = 4 * MILLISECOND;
const RTT_RISE_MAX: Micros = 16 * MILLISECOND;
const MIN_RTT_DIVISOR = 8;
const RTT_SAMPLES_MIN = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;
