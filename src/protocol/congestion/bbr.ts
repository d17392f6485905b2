/**
 * BBR, version 3 (draft-ietf-ccwg-bbr-06), with a loss floor. It takes neither a loss nor a full queue for the measure of a path, but keeps
 * a model of it: the bandwidth and the shortest round trip (`bbr-model.ts`), what may be in flight before losses become too many
 * (`bbr-bounds.ts`), and which losses are not its own (`loss-floor.ts`). Packets leave at the bandwidth times the gain of the state:
 *
 *     STARTUP -> DRAIN -> DOWN -> CRUISE -> REFILL -> UP -> DOWN ...   and from any of them now and then PROBE_RTT and back
 *
 * An acknowledgement updates first the model, then the state, then window and rate. Of the draft's names `inflight_longterm`,
 * `inflight_shortterm` and `bw_shortterm` are those of {@link LossBounds}. It is one file because its states are one machine.
 */

import type { RandomSource } from '../../base/random.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import { BETA, LossBounds, LossRound } from './bbr-bounds.ts';
import { Feedback, ProbeCycle } from './bbr-cycle.ts';
import { AckAggregation, FullPipe, MaxBandwidth, MinRtt, Rounds } from './bbr-model.ts';
import {
  type CongestionController,
  type CongestionOptions,
  type CongestionState,
  initialWindow,
  type RoundTripTime,
} from './controller.ts';
import { Delivery, type PacketReport, RateSample } from './delivery-rate.ts';
import { CalmTag, LossFloor } from './loss-floor.ts';
import { BURST_TIME, type PacingLimits } from './pacer.ts';

type State = Exclude<CongestionState, 'slow-start' | 'congestion-avoidance' | 'recovery'>;

export class Bbr implements CongestionController {
  readonly name = 'bbr';
  readonly pacing = PACING;
  readonly delivery = new Delivery();
  state: State = 'startup';
  window: number;
  pacingRate: number = Number.POSITIVE_INFINITY;

  private readonly rtt: RoundTripTime;
  private readonly random: RandomSource;
  private readonly draw = new Uint8Array(2);
  private mtu: number;
  private windowBytesMax: number;

  private readonly sample = new RateSample();
  private readonly rounds = new Rounds();
  private readonly bandwidth = new MaxBandwidth();
  private readonly minRtt = new MinRtt();
  private readonly aggregation = new AckAggregation();
  private readonly fullPipe = new FullPipe();
  private readonly lossRound = new LossRound();
  private readonly bounds = new LossBounds();
  private readonly floor = new LossFloor();
  private readonly cycle = new ProbeCycle();

  private bytesInFlight = 0;
  /** The window was full at some time in the last round. */
  private isWindowLimited = false;
  /** Nothing was in flight, for want of something to send, until the packets now on their way. */
  private isIdleRestart = false;
  /** Since when the application has too little to send, or NEVER. */
  private appLimitedSince: Micros = NEVER;
  private drainStartRound = 0;
  /** The window before PROBE_RTT or a loss. */
  private windowBefore = 0;
  /** When PROBE_RTT has lasted long enough, NEVER before so little is in flight as it wants; and whether a round has passed since. */
  private probeRttEnd: Micros = NEVER;
  private probeRttRoundOver = false;
  /** The shortest round trip at the start of PROBE_RTT. */
  private probeRttMin: Micros = NEVER;
  /** PROBE_RTT came in the way of REFILL or UP. */
  private probeRttInterrupts = false;
  /** The state that the last losses ended, to return to when they were none. */
  private undoState: State | null = null;

  constructor(options: CongestionOptions) {
    this.rtt = options.rtt;
    this.random = options.random;
    this.mtu = options.mtu;
    this.windowBytesMax = options.windowBytesMax;
    this.window = Math.min(initialWindow(options.mtu), options.windowBytesMax);
  }

  get isSlowStart(): boolean {
    return this.state === 'startup';
  }

  get congestionEvents(): number {
    return this.bounds.lowerings;
  }

  get lossFloor(): number {
    return this.floor.value;
  }

  // ---- what happens ----

  /** [REC-75] A sender that had nothing to send begins again at the rate of the path. */
  onPacketSent(_bytes: number, bytesInFlight: number, now: Micros): void {
    if (bytesInFlight > 0 || !this.delivery.isAppLimited) return;
    this.isIdleRestart = true;
    this.aggregation.restart(now);
    if (this.state === 'probe-rtt') this.checkProbeRttDone(now);
    else if (this.isProbingBandwidth) this.paceAt(1);
  }

