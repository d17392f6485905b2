/**
 * The seam between recovery, which knows what became of packets, and a congestion controller, which decides how many bytes may be in
 * flight and how fast packets leave.
 *
 * A controller is told of every packet in flight one by one: sent, acknowledged, lost, or acknowledged after it was taken for lost. After
 * the packets of an acknowledgement or of a loss pass it is told how many were marked, and that this was all of it. A packet that was recovered by other packets
 * is told as lost, like any other: the path did not carry it.
 */

import type { RandomSource } from '../../base/random.ts';
import type { Micros } from '../../base/time.ts';
import type { Delivery, PacketReport } from './delivery-rate.ts';
import type { PacingLimits } from './pacer.ts';

export interface CongestionController {
  readonly name: CongestionName;
  /** Bytes that may be in flight. */
  readonly window: number;
  /** Bytes a microsecond at which packets leave; infinite until there is an RTT sample. */
  readonly pacingRate: number;
  /** It still looks for what the path carries, and its rate may double with each round trip. */
  readonly isSlowStart: boolean;
  /** How exactly the rate is to be kept. */
  readonly pacing: PacingLimits;
  /** What it does, for those who look on. */
  readonly state: CongestionState;
  /** The share of packets, 0 to 1, that it takes the path to lose whatever the rate is. */
  readonly lossFloor: number;
  /** How often losses or marks made it send less. */
  readonly congestionEvents: number;
  /** What the path has delivered, which packets are then told with; null when it does not go by that. */
  readonly delivery: Delivery | null;

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
   * @param isAppLimited - the window was not full since then: it was not what limited the sender, so it must not grow
   */
  onAck(newestSentTime: Micros, isAppLimited: boolean, bytesInFlight: number, now: Micros): void;
  /** The losses just told are more than a bad moment (RFC 9002 section 7.6). */
  onPersistentCongestion(): void;
  /** The packet size in use changed. */
  onPacketSize(mtu: number): void;
  /** The window never grows above `bytes` from now on, nor above a bound set before. */
  limitWindow(bytes: number): void;
}

export type CongestionName = 'bbr' | 'cubic' | 'newreno';

/** All of them: the first three are of `cubic` and `newreno`, the others of `bbr`. */
export const CONGESTION_STATES = [
  'slow-start',
  'congestion-avoidance',
  'recovery',
  'startup',
  'drain',
  'probe-down',
  'probe-cruise',
  'probe-refill',
  'probe-up',
  'probe-rtt',
] as const;
export type CongestionState = (typeof CONGESTION_STATES)[number];

export interface CongestionOptions {
  /** Packet size in bytes at the start. */
  readonly mtu: number;
  /** The window never grows above this. */
  readonly windowBytesMax: number;
  readonly rtt: RoundTripTime;
  /** Of a controller that does things at times of its own choice, so that several do not do them at the same. */
  readonly random: RandomSource;
}

/** What a controller sees of the path's round-trip time, in microseconds. */
export interface RoundTripTime {
  readonly hasSample: boolean;
  /** The newest sample, unadjusted, and when it was taken. */
  readonly latest: Micros;
  readonly sampledAt: Micros;
  /** The newest sample without the peer's acknowledgement delay. */
  readonly adjusted: Micros;
  readonly min: Micros;
  readonly smoothed: Micros;
}

/** [REC-24] Ten packets; below the sizes of jumbo frames bounded as in RFC 9002 section 7.2. */
export function initialWindow(mtu: number): number {
  if (mtu > ETHERNET_PAYLOAD_MAX) return 10 * mtu;
  return Math.min(10 * mtu, Math.max(2 * mtu, 14_720));
}

/** The largest UDP payload of an Ethernet path. Larger packets are on loopback or a network built for them. */
const ETHERNET_PAYLOAD_MAX = 1_472;
