import { type Micros, SECOND } from '../../base/time.ts';
import { GROWTH_MIN, type MeasuredRoundTrips, PACKET, QueueRound, windowForQueue } from './queue-round.ts';

/**
 * What may be in flight so that the packets of one side, whatever its congestion controller would allow, add no more than a given delay in
 * the queue of the path. [SCH-6] [SCH-10]
 *
 * The queue is that of a {@link QueueRound}, the rate what arrived in its time. Rate times round-trip time is what was in flight, so that the
 * window for a queue of another length is known at once. Where there is room the window grows towards what the best rate of late would fill,
 * so that it settles where the queue is as long as it may be, instead of swinging through it.
 *
 * Delay alone does not tell whose a queue is, nor a queue from jitter or a longer way. But when a queue is ours, less in flight takes nothing
 * from the rate. A window that does take from it bounds more than a queue of ours: then so much more delay is allowed, for a while. So the
 * bound costs little where others fill the queue, too.
 */
export class QueueWindow {
  /** Bytes that may be in flight; infinite before the rate of the path is known, and when it has limited nothing for long. */
  bytes = Number.POSITIVE_INFINITY;

  private readonly rtt: MeasuredRoundTrips;
  private readonly delayLeast: Micros;
  private readonly delayShare: number;
  private readonly round: QueueRound;
  /** Bytes that arrived in the round. */
  private arrived = 0;
  /** The largest rate of late, in bytes a microsecond. */
  private rateBest = 0;
  /** Rounds since the window became smaller for a queue. */
  private roundsSinceShrunk = Number.POSITIVE_INFINITY;
  private isSearching = false;
  /** The congestion controller has found the rate of the path in this round: there is a bound from now on, also where there is no queue yet. */
  private hasFound = false;
  /** When the window last was what limited us. */
  private usedAt: Micros = 0;
  /** So much more delay is allowed, because less took from the rate; and when that was last looked at. */
  private slack: Micros = 0;
  private slackAt: Micros = 0;

  /**
   * @param delayMax - most that packets should wait in the queue
   * @param share - or this share of the shortest round trip, where that is more
   */
  constructor(rtt: MeasuredRoundTrips, delayMax: Micros, share: number, now: Micros) {
    this.rtt = rtt;
    this.round = new QueueRound(rtt, now);
    this.delayLeast = delayMax;
    this.delayShare = share;
  }

  /** A packet went out; `bytesInFlight` includes it. So much of the window is left to others: `reserved`. */
  onSent(bytesInFlight: number, reserved: number): void {
    this.round.onSent(bytesInFlight, reserved);
  }

  /**
   * An acknowledgement came: `bytes` that were in flight arrived.
   *
   * @param isSearching - the congestion controller does not know the rate of the path yet: a bound that began now would hold the rate where it
   * is, and nothing would show that it costs any
   */
  onAck(bytes: number, now: Micros, isSearching = false): void {
    if (this.isSearching && !isSearching) this.hasFound = true;
    this.isSearching = isSearching;
    this.arrived += bytes;
    if (this.round.onAck(now)) this.endRound(now);
  }

  private get delayMax(): Micros {
    return Math.max(this.delayLeast, this.delayShare * this.rtt.min) + this.slack;
  }

  private endRound(now: Micros): void {
    this.relent(now);
    const { round } = this;
    const { flightFirst, least, rttFirst, samples, since, sum } = round;
    const queue = least - this.rtt.min;
    // What round trips swing by is a part of the way: what is in flight meanwhile is in no queue.
    const way = sum / samples - queue;
    // Some of what was in flight may have been lost, and acknowledgements may come in bunches.
    const rate = Math.min(flightFirst / rttFirst, this.arrived / (now - since));
    const before = this.rateBest;
    this.roundsSinceShrunk++;
    this.rateBest = Math.max(rate, before * 2 ** ((since - now) / RATE_HALF_LIFE));
    const isOver = queue > this.delayMax;
    if (this.isSearching && this.bytes === Number.POSITIVE_INFINITY) this.usedAt = now;
    else if (rate > STILL_GROWING * before) this.follow(isOver, 2 * rate * way, now);
    else if (isOver) this.shrink(way, queue, rate, before, now);
    else if (this.bytes !== Number.POSITIVE_INFINITY) this.grow(way, queue, now);
    else if (this.hasFound) this.bytes = this.bytesFor(this.rateBest, way);
    this.hasFound = false;
    round.begin(now);
    this.arrived = 0;
  }