  onPacketAcked(packet: PacketReport): void {
    this.sample.onPacketAcked(packet);
    this.floor.onAcked(packet.tag);
  }

  onPacketLost(packet: PacketReport, now: Micros): void {
    const { bounds, delivery, lossRound } = this;
    this.floor.onLost(packet.tag);
    if (!lossRound.hasLoss) {
      bounds.save(packet);
      this.undoState = null;
      this.saveWindow();
    }
    bounds.onLost();
    lossRound.onLost(packet, delivery.delivered);
    this.cycle.hasLoss = true;
    if (!this.cycle.isProbeSample) return;
    const share = (delivery.lost - packet.lost) / packet.inFlight;
    if (this.isTooHigh(share, packet.inFlight)) this.onInFlightTooHigh(packet, share, now);
  }

  onSpuriousLoss(packet: PacketReport): void {
    this.floor.onSpurious(packet.tag);
    if (this.bounds.onSpurious(packet.sentTime)) this.undoLosses();
  }

  /** [REC-79] A mark tells for certain what a loss may not: that a queue stands. */
  onEcnCongestion(_newestSentTime: Micros, _marks: number, now: Micros): void {
    const { bounds, cycle, delivery, fullPipe, lossRound, sample } = this;
    lossRound.onMarked(delivery.delivered);
    if (this.state === 'startup') fullPipe.isReached = true;
    if (!cycle.isProbeSample) return;
    cycle.onTooHigh();
    if (!sample.isAppLimited) {
      bounds.lowerLong(Math.max(sample.inFlight, BETA * this.targetInFlight), 1, sample.inFlight / this.mtu);
    }
    if (this.state === 'probe-up') this.startDown(now);
  }

  onAck(_newestSentTime: Micros, isAppLimited: boolean, bytesInFlight: number, now: Micros): void {
    const { delivery, sample } = this;
    if (sample.newlyAcked === 0) return; // of what counts in flight nothing
    this.bytesInFlight = bytesInFlight;
    this.isWindowLimited = !isAppLimited;
    sample.finish(delivery, this.minRtt.value === NEVER ? 0 : this.minRtt.value, now);
    this.updateModel(now);
    this.updateState(now);
    if (this.lossRound.isStart) this.lossRound.advance(sample);
    this.isIdleRestart = false;
    this.updateControl();
    this.updateTag();
    sample.clear();
  }

  /** [REC-77] The model is not in doubt, but nothing comes through: begins with little, and grows by what is acknowledged. */
  onPersistentCongestion(): void {
    this.saveWindow();
    this.window = Math.min(MIN_WINDOW_PACKETS * this.mtu, this.windowBytesMax);
  }

  onPacketSize(mtu: number): void {
    this.mtu = mtu;
    const isFresh = !this.fullPipe.isReached && this.delivery.lost === 0;
    const floor = isFresh ? initialWindow(mtu) : MIN_WINDOW_PACKETS * mtu;
    this.window = Math.min(Math.max(this.window, floor), this.windowBytesMax);
  }

  /** [REC-49] A bound below two packets counts as two packets. */
  limitWindow(bytes: number): void {
    this.windowBytesMax = Math.min(this.windowBytesMax, Math.max(bytes, 2 * this.mtu));
    this.window = Math.min(this.window, this.windowBytesMax);
  }

  // ---- the model ----

  private updateModel(now: Micros): void {
    const { bandwidth, bounds, delivery, floor, lossRound, rounds, sample } = this;
    lossRound.onAck(sample, delivery.delivered);
    rounds.onAck(sample.priorDelivered, delivery.delivered);
    if (rounds.isStart) {
      this.cycle.rounds++;
      this.cycle.roundsSinceUp++;
      this.aggregation.onRound(!this.fullPipe.isReached);
      floor.update();
      if (bounds.lift(floor)) this.cycle.wasTooHigh = false;
    }
    // [REC-67] A sample that the application limited counts where it is more than is known.
    if (!sample.isAppLimited || sample.rate >= bandwidth.value) bandwidth.onSample(sample.rate);
    if (lossRound.isStart && !this.isAccelerating) this.adaptToLosses();
    this.aggregation.onAck(sample.newlyAcked, this.modelBandwidth, this.window, now);
    // [REC-78] On paths below a millisecond timers make bunches of packets, whose rates tell of the timers.
    const isPlateau = rounds.isStart && !sample.isAppLimited && !this.isBelowTimers;
    if (isPlateau) this.fullPipe.onRound(sample.rate);
    this.minRtt.onAck(this.rtt.sampledAt === now ? this.rtt.latest : NEVER, now);
  }

