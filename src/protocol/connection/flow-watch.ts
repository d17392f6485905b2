import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { RttEstimator } from '../path/rtt.ts';

/**
 * Notices at a client that packets, which came one after the other, come no more. Perhaps its NAT gave it another address: then what is sent
 * to the old one is lost, and the server learns of the new one by the client's next packet only, which may have nothing to say. So it asks
 * then, once. [CON-90]
 */
export class FlowWatch {
  private readonly rtt: RttEstimator;
  /** Packets of the round trip that began then. */
  private count = 0;
  private countedFrom: Micros = 0;
  private isFlowing = false;
  private receivedAt: Micros = 0;
  private askedAt: Micros = -INTERVAL_MIN;

  constructor(rtt: RttEstimator) {
    this.rtt = rtt;
  }

  /** A packet came. */
  onReceived(now: Micros): void {
    this.receivedAt = now;
    if (now - this.countedFrom > this.rtt.smoothed) {
      this.isFlowing = this.count >= PACKETS_MIN;
      this.countedFrom = now;
      this.count = 0;
    }
    if (++this.count >= PACKETS_MIN) this.isFlowing = true;
  }

  /** When the silence is to be asked about; NEVER where there was no flow. */
  get deadline(): Micros {
    if (!this.isFlowing) return NEVER;
    const { smoothed } = this.rtt;
    return Math.max(
      this.receivedAt + Math.max(smoothed / 2, SILENCE_MIN),
      this.askedAt + Math.max(smoothed, INTERVAL_MIN),
    );
  }

  /** True when the server is to be asked now. */
  onTimeout(now: Micros): boolean {
    if (now < this.deadline) return false;
    this.isFlowing = false;
    this.count = 0;
    // A silence that long is none that this is for, but one in which we did not look.
    if (now - this.receivedAt > SILENCE_MAX) return false;
    this.askedAt = now;
    return true;
  }
}

/** So many packets in a round trip are a flow. */
const PACKETS_MIN = 6;
const SILENCE_MIN: Micros = 5 * MILLISECOND;
const SILENCE_MAX: Micros = 2 * SECOND;
/** What comes in bursts breaks off all the time: it is asked about once a round trip, and no more often than this. */
const INTERVAL_MIN: Micros = 20 * MILLISECOND;
