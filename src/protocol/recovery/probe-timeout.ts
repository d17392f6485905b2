import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { RttEstimator } from '../path/rtt.ts';
import { PACKET_SPACES, PacketSpace } from '../wire/packet-header.ts';
import type { SentPackets } from './sent-packets.ts';
import { newestCopyOf, newestInFlight, oldestToMend } from './thin-probe.ts';
import type { ThinSender } from './thin-sender.ts';

/** The probe timeout (RFC 9002 section 6.2): when to send something that makes the peer acknowledge, and how often. */
export class ProbeTimeout {
  /** Consecutive timeouts without an acknowledgement. */
  count = 0;
  /** The peer's max_ack_delay_us. */
  peerMaxAckDelay: Micros = 25_000;
  isHandshakeConfirmed = false;
  /** The peer is known to accept what we send: it cannot be waiting for us to lift its amplification limit. */
  isPeerValidated: boolean;
  /** Client: Handshake packets can be sent. */
  hasHandshakeKeys = false;

  /** Probes to send, by space. */
  private readonly pending = [0, 0, 0];
  /** When the last event happened that restarts the anti-deadlock timer; NEVER before the first packet. */
  private lastEventTime: Micros = NEVER;
  /** The space that {@link deadline} was last computed from. */
  private space: PacketSpace = PacketSpace.INITIAL;
  private probes = PROBES;
  /** When the application space was probed last, and whether a packet of the peer has come since. */
  private probedAt: Micros = 0;
  private isHeard = false;

  constructor(isServer: boolean) {
    this.isPeerValidated = isServer;
  }

  /** The timeout of a space, without back-off. */
  duration(space: PacketSpace, rtt: RttEstimator): Micros {
    // [REC-14] Only application packets are acknowledged with a delay.
    return space === PacketSpace.APPLICATION && this.isHandshakeConfirmed
      ? rtt.probeTimeout + this.peerMaxAckDelay
      : rtt.probeTimeout;
  }

  /**
   * When the timeout expires, or NEVER.
   *
   * @param thin - a sender that is thin, over a path that loses; else null
   */
  deadline(
    spaces: readonly (SentPackets | null)[],
    rtt: RttEstimator,
    thin: ThinSender | null = null,
  ): Micros {
    let earliest = NEVER;
    for (let space = 0; space < PACKET_SPACES; space++) {
      const sent = spaces[space];
      if (sent === null || sent.flight.ackEliciting === 0) continue;
      // [REC-15] Before confirmation the peer may be unable to read application packets.
      if (space === PacketSpace.APPLICATION && !this.isHandshakeConfirmed) continue;
      const timeout = this.backedOff(this.duration(space as PacketSpace, rtt), space as PacketSpace);
      if (sent.flight.lastAckElicitingTime + timeout >= earliest) continue;
      earliest = sent.flight.lastAckElicitingTime + timeout;
      this.space = space as PacketSpace;
      this.probes = PROBES;
    }
    if (thin !== null) earliest = this.fromOldest(spaces[PacketSpace.APPLICATION], rtt, thin, earliest);
    if (earliest !== NEVER) return earliest;
    // [REC-16] The server may be waiting for bytes from us before it may send more; or application packets, which are not probed for, fill the
    // window, and what was lost of the handshake waits for that.
    if (this.isPeerValidated && !this.isHeldUp(spaces)) return NEVER;
    this.space = this.hasHandshakeKeys || this.isPeerValidated ? PacketSpace.HANDSHAKE : PacketSpace.INITIAL;
    this.probes = 1;
    return this.lastEventTime + this.backedOff(rtt.probeTimeout, this.space);
  }

  /** The last computed {@link deadline} passed. Returns the space to probe. */
  expire(now: Micros): PacketSpace {
    // [REC-13] Each timeout in a row doubles the next.
    this.count++;
    this.lastEventTime = now;
    this.pending[this.space] = this.probes;
    if (this.space === PacketSpace.APPLICATION) {
      this.probedAt = now;
      this.isHeard = false;
    }
    return this.space;
  }

