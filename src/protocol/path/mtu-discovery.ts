import { type Micros, NEVER, SECOND } from '../../base/time.ts';

export interface PathMtuOptions {
  /** Size to start with, in bytes of UDP payload; 1,200 unless configured. */
  readonly initial: number;
  /** The most that interface, socket, peer and user allow. Nothing larger is ever sent. */
  readonly ceiling: number;
  /** Rather no connection than packets that are smaller than `initial`. Default false. */
  readonly isExact?: boolean;
  /** The smallest size to fall back to; 512 by default. */
  readonly floor?: number;
}

/**
 * Which packet size a path carries (after RFC 8899). {@link mtu} is in use. Larger sizes are tried with probe packets, the
 * largest first; a path that swallows large packets is noticed, and the size falls back.
 *
 * That small packets arrive says nothing about large ones: a black hole is a path on which packets of some size and above are lost
 * again and again while none as large arrives. What falls too deep, or for a delay that only looked like a loss, rises again: with the
 * acknowledgement of a larger packet at once, else with the first probe, which is for the size that was in use before.
 */
export class PathMtuDiscovery {
  /** The size in use: no packet but a probe is larger. */
  mtu: number;
  /** How often a size was found not to be carried any more. */
  falls = 0;

  /** The size that is to be used exactly, or 0. */
  private exact: number;
  private readonly floor: number;
  /** What most paths are expected to carry. */
  private readonly base: number;
  private ceiling: number;
  /** What the peer takes, and its buffer holds: above the ceiling a user may still ask for this much. */
  private bound = Number.POSITIVE_INFINITY;
  /** The size that the user asked for and that is not proved yet, or 0, and the ceiling until then. [REC-95] */
  private asked = 0;
  private ceilingBefore = 0;
  /** This size and all above are given up until {@link retryAt}. */
  private failedFrom = Number.POSITIVE_INFINITY;
  private retryAt: Micros = NEVER;
  /** What was in use before the size fell, to be tried first; 0 for nothing. */
  private before = 0;
  /** The size of the probe on its way, or 0. */
  private probing = 0;
  private tries = 0;
  /** The smallest packet of those lost since one as large arrived. */
  private lostFrom = Number.POSITIVE_INFINITY;
  /** Loss passes since then, each with the probe timeouts before it. */
  private suspicion = 0;
  /** Probe timeouts since anything was acknowledged. */
  private timeouts = 0;

  constructor(options: PathMtuOptions) {
    this.floor = options.floor ?? SIZE_FLOOR;
    this.mtu = Math.max(options.initial, this.floor);
    this.base = Math.min(SIZE_BASE, this.mtu);
    this.ceiling = Math.max(options.ceiling, this.mtu);
    this.exact = options.isExact === true ? options.initial : 0;
  }

  /** A certain size is to be used, and the path is not known to carry it. [REC-52] */
  get isBelowExact(): boolean {
    return this.mtu < this.exact;
  }

  /** A size that something waits for is not proved yet: it is probed for without other reason. */
  get isSought(): boolean {
    return this.asked > 0 || this.mtu < this.exact;
  }

  /**
   * A new ceiling is known. True when {@link mtu} changed.
   *
   * @param bound - what the peer takes, whatever its user or ours would rather have
   */
  limit(ceiling: number, bound = this.bound): boolean {
    this.bound = bound;
    this.ceiling = Math.max(ceiling, this.floor);
    this.ceilingBefore = Math.min(this.ceilingBefore, this.ceiling);
    if (this.asked > this.ceiling) this.asked = 0;
    if (this.probing > this.ceiling) this.probing = 0;
    if (this.mtu <= this.ceiling) return false;
    this.mtu = this.ceiling;
    return true;
  }

  /**
   * The user wants this size from now on: one that is in use or smaller at once, a larger one when the path has carried it, whatever was
   * given up before. Until then, and if it does not, all stays as it is. True when {@link mtu} changed. [REC-95]
   */
  ask(bytes: number): boolean {
    this.abandonAsked();
    this.exact = 0;
    this.before = 0;
    this.probing = 0;
    this.tries = 0;
    this.failedFrom = Number.POSITIVE_INFINITY;
    if (bytes > this.bound) return false;
    if (bytes <= this.mtu) return this.limit(bytes);
    this.asked = bytes;
    this.ceilingBefore = this.ceiling;
    this.ceiling = bytes;
    return false;
  }

