import { type Micros, NEVER, SECOND } from '../base/time.ts';

export interface PacketSizeOptions {
  /** Size to start with, in bytes of UDP payload; 1,200 unless configured. */
  readonly initial: number;
  /** What the interface, the socket and the peer's max_datagram_bytes allow. The search never goes above it. */
  readonly ceiling: number;
  /** The smallest size ever used. */
  readonly floor?: number;
}

/**
 * Which packet size a path carries (after RFC 8899): `mtu` is in use; larger sizes are tried with probe packets whose loss
 * costs nothing; a path that swallows large packets is noticed and the size falls back.
 */
export class PacketSizeSearch {
  /** The size in use: no packet but a probe is larger. */
  mtu: number;

  private readonly floor: number;
  private readonly base: number;
  private ceiling: number;
  /** Sizes above this are known not to pass, until {@link retryAt}. */
  private failedFrom: number = Number.POSITIVE_INFINITY;
  private retryAt: Micros = NEVER;
  private probing = 0;
  private tries = 0;
  private suspicion = 0;
  private timeouts = 0;

  constructor(options: PacketSizeOptions) {
    this.floor = options.floor ?? SIZE_FLOOR;
    this.mtu = Math.max(options.initial, this.floor);
    this.base = Math.min(SIZE_BASE, this.mtu);
    this.ceiling = Math.max(options.ceiling, this.mtu);
  }

  /** The peer's limit became known, or the socket's changed. True when {@link mtu} changed. */
  limit(ceiling: number): boolean {
    this.ceiling = Math.max(ceiling, this.floor);
    if (this.mtu <= this.ceiling) return false;
    this.mtu = this.ceiling;
    return true;
  }

  /** Size of the probe to send now, or 0. Call {@link onProbeSent} when it went out. */
  nextProbe(now: Micros): number {
    if (this.probing !== 0) return 0;
    if (now >= this.retryAt) {
      this.retryAt = NEVER;
      this.failedFrom = Number.POSITIVE_INFINITY;
    }
    const top = Math.min(this.ceiling, this.failedFrom - 1);
    if (top <= this.mtu) return 0;
    for (const size of LADDER) if (size <= top) return size > this.mtu ? size : top;
    return top;
  }

  onProbeSent(bytes: number): void {
    this.probing = bytes;
  }

  /** A probe arrived. True when {@link mtu} changed. */
  onProbeAcked(bytes: number): boolean {
    if (bytes !== this.probing) return false;
    this.probing = 0;
    this.tries = 0;
    this.suspicion = 0;
    if (bytes <= this.mtu) return false;
    this.mtu = bytes;
    return true;
  }

  /** A probe was lost; after three of a size, the next smaller one is tried. */
  onProbeLost(bytes: number, now: Micros): void {
    if (bytes !== this.probing) return;
    this.probing = 0;
    if (++this.tries < PROBE_TRIES) return;
    this.tries = 0;
    this.failedFrom = bytes;
    this.retryAt = now + RETRY_AFTER;
  }

  /** Once an acknowledgement: the size of the largest packet it proves to have arrived. */
  onAcked(largestBytes: number): void {
    if (largestBytes === 0) return;
    this.timeouts = 0;
    if (largestBytes > this.base || this.mtu <= this.base) this.suspicion = 0;
  }

  /** Once a loss pass, after {@link onAcked}: the size of the smallest packet lost. True when {@link mtu} changed. */
  onLost(smallestBytes: number, now: Micros): boolean {
    if (smallestBytes <= this.base || this.mtu <= this.base) return false;
    if (++this.suspicion < SUSPICIONS_MAX) return false;
    this.fallBack(this.base, now);
    return true;
  }

  /** A probe timeout expired. True when {@link mtu} changed. */
  onPto(isHandshake: boolean, now: Micros): boolean {
    this.timeouts++;
    if (this.mtu > this.base) {
      if (this.timeouts < (isHandshake ? HANDSHAKE_TIMEOUTS : SUSPICIONS_MAX)) return false;
      this.fallBack(this.base, now);
      return true;
    }
    const limit = isHandshake ? HANDSHAKE_TIMEOUTS : FLOOR_TIMEOUTS;
    if (this.mtu <= this.floor || this.timeouts < limit) return false;
    this.fallBack(this.floor, now);
    return true;
  }

  private fallBack(size: number, now: Micros): void {
    this.failedFrom = this.mtu;
    this.retryAt = now + RETRY_AFTER;
    this.mtu = size;
    this.probing = 0;
    this.tries = 0;
    this.suspicion = 0;
    this.timeouts = 0;
  }
}

/** Sizes worth trying, largest first: loopback and jumbo frames, then Ethernet behind the usual tunnels. */
const LADDER = [65_507, 32_768, 16_384, 8_952, 4_096, 1_472, 1_452, 1_400, 1_280, 1_200];
const SIZE_FLOOR = 512;
const SIZE_BASE = 1_200;
const PROBE_TRIES = 3;
const RETRY_AFTER: Micros = 600 * SECOND;
const SUSPICIONS_MAX = 3;
const HANDSHAKE_TIMEOUTS = 2;
const FLOOR_TIMEOUTS = 6;
