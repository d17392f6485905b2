import { assert } from '../../base/errors.ts';
import { type Micros, NEVER } from '../../base/time.ts';
import type { PathEcn } from '../path/ecn.ts';
import type { Path } from '../path/path.ts';
import type { EcnCounts } from '../wire/frames/ack.ts';
import { PACKET_SPACES, PacketSpace } from '../wire/packet-header.ts';
import { acknowledge, detectLost, LossThresholds, PacketFates, withdraw } from './loss-detection.ts';
import { isOffPath, leaveBehind, markOffPath, onPath } from './off-path.ts';
import { ProbeTimeout } from './probe-timeout.ts';
import { SentPackets } from './sent-packets.ts';
import { carriesMessages } from './thin-probe.ts';
import { ThinSender } from './thin-sender.ts';

/** What {@link Recovery.onTimeout} did. */
export const TimeoutResult = {
  NONE: 0,
  /** Packets are in `fates.lost`. */
  LOST: 1,
  /** Probes are to be sent in `fates.space`: see `probesPending`. */
  PROBE: 2,
} as const;
export type TimeoutResult = (typeof TimeoutResult)[keyof typeof TimeoutResult];

/**
 * Loss detection of one connection (RFC 9002), over its three packet number spaces. What it finds it tells the {@link Path} on which the
 * packets travel, whose round-trip time it measures, and the caller, in {@link fates}.
 *
 * To send: ask {@link allowance}, record the packet in `sentPackets(space)` with begin and add, then call {@link onSent}. After
 * {@link onAck} and {@link onTimeout}, walk {@link fates}; they and the records they name stay valid until the next packet is begun.
 * Then ask {@link nextTimeout}.
 */
export class Recovery {
  readonly path: Path;
  /** What the last acknowledgement or timeout settled. */
  readonly fates = new PacketFates();

  private readonly spaces: (SentPackets | null)[];
  private readonly thin: ThinSender;
  private readonly pto: ProbeTimeout;
  private thresholds = new LossThresholds();
  private resumedAt: Micros = -1;
  /** When the packet came whose ACK {@link onAck} takes next, which may be before it is looked at. */
  heardAt: Micros = 0;

  constructor(path: Path, isServer: boolean, thin = new ThinSender()) {
    this.path = path;
    this.thin = thin;
    this.pto = new ProbeTimeout(isServer);
    this.spaces = [
      new SentPackets(HANDSHAKE_CAPACITY, HANDSHAKE_PACKETS_MAX),
      new SentPackets(HANDSHAKE_CAPACITY, HANDSHAKE_PACKETS_MAX),
      new SentPackets(),
    ];
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

  /** Bytes that may be sent now: what the path lets out, and 0 when no more packets can be recorded. */
  allowance(now: Micros, packetsReserved = 0): number {
    const bytes = this.path.allowance(now, packetsReserved);
    return bytes > 0 && this.isFull(now) ? 0 : bytes;
  }

  /** When the path lets the next full packet out; NEVER while an event must come first. */
  nextSend(now: Micros, packetsReserved = 0): Micros {
    const at = this.path.nextSend(now, packetsReserved);
    return at < NEVER && this.isFull(now) ? NEVER : at;
  }

  /** True when no packet at all can be recorded any more in one of the spaces; the connection is to be closed. [REC-12] */
  isExhausted(now: Micros): boolean {
    for (let space = 0; space < PACKET_SPACES; space++) {
      if (this.spaces[space]?.isExhausted(now)) return true;
    }
    return false;
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
    const { path } = this;
    const sent = this.sentPackets(space);
    if (inFlight) path.congestion.delivery?.onPacketSent(bytes, path.bytesInFlight, now);
    sent.commit(bytes, ackEliciting, inFlight, isSizeProbe, path.rtt.isCalm, path.congestion.delivery);
    if (!inFlight) return;
    path.onPacketSent(bytes, now);
    if (!ackEliciting) return;
    this.pto.onAckElicitingSent(space, now);
    if (path.loss.isLossy && carriesMessages(sent, sent.largestSent)) this.thin.onSent(now);
  }

  /** A packet went another way than packets go: it is outside of all accounts of the path, but not what it carried. [CON-88] */
  onSentElsewhere(space: PacketSpace, number: number, bytes: number, ackEliciting: boolean): void {
    const { path } = this;
    const sent = this.sentPackets(space);
    sent.commit(bytes, ackEliciting, ackEliciting, false, path.rtt.isCalm, path.congestion.delivery);
    markOffPath(sent, number);
  }

  /**
   * Takes an ACK frame: fills {@link fates}.
   *
   * @param ranges - descending pairs [start, end)
   * @param ackDelay - the frame's delay field
   * @param ecn - the frame's counts; null when it has none
   * @returns 0, or the code to close the connection with
   */
  onAck(
    space: PacketSpace,
    ranges: Float64Array,
    rangeCount: number,
    ackDelay: Micros,
    now: Micros,
    ecn: EcnCounts | null = null,
  ): number {
    const { fates, path } = this;
    const sent = this.sentPackets(space);
    fates.clear(space);
    const largestBefore = sent.largestAcked;
    const code = acknowledge(sent, ranges, rangeCount, path, fates, now);
    if (code !== 0 || fates.acked.count + fates.spurious.count === 0) return code;
    this.pto.onAck(space, now);
    // [REC-2] The largest number is newly acknowledged, and something that had to be.
    if (fates.isAckEliciting && fates.acked.numbers[0] === ranges[1] - 1) {
      this.sampleRtt(space, sent, ackDelay, now);
    }
    if (fates.spurious.count > 0) this.onSpurious(sent, largestBefore, now);
    this.detectLosses(sent, now);
    if (path.ecn !== null && sent.largestAcked > largestBefore) this.onMarks(path.ecn, sent, ecn, now);
    path.onSettled(fates.acked.count > 0 ? sent.reportOf(fates.acked.numbers[0]).sentTime : -1, now);
    return 0;
  }

  /** Time passed in which nothing was looked at: what was sent before tells nothing of the path's delay any more. [REC-54] */
  onResumed(now: Micros): void {
    this.resumedAt = now;
    this.pto.count = 0;
  }

  /** When {@link onTimeout} must be called, or NEVER. */
  nextTimeout(): Micros {
    // [REC-19] No probe while a loss timer is set. [REC-20] None where nothing may be sent.
    const loss = this.lossDeadline();
    if (loss !== NEVER || this.path.validation.isExhausted) return loss;
    const isThin = this.path.loss.isLossy && this.thin.isThin(this.packetsInFlight);
    return this.pto.deadline(this.spaces, this.path.rtt, isThin ? this.thin : null);
  }

  /** A deadline may have passed. Call again until {@link nextTimeout} is later than `now`. */
  onTimeout(now: Micros): TimeoutResult {
    const { fates } = this;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const sent = this.spaces[space];
      if (sent === null || sent.loss.deadline > now) continue;
      fates.clear(space as PacketSpace);
      this.detectLosses(sent, now);
      this.path.onSettled(-1, now);
      return fates.lost.count > 0 ? TimeoutResult.LOST : TimeoutResult.NONE;
    }
    if (this.nextTimeout() > now) return TimeoutResult.NONE;
    fates.clear(this.pto.expire(now));
    this.path.ecn?.onProbeTimeout(this.pto.count);
    return TimeoutResult.PROBE;
  }