  /** No more than `bytes` is known to be carried yet: larger sizes have to prove themselves. True when {@link mtu} changed. [REC-43] */
  startAt(bytes: number): boolean {
    if (this.mtu <= bytes || this.mtu <= this.floor) return false;
    this.mtu = Math.max(bytes, this.floor);
    return true;
  }

  /** Another path, of which it is known that it carries so much, or nothing (0). What the old one carried is tried first. [CON-88] */
  startAnew(provedBytes: number): void {
    const was = this.mtu;
    this.abandonAsked();
    this.mtu = Math.min(was, Math.max(provedBytes, this.floor));
    this.before = was > this.mtu ? was : 0;
    this.failedFrom = Number.POSITIVE_INFINITY;
    this.retryAt = NEVER;
    this.probing = 0;
    this.tries = 0;
    this.timeouts = 0;
    this.trust();
  }

  /** Size of the probe to send now, of at most `bytesMax`, or 0. Call {@link onProbeSent} when it went out. */
  nextProbe(now: Micros, bytesMax: number): number {
    if (this.probing !== 0) return 0;
    if (now >= this.retryAt) {
      this.retryAt = NEVER;
      this.failedFrom = Number.POSITIVE_INFINITY;
    }
    return this.candidate(bytesMax);
  }

  onProbeSent(bytes: number): void {
    this.probing = bytes;
  }

  /** A probe arrived, if late. True when {@link mtu} changed. */
  onProbeAcked(bytes: number): boolean {
    if (bytes === this.probing) this.probing = 0;
    return this.raise(bytes);
  }

  /**
   * A probe is lost. True when the size is given up: when the path's losses alone would hardly take so many in a row. [REC-45]
   *
   * @param lossRate - the share of packets that the path loses whatever their size, 0 to 1
   */
  onProbeLost(bytes: number, lossRate: number, now: Micros): boolean {
    if (bytes !== this.probing) return false;
    this.probing = 0;
    const tries = ++this.tries;
    if (tries < PROBE_TRIES_MIN || (tries < PROBE_TRIES_MAX && lossRate ** tries > CHANCE_MAX)) return false;
    this.giveUp(bytes, now);
    return true;
  }

  /**
   * An acknowledgement came. True when {@link mtu} changed.
   *
   * @param arrivedBytes - size of the largest packet that it proves to have arrived
   * @param lostBytes - size of the smallest packet that it shows to be lost, probes aside; 0 for none
   */
  onAck(arrivedBytes: number, lostBytes: number): boolean {
    // [REC-47] A packet from before the size fell arrived: what made it fall was a delay.
    const isRaised = this.raise(arrivedBytes);
    if (arrivedBytes >= this.lostFrom) this.trust();
    const isBlack = lostBytes > arrivedBytes && this.onLost(lostBytes);
    if (arrivedBytes > 0) this.timeouts = 0;
    return isBlack || isRaised;
  }

  /** A loss pass found packets lost, the smallest of them of `smallestBytes`. True when {@link mtu} changed. */
  onLost(smallestBytes: number): boolean {
    if (smallestBytes > this.mtu) return false; // sent before the size fell
    if (smallestBytes < this.lostFrom) this.lostFrom = smallestBytes;
    this.suspicion += 1 + this.timeouts;
    // [REC-46] Large packets alone are lost, again and again.
    if (this.suspicion < SUSPICIONS_MAX || this.mtu <= this.floor || this.lostFrom <= this.floor)
      return false;
    const isAboveBase = this.mtu > this.base && this.lostFrom > this.base;
    this.fallTo(isAboveBase ? this.base : this.floor);
    // A first step that was too short is found out sooner.
    if (isAboveBase) this.suspicion = SUSPICIONS_MAX - 1;
    return true;
  }

