import { type Micros, SECOND } from '../../base/time.ts';
import { GROWTH_MIN, type MeasuredRoundTrips, PACKET, QueueRound, windowForQueue } from './queue-round.ts';

/**
 * A bound on the delay that our packets add in the queue of a path, as a window: what may be in flight so that the queue stays below it. A
 * controller that goes by loss fills the queue before it finds anything wrong with it, which in a deep one is seconds.
 *
 * A {@link QueueRound} tells the queue and the rate of the path when there is one, and so the window that fills the path and as much of the
 * queue as may be is known at once. Below the bound the window grows until it is reached.
 *
 * A queue that stays although we send less is not ours: then the window says nothing for a while, or whoever keeps it would starve us. Where
 * what never gives way is more than the window by itself, the queue does not tell whose it is, nor whether it is a longer way: if it stays
 * although all else gives way, it counts as a part of the path for a while, and the window is made for what comes on top of it.
 */
export class QueueBound {
  /** Bytes that may be in flight; infinite while there is no queue to speak of. */
  window = Number.POSITIVE_INFINITY;
  /** Bytes a microsecond that the path carries; infinite while that is not known. */
  rate = Number.POSITIVE_INFINITY;

  private readonly rtt: MeasuredRoundTrips;
  private readonly delayMax: Micros;
  private readonly round: QueueRound;
  /** The least that was in flight when a packet of the round went out: from the window on nothing that gives way did. */
  private flightBefore = Number.POSITIVE_INFINITY;
  /** Rounds in a row in which that was so. */
  private barred = 0;
  /** Rounds in a row above the bound in which the queue stayed; the queue in the first, and the rate at which our packets crossed it. */
  private over = 0;
  private queueThen: Micros = 0;
  private rateThen = 0;
  /** Rounds in a row in which the window was not what limited us. */
  private unused = 0;
  /** The queue was not ours: it counts again from this time on. */
  private restsUntil: Micros = 0;
  private rest: Micros = REST_MIN;
  /** Least round-trip time that is taken for the path's, and until when. */
  private base: Micros = 0;
  private baseUntil: Micros = 0;
  /** The queue may be ours after all; when that may be tried next. */
  private isTrial = false;
  private triesAt: Micros = 0;

  /** @param delayMax - most that packets should wait in the queue */
  constructor(rtt: MeasuredRoundTrips, delayMax: Micros) {
    this.rtt = rtt;
    this.round = new QueueRound(rtt, 0);
    this.delayMax = delayMax;
  }

  /** A packet went out; `bytesInFlight` includes it, `before` does not. So much of the window is left to others: `reserved`. */
  onSent(bytesInFlight: number, before: number, reserved = 0): void {
    if (before < this.flightBefore) this.flightBefore = before;
    this.round.onSent(bytesInFlight, reserved);
  }

  /** An acknowledgement came, and with it a measure of the round-trip time. */
  onAck(now: Micros): void {
    if (now < this.restsUntil) {
      // The next round begins with what is in flight then.
      this.round.beginFlight();
      this.flightBefore = Number.POSITIVE_INFINITY;
    } else if (this.round.onAck(now)) this.endRound(now);
  }

  private endRound(now: Micros): void {
    const { min } = this.rtt;
    const { least } = this.round;
    const hasGrown = least - this.base > TRIAL_GROWTH * this.delayMax;
    if (this.isTrial && hasGrown && now < this.baseUntil) this.endTrial(now);
    const path = now < this.baseUntil ? Math.max(min, this.base) : min;
    const queue = least - path;
    if (queue > this.delayMax) this.shrink(path, queue, now);
    else if (this.window !== Number.POSITIVE_INFINITY) this.grow(path, Math.max(0, queue));
    this.round.begin(now);
    this.flightBefore = Number.POSITIVE_INFINITY;
  }

