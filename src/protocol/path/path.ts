/**
 * A network path: the two addresses between which packets travel, and all that is known of the way. A connection has one path at a time,
 * which others may take the place of; what is learned on it (whether the address is the peer's, round-trip time, how much may be in flight,
 * how large packets may be) says nothing about another.
 */

import type { RandomSource } from '../../base/random.ts';
import type { Micros } from '../../base/time.ts';
import { MILLISECOND, NEVER, SECOND } from '../../base/time.ts';
import { Bbr } from '../congestion/bbr.ts';
import type { CongestionController, CongestionName, CongestionOptions } from '../congestion/controller.ts';
import { Cubic } from '../congestion/cubic.ts';
import type { PacketReport } from '../congestion/delivery-rate.ts';
import { LossBasedController, NewReno } from '../congestion/loss-based.ts';
import { Pacer, type PacingLimits } from '../congestion/pacer.ts';
import { QueueWindow } from '../congestion/queue-window.ts';
import { PathEcn } from './ecn.ts';
import { PathMtuDiscovery } from './mtu-discovery.ts';
import { PathLoss } from './path-loss.ts';
import { RttEstimator } from './rtt.ts';

export interface PathOptions {
  /** Address of the peer. */
  readonly host: string;
  readonly port: number;
  /** How far it is known that the peer is at its address: that of a server that we connect to is validated. */
  readonly address: AddressState;
  /** Packet size at the start, in bytes of UDP payload. */
  readonly mtu: number;
  /** Rather no connection than packets that are smaller than `mtu`. Default false. */
  readonly mtuIsExact?: boolean;
  readonly congestion: CongestionName;
  /** The socket can set and read the ECN bits. Default false. */
  readonly usesEcn?: boolean;
  readonly random: RandomSource;
  /**
   * Most delay that what is in flight is to add in the queue of the path; 0 for any. Null, the default: any, but while packets are reserved
   * for urgent messages a share of the shortest round trip.
   */
  readonly queueDelayMax?: Micros | null;
  /** Bound of the congestion window; none by default. */
  readonly windowBytesMax?: number;
  /** Default: what `congestion` names. */
  readonly controller?: (options: CongestionOptions) => CongestionController;
}

/** An address of the peer, and the one of the socket's own that it talks to. */
export interface Way {
  readonly host: string;
  readonly port: number;
  readonly local: number;
}

/** A way that packets go from now on, and what is known of it. */
export interface ProvedWay extends Way {
  /** Only a port is another one: packets take the way that they took before. */
  readonly isSameWay: boolean;
  /** Size of a datagram that was carried; 0: none is known. */
  readonly provedBytes: number;
  /** A round trip that was measured; 0: none was. */
  readonly rtt: Micros;
}

export class Path {
  /** Address of the peer. They change when it, or this side, moves to another network: {@link moveTo}. */
  host: string;
  port: number;
  /** Which of the socket's own addresses the peer talks to. */
  local = 0;
  /** A client has heard its server from where packets go, since they go there. */
  isHeard = false;
  readonly validation: AddressValidation;
  readonly rtt = new RttEstimator();
  loss = new PathLoss();
  congestion: CongestionController;
  pacer: Pacer;
  readonly mtuDiscovery: PathMtuDiscovery;
  /** Null where the socket cannot set and read the ECN bits. */
  readonly ecn: PathEcn | null;
  /** Bytes sent and neither acknowledged, lost nor given up with their packet number space, over all spaces. */
  bytesInFlight = 0;

  private windowMax: number;
  private readonly random: RandomSource;
  /** When the controller took over: what was sent until then is not its own. [REC-96] */
  private tookOverAt: Micros = -1;
  private makeController: (options: CongestionOptions) => CongestionController;
  /** Null: bounded only while packets are reserved for urgent messages. */
  private readonly queueDelayMax: Micros | null;
  /** What a bound on the queue leaves of the window; null without one. */
  private queueWindow: QueueWindow | null;
  /** Bytes that arrived since that was last told of them. */
  private arrived = 0;
  /** When packets were last reserved. */
  private reservedAt: Micros = 0;
  /** Bytes of the window that were left to others when it was last asked for. */
  private reserved = 0;
  /** When the window was last full. */
  private fullAt: Micros = -1;

