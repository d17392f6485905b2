/**
 * A controller that takes losses, and marks of routers, for the sign that the path is full, as NewReno (RFC 9002 section 7) and CUBIC do. They have in common
 * slow start (HyStart++), recovery periods, the bounds of the window and the undo of spurious losses; how the window grows in congestion
 * avoidance and what a loss leaves of it is up to a {@link CongestionAvoidance}: {@link NewReno} below, or CUBIC.
 */

import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';
import {
  type CongestionController,
  type CongestionName,
  type CongestionOptions,
  type CongestionState,
  initialWindow,
  type RoundTripTime,
} from './controller.ts';
import type { PacketReport } from './delivery-rate.ts';
import type { PacingLimits } from './pacer.ts';

/** How a window behaves above the slow start threshold. Its bounds are kept by the {@link LossBasedController}. */
export interface CongestionAvoidance {
  readonly name: CongestionName;
  /** A packet goes out; `bytesInFlight` does not include it yet. */
  onPacketSent(bytesInFlight: number, now: Micros): void;
  /** An acknowledgement came, in slow start or not. */
  onAck(isAppLimited: boolean, now: Micros): void;
  /** The window after `bytes` more were acknowledged. */
  grow(window: number, bytes: number, mtu: number, now: Micros, smoothedRtt: Micros): number;
  /** The window after a loss. */
  reduce(window: number, now: Micros): number;
  /** The last reduction, of `before` bytes, was for nothing. False when the window has outgrown it, so that all stays as it is. */
  undo(window: number, before: number): boolean;
  /** Slow start begins again. */
  restart(): void;
}

export class LossBasedController implements CongestionController {
  readonly pacing = PACING; // [REC-30]
  readonly delivery = null;
  readonly lossFloor = 0;
  window: number;
  congestionEvents = 0;

  private readonly avoidance: CongestionAvoidance;
  private readonly rtt: RoundTripTime;
  private mtu: number;
  private windowBytesMax: number;
  private slowStartThreshold = Number.POSITIVE_INFINITY;
  private readonly slowStart = new SlowStart();
  private hasLost = false;
  /** When the current or last recovery period began; -1 before the first. Packets sent until then do not grow the window. */
  private recoveryStart: Micros = -1;
  /** Nothing that was sent since then is acknowledged yet (RFC 9002 section 7.3.2). */
  private isInRecovery = false;
  /** When the window was last reduced, unless that was undone. */
  private reducedAt: Micros = -1;
  /** Bytes acknowledged that will grow the window when all of the acknowledgement was told. */
  private ackedBytes = 0;

  // What an undo restores; a window of 0 when there is nothing to undo.
  private undoWindow = 0;
  private undoThreshold = 0;
  private undoRecoveryStart: Micros = -1;
  /** Losses behind the last reduction that did not turn out to be late arrivals. */
  private unexplainedLosses = 0;
  /** They are of packets sent after this: those before belong to an earlier recovery period. */
  private lossesAfter: Micros = -1;

  constructor(options: CongestionOptions, avoidance: CongestionAvoidance) {
    this.avoidance = avoidance;
    this.rtt = options.rtt;
    this.mtu = options.mtu;
    this.windowBytesMax = options.windowBytesMax;
    this.window = Math.min(initialWindow(options.mtu), options.windowBytesMax);
  }

  get name(): CongestionName {
    return this.avoidance.name;
  }

  get state(): CongestionState {
    if (this.isInRecovery) return 'recovery';
    return this.isSlowStart ? 'slow-start' : 'congestion-avoidance';
  }

  get isSlowStart(): boolean {
    return this.window < this.slowStartThreshold;
  }

  /** [REC-30] More than a window a round trip, so that pacing is not what limits the sender. */
  get pacingRate(): number {
    if (!this.rtt.hasSample) return Number.POSITIVE_INFINITY;
    return ((this.isSlowStart ? SLOW_START_PACING_GAIN : PACING_GAIN) * this.window) / this.rtt.smoothed;
  }

