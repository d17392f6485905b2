import { assert } from '../base/assert.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../base/time.ts';
import { Acknowledged, acknowledge } from './acknowledge.ts';
import type { CongestionController, CongestionName } from './congestion.ts';
import { Cubic } from './cubic.ts';
import { detectLost, type LossThresholds, Lost, withdrawAll } from './loss.ts';
import { NewReno } from './newreno.ts';
import { Pacer } from './pacer.ts';
import type { PacketList } from './packet-list.ts';
import { PACKET_SPACES, PacketSpace } from './packet-space.ts';
import { Reordering } from './reordering.ts';
import { RttEstimator } from './rtt.ts';
import { SentLedger } from './sent-ledger.ts';

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
  /** Probes are pending: see `probesPending`. */
  PROBE: 2,
} as const;
export type TimeoutResult = (typeof TimeoutResult)[keyof typeof TimeoutResult];

/**
 * Loss detection and congestion control of one connection (RFC 9002), over its three packet number spaces.
 *
 * To send: ask {@link allowance}, record the packet in `ledger(space)` with begin and add, then call {@link onSent}. After
 * {@link onAck} and {@link onTimeout}, walk `acked`, `spurious` and `lost`; they and the records they name stay valid until
 * the next packet is begun. Then ask {@link nextTimeout}.
 */
export class Recovery {
  readonly rtt = new RttEstimator();
  readonly congestion: CongestionController;
  readonly pacer: Pacer;
  /** Consecutive probe timeouts without an acknowledgement. */
  ptoCount = 0;
  /** The space that `acked`, `spurious` and `lost` speak of. */
  resultSpace: PacketSpace = PacketSpace.INITIAL;
  /** The peer's max_ack_delay_us. */
  peerMaxAckDelay: Micros = 25 * MILLISECOND;
  /** Server: nothing may be sent to this unvalidated address, so no probe is armed. */
  isAmplificationLimited = false;
  /** Client: Handshake packets can be sent. */
  hasHandshakeKeys = false;

  private readonly ledgers: (SentLedger | null)[];
  private readonly outcome = new Acknowledged();
  private readonly lostOutcome = new Lost();
  private readonly reordering = new Reordering();
  private readonly probes = [0, 0, 0];
  private mtu: number;
  private isConfirmed = false;
  private isPeerValidated: boolean;
  /** When the last event happened that restarts the anti-deadlock timer. */
  private lastEventTime: Micros = 0;
  /** When the window was last full, or the pacer held something back. */
  private limitedAt: Micros = -1;
  /** Packets of the last recovery period's losses were sent after this. */
  private lossesAfter: Micros = -1;
  /** Losses of the last recovery period that are not known to be spurious. */
  private lossesOpen = 0;

  constructor(options: RecoveryOptions) {
    this.isPeerValidated = options.isServer;
    this.mtu = options.mtu;
    const windowBytesMax = options.windowBytesMax ?? Number.MAX_SAFE_INTEGER;
    const settings = { mtu: options.mtu, windowBytesMax };
    this.congestion = options.congestion === 'newreno' ? new NewReno(settings) : new Cubic(settings);
    this.pacer = new Pacer(options.mtu);
    this.ledgers = [new SentLedger(HANDSHAKE_CAPACITY), new SentLedger(HANDSHAKE_CAPACITY), new SentLedger()];
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
    return this.lostOutcome.packets;
  }

  /** Size of the largest packet the last {@link onAck} proved to have arrived; 0 when none. */
  get largestAckedBytes(): number {
    return this.outcome.largestPacketBytes;
  }

  /** Size of the smallest packet among the last losses, size probes aside; 0 when none. */
  get smallestLostBytes(): number {
    return this.lostOutcome.smallestPacketBytes;
  }

  get bytesInFlight(): number {
    let total = 0;
    for (let space = 0; space < PACKET_SPACES; space++) total += this.ledgers[space]?.bytesInFlight ?? 0;
    return total;
  }

  /** The ledger of a space that has not been discarded. */
  ledger(space: PacketSpace): SentLedger {
    const ledger = this.ledgers[space];
    assert(ledger !== null, 'the packet number space was discarded');
    return ledger;
  }

  isDiscarded(space: PacketSpace): boolean {
    return this.ledgers[space] === null;
  }

  /** Bytes that window and pacer let out now. Probes and packets that are not in flight are not bound by it. */
  allowance(now: Micros): number {
    const window = this.congestion.window - this.bytesInFlight;
    if (window < this.mtu) return Math.max(window, 0);
    const paced = this.pacer.available(now);
    return Math.min(window, paced);
  }

  /** When the pacer lets the next full packet out; NEVER while the window is full, for then an event must come first. */
  nextSend(now: Micros): Micros {
    if (this.congestion.window - this.bytesInFlight < this.mtu) return NEVER;
    return this.pacer.nextSend(now);
  }

  /** There was more to send than the {@link allowance}: the sender is not limited by its application. */
  onBlocked(now: Micros): void {
    this.limitedAt = now;
  }

