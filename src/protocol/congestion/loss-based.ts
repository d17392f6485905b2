import type { Micros } from '../../base/time.ts';
import type { CongestionController, CongestionName, CongestionOptions, RoundTripTime } from './controller.ts';
import { SlowStart } from './slow-start.ts';

/**
 * What CUBIC and NewReno have in common: slow start (HyStart++), recovery periods, the bounds of the window and the undo of
 * spurious losses. A controller adds how the window grows in congestion avoidance and what a loss leaves of it.
 */
export abstract class WindowController implements CongestionController {
  abstract readonly name: CongestionName;
  window: number;
  recoveryStart: Micros = -1;

  protected mtu: number;
  private windowBytesMax: number;
  private slowStartThreshold = Number.POSITIVE_INFINITY;
  private readonly slowStart = new SlowStart();
  private hasLost = false;

  /** The window before the last reduction; 0 when there is nothing to undo. */
  protected undoWindow = 0;
  private undoThreshold = 0;
  private undoRecoveryStart: Micros = -1;

  constructor(options: CongestionOptions) {
    this.mtu = options.mtu;
    this.windowBytesMax = options.windowBytesMax;
    this.window = Math.min(initialWindow(options.mtu), options.windowBytesMax);
  }

  get isSlowStart(): boolean {
    return this.window < this.slowStartThreshold;
  }

  abstract onSent(bytes: number, bytesInFlight: number, now: Micros): void;

  onAcked(
    bytes: number,
    sentTime: Micros,
    now: Micros,
    rtt: RoundTripTime,
    isApplicationLimited: boolean,
  ): void {
    if (isApplicationLimited || bytes === 0) return;
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
    this.undoWindow = this.window;
    this.undoThreshold = this.slowStartThreshold;
    this.undoRecoveryStart = this.recoveryStart;
    this.recoveryStart = now;
    this.reduce();
    this.window = Math.max(this.window, minimumWindow(this.mtu));
    this.slowStartThreshold = this.window;
    return true;
  }

  onSpuriousLoss(_now: Micros): void {
    if (this.undoWindow === 0) return;
    this.undoReduction();
    this.undoWindow = 0;
  }

  onPersistentCongestion(_now: Micros): void {
    this.window = minimumWindow(this.mtu);
    this.recoveryStart = -1;
    this.undoWindow = 0;
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

  /** Grows the window for `bytes` acknowledged above the slow start threshold. The upper bound is kept by the caller. */
  protected abstract avoidCongestion(bytes: number, now: Micros, smoothedRtt: Micros): void;

  /** Reduces the window for a loss. The lower bound is kept by the caller. */
  protected abstract reduce(): void;

  protected undoReduction(): void {
    this.window = Math.min(Math.max(this.window, this.undoWindow), this.windowBytesMax);
    this.slowStartThreshold = this.undoThreshold;
    this.recoveryStart = this.undoRecoveryStart;
  }
}

/** [REC-24] Ten packets; below the sizes of jumbo frames bounded as in RFC 9002 section 7.2. */
function initialWindow(mtu: number): number {
  if (mtu > ETHERNET_PAYLOAD_MAX) return 10 * mtu;
  return Math.min(10 * mtu, Math.max(2 * mtu, 14_720));
}

/** [REC-24] */
function minimumWindow(mtu: number): number {
  return 2 * mtu;
}

/** The largest UDP payload of an Ethernet path. Larger packets are on loopback or a network built for them. */
const ETHERNET_PAYLOAD_MAX = 1_472;