  /** [REC-73] Once a round outside of probing. One burst may be anybody's. */
  private adaptToLosses(): void {
    const { bounds, delivery, lossRound } = this;
    if (!lossRound.isMarked && lossRound.bursts < SHORT_TERM_BURSTS_MIN) return;
    const share = lossRound.share(delivery.delivered);
    const bytes = lossRound.bytes(delivery.delivered);
    if (!lossRound.isMarked && !this.isTooHigh(share, bytes)) return;
    const { mtu, window } = this;
    bounds.lowerShort(lossRound, { share, packets: bytes / mtu, bandwidth: this.bandwidth.value, window });
  }

  /** True when `share` of `bytes` is more than the path loses by itself. */
  private isTooHigh(share: number, bytes: number): boolean {
    return share > this.floor.threshold(bytes / this.mtu);
  }

  /** Bytes a microsecond that the path carries now. */
  private get modelBandwidth(): number {
    return Math.min(this.bandwidth.value, this.bounds.bandwidthShort);
  }

  private get isBelowTimers(): boolean {
    return this.minRtt.value < MILLISECOND;
  }

  /** Bytes in flight that fill the path `gain` times. */
  private bdp(gain: number): number {
    if (this.minRtt.value === NEVER) return gain * initialWindow(this.mtu);
    return (gain * this.modelBandwidth * this.minRtt.value) / this.floor.rest;
  }

  private get targetInFlight(): number {
    return Math.min(this.bdp(1), this.window);
  }

  /** `bytes`, but no less than lets a sender go on between two wake-ups. */
  private quantized(bytes: number): number {
    const burst = this.pacingRate === Number.POSITIVE_INFINITY ? 0 : BURST_TIME * this.pacingRate;
    const least = Math.max(bytes, burst, MIN_WINDOW_PACKETS * this.mtu);
    return this.state === 'probe-up' ? least + 2 * this.mtu : least;
  }

  private get longTermWithHeadroom(): number {
    const { inFlightLong } = this.bounds;
    if (inFlightLong === Number.POSITIVE_INFINITY) return inFlightLong;
    return Math.max(
      inFlightLong - Math.max(this.mtu, HEADROOM * inFlightLong),
      MIN_WINDOW_PACKETS * this.mtu,
    );
  }

  // ---- the state ----

  /** A state in which loss is expected to tell how far the sender may go. */
  private get isAccelerating(): boolean {
    const { state } = this;
    return state === 'startup' || state === 'probe-refill' || state === 'probe-up';
  }

  private get isProbingBandwidth(): boolean {
    const { state } = this;
    return state !== 'startup' && state !== 'drain' && state !== 'probe-rtt';
  }

  private updateState(now: Micros): void {
    const { fullPipe, lossRound, rounds } = this;
    if (this.state === 'startup') {
      if (lossRound.isStart && lossRound.hasLoss) this.checkStartupLosses();
      if (fullPipe.isReached) {
        this.state = 'drain';
        this.drainStartRound = rounds.count;
      }
    }
    if (this.state === 'drain') {
      const isDrained = this.bytesInFlight <= this.quantized(this.bdp(1));
      if (isDrained || rounds.count > this.drainStartRound + DRAIN_ROUNDS_MAX) this.startDown(now);
    }
    if (fullPipe.isReached && !this.adaptLongTerm(now) && this.isProbingBandwidth) this.advanceCycle(now);
    this.checkProbeRtt(now);
  }

  /**
   * [REC-66] STARTUP ends where it loses too much. What the path loses by itself is not known yet, as that is measured in calm: so it takes
   * more than the floor can be.
   */
  private checkStartupLosses(): void {
    const { bounds, delivery, fullPipe, lossRound } = this;
    if (lossRound.bursts < STARTUP_BURSTS_MIN) return;
    const bytes = lossRound.bytes(delivery.delivered);
    const share = lossRound.share(delivery.delivered);
    if (share <= this.floor.thresholdAtFirst(bytes / this.mtu)) return;
    fullPipe.isReached = true;
    this.undoState = 'startup';
    bounds.lowerLong(Math.max(this.bdp(1), lossRound.inFlight), share, bytes / this.mtu);
  }

