import type { Micros } from '../base/time.ts';
import {
  type CongestionController,
  type CongestionOptions,
  initialWindow,
  minimumWindow,
} from './congestion.ts';
import type { RttEstimator } from './rtt.ts';
import { SlowStart } from './slow-start.ts';

/** NewReno as RFC 9002 section 7 describes it, with HyStart++ and undo of spurious losses. */
export class NewReno implements CongestionController {
  readonly name = 'newreno';
  window: number;
  slowStartThreshold = Number.POSITIVE_INFINITY;
  recoveryStart: Micros = -1;

  private mtu: number;
  private windowBytesMax: number;
  private readonly slowStart = new SlowStart();
  private hasLost = false;
  private priorWindow = 0;
  private priorThreshold = 0;
  private priorRecoveryStart: Micros = -1;

  constructor(options: CongestionOptions) {
    this.mtu = options.mtu;
    this.windowBytesMax = options.windowBytesMax;
    this.window = Math.min(initialWindow(options.mtu), options.windowBytesMax);
  }

  get isSlowStart(): boolean {
    return this.window < this.slowStartThreshold;
  }

  onSent(_bytes: number, _bytesInFlight: number, _now: Micros): void {}

  onAcked(
    bytes: number,
    sentTime: Micros,
    now: Micros,
    rtt: RttEstimator,
    isApplicationLimited: boolean,
  ): void {
    if (isApplicationLimited || bytes === 0) return;
    if (this.window < this.slowStartThreshold) {
      const grown = this.window + this.slowStart.grow(bytes, sentTime, now, rtt.latest);
      this.window = Math.min(grown, this.slowStartThreshold);
      if (this.slowStart.isFinished) this.slowStartThreshold = this.window;
    } else {
      // [REC-26] One packet a window of acknowledged bytes.
      this.window += (this.mtu * bytes) / this.window;
    }
    if (this.window > this.windowBytesMax) this.window = this.windowBytesMax;
  }

  onLost(_bytes: number, sentTime: Micros, now: Micros): boolean {
    if (sentTime <= this.recoveryStart) return false;
    this.hasLost = true;
    this.priorWindow = this.window;
    this.priorThreshold = this.slowStartThreshold;
    this.priorRecoveryStart = this.recoveryStart;
    this.recoveryStart = now;
    this.window = Math.max(this.window / 2, minimumWindow(this.mtu));
    this.slowStartThreshold = this.window;
    return true;
  }

  onSpuriousLoss(_now: Micros): void {
    if (this.priorWindow === 0) return;
    this.window = Math.min(Math.max(this.window, this.priorWindow), this.windowBytesMax);
    this.slowStartThreshold = this.priorThreshold;
    this.recoveryStart = this.priorRecoveryStart;
    this.priorWindow = 0;
  }

  onPersistentCongestion(_now: Micros): void {
    this.window = minimumWindow(this.mtu);
    this.recoveryStart = -1;
    this.priorWindow = 0;
    this.slowStart.restart();
  }

  onPacketSize(mtu: number): void {
    this.mtu = mtu;
    // [REC-33]
    const floor = this.hasLost ? minimumWindow(mtu) : initialWindow(mtu);
    this.window = Math.min(Math.max(this.window, floor), this.windowBytesMax);
  }

  limitWindow(bytes: number): void {
    this.windowBytesMax = Math.min(this.windowBytesMax, Math.max(bytes, minimumWindow(this.mtu)));
    this.window = Math.min(this.window, this.windowBytesMax);
  }
}