  /** A probe timeout expired. True when {@link mtu} changed. */
  onPto(isHandshake: boolean): boolean {
    this.timeouts++;
    // [REC-47] Before anything arrived there is nothing to tell a black hole by.
    if (!isHandshake || this.timeouts < HANDSHAKE_TIMEOUTS || this.mtu <= this.floor) return false;
    this.fallTo(this.mtu > this.base ? this.base : this.floor);
    return true;
  }

  /**
   * The most that the second packet of a probe timeout may take: when large packets come to nothing one after the other, a small one
   * tells a black hole from a path that is gone. [REC-51]
   */
  get secondProbeBytes(): number {
    const isDoubtful = this.timeouts >= 2 || (this.timeouts === 1 && this.suspicion > 0);
    return isDoubtful ? Math.min(this.mtu, this.floor) : this.mtu;
  }

  /** The system did not take a datagram of this size: it and all above are given up. True when {@link mtu} changed. */
  onRefused(bytes: number, now: Micros): boolean {
    if (bytes >= this.failedFrom || bytes <= this.floor) return false;
    if (bytes <= this.probing) this.probing = 0;
    const isInUse = bytes <= this.mtu;
    if (isInUse) this.fallTo(bytes > this.base ? this.base : this.floor);
    this.giveUp(bytes, now);
    return isInUse;
  }

  /** The system heard that the path does not carry all that was sent in one piece: nothing larger is tried. True when {@link mtu} changed. */
  onTooLarge(): boolean {
    const isProbe = this.probing > this.mtu;
    this.probing = 0;
    this.abandonAsked();
    return this.limit(isProbe ? this.mtu : Math.min(this.mtu, this.base));
  }

  /** [REC-44] */
  private candidate(bytesMax: number): number {
    const { asked, before, ceiling, failedFrom, mtu } = this;
    if (asked > 0) return asked;
    if (before > mtu && before <= ceiling && before < failedFrom && before <= bytesMax) return before;
    if (ceiling < failedFrom && ceiling <= bytesMax) return ceiling > mtu ? ceiling : 0;
    for (const size of LADDER) {
      if (size < failedFrom && size < ceiling && size <= bytesMax) return size > mtu ? size : 0;
    }
    return 0;
  }

  private raise(bytes: number): boolean {
    if (bytes <= this.mtu || bytes > this.ceiling) return false;
    this.mtu = bytes;
    if (bytes >= this.asked) this.asked = 0;
    this.tries = 0;
    this.trust();
    return true;
  }

  private trust(): void {
    this.suspicion = 0;
    this.lostFrom = Number.POSITIVE_INFINITY;
  }

  private fallTo(size: number): void {
    this.falls++;
    this.before = Math.max(this.before, this.mtu);
    this.mtu = size;
    this.probing = 0;
    this.tries = 0;
    this.timeouts = 0;
    this.trust();
  }

  /** What was asked for is not carried, or not wanted any more. */
  private abandonAsked(): void {
    if (this.asked === 0) return;
    this.asked = 0;
    this.ceiling = this.ceilingBefore;
  }

  private giveUp(size: number, now: Micros): void {
    if (size <= this.asked) this.abandonAsked();
    this.failedFrom = size;
    this.retryAt = now + RETRY_AFTER;
    this.tries = 0;
    if (size <= this.before) this.before = 0;
  }
}

/** What Ethernet carries of UDP over IPv6; over IPv4 it would be 20 bytes more. Off this machine nothing larger is looked for. */
export const INTERNET_MTU_MAX = 1_452;
/** Largest first: loopback, jumbo frames, Ethernet with and without the usual tunnels, and what is below. */
const LADDER = [65_507, 32_768, 16_384, 8_952, 4_096, 1_472, 1_452, 1_400, 1_280, 1_200, 1_024, 768];
/** [REC-43] */
export const SIZE_FLOOR = 512;
export const SIZE_BASE = 1_200;
const PROBE_TRIES_MIN = 3;
const PROBE_TRIES_MAX = 12;
/** With three tries at any loss, one connection in thirty at 20 % sent small packets for {@link RETRY_AFTER}. */
const CHANCE_MAX = 1e-4;
const RETRY_AFTER: Micros = 600 * SECOND;
const SUSPICIONS_MAX = 3;
const HANDSHAKE_TIMEOUTS = 2;
