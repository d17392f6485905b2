import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { RoundTripTime } from './controller.ts';
import { WindowController } from './loss-based.ts';

/**
 * CUBIC (RFC 9438) with fast convergence, the Reno-friendly region, HyStart++ and undo of spurious losses. The RFC counts
 * windows in segments; here they are bytes, and a segment is the packet size in use.
 */
export class Cubic extends WindowController {
  readonly name = 'cubic';

  private lastAckTime: Micros = 0;
  /** Since when the sender does not fill the window, or NEVER. That time does not count as elapsed. */
  private limitedSince: Micros = NEVER;

  // The current congestion avoidance stage.
  private epochStart: Micros = NEVER;
  private windowMax = 0;
  private k = 0;
  private windowEstimate = 0;
  private windowPrior = 0;

  /** The stage before the last reduction, for its undo. */
  private readonly undoStage = new Stage();

  onSent(_bytes: number, bytesInFlight: number, now: Micros): void {
    if (bytesInFlight > 0 || this.epochStart === NEVER || this.limitedSince !== NEVER) return;
    // [REC-29] Nothing was in flight since the last acknowledgement.
    this.epochStart += now - this.lastAckTime;
  }

  override onAcked(
    bytes: number,
    sentTime: Micros,
    now: Micros,
    rtt: RoundTripTime,
    isApplicationLimited: boolean,
  ): void {
    this.lastAckTime = now;
    if (isApplicationLimited) {
      if (this.limitedSince === NEVER) this.limitedSince = now;
    } else if (this.limitedSince !== NEVER) {
      // [REC-29]
      this.epochStart += now - this.limitedSince;
      this.limitedSince = NEVER;
    }
    super.onAcked(bytes, sentTime, now, rtt, isApplicationLimited);
  }

  override onPersistentCongestion(now: Micros): void {
    super.onPersistentCongestion(now);
    this.windowMax = 0;
    this.epochStart = NEVER;
  }

  protected avoidCongestion(bytes: number, now: Micros, smoothedRtt: Micros): void {
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

  protected reduce(): void {
    this.saveStage();
    // [REC-28] Fast convergence: a window that ends below the last maximum makes room for new flows.
    this.windowMax = this.window < this.windowMax ? (this.window * (1 + BETA)) / 2 : this.window;
    this.windowPrior = this.window;
    this.window *= BETA;
    this.epochStart = NEVER;
    this.limitedSince = NEVER;
  }

  protected override undoReduction(): void {
    // A stage that has already outgrown the old window goes on.
    if (this.window >= this.undoWindow) return;
    super.undoReduction();
    const stage = this.undoStage;
    this.epochStart = stage.epochStart;
    this.windowMax = stage.windowMax;
    this.k = stage.k;
    this.windowEstimate = stage.windowEstimate;
    this.windowPrior = stage.windowPrior;
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

  private saveStage(): void {
    const stage = this.undoStage;
    // [REC-29] What was not used until this loss, which begins at `recoveryStart`, stays uncounted after an undo, too.
    const unused = this.limitedSince === NEVER ? 0 : this.recoveryStart - this.limitedSince;
    stage.epochStart = this.epochStart + unused;
    stage.windowMax = this.windowMax;
    stage.k = this.k;
    stage.windowEstimate = this.windowEstimate;
    stage.windowPrior = this.windowPrior;
  }
}

/** What an undo restores of a stage. */
class Stage {
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