  /** @param path - round-trip time without the queue */
  private shrink(path: Micros, queue: Micros, now: Micros): void {
    const rate = this.round.flightFirst / this.round.rttFirst;
    this.rate = rate;
    if (this.over === 0 || queue <= STAYS * this.queueThen) {
      this.queueThen = queue;
      this.rateThen = rate;
      this.over = 0;
    }
    this.unused = 0;
    this.barred = this.flightBefore >= this.window ? this.barred + 1 : 0;
    if (++this.over > ROUNDS_TO_DRAIN) {
      if (rate < this.rateThen / 2) return this.letGo(now);
      if (this.barred > ROUNDS_TO_DRAIN) return this.accept(now);
      if (this.over > ROUNDS_TO_TRY && now >= this.triesAt) return this.tryMore(rate, now);
    }
    this.window = this.windowFor(rate, path);
  }

  private grow(path: Micros, queue: Micros): void {
    this.over = 0;
    this.rest = REST_MIN;
    const { flightFirst, flightMax, rttFirst } = this.round;
    this.rate = Math.max(this.rate, flightFirst / rttFirst);
    if (flightMax + PACKET > this.window) {
      this.unused = 0;
      const fits = this.window * ((path + this.delayMax) / (path + queue) - 1);
      this.window += Math.min(this.window / 4, Math.max(fits / 2, GROWTH_MIN));
    } else if (++this.unused > ROUNDS_UNUSED) {
      this.window = Number.POSITIVE_INFINITY;
      this.rate = Number.POSITIVE_INFINITY;
    }
  }

  /** The queue stays, whatever we do: it is not looked at for a while. */
  private letGo(now: Micros): void {
    this.restsUntil = now + this.rest;
    this.begin();
  }

  /** The queue stays although nothing that gives way is sent: it counts as a part of the path for a while. */
  private accept(now: Micros): void {
    this.isTrial = false;
    this.base = this.round.least;
    this.baseUntil = now + this.rest;
    this.begin();
  }

  /** The queue stays, but may be ours: a little more in flight makes it longer then, which is the end of the trial. */
  private tryMore(rate: number, now: Micros): void {
    this.accept(now);
    this.isTrial = true;
    this.window = this.windowFor(rate, this.base);
  }

  private windowFor(rate: number, path: Micros): number {
    return Math.max(WINDOW_MIN, windowForQueue(rate, path, this.delayMax));
  }

  private endTrial(now: Micros): void {
    this.isTrial = false;
    this.baseUntil = now;
    this.triesAt = now + REST_MAX;
  }

  private begin(): void {
    this.window = Number.POSITIVE_INFINITY;
    this.rate = Number.POSITIVE_INFINITY;
    this.over = 0;
    this.barred = 0;
    this.rest = Math.min(2 * this.rest, REST_MAX);
  }
}

/** A {@link QueueBound} that is made when it is first asked for: most connections have nothing that it is for. */
export class LateQueueBound {
  private made: QueueBound | null = null;
  private readonly rtt: MeasuredRoundTrips;
  private readonly delayMax: Micros;

  constructor(rtt: MeasuredRoundTrips, delayMax: Micros) {
    this.rtt = rtt;
    this.delayMax = delayMax;
  }

  get bound(): QueueBound {
    this.made ??= new QueueBound(this.rtt, this.delayMax);
    return this.made;
  }
}

/**
 * The queue is not ours when after so many rounds with less in flight there is still this share of it, and we cross it at half of the rate
 * at most: one of our own making is left at the rate of the path, however little is in flight.
 */
const ROUNDS_TO_DRAIN = 3;
const STAYS = 0.75;
/** After so many it is tried whether more in flight makes a longer queue. */
const ROUNDS_TO_TRY = 8;
/** A trial is over when the queue has grown by this share of what is allowed. */
const TRIAL_GROWTH = 0.25;
const ROUNDS_UNUSED = 8;
/** Some packet always goes out. */
const WINDOW_MIN = 1_200;
const REST_MIN: Micros = 10 * SECOND;
const REST_MAX: Micros = 80 * SECOND;
