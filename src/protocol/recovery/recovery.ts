import { assert } from '../../base/errors.ts';
import { type Micros, NEVER } from '../../base/time.ts';
import type { CongestionController, CongestionName } from '../congestion/controller.ts';
import { Cubic } from '../congestion/cubic.ts';
import { NewReno } from '../congestion/newreno.ts';
import { Pacer } from '../congestion/pacer.ts';
import { UndoWatch } from '../congestion/undo-watch.ts';
import { RttEstimator } from '../path/rtt.ts';
import { PACKET_SPACES, PacketSpace } from '../wire/packet-type.ts';
import { Acknowledged, acknowledge } from './acknowledge.ts';
import { detectLost, Lost, withdrawAll } from './loss.ts';
import type { PacketList } from './packet-list.ts';
import { ProbeTimeout } from './probe-timeout.ts';
import { Reordering } from './reordering.ts';
import { SentPackets } from './sent-packets.ts';

export interface RecoveryOptions {
  readonly isServer: boolean;
  /** Packet size in bytes at the start. */
  readonly mtu: number;
  /** Default 'cubic'. */
  readonly congestion?: CongestionName;
  /** Bound of the congestion window; none by default. */
  readonly windowBytesMax?: number;
}

/** What {@link Recovery.onTimeout} did. */
export const TimeoutResult = {
  NONE: 0,
  /** Packets of `resultSpace` are in `lost`. */
  LOST: 1,
  /** Probes are to be sent in `resultSpace`: see `probesPending`. */
  PROBE: 2,
} as const;
export type TimeoutResult = (typeof TimeoutResult)[keyof typeof TimeoutResult];

/**
 * Loss detection and congestion control of one connection (RFC 9002), over its three packet number spaces.
 *
 * To send: ask {@link allowance}, record the packet in `sentPackets(space)` with begin and add, then call {@link onSent}. After
 * {@link onAck} and {@link onTimeout}, walk `acked`, `spurious` and `lost`; they and the records they name stay valid until
 * the next packet is begun. Then ask {@link nextTimeout}.
 */
export class Recovery {
  readonly rtt = new RttEstimator();
  readonly congestion: CongestionController;
  readonly pacer: Pacer;
  /** The space that `acked`, `spurious` and `lost` speak of. */
  resultSpace: PacketSpace = PacketSpace.INITIAL;
  /** Server: nothing may be sent to this unvalidated address, so no probe is armed. */
  isAmplificationLimited = false;

  private mtu: number;
  private readonly spaces: (SentPackets | null)[];
  private readonly pto: ProbeTimeout;
  private readonly outcome = new Acknowledged();
  private readonly losses = new Lost();
  private readonly reordering = new Reordering();
  private readonly undoWatch = new UndoWatch();
  /** When the window was last full. */
  private fullAt: Micros = -1;
  private resumedAt: Micros = -1;

  constructor(options: RecoveryOptions) {
    this.mtu = options.mtu;
    const settings = {
      mtu: options.mtu,
      windowBytesMax: options.windowBytesMax ?? Number.POSITIVE_INFINITY,
    };
    this.congestion = options.congestion === 'newreno' ? new NewReno(settings) : new Cubic(settings);
    this.pacer = new Pacer(options.mtu);
    this.pto = new ProbeTimeout(options.isServer);
    this.spaces = [
      new SentPackets(HANDSHAKE_CAPACITY, HANDSHAKE_PACKETS_MAX),
      new SentPackets(HANDSHAKE_CAPACITY, HANDSHAKE_PACKETS_MAX),
      new SentPackets(),
    ];
  }

  /** Newly acknowledged packets of `resultSpace`, newest first. */
  get acked(): PacketList {
    return this.outcome.acked;
  }

  /** Packets of `resultSpace` that were reported as lost before and are acknowledged now. */
  get spurious(): PacketList {
    return this.outcome.spurious;
  }

  /** Packets of `resultSpace` newly declared lost, oldest first. */
  get lost(): PacketList {
    return this.losses.packets;
  }

  /** Size of the largest packet the last {@link onAck} proved to have arrived; 0 when none. */
  get largestAckedBytes(): number {
    return this.outcome.largestPacketBytes;
  }

  /** Size of the smallest packet among the last losses, size probes aside; 0 when none. */
  get smallestLostBytes(): number {
    return this.losses.smallestPacketBytes;
  }

