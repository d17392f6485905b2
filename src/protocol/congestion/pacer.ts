import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';

/**
 * Spreads packets over the round trip (RFC 9002 section 7.7) with a token bucket. The driver's timers have a granularity of a
 * millisecond, so the bucket holds what the rate gives in two: a sender woken once a millisecond reaches its rate.
 */
export class Pacer {
  /** Bytes a microsecond; infinite until there is an RTT sample. */
  rate: number = Number.POSITIVE_INFINITY;
  private capacity = Number.POSITIVE_INFINITY;
  private tokens = 0;
  private filledAt: Micros = 0;
  private mtu: number;
  /** How late a wake-up may be and still be made up for. */
  private lateTimeMax: Micros = 0;
  /** When the sender that waits for the pacer was told to wake up, or NEVER. */
  private wakeUpAt: Micros = NEVER;

  constructor(mtu: number) {
    this.mtu = mtu;
  }

  /** Sets what the congestion controller wants, its rate in bytes a microsecond, and the packet size in use. */
  setRate(rate: number, { burstPackets, lateTimeMax }: PacingLimits, mtu: number, now: Micros): void {
    const isFirst = this.rate === Number.POSITIVE_INFINITY;
    if (!isFirst) this.fill(now);
    this.mtu = mtu;
    this.rate = rate;
    this.lateTimeMax = lateTimeMax;
    // [REC-30] A burst is some packets, or what the rate gives between two wake-ups.
    this.capacity = Math.max(burstPackets * mtu, rate * BURST_TIME);
    if (isFirst) {
      this.tokens = this.capacity;
      this.filledAt = now;
    }
  }

  /** Bytes that may be sent now. */
  available(now: Micros): number {
    if (this.rate === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    this.fill(now);
    return Math.max(this.tokens, 0);
  }

  /** When `bytes` (a packet of the size in use, by default) may be sent; `now` when they may already. */
  nextSend(now: Micros, bytes: number = this.mtu): Micros {
    if (this.rate === Number.POSITIVE_INFINITY) return now;
    this.fill(now);
    if (this.tokens >= bytes) return now;
    if (this.rate <= 0) return NEVER;
    this.wakeUpAt = Math.ceil(now + (bytes - this.tokens) / this.rate);
    return this.wakeUpAt;
  }

  onSent(bytes: number, now: Micros): void {
    if (this.rate === Number.POSITIVE_INFINITY) return;
    this.fill(now);
    this.tokens -= bytes;
  }

  private fill(now: Micros): void {
    if (now <= this.filledAt) return;
    const tokens = this.tokens + this.rate * (now - this.filledAt);
    let capacity = this.capacity;
    if (now >= this.wakeUpAt) {
      // [REC-74] Its process had no turn in time: what it was to send meanwhile is not lost.
      capacity += this.rate * Math.min(now - this.wakeUpAt, this.lateTimeMax);
      this.wakeUpAt = NEVER;
    }
    this.tokens = Math.min(tokens, capacity);
    this.filledAt = now;
  }
}

/** What a controller says of how exactly its rate is to be kept. */
export interface PacingLimits {
  /** What leaves back to back at most, in packets, where the rate gives less between two wake-ups. */
  readonly burstPackets: number;
  /** How late a wake-up may be and still be made up for with a larger burst. */
  readonly lateTimeMax: Micros;
}

/** The driver's timers may be late by as much as they resolve. */
export const BURST_TIME: Micros = 2 * MILLISECOND;