  /** [REC-70] The walk through DOWN, CRUISE, REFILL and UP. */
  private advanceCycle(now: Micros): void {
    const { cycle, rounds } = this;
    switch (this.state) {
      case 'probe-down':
        if (this.isTimeToProbe(now)) this.startRefill();
        else if (this.isTimeToCruise()) this.state = 'probe-cruise';
        break;
      case 'probe-cruise':
        if (this.isTimeToProbe(now)) this.startRefill();
        break;
      case 'probe-refill':
        if (!rounds.isStart) break;
        cycle.isProbeSample = true;
        this.startUp();
        break;
      case 'probe-up':
        if (!this.isTimeToGoDown()) break;
        cycle.wasTooHigh = false; // no more than this is known to be too much
        this.startDown(now);
    }
  }

  private startDown(now: Micros): void {
    const { cycle } = this;
    this.lossRound.clear();
    this.floor.onCycle();
    cycle.begin(now, this.randomShare());
    cycle.feedback = Feedback.STOPPING;
    this.rounds.begin(this.delivery.delivered);
    this.state = 'probe-down';
  }

  private startRefill(): void {
    const { cycle } = this;
    this.bounds.resetShort();
    cycle.upRounds = 0;
    cycle.upAcked = 0;
    cycle.wasCautious = false;
    cycle.feedback = Feedback.REFILLING;
    this.rounds.begin(this.delivery.delivered);
    this.state = 'probe-refill';
  }

  private startUp(): void {
    const { cycle } = this;
    cycle.feedback = Feedback.STARTING;
    this.rounds.begin(this.delivery.delivered);
    this.fullPipe.reset(this.sample.rate);
    this.state = 'probe-up';
    cycle.raiseSlope(this.window, this.mtu);
  }

  private isTimeToProbe(now: Micros): boolean {
    const { cycle } = this;
    // [REC-70] Not later than a flow of NewReno would be back where it was.
    const roundsMax = Math.min(this.targetInFlight / this.mtu, PROBE_ROUNDS_MAX);
    if (now > cycle.startedAt + cycle.wait || cycle.roundsSinceUp >= roundsMax) return true;
    // [REC-75] What was known of a path that was hardly used for long is out of date.
    const isBack = !this.sample.isAppLimited && this.appLimitedSince !== NEVER;
    return isBack && now - this.appLimitedSince > MODEL_AGE_MAX;
  }

  private isTimeToCruise(): boolean {
    const { cycle } = this;
    // [REC-71] Long enough to see whether less is lost when less is sent.
    if (cycle.lostBefore && cycle.rounds < DOWN_ROUNDS_MIN) return false;
    if (this.bytesInFlight > this.longTermWithHeadroom) return false;
    const filled =
      this.minRtt.value === NEVER ? 0 : (this.bandwidth.value * this.minRtt.value) / this.floor.rest;
    return this.bytesInFlight <= this.quantized(filled);
  }

  private isTimeToGoDown(): boolean {
    const { bounds, cycle, fullPipe, sample } = this;
    if (cycle.wasTooHigh && this.bytesInFlight >= bounds.inFlightLong) {
      cycle.wasCautious = true;
      return true;
    }
    if (!this.isWindowLimited || this.window < bounds.inFlightLong) return fullPipe.isFullNow;
    fullPipe.reset(sample.rate); // it is the bound that limits the rate, not the path
    return false;
  }

  /** Raises the long-term bound where it proved too low. True when that decided the state. */
  private adaptLongTerm(now: Micros): boolean {
    const { bounds, cycle, rounds, sample } = this;
    if (rounds.isStart) {
      if (cycle.feedback === Feedback.STARTING) cycle.feedback = Feedback.COMING;
      else if (cycle.feedback === Feedback.STOPPING) {
        // The last packets that were sent while probing are acknowledged.
        cycle.isProbeSample = false;
        cycle.feedback = Feedback.NONE;
        if (this.isProbingBandwidth && !sample.isAppLimited) this.bandwidth.advance();
        if (this.isProbingBandwidth && cycle.wasCautious && !cycle.wasTooHigh) {
          this.startRefill();
          return true;
        }
      }
    }
    if (!sample.isAppLimited) this.appLimitedSince = this.agedSince(now);
    else if (this.appLimitedSince === NEVER) this.appLimitedSince = now;
    if (bounds.inFlightLong === Number.POSITIVE_INFINITY) return false;
    if (this.isTooHigh(sample.lost / sample.inFlight, sample.inFlight)) return false;
    if (sample.inFlight > bounds.inFlightLong) bounds.inFlightLong = sample.inFlight;
    if (this.state === 'probe-up') this.raiseLongTerm();
    return false;
  }

