import { Prng } from '../../../src/base/random.ts';
import type { Micros } from '../../../src/base/time.ts';
import { PacketReport } from '../../../src/protocol/congestion/delivery-rate.ts';
import {
  type CongestionAvoidance,
  LossBasedController,
} from '../../../src/protocol/congestion/loss-based.ts';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';

/** A controller with short hands for tests that place every event themselves: one packet, or one acknowledgement, a call. */
export class Driven extends LossBasedController {
  /** Sent times of the packets lost since the current recovery period began. */
  private lost: Micros[] = [];
  private readonly path: { rtt: RttEstimator };

  constructor(avoidance: CongestionAvoidance, mtu = 1_200, windowBytesMax = Number.POSITIVE_INFINITY) {
    const path = { rtt: new RttEstimator() };
    super(
      {
        mtu,
        windowBytesMax,
        random: new Prng(1),
        rtt: {
          get hasSample() {
            return path.rtt.hasSample;
          },
          get latest() {
            return path.rtt.latest;
          },
          get sampledAt() {
            return path.rtt.sampledAt;
          },
          get adjusted() {
            return path.rtt.adjusted;
          },
          get min() {
            return path.rtt.min;
          },
          get smoothed() {
            return path.rtt.smoothed;
          },
        },
      },
      avoidance,
    );
    this.path = path;
  }

  /** An ACK frame acknowledges `bytes`, all sent at `sentTime`. */
  onAcked(bytes: number, sentTime: Micros, now: Micros, rtt: RttEstimator, isAppLimited: boolean): void {
    this.path.rtt = rtt;
    this.onPacketAcked(reportOf(bytes, sentTime));
    this.onAck(sentTime, isAppLimited, 0, now);
  }

  /** A packet is lost. True when that reduced the window. */
  onLost(bytes: number, sentTime: Micros, now: Micros): boolean {
    const before = this.window;
    this.onPacketLost(reportOf(bytes, sentTime), now);
    const isReduced = this.window !== before;
    if (isReduced) this.lost = [];
    this.lost.push(sentTime);
    return isReduced;
  }

  /** All losses of the last recovery period turn out to be late arrivals. */
  onAllSpurious(): void {
    for (const sentTime of this.lost) this.onSpuriousLoss(reportOf(1_200, sentTime));
    this.lost = [];
  }
}

function reportOf(bytes: number, sentTime: Micros): PacketReport {
  const report = new PacketReport();
  report.bytes = bytes;
  report.sentTime = sentTime;
  return report;
}