  constructor(options: PathOptions) {
    const { mtu } = options;
    this.host = options.host;
    this.port = options.port;
    this.validation = new AddressValidation(options.address);
    this.windowMax = options.windowBytesMax ?? Number.POSITIVE_INFINITY;
    this.random = options.random;
    this.mtuDiscovery = new PathMtuDiscovery({
      initial: mtu,
      ceiling: mtu,
      isExact: options.mtuIsExact === true,
    });
    this.makeController = options.controller ?? CONTROLLERS[options.congestion];
    this.congestion = this.makeController(this.controllerOptions);
    this.queueDelayMax = options.queueDelayMax ?? null;
    this.queueWindow = this.firstQueueWindow();
    this.pacer = new Pacer(mtu);
    this.ecn = options.usesEcn === true ? new PathEcn() : null;
  }

  /** Packet size in use, in bytes of UDP payload. */
  get mtu(): number {
    return this.mtuDiscovery.mtu;
  }

  /**
   * Bytes that window and pacer let out now. Probes, and packets that are not in flight, are not bound by it.
   *
   * @param packetsReserved - packets to be left of both, but no more than a quarter of the window
   */
  allowance(now: Micros, packetsReserved = 0): number {
    if (packetsReserved > 0 && this.queueDelayMax === null) this.boundQueue(now);
    const window = this.windowFor(packetsReserved);
    const reserve = this.reserve(packetsReserved, window);
    this.reserved = reserve;
    const room = window - this.bytesInFlight - reserve;
    return room <= 0 ? 0 : Math.min(room, Math.max(0, this.pacer.available(now) - reserve));
  }

  /** When the pacer lets the next full packet out; NEVER while the window is full, for then an event must come first. */
  nextSend(now: Micros, packetsReserved = 0): Micros {
    const window = this.windowFor(packetsReserved);
    const reserve = this.reserve(packetsReserved, window);
    const { bytesInFlight } = this;
    // With nothing in flight no event would come: a window for a short queue may be smaller than a packet.
    if (bytesInFlight > 0 && window - bytesInFlight < this.mtu + reserve) return NEVER;
    return this.pacer.nextSend(now, this.mtu + reserve);
  }

  /** A packet that counts in flight goes out. */
  onPacketSent(bytes: number, now: Micros): void {
    const before = this.bytesInFlight;
    this.bytesInFlight = before + bytes;
    this.congestion.onPacketSent(bytes, before, now);
    if (before === 0 && this.congestion.delivery !== null) this.updatePacing(now); // [REC-75] it may restart from idle
    this.queueWindow?.onSent(before + bytes, this.reserved);
    this.pacer.onSent(bytes, now);
    this.noteFull(now);
  }

  /** The window never grows above `bytes` from now on, whatever the controller. */
  limitWindow(bytes: number): void {
    this.windowMax = Math.min(this.windowMax, bytes);
    this.congestion.limitWindow(bytes);
  }

  /** Another controller from now on. It begins anew, within the bounds that hold. [REC-96] */
  useController(name: CongestionName, now: Micros): void {
    this.makeController = CONTROLLERS[name];
    this.congestion = this.makeController(this.controllerOptions);
    this.tookOverAt = now;
    this.updatePacing(now);
  }

  /** A packet in flight is acknowledged. */
  onPacketAcked(packet: PacketReport, now: Micros): void {
    this.noteFull(now);
    this.bytesInFlight -= packet.bytes;
    if (this.queueWindow !== null) this.arrived += packet.bytes;
    if (packet.sentTime <= this.tookOverAt) return;
    this.congestion.onPacketAcked(packet);
    this.congestion.delivery?.onPacketAcked(packet, now);
  }

  /** A packet in flight is declared lost. */
  onPacketLost(packet: PacketReport, now: Micros): void {
    this.bytesInFlight -= packet.bytes;
    if (packet.sentTime <= this.tookOverAt) return;
    this.congestion.delivery?.onPacketLost(packet);
    this.congestion.onPacketLost(packet, now);
  }

