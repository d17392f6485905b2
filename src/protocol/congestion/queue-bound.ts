import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';

/** What is measured of a path's round trips. */
export interface MeasuredRoundTrips {
  readonly hasSample: boolean;
  /** The newest sample, and without the peer's delay. */
  readonly latest: Micros;
  readonly adjusted: Micros;
  readonly min: Micros;
}

/**
 * A bound on the delay that our packets add in the queue of a path, as a window: what may be in flight so that the queue stays below it. A
 * controller that goes by loss fills the queue before it finds anything wrong with it, which in a deep one is seconds.
 *
 * The standing queue of a round trip is the least round-trip time of the packets sent in it, less the least of the path: jitter has good
 * moments, a standing queue has none. What was in flight with a packet, divided by the time until it was acknowledged, is the rate of the
 * path when there is a queue, and so the window that fills the path and as much of the queue as may be is known at once. Below the bound
 * the window grows until it is reached.
 *
 * A queue that stays although we send less is not ours: then the window says nothing for a while, or whoever keeps it would starve us.
 */
export class QueueBound {
  /** Bytes that may be in flight; infinite while there is no queue to speak of. */
  window = Number.POSITIVE_INFINITY;
  /** Bytes a microsecond that the path carries; infinite while that is not known. */
  rate = Number.POSITIVE_INFINITY;

  private readonly rtt: MeasuredRoundTrips;
  private readonly delayMax: Micros;
  /** Packets sent from this time on belong to the round. */
  private since: Micros = 0;
  private samples = 0;
  private least: Micros = NEVER;
  /** What was in flight with its first packet, how long that took, and the most that was in flight. */
  private flightFirst = 0;
  private rttFirst: Micros = 0;
  private flightMax = 0;
  /** Rounds in a row above the bound; the queue in the first, and the rate at which our packets crossed it. */
  private over = 0;
  private queueThen: Micros = 0;
  private rateThen = 0;
  /** Rounds in a row in which the window was not what limited us. */
  private unused = 0;
  /** The queue was not ours: it counts again from this time on. */
  private restsUntil: Micros = 0;
  private rest: Micros = REST_MIN;

  /** @param delayMax - most that packets should wait in the queue */
  constructor(rtt: MeasuredRoundTrips, delayMax: Micros) {
    this.rtt = rtt;
    this.delayMax = delayMax;
  }

  /** Packets went out; `bytesInFlight` includes them. */
  onSent(bytesInFlight: number): void {
    if (this.flightFirst === 0) this.flightFirst = bytesInFlight;
    if (bytesInFlight > this.flightMax) this.flightMax = bytesInFlight;
  }

  /** An acknowledgement came, and with it a measure of the round-trip time. */
  onAck(now: Micros): void {
    const { adjusted, hasSample, latest, min } = this.rtt;
    // Below a millisecond round trips tell of timers and processes, not of queues.
    if (!hasSample || min < MILLISECOND || now - latest < this.since || now < this.restsUntil) return;
    if (this.samples === 0) this.rttFirst = adjusted;
    if (adjusted < this.least) this.least = adjusted;
    if (++this.samples >= SAMPLES_MIN) this.endRound(now);
  }

  private endRound(now: Micros): void {
    const queue = this.least - this.rtt.min;
    if (queue > this.delayMax) this.shrink(queue, now);
    else if (this.window !== Number.POSITIVE_INFINITY) this.grow(queue);
    this.since = now;
    this.samples = 0;
    this.least = NEVER;
    this.flightFirst = 0;
    this.flightMax = 0;
  }

  private shrink(queue: Micros, now: Micros): void {
    const { min } = this.rtt;
    const rate = this.flightFirst / this.rttFirst;
    this.rate = rate;
    if (this.over === 0) {
      this.queueThen = queue;
      this.rateThen = rate;
    }
    this.unused = 0;
    const stays = queue > STAYS * this.queueThen && rate < this.rateThen / 2;
    if (++this.over > ROUNDS_TO_DRAIN && stays) return this.letGo(now);
    this.window = Math.max(WINDOW_MIN, rate * (min + AIM * this.delayMax));
  }

  private grow(queue: Micros): void {
    const { min } = this.rtt;
    this.over = 0;
    this.rest = REST_MIN;
    this.rate = Math.max(this.rate, this.flightFirst / this.rttFirst);
    if (this.flightMax + PACKET > this.window) {
      this.unused = 0;
      const fits = this.window * ((min + this.delayMax) / (min + queue) - 1);
      this.window += Math.min(this.window / 4, Math.max(fits / 2, GROWTH_MIN));
    } else if (++this.unused > ROUNDS_UNUSED) {
      this.window = Number.POSITIVE_INFINITY;
      this.rate = Number.POSITIVE_INFINITY;
    }
  }

  /** The queue stays, whatever we do. */
  private letGo(now: Micros): void {
    this.window = Number.POSITIVE_INFINITY;
    this.rate = Number.POSITIVE_INFINITY;
    this.over = 0;
    this.restsUntil = now + this.rest;
    this.rest = Math.min(2 * this.rest, REST_MAX);
  }
}

/** A round ends with so many samples of its packets, so that no single one decides. */
const SAMPLES_MIN = 3;
/** The window is made for so much of what is allowed, to have room to swing. */
const AIM = 0.75;
/**
 * The queue is not ours when after so many rounds with less in flight there is still this share of it, and we cross it at half of the rate
 * at most: one of our own making is left at the rate of the path, however little is in flight.
 */
const ROUNDS_TO_DRAIN = 3;
const STAYS = 0.75;
const ROUNDS_UNUSED = 8;
/** Some packet always goes out. */
const WINDOW_MIN = 1_200;
const PACKET = 1_200;
const GROWTH_MIN = 128;
const REST_MIN: Micros = 10 * SECOND;
const REST_MAX: Micros = 80 * SECOND;