  /** The sender still looks for the rate of the path, which is about to show in its queue: it may double once more. */
  private follow(isOver: boolean, doubled: number, now: Micros): void {
    if (this.bytes === Number.POSITIVE_INFINITY && !isOver) return;
    this.usedAt = now;
    this.bytes = Math.max(BYTES_MIN, doubled);
  }

  /** @param way - round-trip time without the queue */
  private shrink(way: Micros, queue: Micros, rate: number, rateBefore: number, now: Micros): void {
    this.usedAt = now;
    const isSlower = this.roundsSinceShrunk >= ROUNDS_TO_TELL && rate < SLOWER * rateBefore;
    if (isSlower) this.rateBest = rate; // it is the path that became so, for nothing else did
    const isFirst = this.bytes === Number.POSITIVE_INFINITY;
    if (isFirst || isSlower || rate >= COSTLY * rateBefore) {
      this.roundsSinceShrunk = 0;
      this.bytes = this.bytesFor(rate, way);
      return;
    }
    if (this.wasUsed && this.round.flightFirst > FILLED * this.bytes) {
      this.slack += Math.max(0, SLACK_FACTOR * queue - this.delayMax);
      this.slackAt = now;
    }
    this.bytes = this.bytesFor(rateBefore, way);
  }

  private grow(way: Micros, queue: Micros, now: Micros): void {
    if (!this.wasUsed) {
      if (now - this.usedAt > UNUSED_TIME) this.bytes = Number.POSITIVE_INFINITY;
      return;
    }
    this.usedAt = now;
    const { bytes, delayMax, rateBest } = this;
    // As far as the best rate would fill the path and the queue; where no queue shows although that is in flight, some more.
    const known = rateBest * (way + delayMax) - bytes;
    const more = queue < delayMax / 2 ? (bytes * (delayMax - queue)) / way : 0;
    const step = Math.max(known, Math.min(more, 2 * (known + rateBest * delayMax))) / 2;
    if (step > 0) this.bytes += Math.min(bytes / 4, Math.max(step, GROWTH_MIN));
  }

  /** The window limited what was in flight in the round. Where it did not, it has taken nothing from the rate: losses have, or others. */
  private get wasUsed(): boolean {
    return this.round.flightMax + PACKET > this.bytes;
  }

  private bytesFor(rate: number, way: Micros): number {
    return Math.max(BYTES_MIN, windowForQueue(rate, way, this.delayMax));
  }

  /** Others may be gone by now, or the way as short again as it was. */
  private relent(now: Micros): void {
    if (now - this.slackAt <= SLACK_TIME) return;
    this.slackAt = now;
    this.slack /= 2;
  }
}

/** A rate that grows so much in a round is not at its end yet. */
const STILL_GROWING = 1.25;
/** A window that leaves less of the best rate bounds more than a queue of ours. */
const COSTLY = 0.85;
/** With less of it in flight at the beginning of a round, after a pause such as BBR's look at the shortest round trip, it was not the window that took from the rate. */
const FILLED = 0.75;
/** It shows within so many rounds. */
const ROUNDS_TO_TELL = 8;
/** A path that became slower is known as that at once if it has less of the best rate, else in time: that halves. */
const SLOWER = 0.6;
const RATE_HALF_LIFE: Micros = 10 * SECOND;
/** What the delay may be where that was so, of what it was; half of what is beyond the bound after so long, and so on. */
const SLACK_FACTOR = 1.25;
const SLACK_TIME: Micros = 10 * SECOND;
/** BBR looks for a higher rate every few seconds only, and is to find the window there. */
const UNUSED_TIME: Micros = 10 * SECOND;
/** Four packets, which as the least window of BBR are no queue but on the slowest paths. */
const BYTES_MIN = 4_800;