  /** A packet that was declared lost is acknowledged. */
  onSpuriousLoss(packet: PacketReport, now: Micros): void {
    if (packet.sentTime <= this.tookOverAt) return;
    this.congestion.delivery?.onSpuriousLoss(packet, now);
    this.congestion.onSpuriousLoss(packet, now);
  }

  /** The peer saw `marks` packets more with a mark, by an acknowledgement whose newest packet was sent at `newestSentTime`. [REC-34] */
  onMarks(newestSentTime: Micros, marks: number, now: Micros): void {
    if (newestSentTime > this.tookOverAt) this.congestion.onEcnCongestion(newestSentTime, marks, now);
  }

  /** Losses up to a packet sent at `newestSentTime` are more than a bad moment. [REC-22] */
  onPersistentCongestion(newestSentTime: Micros): void {
    if (newestSentTime > this.tookOverAt) this.congestion.onPersistentCongestion();
  }

  /** All that an ACK frame or a timeout settled was told; the newest packet acknowledged was sent at `newestSentTime`, -1 without one. */
  onSettled(newestSentTime: Micros, now: Micros): void {
    if (this.queueWindow !== null) this.updateQueueWindow(this.queueWindow, now);
    if (newestSentTime > this.tookOverAt) {
      // [REC-25] The window was not full since the newest acknowledged packet was sent, whatever the pacer held back.
      const isAppLimited = this.fullAt < newestSentTime;
      this.congestion.onAck(newestSentTime, isAppLimited, this.bytesInFlight, now);
    }
    this.updatePacing(now);
  }

  /** {@link mtu} changed. */
  onMtu(now: Micros): void {
    this.congestion.onPacketSize(this.mtu);
    this.updatePacing(now);
  }

  /**
   * Packets go another way from now on, and none of them is under way there. What is known of the old one says nothing of the new one, but
   * where only a port changed (RFC 9000 section 9.4). [CON-88]
   */
  moveTo(way: ProvedWay, now: Micros): void {
    const { isSameWay, provedBytes, rtt } = way;
    this.host = way.host;
    this.port = way.port;
    this.local = way.local;
    this.isHeard = false;
    if (isSameWay) return;
    this.rtt.reset();
    if (rtt > 0) this.rtt.update(rtt, 0, now);
    this.loss = new PathLoss();
    this.mtuDiscovery.startAnew(provedBytes);
    this.congestion = this.makeController(this.controllerOptions);
    this.pacer = new Pacer(this.mtu);
    this.queueWindow = this.firstQueueWindow();
    this.arrived = 0;
    this.fullAt = -1;
    this.ecn?.startAnew();
    this.updatePacing(now);
  }

  /** The pacer follows the congestion controller, which may have changed its mind. */
  private updatePacing(now: Micros): void {
    const { congestion, queueWindow, rtt } = this;
    let { pacing, pacingRate } = congestion;
    if (pacingRate === Number.POSITIVE_INFINITY) return;
    if (queueWindow !== null && congestion.delivery === null && queueWindow.bytes < congestion.window) {
      // [SCH-6] A window that leaves in bursts fills the queue, and then leaves it empty. BBR paces by the path's rate as it is.
      pacing = BOUNDED_PACING;
      pacingRate = Math.min(pacingRate, (BOUNDED_PACING_GAIN * queueWindow.bytes) / rtt.smoothed);
    }
    this.pacer.setRate(pacingRate, pacing, this.mtu, now);
  }

  private firstQueueWindow(): QueueWindow | null {
    const { queueDelayMax } = this;
    const isBounded = queueDelayMax !== null && queueDelayMax > 0;
    return isBounded ? new QueueWindow(this.rtt, queueDelayMax, 0, 0) : null;
  }

  /** For a controller that begins now. */
  private get controllerOptions(): CongestionOptions {
    const { mtu, random, rtt, windowMax } = this;
    return { mtu, windowBytesMax: windowMax, rtt, random };
  }

  private reserve(packets: number, window: number): number {
    return packets === 0 ? 0 : Math.min(packets * this.mtu, window / 4);
  }