  private raiseLongTerm(): void {
    const { bounds, cycle, mtu, sample } = this;
    // [REC-73] Window-limited means in the round before this acknowledgement, which has just made room.
    if (!this.isWindowLimited || this.window < bounds.inFlightLong) return;
    bounds.inFlightLong += mtu * cycle.increments(sample.newlyAcked);
    if (this.rounds.isStart) cycle.raiseSlope(this.window, mtu);
  }

  private onInFlightTooHigh(packet: PacketReport, share: number, now: Micros): void {
    const { bounds, cycle } = this;
    cycle.onTooHigh();
    if (!packet.isAppLimited) {
      const least = BETA * this.targetInFlight;
      bounds.lowerLong(Math.max(this.inFlightAtLoss(packet), least), share, packet.inFlight / this.mtu);
    }
    if (this.state !== 'probe-up') return;
    this.undoState = 'probe-up';
    this.startDown(now);
  }

  /** Bytes in flight at which the losses up to this packet became too many, which was before it or within it. */
  private inFlightAtLoss(packet: PacketReport): number {
    const threshold = this.floor.threshold(packet.inFlight / this.mtu);
    const before = packet.inFlight - packet.bytes;
    const lostBefore = this.delivery.lost - packet.lost - packet.bytes;
    return before + (threshold * before - lostBefore) / (1 - threshold);
  }

  private undoLosses(): void {
    const { fullPipe, undoState } = this;
    this.undoState = null;
    this.window = Math.min(Math.max(this.window, this.windowBefore), this.windowBytesMax);
    this.lossRound.clearLosses();
    fullPipe.reset();
    if (undoState === 'startup') {
      fullPipe.isReached = false;
      if (this.state !== 'probe-rtt') this.state = 'startup';
    } else if (undoState === 'probe-up' && this.isProbingBandwidth && this.state !== 'probe-up') {
      this.cycle.wasTooHigh = false;
      this.startRefill();
    }
  }

  // ---- PROBE_RTT ----

  private checkProbeRtt(now: Micros): void {
    const { minRtt } = this;
    if (this.state !== 'probe-rtt') {
      // [REC-68] A sender that has paused, or does not fill the path, has let the queue drain already.
      const isNeeded = minRtt.isProbeDue && !this.isIdleRestart && !this.sample.isAppLimited;
      if (!isNeeded || this.isBelowTimers) return;
      this.saveWindow();
      this.probeRttInterrupts = this.state === 'probe-refill' || this.state === 'probe-up';
      this.state = 'probe-rtt';
      this.probeRttEnd = NEVER;
      this.probeRttMin = minRtt.previous;
      this.cycle.feedback = Feedback.STOPPING;
      this.rounds.begin(this.delivery.delivered);
    }
    this.delivery.markAppLimited(this.bytesInFlight); // what is delivered now tells nothing of the bandwidth
    if (this.probeRttEnd === NEVER) {
      // The window lets out a packet while any of it is left, and so may be exceeded by one.
      if (this.bytesInFlight > this.probeRttWindow + this.mtu) return;
      this.probeRttEnd = now + PROBE_RTT_TIME;
      this.probeRttRoundOver = false;
      this.rounds.begin(this.delivery.delivered);
      return;
    }
    if (this.rounds.isStart) this.probeRttRoundOver = true;
    if (this.probeRttRoundOver) this.checkProbeRttDone(now);
  }

  private checkProbeRttDone(now: Micros): void {
    if (now < this.probeRttEnd) return;
    this.minRtt.onProbed(now);
    this.window = Math.min(Math.max(this.window, this.windowBefore), this.windowBytesMax);
    this.bounds.resetShort();
    this.state = 'startup';
    if (!this.fullPipe.isReached) return;
    this.startDown(now);
    // [REC-68] The queue is empty; a probe that had begun is not put off by a whole cycle.
    if (this.probeRttInterrupts) this.startRefill();
    else this.state = 'probe-cruise';
  }

  private get probeRttWindow(): number {
    const shortest = Math.min(this.probeRttMin, this.minRtt.value);
    return Math.max(PROBE_RTT_GAIN * this.modelBandwidth * shortest, MIN_WINDOW_PACKETS * this.mtu);
  }