  /** Commits the packet begun in the space's ledger. */
  onSent(
    space: PacketSpace,
    bytes: number,
    ackEliciting: boolean,
    inFlight: boolean,
    now: Micros,
    isSizeProbe = false,
  ): void {
    const before = this.bytesInFlight;
    this.ledger(space).commit(bytes, ackEliciting, inFlight, isSizeProbe);
    if (!inFlight) return;
    this.congestion.onSent(bytes, before, now);
    this.pacer.onSent(bytes, now);
    if (before + bytes + this.mtu > this.congestion.window) this.limitedAt = now;
    if (!ackEliciting) return;
    this.lastEventTime = now;
    if (this.probes[space] > 0) this.probes[space]--;
  }

  /**
   * Takes an ACK frame: fills `acked`, `spurious` and `lost`.
   *
   * @param ranges - descending pairs [start, end)
   * @param ackDelay - the frame's delay field
   * @returns 0, or the code to close the connection with
   */
  onAck(space: PacketSpace, ranges: Float64Array, rangeCount: number, ackDelay: Micros, now: Micros): number {
    const ledger = this.ledger(space);
    const outcome = this.outcome;
    this.resultSpace = space;
    outcome.clear();
    this.lostOutcome.clear();
    const largestBefore = ledger.largestAcked;
    const code = acknowledge(ledger, ranges, rangeCount, this.congestion.recoveryStart, outcome);
    if (code !== 0 || outcome.acked.count + outcome.spurious.count === 0) return code;
    if (outcome.acked.count > 0 && outcome.acked.numbers[0] === ranges[1] - 1 && outcome.ackEliciting) {
      this.sampleRtt(space, ledger, ackDelay, now);
    }
    if (space === PacketSpace.HANDSHAKE) this.isPeerValidated = true;
    if (outcome.spurious.count > 0) this.onSpurious(ledger, largestBefore, now);
    const isNewPeriod = this.detectLosses(ledger, now);
    if (outcome.ackedBytes > 0 && !isNewPeriod) this.growWindow(ledger, now);
    if (this.isPeerValidated) this.ptoCount = 0;
    this.lastEventTime = now;
    this.probes[space] = 0;
    this.updatePacer(now);
    return 0;
  }

  /** When {@link onTimeout} must be called, or NEVER. */
  nextTimeout(): Micros {
    const loss = this.earliestLossDeadline();
    if (loss !== NEVER) return loss;
    return this.earliestPto();
  }

  /** A deadline passed. Call again until {@link nextTimeout} is later than `now`. */
  onTimeout(now: Micros): TimeoutResult {
    this.outcome.clear();
    this.lostOutcome.clear();
    for (let space = 0; space < PACKET_SPACES; space++) {
      const ledger = this.ledgers[space];
      if (ledger === null || ledger.lossDeadline > now) continue;
      this.resultSpace = space as PacketSpace;
      this.detectLosses(ledger, now);
      this.updatePacer(now);
      if (this.lost.count > 0) return TimeoutResult.LOST;
    }
    if (this.earliestLossDeadline() !== NEVER || this.earliestPto() > now) return TimeoutResult.NONE;
    return this.probe(now);
  }

  /** Ack-eliciting probe packets to send in the space whatever the window says; {@link onSent} counts them off. */
  probesPending(space: PacketSpace): number {
    return this.probes[space];
  }

  /** The keys of a space are gone: what was sent there no longer counts. */
  discardSpace(space: PacketSpace, now: Micros): void {
    if (this.ledgers[space] === null) return;
    // [REC-18]
    this.ledgers[space] = null;
    this.probes[space] = 0;
    this.ptoCount = 0;
    this.lastEventTime = now;
  }

  /** The handshake is confirmed: the application space is probed, with the peer's delay. */
  confirmHandshake(): void {
    this.isConfirmed = true;
    this.isPeerValidated = true;
  }

  /**
   * Packets of the space numbered below `below` can never have been accepted (refused 0-RTT, Retry): they are reported in
   * `lost` and leave the flight, without a congestion signal.
   */
  withdraw(space: PacketSpace, below: number): void {
    this.resultSpace = space;
    this.outcome.clear();
    this.lostOutcome.clear();
    withdrawAll(this.ledger(space), below, this.lostOutcome);
  }

  /** The size of packets changed. */
  onPacketSize(mtu: number, now: Micros): void {
    this.mtu = mtu;
    this.congestion.onPacketSize(mtu);
    this.updatePacer(now);
  }

  /** The probe timeout of a space without back-off: for key retirement, closing and path checks. */
  probeTimeout(space: PacketSpace): Micros {
    const delay = space === PacketSpace.APPLICATION && this.isConfirmed ? this.peerMaxAckDelay : 0;
    return this.rtt.probeTimeout + delay;
  }

  /** Gives memory back where nothing is outstanding, for a connection that goes idle. */
  trim(): void {
    for (let space = 0; space < PACKET_SPACES; space++) this.ledgers[space]?.trim();
  }

