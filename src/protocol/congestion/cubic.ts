import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { CongestionAvoidance } from './loss-based.ts';

/**
 * CUBIC (RFC 9438) with fast convergence, the Reno-friendly region and undo of spurious losses. The RFC counts windows in segments; here
 * they are bytes, and a segment is the packet size in use.
 */
export class Cubic implements CongestionAvoidance {
  readonly name = 'cubic';

  private lastAckTime: Micros = 0;
  /** Since when the sender does not fill the window, or NEVER. That time does not count as elapsed. */
  private appLimitedSince: Micros = NEVER;
  /** The current congestion avoidance stage. */
  private stage = new Stage();
  /** The stage before the last reduction, for its undo. */
  private undoStage: Stage | null = null;

  onPacketSent(bytesInFlight: number, now: Micros): void {
    const { stage } = this;
    if (bytesInFlight > 0 || stage.start === NEVER || this.appLimitedSince !== NEVER) return;
    // [REC-29] Nothing was in flight since the last acknowledgement.
    stage.start += now - this.lastAckTime;
  }

  onAck(isAppLimited: boolean, now: Micros): void {
    this.lastAckTime = now;
    if (isAppLimited) {
      if (this.appLimitedSince === NEVER) this.appLimitedSince = now;
    } else if (this.appLimitedSince !== NEVER) {
      // [REC-29] Time in which the window was not filled does not count.
      this.stage.start += now - this.appLimitedSince;
      this.appLimitedSince = NEVER;
    }
  }

  grow(window: number, bytes: number, mtu: number, now: Micros, smoothedRtt: Micros): number {
    const { stage } = this;
    if (stage.start === NEVER) stage.begin(window, mtu, now);
    const elapsed = now - stage.start;
    // [REC-27] The Reno-friendly region: never slower than NewReno would be.
    const alpha = stage.windowEstimate >= stage.windowPrior ? 1 : ALPHA;
    stage.windowEstimate += (alpha * mtu * bytes) / window;
    if (stage.windowAt(elapsed, mtu) < stage.windowEstimate) return Math.max(window, stage.windowEstimate);
    const target = Math.min(stage.windowAt(elapsed + smoothedRtt, mtu), 1.5 * window);
    return target > window ? window + ((target - window) * bytes) / window : window;
  }

  reduce(window: number, now: Micros): number {
    const before = this.stage;
    // [REC-29] What was not used until this loss stays uncounted after an undo, too.
    if (this.appLimitedSince !== NEVER) before.start += now - this.appLimitedSince;
    const next = this.undoStage ?? new Stage();
    next.start = NEVER;
    // [REC-28] Fast convergence: a window that ends below the last maximum makes room for new flows.
    next.windowMax = window < before.windowMax ? (window * (1 + BETA)) / 2 : window;
    next.k = before.k;
    next.windowEstimate = before.windowEstimate;
    next.windowPrior = window;
    this.stage = next;
    this.undoStage = before;
    this.appLimitedSince = NEVER;
    return window * BETA;
  }

  undo(window: number, before: number): boolean {
    // A stage that has already outgrown the old window goes on.
    const { stage, undoStage } = this;
    if (window >= before || undoStage === null) return false;
    this.stage = undoStage;
    this.undoStage = stage;
    return true;
  }

  restart(): void {
    this.stage.windowMax = 0;
    this.stage.start = NEVER;
  }
}

/** Congestion avoidance from one reduction to the next: a cubic curve of the time since it began. */
class Stage {
  /** When it began, later by what does not count as elapsed; NEVER before the window grows in it. */
  start: Micros = NEVER;
  /** W_max, K, W_est and cwnd_prior of the RFC, in bytes and seconds. */
  windowMax = 0;
  k = 0;
  windowEstimate = 0;
  windowPrior = 0;

  begin(window: number, mtu: number, now: Micros): void {
    this.start = now;
    this.windowEstimate = window;
    if (this.windowMax > window) {
      this.k = Math.cbrt((this.windowMax - window) / mtu / C);
    } else {
      this.k = 0;
      this.windowMax = window;
    }
  }

  /** W_cubic of RFC 9438 section 4.2. */
  windowAt(elapsed: Micros, mtu: number): number {
    const t = elapsed / SECOND - this.k;
    return C * t * t * t * mtu + this.windowMax;
  }
}

// RFC 9438 sections 4.1 to 4.6.
const C = 0.4;
const BETA = 0.7;
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