  private saveWindow(): void {
    const isReduced = this.state === 'probe-rtt' || this.lossRound.hasLoss;
    this.windowBefore = isReduced ? Math.max(this.windowBefore, this.window) : this.window;
  }

  // ---- window and rate ----

  /** [REC-74] */
  private updateControl(): void {
    const { fullPipe, rtt, sample } = this;
    if (this.pacingRate === Number.POSITIVE_INFINITY && rtt.hasSample) {
      this.pacingRate = (PACING_GAIN.startup * initialWindow(this.mtu)) / rtt.smoothed;
    }
    this.paceAt(PACING_GAIN[this.state]);
    const gain = this.state === 'probe-up' ? UP_WINDOW_GAIN : WINDOW_GAIN;
    const most = this.quantized(this.bdp(gain) + this.aggregation.value);
    let window = this.window;
    if (fullPipe.isReached) window = Math.min(window + sample.newlyAcked, most);
    else if (window < most || this.delivery.delivered < initialWindow(this.mtu)) window += sample.newlyAcked;
    if (this.state === 'probe-rtt') window = Math.min(window, this.probeRttWindow);
    window = Math.min(window, this.boundOfLosses);
    this.window = Math.min(Math.max(window, MIN_WINDOW_PACKETS * this.mtu), this.windowBytesMax);
  }

  /** Until the pipe is known to be full the rate only grows. */
  private paceAt(gain: number): void {
    // [REC-74] So that the bandwidth arrives, what the path loses by itself is sent on top of it.
    const rate = (gain * this.modelBandwidth * PACING_MARGIN) / this.floor.rest;
    if (rate > 0 && (this.fullPipe.isReached || rate > this.pacingRate)) this.pacingRate = rate;
  }

  private get boundOfLosses(): number {
    const { bounds, state } = this;
    if (state === 'startup' || state === 'drain') return bounds.inFlightShort;
    const keepsHeadroom = state === 'probe-cruise' || state === 'probe-rtt';
    return Math.min(keepsHeadroom ? this.longTermWithHeadroom : bounds.inFlightLong, bounds.inFlightShort);
  }

  /** [REC-71] What goes out from now on counts for the loss floor when no queue stands. */
  private updateTag(): void {
    const { minRtt, rtt, state } = this;
    const isCalm = !this.isBelowTimers && rtt.adjusted <= CALM_FACTOR * minRtt.value;
    let tag: CalmTag = CalmTag.NONE;
    if (isCalm && state === 'probe-down') tag = CalmTag.DOWN;
    else if (isCalm && state === 'probe-cruise') tag = CalmTag.CRUISE;
    this.delivery.tag = tag;
  }

  private agedSince(now: Micros): Micros {
    // It goes on to count as limited until the probe that this calls for has begun.
    const isOld = now - this.appLimitedSince > MODEL_AGE_MAX;
    return isOld && (this.state === 'probe-down' || this.state === 'probe-cruise')
      ? this.appLimitedSince
      : NEVER;
  }

  private randomShare(): number {
    this.random.fill(this.draw);
    return (this.draw[0] * 256 + this.draw[1]) / 65_536;
  }
}

// Of draft-ietf-ccwg-bbr sections 2 and 5.
const PACING_GAIN: Readonly<Record<State, number>> = {
  startup: 2.77,
  drain: 0.5,
  'probe-down': 0.9,
  'probe-cruise': 1,
  'probe-refill': 1,
  'probe-up': 1.25,
  'probe-rtt': 1,
};
const WINDOW_GAIN = 2;
const UP_WINDOW_GAIN = 2.25;
const PROBE_RTT_GAIN = 0.5;
/** [REC-74] A sender that is late every time would take its own pace for the path's. */
const PACING: PacingLimits = { burstPackets: 4, lateTimeMax: 10 * MILLISECOND };
/** Paces a little below the bandwidth, so that no queue is left standing. */
const PACING_MARGIN = 0.99;
const MIN_WINDOW_PACKETS = 4;
const HEADROOM = 0.15;
const DRAIN_ROUNDS_MAX = 3;
const PROBE_ROUNDS_MAX = 63;
const PROBE_RTT_TIME: Micros = 200 * MILLISECOND;
const STARTUP_BURSTS_MIN = 6;
// Ours.
const SHORT_TERM_BURSTS_MIN = 2;
const DOWN_ROUNDS_MIN = 2;
const CALM_FACTOR = 1.25;
const MODEL_AGE_MAX: Micros = 10 * SECOND;