  /** One probe is to be sent, at least. */
  probe(space: PacketSpace): void {
    if (this.pending[space] === 0) this.pending[space] = 1;
  }

  probesPending(space: PacketSpace): number {
    return this.pending[space];
  }

  onAckElicitingSent(space: PacketSpace, now: Micros): void {
    this.lastEventTime = now;
    if (this.pending[space] > 0) this.pending[space]--;
  }

  /** A 1-RTT packet of the peer came. */
  onHeard(): void {
    this.isHeard = true;
  }

  onAck(space: PacketSpace, now: Micros): void {
    if (space === PacketSpace.HANDSHAKE) this.isPeerValidated = true;
    // [REC-17] An acknowledged Initial does not prove that the server may send.
    if (this.isPeerValidated) this.count = 0;
    this.lastEventTime = now;
    this.pending[space] = 0;
  }

  /** What did not arrive on the old path says nothing of the new one. */
  onPathChanged(now: Micros): void {
    this.onSpaceDiscarded(PacketSpace.APPLICATION, now);
  }

  onSpaceDiscarded(space: PacketSpace, now: Micros): void {
    this.count = 0;
    this.lastEventTime = now;
    this.pending[space] = 0;
  }

  /** Nothing of the handshake is in flight, and what is in flight the peer can perhaps not read before it has all of that. */
  private isHeldUp(spaces: readonly (SentPackets | null)[]): boolean {
    if (this.isHandshakeConfirmed || spaces[PacketSpace.HANDSHAKE] === null) return false;
    return (spaces[PacketSpace.APPLICATION]?.flight.ackEliciting ?? 0) > 0;
  }

  /** [REC-58] Of a thin sender no packet may follow that shows the loss: its timeout counts from the oldest one. */
  private fromOldest(
    sent: SentPackets | null,
    rtt: RttEstimator,
    thin: ThinSender,
    otherwise: Micros,
  ): Micros {
    if (sent === null || !this.isHandshakeConfirmed) return otherwise;
    // This is asked for each batch, and a peer can make us send nothing but acknowledgements, and acknowledge none of what was before them.
    if (sent.largestSent - sent.loss.cursor >= NUMBERS_MAX) return otherwise;
    const oldest = oldestToMend(sent);
    if (oldest < 0) return otherwise;
    // What was sent right behind it would show its loss as soon; and while a copy of it is under way there is nothing to mend.
    const follower = newestInFlight(sent, sent.reportOf(oldest).sentTime + rtt.smoothed / 4);
    const last = Math.max(follower, newestCopyOf(sent, oldest));
    const from = Math.max(sent.reportOf(last).sentTime, this.probedAt);
    const deadline = from + this.backedOff(rtt.probeTimeout + thin.acks.peerDelay, PacketSpace.APPLICATION);
    if (deadline >= otherwise) return otherwise;
    this.space = PacketSpace.APPLICATION;
    this.probes = 1;
    return deadline;
  }

  private backedOff(timeout: Micros, space: PacketSpace): Micros {
    if (this.count === 0) return Math.min(timeout, PTO_MAX); // asked for each batch, and a power takes a while
    const most = this.isHeard && space === PacketSpace.APPLICATION ? Math.max(timeout, HEARD_MAX) : PTO_MAX;
    return Math.min(timeout * 2 ** Math.min(this.count, BACKOFF_EXPONENT_MAX), most, PTO_MAX);
  }
}

/** [REC-21] */
const PROBES = 2;
const BACKOFF_EXPONENT_MAX = 16;
/** Numbers that are looked through for what a thin sender has in flight. */
const NUMBERS_MAX = 128;
const PTO_MAX: Micros = 60 * SECOND;
/** [REC-99] A peer that is heard takes packets, or will: it has no memory for what they bring, or the way to it is bad for a while. */
const HEARD_MAX: Micros = SECOND;
