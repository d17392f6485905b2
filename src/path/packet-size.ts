import { type Micros, NEVER, SECOND } from '../base/time.ts';

export interface PacketSizeOptions {
  /** Size to start with, in bytes of UDP payload; 1,200 unless configured. */
  readonly initial: number;
  /** The most that interface, socket, peer and user allow. Nothing larger is ever sent. */
  readonly ceiling: number;
  /** The smallest size to fall back to; 512 by default. */
  readonly floor?: number;
}

/**
 * Which packet size a path carries (after RFC 8899). {@link mtu} is in use. Larger sizes are tried with probe packets, the
 * largest first; a path that swallows large packets is noticed, and the size falls back.
 */
export class PacketSizeSearch {
  /** The size in use: no packet but a probe is larger. */
  mtu: number;

  private readonly floor: number;
  /** What every path is expected to carry. */
  private readonly base: number;
  private ceiling: number;
  /** This size and all above are given up until {@link retryAt}. */
  private failedFrom = Number.POSITIVE_INFINITY;
  private retryAt: Micros = NEVER;
  /** The size of the probe on its way, or 0. */
  private probing = 0;
  private tries = 0;
  /** Loss passes and timeouts that hit only large packets, since one was acknowledged. */
  private suspicion = 0;
  /** Probe timeouts since anything was acknowledged. */
  private timeouts = 0;

  constructor(options: PacketSizeOptions) {
    this.floor = options.floor ?? SIZE_FLOOR;
    this.mtu = Math.max(options.initial, this.floor);
    this.base = Math.min(SIZE_BASE, this.mtu);
    this.ceiling = Math.max(options.ceiling, this.mtu);
  }

  /** A new ceiling is known, such as the peer's max_datagram_bytes. True when {@link mtu} changed. */
  limit(ceiling: number): boolean {
    this.ceiling = Math.max(ceiling, this.floor);
    if (this.probing > this.ceiling) this.probing = 0;
    if (this.mtu <= this.ceiling) return false;
    this.mtu = this.ceiling;
    return true;
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
    if (bytes <= this.mtu || bytes > this.ceiling) return false;
    this.mtu = bytes;
    this.tries = 0;
    this.suspicion = 0;
    return true;
  }

  onProbeLost(bytes: number, now: Micros): void {
    if (bytes !== this.probing) return;
    this.probing = 0;
    if (++this.tries < PROBE_TRIES) return;
    // [REC-45]
    this.giveUp(bytes, now);
  }

  /** Once an acknowledgement: the size of the largest packet that it proves to have arrived, 0 for none. */
  onAcked(largestBytes: number): void {
    if (largestBytes === 0) return;
    this.timeouts = 0;
    if (largestBytes > this.base) this.suspicion = 0;
  }

  /** Once a loss pass, after {@link onAcked}: the size of the smallest packet lost. True when {@link mtu} changed. */
  onLost(smallestBytes: number, now: Micros): boolean {
    if (smallestBytes <= this.base || this.mtu <= this.base) return false;
    return this.suspect(now);
  }

  /** A probe timeout expired. True when {@link mtu} changed. */
  onPto(isHandshake: boolean, now: Micros): boolean {
    this.timeouts++;
    // [REC-47]
    const isOver = this.timeouts >= (isHandshake ? HANDSHAKE_TIMEOUTS : FLOOR_TIMEOUTS);
    if (this.mtu > this.base) {
      if (!isHandshake || !isOver) return this.suspect(now);
      this.fallBack(this.base);
      return true;
    }
    if (!isOver || this.mtu <= this.floor) return false;
    this.fallBack(this.floor);
    return true;
  }

  /** [REC-44] */
  private candidate(bytesMax: number): number {
    if (this.ceiling < this.failedFrom && this.ceiling <= bytesMax) {
      return this.ceiling > this.mtu ? this.ceiling : 0;
    }
    for (const size of LADDER) {
      if (size < this.failedFrom && size < this.ceiling && size <= bytesMax)
        return size > this.mtu ? size : 0;
    }
    return 0;
  }

  private suspect(now: Micros): boolean {
    // [REC-46]
    if (++this.suspicion < SUSPICIONS_MAX) return false;
    this.giveUp(this.mtu, now);
    this.fallBack(this.base);
    return true;
  }

  private fallBack(size: number): void {
    this.mtu = size;
    this.probing = 0;
    this.suspicion = 0;
    this.timeouts = 0;
  }

  private giveUp(size: number, now: Micros): void {
    this.failedFrom = size;
    this.retryAt = now + RETRY_AFTER;
    this.tries = 0;
  }
}

/** What Ethernet carries of UDP over IPv6; over IPv4 it would be 20 bytes more. Off this machine nothing larger is looked for. */
export const INTERNET_MTU_MAX = 1_452;
/** Largest first: loopback, jumbo frames, then Ethernet with and without the usual tunnels. */
const LADDER = [65_507, 32_768, 16_384, 8_952, 4_096, 1_472, 1_452, 1_400, 1_280, 1_200];
/** [REC-43] */
const SIZE_FLOOR = 512;
const SIZE_BASE = 1_200;
const PROBE_TRIES = 3;
const RETRY_AFTER: Micros = 600 * SECOND;
const SUSPICIONS_MAX = 3;
const HANDSHAKE_TIMEOUTS = 2;
const FLOOR_TIMEOUTS = 6;