  onPacketSent(_bytes: number, bytesInFlight: number, now: Micros): void {
    this.avoidance.onPacketSent(bytesInFlight, now);
  }

  onPacketAcked(packet: PacketReport): void {
    if (packet.sentTime > this.recoveryStart) this.ackedBytes += packet.bytes;
  }

  onPacketLost(packet: PacketReport, now: Micros): void {
    if (packet.sentTime > this.recoveryStart) this.beginRecoveryPeriod(now);
    this.unexplainedLosses++;
  }

  /** [REC-23] When every loss of the last period was spurious, its reduction is undone. */
  onSpuriousLoss(packet: PacketReport): void {
    if (this.unexplainedLosses === 0 || packet.sentTime <= this.lossesAfter) return;
    if (--this.unexplainedLosses > 0 || this.undoWindow === 0) return;
    const before = this.undoWindow;
    this.undoWindow = 0;
    if (!this.avoidance.undo(this.window, before)) return;
    this.window = Math.min(Math.max(this.window, before), this.windowBytesMax);
    this.slowStartThreshold = this.undoThreshold;
    this.recoveryStart = this.undoRecoveryStart;
    this.isInRecovery = false;
    this.reducedAt = -1;
  }

  /** [REC-34] A mark reduces the window as a loss does, once a recovery period; what was marked did arrive, so nothing undoes that. */
  onEcnCongestion(newestSentTime: Micros, _marks: number, now: Micros): void {
    if (newestSentTime > this.recoveryStart) this.beginRecoveryPeriod(now);
    this.undoWindow = 0;
  }

  onAck(newestSentTime: Micros, isAppLimited: boolean, _bytesInFlight: number, now: Micros): void {
    const bytes = this.ackedBytes;
    this.ackedBytes = 0;
    if (newestSentTime > this.recoveryStart) this.isInRecovery = false;
    if (this.reducedAt === now) return; // the same acknowledgement brought the loss
    this.avoidance.onAck(isAppLimited, now);
    if (isAppLimited || bytes === 0) return;
    const { avoidance, rtt, slowStart } = this;
    if (this.isSlowStart) {
      const grown = this.window + slowStart.grow(bytes, newestSentTime, now, rtt.latest);
      this.window = Math.min(grown, this.slowStartThreshold);
      if (slowStart.isFinished) this.slowStartThreshold = this.window;
    } else {
      this.window = avoidance.grow(this.window, bytes, this.mtu, now, rtt.smoothed);
    }
    if (this.window > this.windowBytesMax) this.window = this.windowBytesMax;
  }

  /** [REC-22] Back to the smallest window and slow start; a reduction before is not undone any more. */
  onPersistentCongestion(): void {
    this.window = minimumWindow(this.mtu);
    this.recoveryStart = -1;
    this.isInRecovery = false;
    this.undoWindow = 0;
    this.unexplainedLosses = 0;
    this.slowStart.restart();
    this.avoidance.restart();
  }

  /** [REC-33] Before any loss the window is that of a connection which began with this size. */
  onPacketSize(mtu: number): void {
    this.mtu = mtu;
    const floor = this.hasLost ? minimumWindow(mtu) : initialWindow(mtu);
    this.window = Math.min(Math.max(this.window, floor), this.windowBytesMax);
  }

  /** [REC-49] A bound below two packets counts as two packets. */
  limitWindow(bytes: number): void {
    this.windowBytesMax = Math.min(this.windowBytesMax, Math.max(bytes, minimumWindow(this.mtu)));
    this.window = Math.min(this.window, this.windowBytesMax);
  }

