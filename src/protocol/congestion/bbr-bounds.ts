/**
 * What losses tell BBR (draft-ietf-ccwg-bbr sections 5.5.10 and 5.5.11): for long, how much may be in flight before probing loses too
 * much; for the cycle at hand, which rate and how much in flight the path carries now. What losses lowered is given back when they turn out
 * to have been late arrivals, or no more than the path loses anyway.
 */

import type { Micros } from '../../base/time.ts';
import type { PacketReport, RateSample } from './delivery-rate.ts';
import type { LossFloor } from './loss-floor.ts';

/** The losses of one round trip, which begins anew with the first of them. */
export class LossRound {
  /** The acknowledgement at hand ends the round. */
  isStart = false;
  hasLoss = false;
  isMarked = false;
  /** Runs of packets that were lost in a row. */
  bursts = 0;
  /** The most that was delivered within a round trip, and the largest rate. */
  bandwidth = 0;
  inFlight = 0;
  private endsAt = 0;
  private lost = 0;
  private deliveredBefore = 0;
  private newestLost = -2;

  onAck(sample: RateSample, delivered: number): void {
    if (sample.rate > this.bandwidth) this.bandwidth = sample.rate;
    if (sample.delivered > this.inFlight) this.inFlight = sample.delivered;
    this.isStart = sample.priorDelivered >= this.endsAt;
    if (this.isStart) this.endsAt = delivered;
  }

  onLost(packet: PacketReport, delivered: number): void {
    if (!this.hasLoss) {
      this.hasLoss = true;
      if (!this.isMarked) this.endsAt = delivered;
      this.deliveredBefore = delivered;
    }
    this.lost += packet.bytes;
    if (packet.number !== this.newestLost + 1) this.bursts++;
    this.newestLost = packet.number;
  }

  /** A router marked a packet. */
  onMarked(delivered: number): void {
    if (!this.hasLoss && !this.isMarked) this.endsAt = delivered;
    this.isMarked = true;
  }

  /** Bytes that were delivered or lost since the first loss of it. */
  bytes(delivered: number): number {
    return this.lost + delivered - this.deliveredBefore;
  }

  /** The share of them that was lost. */
  share(delivered: number): number {
    return this.hasLoss ? this.lost / this.bytes(delivered) : 0;
  }

  /** The round is over; the acknowledgement at hand is the first of the next. */
  advance(sample: RateSample): void {
    this.clearLosses();
    this.bandwidth = sample.rate;
    this.inFlight = sample.delivered;
  }

  clear(): void {
    this.clearLosses();
    this.bandwidth = 0;
    this.inFlight = 0;
  }

  clearLosses(): void {
    this.hasLoss = false;
    this.isMarked = false;
    this.bursts = 0;
    this.lost = 0;
    this.newestLost = -2;
  }
}

/** A round that lost too much: the share lost of so many packets, and what rate and window go by where there is no bound yet. */
export interface TooMuchLoss {
  readonly share: number;
  readonly packets: number;
  readonly bandwidth: number;
  readonly window: number;
}

/** [REC-73] The bounds that losses set; infinite without any. */
export class LossBounds {
  /** How often one of them was lowered. */
  lowerings = 0;
  /** Long term: bytes in flight beyond which probing lost too much. */
  inFlightLong = Number.POSITIVE_INFINITY;
  /** Short term, until the next refill: bytes in flight, and bytes a microsecond. */
  inFlightShort = Number.POSITIVE_INFINITY;
  bandwidthShort = Number.POSITIVE_INFINITY;

  /** The largest share of losses behind a bound, and of how many packets. */
  private longShare = 0;
  private longPackets = 0;
  private shortShare = 0;
  private shortPackets = 0;

  private readonly undo = {
    inFlightLong: Number.POSITIVE_INFINITY,
    inFlightShort: Number.POSITIVE_INFINITY,
    bandwidthShort: Number.POSITIVE_INFINITY,
    /** Losses since then that did not turn out to be late arrivals; they are of packets sent at `from` or later. */
    losses: 0,
    from: -1,
  };

  /** The first loss of a round: what there is now returns if this one and all that follow are late arrivals. */
  save(packet: PacketReport): void {
    const { undo } = this;
    undo.inFlightLong = this.inFlightLong;
    undo.inFlightShort = this.inFlightShort;
    undo.bandwidthShort = this.bandwidthShort;
    undo.losses = 0;
    undo.from = packet.sentTime;
  }

  onLost(): void {
    this.undo.losses++;
  }

  /** [REC-76] A loss turned out to be late. True when it was the last of its round, and the bounds of before have returned. */
  onSpurious(sentTime: Micros): boolean {
    const { undo } = this;
    if (undo.losses === 0 || sentTime < undo.from) return false;
    if (--undo.losses > 0) return false;
    this.inFlightLong = Math.max(this.inFlightLong, undo.inFlightLong);
    this.inFlightShort = Math.max(this.inFlightShort, undo.inFlightShort);
    this.bandwidthShort = Math.max(this.bandwidthShort, undo.bandwidthShort);
    return true;
  }

  lowerLong(inFlight: number, share: number, packets: number): void {
    this.lowerings++;
    if (this.inFlightLong === Number.POSITIVE_INFINITY) this.longShare = 0;
    this.inFlightLong = inFlight;
    if (share < this.longShare) return;
    this.longShare = share;
    this.longPackets = packets;
  }

  /** A round outside of probing lost too much: adapts to what it delivered, but by no more than CUBIC would. */
  lowerShort(round: LossRound, { share, packets, bandwidth, window }: TooMuchLoss): void {
    this.lowerings++;
    const isMore = round.isMarked || share >= this.shortShare;
    if (isMore) {
      this.shortShare = round.isMarked ? 1 : share;
      this.shortPackets = packets;
    }
    if (this.bandwidthShort === Number.POSITIVE_INFINITY) this.bandwidthShort = bandwidth;
    if (this.inFlightShort === Number.POSITIVE_INFINITY) this.inFlightShort = window;
    this.bandwidthShort = Math.max(round.bandwidth, BETA * this.bandwidthShort);
    this.inFlightShort = Math.max(round.inFlight, BETA * this.inFlightShort);
  }

  resetShort(): void {
    this.inFlightShort = Number.POSITIVE_INFINITY;
    this.bandwidthShort = Number.POSITIVE_INFINITY;
    this.shortShare = 0;
  }

  /** [REC-73] Lifts what was lowered by losses that the path, as is known now, has anyway. True when the long-term bound was. */
  lift(floor: LossFloor): boolean {
    if (this.shortShare > 0 && this.shortShare <= floor.threshold(this.shortPackets)) this.resetShort();
    const isBound = this.inFlightLong !== Number.POSITIVE_INFINITY;
    if (!isBound || this.longShare > floor.threshold(this.longPackets)) return false;
    this.inFlightLong = Number.POSITIVE_INFINITY;
    return true;
  }
}

/** A loss takes no more than this leaves, as of CUBIC. */
export const BETA = 0.7;