  private sampleRtt(space: PacketSpace, ledger: SentLedger, ackDelay: Micros, now: Micros): void {
    const sample = now - ledger.sentTimeOf(this.outcome.acked.numbers[0]);
    // [REC-5]
    let delay = space === PacketSpace.APPLICATION ? ackDelay : 0;
    if (this.isConfirmed && delay > this.peerMaxAckDelay) delay = this.peerMaxAckDelay;
    this.rtt.update(sample, delay, now);
    ledger.retention = RETENTION_RTTS * this.rtt.probeTimeout;
  }

  private growWindow(ledger: SentLedger, now: Micros): void {
    const sentTime = ledger.sentTimeOf(this.outcome.acked.numbers[0]);
    // [REC-25] Full at some time since the newest acknowledged packet was sent.
    const isApplicationLimited = this.limitedAt < sentTime;
    this.congestion.onAcked(this.outcome.ackedBytes, sentTime, now, this.rtt, isApplicationLimited);
  }

  /** Detects losses in one space and tells the congestion controller. True when a recovery period began. */
  private detectLosses(ledger: SentLedger, now: Micros): boolean {
    const out = this.lostOutcome;
    detectLost(ledger, now, this.thresholds(), out);
    if (out.congestionPackets === 0) return false;
    const previousStart = this.congestion.recoveryStart;
    const isNewPeriod = this.congestion.onLost(out.congestionBytes, out.largestSentTime, now);
    if (isNewPeriod) {
      this.lossesAfter = previousStart;
      this.lossesOpen = 0;
      this.reordering.onRecoveryPeriod();
    }
    this.lossesOpen += out.congestionPackets;
    if (out.isPersistent) {
      this.congestion.onPersistentCongestion(now);
      this.lossesOpen = 0;
    }
    return isNewPeriod;
  }

  private thresholds(): LossThresholds {
    const thresholds = this.reordering;
    thresholds.update(this.rtt, this.peerMaxAckDelay);
    return thresholds;
  }

  private onSpurious(ledger: SentLedger, largestBefore: number, now: Micros): void {
    const { numbers, count } = this.outcome.spurious;
    for (let k = 0; k < count; k++) {
      const number = numbers[k];
      this.reordering.onSpurious(ledger, number, largestBefore);
      if (ledger.sentTimeOf(number) <= this.lossesAfter || this.lossesOpen === 0) continue;
      // [REC-23]
      this.lossesOpen--;
      if (this.lossesOpen === 0) this.congestion.onSpuriousLoss(now);
    }
    ledger.lossRunStart = NEVER;
  }

  private updatePacer(now: Micros): void {
    if (!this.rtt.hasSample) return;
    const { window, isSlowStart } = this.congestion;
    this.pacer.update(window, this.rtt.smoothed, isSlowStart, this.mtu, now);
  }

  private earliestLossDeadline(): Micros {
    let earliest = NEVER;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const ledger = this.ledgers[space];
      if (ledger !== null && ledger.lossDeadline < earliest) earliest = ledger.lossDeadline;
    }
    return earliest;
  }

  private earliestPto(): Micros {
    if (this.isAmplificationLimited) return NEVER;
    let earliest = NEVER;
    let isAnyInFlight = false;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const ledger = this.ledgers[space];
      if (ledger === null || ledger.ackElicitingInFlight === 0) continue;
      isAnyInFlight = true;
      const deadline = this.ptoOf(space as PacketSpace, ledger);
      if (deadline < earliest) earliest = deadline;
    }
    if (isAnyInFlight || this.isPeerValidated) return earliest;
    // [REC-16]
    return this.lastEventTime + this.backedOff(this.rtt.probeTimeout);
  }

  private ptoOf(space: PacketSpace, ledger: SentLedger): Micros {
    // [REC-15] Before confirmation the peer may be unable to read application packets.
    if (space === PacketSpace.APPLICATION && !this.isConfirmed) return NEVER;
    return ledger.lastAckElicitingTime + this.backedOff(this.probeTimeout(space));
  }

  private backedOff(timeout: Micros): Micros {
    const exponent = Math.min(this.ptoCount, BACKOFF_EXPONENT_MAX);
    const backed = timeout * 2 ** exponent;
    return backed < PTO_MAX ? backed : PTO_MAX;
  }

  private probe(now: Micros): TimeoutResult {
    let chosen: PacketSpace = this.hasHandshakeKeys ? PacketSpace.HANDSHAKE : PacketSpace.INITIAL;
    let earliest = NEVER;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const ledger = this.ledgers[space];
      if (ledger === null || ledger.ackElicitingInFlight === 0) continue;
      const deadline = this.ptoOf(space as PacketSpace, ledger);
      if (deadline >= earliest) continue;
      earliest = deadline;
      chosen = space as PacketSpace;
    }
    this.resultSpace = chosen;
    this.probes[chosen] = earliest === NEVER ? 1 : PROBES;
    this.ptoCount++;
    this.lastEventTime = now;
    return TimeoutResult.PROBE;
  }
}

const HANDSHAKE_CAPACITY = 8;
const PROBES = 2;
const BACKOFF_EXPONENT_MAX = 16;
const PTO_MAX: Micros = 60 * SECOND;
/** Lost packets are remembered for this many probe timeouts after they were sent. */
const RETENTION_RTTS = 3;
