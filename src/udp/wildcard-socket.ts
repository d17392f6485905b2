/**
 * A socket that listens on every address of this machine, and answers from the address that was asked [CON-60]: a peer whose own socket is
 * connected hears no other. Node neither tells to which address a datagram came nor lets one be chosen to send from, so there is a socket for
 * each address, beside one that is bound to the wildcard:
 *
 *   1. what comes to an address with a socket of its own is handed over with the number of that socket, and answers go out through it;
 *   2. what comes to the wildcard socket came to an address that is not known: new since the list of interfaces was looked at, which is
 *      looked at again now, or one of the many of 127.0.0.0/8, which are all this machine's without being listed. A peer on this machine can
 *      be asked for: Linux tells which address its socket is connected to;
 *   3. what remains is answered as the system sees fit.
 *
 * The port is shared with SO_REUSEADDR, so it is first bound without, to see that nobody else has it. With SO_REUSEPORT others have it, too, each with a
 * socket for each address: then whoever asks has looked.
 */

import { addressFamily, isLoopback, isWildcard } from '../base/ip-address.ts';
import type { ReceiveBatch, TransmitBatch } from '../protocol/datagram/index.ts';
import { addressesIfTold, connectedSockets, LOOK_GAP_MS, localAddresses } from './addresses.ts';
import {
  addCounters,
  countErrorCode,
  type DatagramSocket,
  OWN_ADDRESSES_MAX,
  type SocketCounters,
  type SocketOptions,
  socketCounters,
} from './datagram-socket.ts';
import { bindDgramSocketNow, type DgramSocket } from './dgram-socket.ts';

/** What a wildcard socket asks of its machine; tests answer themselves. */
export interface Surroundings {
  /** The addresses of the interfaces, in normal form. */
  readonly addresses: () => readonly string[];
  /** The addresses that sockets of this machine are connected to at `port`, by their own `host:port`. */
  readonly connectedTo: (port: number) => ReadonlyMap<string, string>;
  /** How often the interfaces are looked at, in ms. */
  readonly pollMs: number;
}

/**
 * Binds a socket of `dgram` to all addresses of this machine.
 *
 * @param host - `0.0.0.0`, or `::` for both families unless `ipv6Only`
 * @throws JspError `ERR_JSP_SOCKET` when the system refuses
 */
export function bindWildcardSocket(
  host: string,
  options: SocketOptions,
  surroundings: Surroundings = MACHINE,
): WildcardSocket {
  // Others have it by intention: whoever bound the first of them has looked.
  if (options.reusePort === true && (options.port ?? 0) !== 0)
    return new WildcardSocket(host, options, surroundings);
  for (let attempt = 1; ; attempt++) {
    const probe = bindDgramSocketNow(host, options);
    const port = probe.localPort;
    void probe.close();
    try {
      return new WildcardSocket(host, { ...options, port, reuseAddress: true }, surroundings);
    } catch (error) {
      // Somebody may have come in between; where the system chooses the port, it may choose another.
      if ((options.port ?? 0) !== 0 || attempt === PORTS_TRIED_MAX) throw error;
    }
  }
}

export class WildcardSocket implements DatagramSocket {
  readonly path = 'dgram';
  readonly localHost: string;
  readonly localPort: number;
  readonly remote = null;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;

  private readonly options: SocketOptions;
  private readonly surroundings: Surroundings;
  private readonly wildcard: DgramSocket;
  /** By the number that goes with datagrams: first the wildcard socket; null where an address is gone. */
  private readonly sockets: (DgramSocket | null)[];
  /** The address of each. One that comes back gets its number back, so that its connections go on. */
  private readonly addresses: string[];
  /** What was counted by sockets that are closed. */
  private readonly past = socketCounters();
  private readonly poll: NodeJS.Timeout;
  private lookAgainAtMs = 0;
  private connected: ReadonlyMap<string, string> = new Map();
  /** Time that may be spent on finding out, and when it was reckoned. */
  private askingMs = ASKING_MS_MAX;
  private askedAtMs = performance.now();
  private isReferenced = true;
  /** We answered false, so `onWritable` is due. */
  private isHeld = false;
  private closed: Promise<void> | null = null;

  /** @param options - with a port, and with `reuseAddress` or `reusePort` */
  constructor(host: string, options: SocketOptions, surroundings: Surroundings) {
    this.options = options;
    this.surroundings = surroundings;
    this.wildcard = bindDgramSocketNow(host, options, WILDCARD);
    this.localHost = host;
    this.localPort = this.wildcard.localPort;
    this.receiveBufferBytes = this.wildcard.receiveBufferBytes;
    this.sendBufferBytes = this.wildcard.sendBufferBytes;
    this.sockets = [this.wildcard];
    this.addresses = [host];
    this.adopt(this.wildcard, WILDCARD);
    this.refresh();
    this.poll = setInterval(() => this.refresh(), surroundings.pollMs).unref();
  }

  /** Of all sockets together. */
  get counters(): Readonly<SocketCounters> {
    const sum = socketCounters();
    addCounters(sum, this.past);
    for (const socket of this.sockets) if (socket !== null) addCounters(sum, socket.counters);
    return sum;
  }