  /** What may be in flight: as much as the controller says, and keeps the queue as short as it has to be. [SCH-6] Urgent messages make none. */
  private windowFor(packetsReserved: number): number {
    const { congestion, queueWindow } = this;
    if (queueWindow === null || (packetsReserved === 0 && this.queueDelayMax === null))
      return congestion.window;
    return Math.min(congestion.window, queueWindow.bytes);
  }

  /** Packets are reserved for urgent messages: what else is sent keeps the queue short for them, too. [SCH-10] */
  private boundQueue(now: Micros): void {
    this.reservedAt = now;
    if (this.queueWindow !== null) return;
    this.queueWindow = new QueueWindow(this.rtt, URGENT_DELAY, URGENT_SHARE, now);
    this.arrived = 0;
  }

  private updateQueueWindow(queueWindow: QueueWindow, now: Micros): void {
    const isOver = this.queueDelayMax === null && now - this.reservedAt > RESERVED_TIME;
    if (isOver) this.queueWindow = null;
    else queueWindow.onAck(this.arrived, now, this.congestion.isSlowStart);
    this.arrived = 0;
  }

  private noteFull(now: Micros): void {
    if (this.bytesInFlight + this.mtu + this.reserved > this.congestion.window) this.fullAt = now;
  }
}

/**
 * Whether the peer is at the address that its packets name. Before that is known a server sends there at most three times the bytes that
 * came from it (RFC 9000 section 8.1), so that it cannot be used to flood somebody else.
 */
export class AddressValidation {
  state: AddressState;
  /** The server has so little left to send that no useful packet fits. */
  isExhausted = false;
  private received = 0;
  private sent = 0;
  private largest = 0;

  constructor(state: AddressState) {
    this.state = state;
  }

  /** It is known that the peer is there, by whatever it showed. */
  get isValidated(): boolean {
    return this.state !== AddressState.UNKNOWN;
  }

  onReceived(bytes: number): void {
    if (!this.isValidated) this.received += bytes;
    if (bytes > this.largest) this.largest = bytes;
  }

  onSent(bytes: number): void {
    if (!this.isValidated) this.sent += bytes;
  }

  /** Bytes that may be sent now; infinite once validated. */
  get allowance(): number {
    return this.isValidated ? Number.POSITIVE_INFINITY : AMPLIFICATION_FACTOR * this.received - this.sent;
  }

  /** The largest datagram that came from the address. */
  get datagramBytesLargest(): number {
    return this.largest;
  }

  /** The largest datagram that may be sent: before the client has answered never larger than the largest received. [PKT-19] */
  get datagramBytesMax(): number {
    return this.state === AddressState.VALIDATED ? Number.POSITIVE_INFINITY : this.largest;
  }
}

/** How far a server knows that a client is at the address that its packets name. */
export const AddressState = {
  UNKNOWN: 0,
  /** A token says that it was there; no packet of this connection does yet. [HS-31] */
  BY_TOKEN: 1,
  /** It answered what only it can have read. [CON-4] */
  VALIDATED: 2,
} as const;
export type AddressState = (typeof AddressState)[keyof typeof AddressState];

/** Bytes a microsecond that a path carries, as far as its controller knows; infinite while it looks for that. */
export function knownRate({ congestion }: Path): number {
  return congestion.isSlowStart ? Number.POSITIVE_INFINITY : congestion.pacingRate;
}

const CONTROLLERS: Readonly<Record<CongestionName, (options: CongestionOptions) => CongestionController>> = {
  bbr: (options) => new Bbr(options),
  cubic: (options) => new LossBasedController(options, new Cubic()),
  newreno: (options) => new LossBasedController(options, new NewReno()),
};
export const AMPLIFICATION_FACTOR = 3;
/** A window that is bounded for the sake of the queue leaves all but evenly, only a little faster than it is acknowledged. */
const BOUNDED_PACING: PacingLimits = { burstPackets: 4, lateTimeMax: 0 };
const BOUNDED_PACING_GAIN = 1.1;
/** [SCH-10] The queue that all else may make beside urgent messages: a share of the shortest round trip, and no less than what timers tell apart. */
const URGENT_SHARE = 1 / 12;
const URGENT_DELAY: Micros = 2 * MILLISECOND;
/** A transfer that pauses for so long begins anew with its bound. */
const RESERVED_TIME: Micros = 2 * SECOND;
