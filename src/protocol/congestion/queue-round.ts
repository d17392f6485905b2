import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';

/** What is measured of a path's round trips. */
export interface MeasuredRoundTrips {
  readonly hasSample: boolean;
  /** When the newest sample was taken. */
  readonly sampledAt: Micros;
  /** The newest sample, and without the peer's delay. */
  readonly latest: Micros;
  readonly adjusted: Micros;
  readonly min: Micros;
}

/**
 * A round of packets by which the queue of a path is judged: a round trip, and some samples. Its least round-trip time, less the least of
 * the path, is the standing queue: jitter has good moments, a standing queue has none. What was in flight with its first packet, divided by
 * the time until that was acknowledged, is the rate of the path when there is a queue.
 */
export class QueueRound {
  /** Packets sent from this time on belong to it. */
  since: Micros;
  samples = 0;
  /** The least of its round-trip times, and their sum. */
  least: Micros = NEVER;
  sum: Micros = 0;
  /** What was in flight with its first packet, how long that took, and the most that was in flight. */
  flightFirst = 0;
  rttFirst: Micros = 0;
  flightMax = 0;

  private readonly rtt: MeasuredRoundTrips;

  constructor(rtt: MeasuredRoundTrips, now: Micros) {
    this.rtt = rtt;
    this.since = now;
  }

  /** A packet went out; `bytesInFlight` includes it. So much of the window is left to others: `reserved`. */
  onSent(bytesInFlight: number, reserved: number): void {
    if (this.flightFirst === 0) this.flightFirst = bytesInFlight;
    if (bytesInFlight + reserved > this.flightMax) this.flightMax = bytesInFlight + reserved;
  }

  /** An acknowledgement came. True when the round is over: whoever has used it then calls {@link begin}. */
  onAck(now: Micros): boolean {
    const { adjusted, hasSample, latest, min, sampledAt } = this.rtt;
    // An acknowledgement may bring no sample. Below a millisecond round trips tell of timers and processes, not of queues.
    if (!hasSample || sampledAt !== now || min < MILLISECOND || now - latest < this.since) return false;
    if (this.flightFirst === 0) return false;
    if (this.samples === 0) this.rttFirst = adjusted;
    this.sum += adjusted;
    if (adjusted < this.least) this.least = adjusted;
    return ++this.samples >= SAMPLES_MIN;
  }

  /** The next round begins. */
  begin(now: Micros): void {
    this.since = now;
    this.samples = 0;
    this.sum = 0;
    this.least = NEVER;
    this.beginFlight();
  }

  /** What was in flight so far does not count. */
  beginFlight(): void {
    this.flightFirst = 0;
    this.flightMax = 0;
  }
}

/**
 * What may be in flight on a path of this rate and round-trip time, so that the queue is a little shorter than `delayMax`. A packet goes out
 * while any of the window is left: on a slow path it alone takes longer than the room to swing.
 */
export function windowForQueue(rate: number, path: Micros, delayMax: Micros): number {
  const beyond = Math.max(0, PACKET - (1 - AIM) * delayMax * rate);
  return rate * (path + AIM * delayMax) - beyond;
}

/** A window that has less than a packet left was used. */
export const PACKET = 1_200;
/** The least that a window grows by in a round. */
export const GROWTH_MIN = 128;
/** A round ends with so many samples of its packets, so that no single one decides. */
const SAMPLES_MIN = 3;
/** The window is made for so much of what is allowed, to have room to swing. */
const AIM = 0.75;
