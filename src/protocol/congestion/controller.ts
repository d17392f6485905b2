/**
 * The seam between recovery, which knows what became of packets, and a congestion controller, which decides how many bytes may be in
 * flight and how fast packets leave.
 *
 * A controller is told of every packet in flight one by one: sent, acknowledged, lost, or acknowledged after it was taken for lost. After
 * the packets of an acknowledgement or of a loss pass it is told how many were marked, and that this was all of it. A packet that was recovered by other packets
 * is told as lost, like any other: the path did not carry it.
 */

import type { Micros } from '../../base/time.ts';

export interface CongestionController {
  readonly name: CongestionName;
  /** Bytes that may be in flight. */
  readonly window: number;
  /** Bytes a microsecond at which packets leave; infinite until there is an RTT sample. */
  readonly pacingRate: number;
  /** It still looks for what the path carries, and its rate may double with each round trip. */
  readonly isSlowStart: boolean;
  /** True when packets are to be told with what was delivered before them: see {@link Delivery}. */
  readonly wantsDelivery: boolean;

  /** A packet goes out; `bytesInFlight` does not include it yet. */
  onPacketSent(bytes: number, bytesInFlight: number, now: Micros): void;
  /** Those of an ACK frame are told newest first. */
  onPacketAcked(packet: PacketReport): void;
  /** Oldest first. */
  onPacketLost(packet: PacketReport, now: Micros): void;
  /** A packet that was told as lost is acknowledged: the loss was spurious. */
  onSpuriousLoss(packet: PacketReport, now: Micros): void;
  /**
   * Routers marked packets instead of dropping them (RFC 3168): told once for the acknowledgement that says so, after its packets and losses
   * and before {@link onAck}. [REC-34]
   *
   * @param newestSentTime - of the packets it acknowledges, the marked ones among them
   * @param marks - how many packets more are known to be marked
   */
  onEcnCongestion(newestSentTime: Micros, marks: number, now: Micros): void;
  /**
   * All packets that an ACK frame newly acknowledges, and those it shows to be lost, were told.
   *
   * @param newestSentTime - of the acknowledged packets
   * @param isAppLimited - the window was not what limited the sender, so it must not grow
   */
  onAck(newestSentTime: Micros, isAppLimited: boolean, now: Micros): void;
  /** The losses just told are more than a bad moment (RFC 9002 section 7.6). */
  onPersistentCongestion(): void;
  /** The packet size in use changed. */
  onPacketSize(mtu: number): void;
  /** The window never grows above `bytes` from now on, nor above a bound set before. */
  limitWindow(bytes: number): void;
}

export type CongestionName = 'cubic' | 'newreno';

export interface CongestionOptions {
  /** Packet size in bytes at the start. */
  readonly mtu: number;
  /** The window never grows above this. */
  readonly windowBytesMax: number;
  readonly rtt: RoundTripTime;
}

/** What a controller sees of the path's round-trip time, in microseconds. */
export interface RoundTripTime {
  readonly hasSample: boolean;
  /** The newest sample, unadjusted. */
  readonly latest: Micros;
  readonly min: Micros;
  readonly smoothed: Micros;
}

/** One packet as a controller is told of it. One object is used for all: read it during the call. */
export class PacketReport {
  bytes = 0;
  sentTime: Micros = 0;
  /** Bytes that were known to be delivered when it was sent, and since when; what they are counted from. See {@link Delivery}. */
  delivered = 0;
  deliveredTime: Micros = 0;
  firstSentTime: Micros = 0;
  /** What was in flight when it was sent was all that the application had to send. */
  isAppLimited = false;
}

/**
 * How much a path has delivered, for a controller that goes by the delivery rate (draft-ietf-ccwg-bbr section 4.1): a packet takes a
 * snapshot along when it is sent, and the difference to the state at its acknowledgement is a sample of the rate.
 */
export class Delivery {
  /** Bytes acknowledged, and when that number last grew. */
  delivered = 0;
  deliveredTime: Micros = 0;
  /** When the newest acknowledged packet was sent, or the first one after nothing was in flight. */
  firstSentTime: Micros = 0;
  /** While this much is not delivered, packets are of a time when the application had no more to send. */
  private appLimitedUntil = 0;

  /** A packet goes out. */
  onPacketSent(bytesInFlight: number, now: Micros): void {
    if (bytesInFlight > 0) return;
    this.firstSentTime = now;
    this.deliveredTime = now;
  }

  onPacketAcked(packet: PacketReport, now: Micros): void {
    this.delivered += packet.bytes;
    this.deliveredTime = now;
    if (packet.sentTime > this.firstSentTime) this.firstSentTime = packet.sentTime;
  }

  /** Nothing more is to be sent: that is the application's doing unless the window is full. */
  onAppLimited(bytesInFlight: number, window: number): void {
    if (bytesInFlight < window) this.appLimitedUntil = Math.max(this.delivered + bytesInFlight, 1);
  }

  get isAppLimited(): boolean {
    return this.delivered < this.appLimitedUntil;
  }
}