  get bytesInFlight(): number {
    let total = 0;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const sent = this.spaces[space];
      if (sent !== null) total += sent.bytesInFlight;
    }
    return total;
  }

  /** Consecutive probe timeouts without an acknowledgement. */
  get ptoCount(): number {
    return this.pto.count;
  }

  /** What was sent in a space that has not been discarded. */
  sentPackets(space: PacketSpace): SentPackets {
    const sent = this.spaces[space];
    assert(sent !== null, 'the packet number space was discarded');
    return sent;
  }

  isDiscarded(space: PacketSpace): boolean {
    return this.spaces[space] === null;
  }

  /**
   * Bytes that window and pacer let out now. Probes, and packets that are not in flight, are not bound by it.
   */
  allowance(now: Micros): number {
    const window = this.congestion.window - this.bytesInFlight;
    if (window <= 0) return 0;
    const sent = this.spaces[PacketSpace.APPLICATION];
    if (sent === null || sent.isFull(now)) return 0;
    return Math.min(window, this.pacer.available(now));
  }

  /** True when no packet at all can be recorded any more in one of the spaces; the connection is to be closed. [REC-12] */
  isExhausted(now: Micros): boolean {
    for (let space = 0; space < PACKET_SPACES; space++) {
      if (this.spaces[space]?.isExhausted(now)) return true;
    }
    return false;
  }

  /** When the pacer lets the next full packet out; NEVER while the window or {@link SentPackets} is full, for then an event must come first. */
  nextSend(now: Micros): Micros {
    if (this.congestion.window - this.bytesInFlight < this.mtu) return NEVER;
    if (this.spaces[PacketSpace.APPLICATION]?.isFull(now)) return NEVER;
    return this.pacer.nextSend(now);
  }

  /** Commits the packet begun in `sentPackets(space)`. `isSizeProbe`: it only tests whether the path carries this size. */
  onSent(
    space: PacketSpace,
    bytes: number,
    ackEliciting: boolean,
    inFlight: boolean,
    now: Micros,
    isSizeProbe = false,
  ): void {
    const before = this.bytesInFlight;
    this.sentPackets(space).commit(bytes, ackEliciting, inFlight, isSizeProbe);
    if (!inFlight) return;
    this.congestion.onSent(bytes, before, now);
    this.pacer.onSent(bytes, now);
    if (this.isWindowFull) this.fullAt = now;
    if (ackEliciting) this.pto.onAckElicitingSent(space, now);
  }

  /**
   * Takes an ACK frame: fills `acked`, `spurious` and `lost`.
   *
   * @param ranges - descending pairs [start, end)
   * @param ackDelay - the frame's delay field
   * @returns 0, or the code to close the connection with
   */
  onAck(space: PacketSpace, ranges: Float64Array, rangeCount: number, ackDelay: Micros, now: Micros): number {
    const sent = this.sentPackets(space);
    const outcome = this.outcome;
    this.clearResults(space);
    const largestBefore = sent.largestAcked;
    if (this.isWindowFull) this.fullAt = now;
    const code = acknowledge(sent, ranges, rangeCount, this.congestion.recoveryStart, outcome);
    if (code !== 0 || outcome.acked.count + outcome.spurious.count === 0) return code;
    this.pto.onAck(space, now);
    // [REC-2]
    if (outcome.ackEliciting && outcome.acked.numbers[0] === ranges[1] - 1) {
      this.sampleRtt(space, sent, ackDelay, now);
    }
    if (outcome.spurious.count > 0) this.onSpurious(sent, largestBefore, now);
    const isNewPeriod = this.detectLosses(sent, now);
    if (outcome.acked.count > 0 && !isNewPeriod) this.growWindow(sent, now);
    this.updatePacer(now);
    return 0;
  }

  /** Time passed in which nothing was looked at: what was sent before tells nothing of the path's delay any more. [REC-54] */
  onResumed(now: Micros): void {
    this.resumedAt = now;
    this.pto.count = 0;
  }

  /** When {@link onTimeout} must be called, or NEVER. */
  nextTimeout(): Micros {
    // [REC-19] [REC-20]
    const loss = this.lossDeadline();
    if (loss !== NEVER || this.isAmplificationLimited) return loss;
    return this.pto.deadline(this.spaces, this.rtt);
  }

  /** A deadline may have passed. Call again until {@link nextTimeout} is later than `now`. */
  onTimeout(now: Micros): TimeoutResult {
    for (let space = 0; space < PACKET_SPACES; space++) {
      const sent = this.spaces[space];
      if (sent === null || sent.lossDeadline > now) continue;
      this.clearResults(space as PacketSpace);
      this.detectLosses(sent, now);
      this.updatePacer(now);
      return this.lost.count > 0 ? TimeoutResult.LOST : TimeoutResult.NONE;
    }
    if (this.nextTimeout() > now) return TimeoutResult.NONE;
    this.clearResults(this.pto.expire(now));
    return TimeoutResult.PROBE;
  }

  /** Ack-eliciting probe packets to send in the space, whatever the allowance says; {@link onSent} counts them off. */
  probesPending(space: PacketSpace): number {
    return this.pto.probesPending(space);
  }

  /** Client: Handshake packets can be sent. */
  onHandshakeKeys(): void {
    this.pto.hasHandshakeKeys = true;
  }

  /** The handshake is confirmed; the peer's max_ack_delay_us is known. */
  onHandshakeConfirmed(peerMaxAckDelay: Micros): void {
    this.pto.isHandshakeConfirmed = true;
    this.pto.isPeerValidated = true;
    this.pto.peerMaxAckDelay = peerMaxAckDelay;
  }

  /** The keys of a space are gone: what was sent there no longer counts. */
  discardSpace(space: PacketSpace, now: Micros): void {
    if (this.spaces[space] === null) return;
    // [REC-18]
    this.spaces[space] = null;
    this.pto.onSpaceDiscarded(space, now);
  }

  /**
   * Packets of the space numbered below `below` can never have been accepted (refused 0-RTT, Retry): they are reported in
   * `lost` and leave the flight, without a congestion signal.
   */
  withdraw(space: PacketSpace, below: number): void {
    this.clearResults(space);
    withdrawAll(this.sentPackets(space), below, this.losses);
  }

  /** The size of packets changed. */
  onPacketSize(mtu: number, now: Micros): void {
    this.mtu = mtu;
    this.congestion.onPacketSize(mtu);
    this.updatePacer(now);
  }

  /** Bounds the window, for instance by what the peer's socket buffers; lower bounds only. */
  limitWindow(bytes: number, now: Micros): void {
    this.congestion.limitWindow(bytes);
    this.updatePacer(now);
  }

  /** The probe timeout of a space without back-off: for key retirement, closing and path checks. */
  probeTimeout(space: PacketSpace): Micros {
    return this.pto.duration(space, this.rtt);
  }

  /** Gives memory back where nothing is outstanding, for a connection that goes idle. */
  trim(): void {
    for (let space = 0; space < PACKET_SPACES; space++) this.spaces[space]?.trim();
  }

  private clearResults(space: PacketSpace): void {
    this.resultSpace = space;
    this.outcome.clear();
    this.losses.clear();
  }

  private sampleRtt(space: PacketSpace, sent: SentPackets, ackDelay: Micros, now: Micros): void {
    const sentTime = sent.sentTimeOf(this.outcome.acked.numbers[0]);
    if (sentTime < this.resumedAt) return; // [REC-54] it measures how long we slept
    const sample = now - sentTime;
    // [REC-5]
    let delay = space === PacketSpace.APPLICATION ? ackDelay : 0;
    if (this.pto.isHandshakeConfirmed) delay = Math.min(delay, this.pto.peerMaxAckDelay);
    this.rtt.update(sample, delay, now);
    sent.retention = RETENTION_PTOS * this.rtt.probeTimeout;
  }

  private growWindow(sent: SentPackets, now: Micros): void {
    const sentTime = sent.sentTimeOf(this.outcome.acked.numbers[0]);
    // [REC-25] The window was not full since the newest acknowledged packet was sent, whatever the pacer held back.
    const isApplicationLimited = this.fullAt < sentTime;
    this.congestion.onAcked(this.outcome.ackedBytes, sentTime, now, this.rtt, isApplicationLimited);
  }

  /** Detects losses in one space and tells the congestion controller. True when a recovery period began. */
  private detectLosses(sent: SentPackets, now: Micros): boolean {
    const losses = this.losses;
    this.reordering.update(this.rtt, this.pto.peerMaxAckDelay);
    detectLost(sent, now, this.reordering, losses);
    if (losses.congestionPackets === 0) return false;
    const previousStart = this.congestion.recoveryStart;
    const isNewPeriod = this.congestion.onLost(losses.congestionBytes, losses.largestSentTime, now);
    if (isNewPeriod) {
      this.undoWatch.begin(previousStart);
      this.reordering.onRecoveryPeriod();
    }
    this.undoWatch.onLost(losses.congestionPackets);
    if (losses.isPersistent) {
      this.congestion.onPersistentCongestion(now);
      this.undoWatch.end();
    }
    return isNewPeriod;
  }

  private onSpurious(sent: SentPackets, largestBefore: number, now: Micros): void {
    const { numbers, count } = this.outcome.spurious;
    for (let k = 0; k < count; k++) {
      const number = numbers[k];
      if (sent.isSizeProbe(number)) continue;
      this.reordering.onSpurious(sent, number, largestBefore);
      // [REC-23]
      if (this.undoWatch.onSpurious(sent.sentTimeOf(number))) this.congestion.onSpuriousLoss(now);
    }
    sent.lossRunStart = NEVER;
  }

  private get isWindowFull(): boolean {
    return this.bytesInFlight + this.mtu > this.congestion.window;
  }

  private updatePacer(now: Micros): void {
    if (!this.rtt.hasSample) return;
    const { window, isSlowStart } = this.congestion;
    this.pacer.update(window, this.rtt.smoothed, isSlowStart, this.mtu, now);
  }

  private lossDeadline(): Micros {
    let earliest = NEVER;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const sent = this.spaces[space];
      if (sent !== null && sent.lossDeadline < earliest) earliest = sent.lossDeadline;
    }
    return earliest;
  }
}

const HANDSHAKE_CAPACITY = 8;
/** A handshake takes some dozen packets. */
const HANDSHAKE_PACKETS_MAX = 512;
/** [REC-8] Lost packets are remembered for this many probe timeouts after they were sent. */
const RETENTION_PTOS = 2;