  /** A 1-RTT packet of the peer came, whatever is in it. [REC-99] */
  onHeard(): void {
    this.pto.onHeard();
  }

  /** Something of the space is to be acknowledged yet. */
  awaits(space: PacketSpace): boolean {
    return (this.spaces[space]?.flight.ackEliciting ?? 0) > 0;
  }

  /** A probe of the space goes, see {@link fates}, that no timeout asked for: timeouts count on as they did. [REC-15] [CON-7] */
  probe(space: PacketSpace): void {
    this.fates.clear(space);
    this.pto.probe(space);
  }

  /** Ack-eliciting probe packets to send in the space, whatever the allowance says; {@link onSent} counts them off. */
  probesPending(space: PacketSpace): number {
    return this.pto.probesPending(space);
  }

  /** Client: Handshake packets can be sent. */
  onHandshakeKeys(): void {
    this.pto.hasHandshakeKeys = true;
  }

  /** The handshake is confirmed; the peer's max_ack_delay_us is known, and its min_ack_delay_us if it has one. */
  onHandshakeConfirmed(peerMaxAckDelay: Micros, peerMinAckDelay: Micros | null = null): void {
    this.thin.acks.onPeerParameters(peerMinAckDelay, peerMaxAckDelay);
    this.pto.isHandshakeConfirmed = true;
    this.pto.isPeerValidated = true;
    this.pto.peerMaxAckDelay = peerMaxAckDelay;
  }

  /** The keys of a space are gone: what was sent there no longer counts. [REC-18] */
  discardSpace(space: PacketSpace, now: Micros): void {
    const sent = this.spaces[space];
    if (sent === null) return;
    this.path.bytesInFlight -= sent.flight.bytes;
    this.spaces[space] = null;
    this.path.ecn?.discardSpace(space);
    this.pto.onSpaceDiscarded(space, now);
  }

  /**
   * Packets of the space numbered below `below` can never have been accepted (refused 0-RTT, Retry): they are reported as lost and leave
   * the flight, without a congestion signal.
   *
   * @param retriedAt - when a Retry said so: probes count anew, and where none was sent twice it tells the round-trip time (RFC 9002
   * section 6.3) [HS-35]
   */
  withdraw(space: PacketSpace, below: number, retriedAt: Micros = -1): void {
    const sent = this.sentPackets(space);
    const sentAt = sent.flight.lastAckElicitingTime;
    this.fates.clear(space);
    withdraw(sent, below, this.path, this.fates);
    if (retriedAt < 0) return;
    const isFirstAnswer = this.pto.count === 0 && !this.path.rtt.hasSample && sentAt > this.resumedAt;
    this.pto.onSpaceDiscarded(space, retriedAt);
    if (isFirstAnswer) this.path.rtt.update(retriedAt - sentAt, 0, retriedAt);
  }

