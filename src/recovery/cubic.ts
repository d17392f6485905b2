import { type Micros, NEVER, SECOND } from '../base/time.ts';
import {
  type CongestionController,
  type CongestionOptions,
  initialWindow,
  minimumWindow,
} from './congestion.ts';
import type { RttEstimator } from './rtt.ts';
import { SlowStart } from './slow-start.ts';

/**
 * CUBIC (RFC 9438) with fast convergence, the Reno-friendly region, HyStart++ and undo of spurious losses. The RFC counts
 * windows in segments; here they are bytes, and a segment is the packet size in use.
 */
export class Cubic implements CongestionController {
  readonly name = 'cubic';
  window: number;
  slowStartThreshold = Number.POSITIVE_INFINITY;
  recoveryStart: Micros = -1;

  private mtu: number;
  private windowBytesMax: number;
  private readonly slowStart = new SlowStart();
  private hasLost = false;
  private lastAckTime: Micros = 0;
  /** Since when the sender does not fill the window, or NEVER. That time does not count as elapsed. */
  private limitedSince: Micros = NEVER;

  // The current congestion avoidance stage.
  private epochStart: Micros = NEVER;
  private windowMax = 0;
  private k = 0;
  private windowEstimate = 0;
  private windowPrior = 0;

  /** The state before the last reduction, for its undo. */
  private readonly undo = new UndoState();

  constructor(options: CongestionOptions) {
    this.mtu = options.mtu;
    this.windowBytesMax = options.windowBytesMax;
    this.window = Math.min(initialWindow(options.mtu), options.windowBytesMax);
  }

  get isSlowStart(): boolean {
    return this.window < this.slowStartThreshold;
  }

  onSent(_bytes: number, bytesInFlight: number, now: Micros): void {
    if (bytesInFlight > 0 || this.epochStart === NEVER || this.limitedSince !== NEVER) return;
    // [REC-29] Nothing was in flight since the last acknowledgement.
    this.epochStart += now - this.lastAckTime;
  }

  onAcked(
    bytes: number,
    sentTime: Micros,
    now: Micros,
    rtt: RttEstimator,
    isApplicationLimited: boolean,
  ): void {
    this.lastAckTime = now;
    if (isApplicationLimited) {
      if (this.limitedSince === NEVER) this.limitedSince = now;
      return;
    }
    if (this.limitedSince !== NEVER) {
      this.epochStart += now - this.limitedSince;
      this.limitedSince = NEVER;
    }
    if (bytes === 0) return;
    if (this.window < this.slowStartThreshold) {
      const grown = this.window + this.slowStart.grow(bytes, sentTime, now, rtt.latest);
      this.window = Math.min(grown, this.slowStartThreshold);
      if (this.slowStart.isFinished) this.slowStartThreshold = this.window;
    } else {
      this.avoidCongestion(bytes, now, rtt.smoothed);
    }
    if (this.window > this.windowBytesMax) this.window = this.windowBytesMax;
  }

  onLost(_bytes: number, sentTime: Micros, now: Micros): boolean {
    if (sentTime <= this.recoveryStart) return false;
    this.hasLost = true;
    this.saveForUndo();
    this.recoveryStart = now;
    // [REC-28] Fast convergence: a window that ends below the last maximum makes room for new flows.
    this.windowMax = this.window < this.windowMax ? (this.window * (1 + BETA)) / 2 : this.window;
    this.windowPrior = this.window;
    this.window = Math.max(this.window * BETA, minimumWindow(this.mtu));
    this.slowStartThreshold = this.window;
    this.epochStart = NEVER;
    this.limitedSince = NEVER;
    return true;
  }

  onSpuriousLoss(_now: Micros): void {
    const undo = this.undo;
    if (!undo.isValid) return;
    undo.isValid = false;
    if (this.window >= undo.window) return;
    this.window = Math.min(undo.window, this.windowBytesMax);
    this.slowStartThreshold = undo.slowStartThreshold;
    this.recoveryStart = undo.recoveryStart;
    this.epochStart = undo.epochStart;
    this.windowMax = undo.windowMax;
    this.k = undo.k;
    this.windowEstimate = undo.windowEstimate;
    this.windowPrior = undo.windowPrior;
  }

  onPersistentCongestion(_now: Micros): void {
    this.window = minimumWindow(this.mtu);
    this.recoveryStart = -1;
    this.windowMax = 0;
    this.epochStart = NEVER;
    this.undo.isValid = false;
    this.slowStart.restart();
  }

  onPacketSize(mtu: number): void {
    this.mtu = mtu;
    // [REC-33]
    const floor = this.hasLost ? minimumWindow(mtu) : initialWindow(mtu);
    this.window = Math.min(Math.max(this.window, floor), this.windowBytesMax);
  }

  limitWindow(bytes: number): void {
    // [REC-49]
    this.windowBytesMax = Math.min(this.windowBytesMax, Math.max(bytes, minimumWindow(this.mtu)));
    this.window = Math.min(this.window, this.windowBytesMax);
  }

  private avoidCongestion(bytes: number, now: Micros, smoothedRtt: Micros): void {
    if (this.epochStart === NEVER) this.beginEpoch(now);
    const elapsed = now - this.epochStart;
    // [REC-27]
    const alpha = this.windowEstimate >= this.windowPrior ? 1 : ALPHA;
    this.windowEstimate += (alpha * this.mtu * bytes) / this.window;
    if (this.cubicAt(elapsed) < this.windowEstimate) {
      if (this.windowEstimate > this.window) this.window = this.windowEstimate;
      return;
    }
    const target = Math.min(this.cubicAt(elapsed + smoothedRtt), 1.5 * this.window);
    if (target > this.window) this.window += ((target - this.window) * bytes) / this.window;
  }

  private beginEpoch(now: Micros): void {
    this.epochStart = now;
    this.windowEstimate = this.window;
    if (this.windowMax > this.window) {
      this.k = Math.cbrt((this.windowMax - this.window) / this.mtu / C);
    } else {
      this.k = 0;
      this.windowMax = this.window;
    }
  }

  /** W_cubic of RFC 9438 section 4.2, in bytes. */
  private cubicAt(elapsed: Micros): number {
    const t = elapsed / SECOND - this.k;
    return C * t * t * t * this.mtu + this.windowMax;
  }

  private saveForUndo(): void {
    const undo = this.undo;
    undo.isValid = true;
    undo.window = this.window;
    undo.slowStartThreshold = this.slowStartThreshold;
    undo.recoveryStart = this.recoveryStart;
    undo.epochStart = this.epochStart;
    undo.windowMax = this.windowMax;
    undo.k = this.k;
    undo.windowEstimate = this.windowEstimate;
    undo.windowPrior = this.windowPrior;
  }
}

class UndoState {
  isValid = false;
  window = 0;
  slowStartThreshold = Number.POSITIVE_INFINITY;
  recoveryStart: Micros = -1;
  epochStart: Micros = NEVER;
  windowMax = 0;
  k = 0;
  windowEstimate = 0;
  windowPrior = 0;
}

// RFC 9438 sections 4.1 to 4.6.
const C = 0.4;
const BETA = 0.7;
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