  private beginRecoveryPeriod(now: Micros): void {
    this.hasLost = true;
    this.isInRecovery = true;
    this.congestionEvents++;
    this.undoWindow = this.window;
    this.undoThreshold = this.slowStartThreshold;
    this.undoRecoveryStart = this.recoveryStart;
    this.lossesAfter = this.recoveryStart;
    this.unexplainedLosses = 0;
    this.recoveryStart = now;
    this.reducedAt = now;
    this.window = Math.max(this.avoidance.reduce(this.window, now), minimumWindow(this.mtu));
    this.slowStartThreshold = this.window;
  }
}

/** NewReno as RFC 9002 section 7 describes it. */
export class NewReno implements CongestionAvoidance {
  readonly name = 'newreno';

  onPacketSent(): void {}

  onAck(): void {}

  /** [REC-26] One packet a window of acknowledged bytes. */
  grow(window: number, bytes: number, mtu: number): number {
    return window + (mtu * bytes) / window;
  }

  reduce(window: number): number {
    return window / 2;
  }

  undo(): boolean {
    return true;
  }

  restart(): void {}
}

/**
 * [REC-31] HyStart++ (RFC 9406): slow start that ends when the round-trip time of a round rises, instead of with a loss. After a rise it
 * grows at a quarter of the speed for five rounds (conservative slow start), in case the rise was a hiccup.
 *
 * A round ends with the acknowledgement of a packet sent after the round began, by its sent time.
 */
export class SlowStart {
  /** True once slow start is over: the caller makes the window its threshold. */
  isFinished = false;
  private roundStart: Micros = 0;
  private minLastRound: Micros = NEVER;
  private minThisRound: Micros = NEVER;
  private samples = 0;
  /** The round minimum that started conservative slow start, or NEVER outside of it. */
  private baseline: Micros = NEVER;
  private conservativeRounds = 0;

  /** How many bytes the window grows for `bytes` newly acknowledged. */
  grow(bytes: number, sentTime: Micros, now: Micros, rtt: Micros): number {
    if (sentTime >= this.roundStart) this.beginRound(now);
    if (rtt < this.minThisRound) this.minThisRound = rtt;
    this.samples++;
    if (this.baseline === NEVER) {
      this.watchForRise();
      return bytes;
    }
    this.watchForHiccup();
    return bytes / CSS_GROWTH_DIVISOR;
  }

  /** Slow start begins again, after persistent congestion. */
  restart(): void {
    this.isFinished = false;
    this.roundStart = 0;
    this.minLastRound = NEVER;
    this.minThisRound = NEVER;
    this.samples = 0;
    this.baseline = NEVER;
    this.conservativeRounds = 0;
  }

  private beginRound(now: Micros): void {
    this.roundStart = now;
    this.minLastRound = this.minThisRound;
    this.minThisRound = NEVER;
    this.samples = 0;
    if (this.baseline !== NEVER && ++this.conservativeRounds > CSS_ROUNDS) this.isFinished = true;
  }

  private watchForRise(): void {
    if (this.samples < RTT_SAMPLES_MIN || this.minLastRound === NEVER) return;
    const eighth = this.minLastRound / MIN_RTT_DIVISOR;
    const rise = Math.max(RTT_RISE_MIN, Math.min(eighth, RTT_RISE_MAX));
    if (this.minThisRound < this.minLastRound + rise) return;
    this.baseline = this.minThisRound;
    this.conservativeRounds = 1;
  }

  private watchForHiccup(): void {
    if (this.samples < RTT_SAMPLES_MIN || this.minThisRound >= this.baseline) return;
    this.baseline = NEVER;
  }
}

/** [REC-24] Two packets, whatever is lost. */
function minimumWindow(mtu: number): number {
  return 2 * mtu;
}

const PACING: PacingLimits = { burstPackets: 10, lateTimeMax: 0 };
const PACING_GAIN = 1.25;
const SLOW_START_PACING_GAIN = 2;
// RFC 9406 section 4.3.
const RTT_RISE_MIN: Micros = 4 * MILLISECOND;
const RTT_RISE_MAX: Micros = 16 * MILLISECOND;
const MIN_RTT_DIVISOR = 8;
const RTT_SAMPLES_MIN = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;