  send(batch: TransmitBatch): boolean {
    if (this.closed !== null) return true;
    const { local, count } = batch;
    let isFree = true;
    for (let start = 0, end = 0; start < count; start = end) {
      for (end = start + 1; end < count && local[end] === local[start]; end++);
      const socket = this.sockets[local[start]] ?? this.wildcard;
      if (!socket.sendRun(batch, start, end)) isFree = false;
    }
    if (!isFree) this.isHeld = true;
    return isFree;
  }

  hostOfLocal(local: number): string {
    return this.addresses[local] ?? this.localHost;
  }

  localOfHost(host: string): number {
    return isWildcard(host) ? WILDCARD : this.listenAt(host);
  }

  close(): Promise<void> {
    if (this.closed === null) {
      clearInterval(this.poll);
      this.closed = Promise.all(this.sockets.map((socket) => socket?.close())).then(() => {});
    }
    return this.closed;
  }

  ref(): void {
    this.isReferenced = true;
    for (const socket of this.sockets) socket?.ref();
  }

  unref(): void {
    this.isReferenced = false;
    for (const socket of this.sockets) socket?.unref();
  }

  /** Listens on addresses that are new, and no more on those that are gone. */
  private refresh(): void {
    const found = addressesIfTold(this.surroundings.addresses);
    if (found === null) return;
    const there = new Set(found.filter((host) => this.isServed(host)));
    for (let i = 1; i < this.sockets.length; i++) {
      // Of 127.0.0.0/8 only one address is listed, and none ever goes.
      if (!there.has(this.addresses[i]) && !isLoopback(this.addresses[i])) this.leave(i);
    }
    for (const host of there) this.listenAt(host);
  }

  private isServed(host: string): boolean {
    return addressFamily(host) === addressFamily(this.localHost) || this.takesBothFamilies;
  }

  private get takesBothFamilies(): boolean {
    return addressFamily(this.localHost) === 6 && this.options.ipv6Only !== true;
  }

  /** The number of the socket for this address, which is opened if need be; that of the wildcard socket where there can be none. */
  private listenAt(host: string): number {
    const known = this.addresses.indexOf(host);
    if (known >= 0 && this.sockets[known] !== null) return known;
    const number = known >= 0 ? known : this.freeNumber();
    if (number === OWN_ADDRESSES_MAX) return WILDCARD;
    let socket: DgramSocket;
    try {
      socket = bindDgramSocketNow(host, this.options, number);
    } catch (error) {
      // Such as an address that is still being checked for a duplicate: the next look may find it ready.
      countErrorCode(this.past, (error as Error).cause as Error);
      return WILDCARD;
    }
    this.sockets[number] = socket;
    this.addresses[number] = host;
    this.adopt(socket, number);
    return number;
  }

  /** A number that no address has, else one whose address is gone. */
  private freeNumber(): number {
    if (this.sockets.length < OWN_ADDRESSES_MAX) return this.sockets.length;
    const gone = this.sockets.indexOf(null);
    return gone < 0 ? OWN_ADDRESSES_MAX : gone;
  }

  private adopt(socket: DgramSocket, number: number): void {
    if (!this.isReferenced) socket.unref();
    socket.onBatch = number === WILDCARD ? this.onUnknown : (batch) => this.onBatch?.(batch);
    socket.onWritable = () => this.release();
    socket.onTooLarge = (bytes, host, port) => this.onTooLarge?.(bytes, host, port);
    socket.onError = (error, fatal) => {
      // Without one address the others go on; the next look opens it again.
      if (fatal && number !== WILDCARD) this.leave(number);
      this.onError?.(error, fatal && number === WILDCARD);
    };
  }

  private leave(number: number): void {
    const socket = this.sockets[number];
    if (socket === null) return;
    this.sockets[number] = null;
    addCounters(this.past, socket.counters);
    void socket.close();
    this.release();
  }

  private release(): void {
    if (!this.isHeld || this.sockets.some((socket) => socket?.isHeld === true)) return;
    this.isHeld = false;
    this.onWritable?.();
  }

  /** Datagrams that came to an address which has no socket. */
  private readonly onUnknown = (batch: ReceiveBatch): void => {
    for (let i = 0; i < batch.count; i++) {
      const host = batch.host[i];
      if (isLoopback(host) || this.addresses.includes(host)) {
        const asked = this.addressAsked(host, batch.port[i]);
        if (asked !== undefined) batch.local[i] = this.listenAt(asked);
      } else if (performance.now() >= this.lookAgainAtMs) {
        this.lookAgainAtMs = performance.now() + LOOK_GAP_MS;
        this.refresh();
      }
    }
    this.onBatch?.(batch);
  };

  /**
   * The address that a socket of this machine is connected to. However many datagrams come, finding out takes no more than a small share
   * of the time: beyond, what was found last has to do, until the peer sends again.
   */
  private addressAsked(host: string, port: number): string | undefined {
    const now = performance.now();
    this.askingMs = Math.min(ASKING_MS_MAX, this.askingMs + (now - this.askedAtMs) * ASKING_SHARE);
    if (this.askingMs > 0) {
      this.connected = this.surroundings.connectedTo(this.localPort);
      this.askingMs -= performance.now() - now;
    }
    this.askedAtMs = now;
    return this.connected.get(`${host}:${port}`);
  }
}

const MACHINE: Surroundings = { addresses: localAddresses, connectedTo: connectedSockets, pollMs: 5_000 };
/** The number of the wildcard socket. */
const WILDCARD = 0;
const PORTS_TRIED_MAX = 5;
const ASKING_SHARE = 0.05;
const ASKING_MS_MAX = 20;