  /**
   * Packets go another way from now on: those under way count for nothing there. With `isGone` the old way carries nothing any more, and they
   * are reported as lost, in {@link fates}. [CON-88]
   */
  leavePath(isGone: boolean, now: Micros): void {
    const sent = this.sentPackets(PacketSpace.APPLICATION);
    this.fates.clear(PacketSpace.APPLICATION);
    if (isGone) withdraw(sent, sent.largestSent + 1, this.path, this.fates);
    leaveBehind(sent);
    this.path.bytesInFlight = 0;
    this.thresholds = new LossThresholds();
    this.pto.onPathChanged(now);
  }

  /** The probe timeout of a space without back-off: for key retirement, closing and path checks. */
  probeTimeout(space: PacketSpace): Micros {
    return this.pto.duration(space, this.path.rtt);
  }

  /** Gives memory back where nothing is outstanding, for a connection that goes idle. {@link fates} are forgotten. */
  trim(): void {
    this.fates.trim();
    for (let space = 0; space < PACKET_SPACES; space++) this.spaces[space]?.trim();
  }

  /** Ack-eliciting packets of the application space. */
  private get packetsInFlight(): number {
    return this.spaces[PacketSpace.APPLICATION]?.flight.ackEliciting ?? 0;
  }

  /** When the last ack-eliciting packet of the space was sent. */
  saidAt(space: PacketSpace): Micros {
    return this.spaces[space]?.flight.lastAckElicitingTime ?? 0;
  }

  /** True when no more packets with data can be recorded. [REC-12] */
  private isFull(now: Micros): boolean {
    return this.spaces[PacketSpace.APPLICATION]?.isFull(now) ?? true;
  }

  private sampleRtt(space: PacketSpace, sent: SentPackets, ackDelay: Micros, now: Micros): void {
    if (isOffPath(sent, this.fates.acked.numbers[0])) return;
    const sentTime = sent.reportOf(this.fates.acked.numbers[0]).sentTime;
    if (sentTime < this.resumedAt) return; // [REC-54] it measures how long we slept
    const { rtt } = this.path;
    // [REC-5] Only what the peer may delay, and only as long as it may.
    let delay = space === PacketSpace.INITIAL ? 0 : ackDelay;
    if (this.pto.isHandshakeConfirmed) delay = Math.min(delay, this.pto.peerMaxAckDelay);
    // [REC-2] Until the ACK came. The time of day, by which sockets stamp, may have been set meanwhile.
    const heardAt = this.heardAt > sentTime ? Math.min(this.heardAt, now) : now;
    rtt.update(heardAt - sentTime, delay, now);
    sent.retention = RETENTION_PTOS * rtt.probeTimeout;
  }

  private detectLosses(sent: SentPackets, now: Micros): void {
    const { fates, path, thresholds } = this;
    thresholds.update(path.rtt, this.pto.peerMaxAckDelay);
    detectLost(sent, now, thresholds, path, fates);
    if (path.ecn !== null && fates.lost.count > 0) path.ecn.onLost(fates.space, onPath(sent, fates.lost));
    const { lost } = fates;
    if (fates.isPersistent) path.onPersistentCongestion(sent.reportOf(lost.numbers[lost.count - 1]).sentTime);
    this.thin.onSettled(path.loss.isLossy, this.packetsInFlight, path.rtt.smoothed, now);
  }

  private onSpurious(sent: SentPackets, largestBefore: number, now: Micros): void {
    const { numbers, count } = this.fates.spurious;
    for (let k = 0; k < count; k++) {
      const number = numbers[k];
      if (sent.isSizeProbe(number) || isOffPath(sent, number)) continue;
      if (this.fates.space === PacketSpace.APPLICATION) this.path.loss.onSpurious(number);
      this.thresholds.onSpurious(sent, number, largestBefore);
      this.path.onSpuriousLoss(sent.reportOf(number), now);
    }
    sent.loss.runStart = NEVER;
  }

  /** [REC-82] [REC-84] An acknowledgement of a larger number than before says, or should say, what arrived with a mark. */
  private onMarks(marked: PathEcn, sent: SentPackets, counts: EcnCounts | null, now: Micros): void {
    const { acked, space } = this.fates;
    const marks = marked.onAck(space, onPath(sent, acked), counts);
    if (marks === 0 || acked.count === 0) return;
    this.path.onMarks(sent.reportOf(acked.numbers[0]).sentTime, marks, now);
  }

  private lossDeadline(): Micros {
    let earliest = NEVER;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const sent = this.spaces[space];
      if (sent !== null && sent.loss.deadline < earliest) earliest = sent.loss.deadline;
    }
    return earliest;
  }
}

const HANDSHAKE_CAPACITY = 8;
/** A handshake takes some dozen packets. */
const HANDSHAKE_PACKETS_MAX = 512;
/** [REC-8] Lost packets are remembered for this many probe timeouts after they were sent. */
const RETENTION_PTOS = 2;
