import { createSocket, type SocketOptions as DgramOptions, type RemoteInfo, type Socket } from 'node:dgram';
import { performance } from 'node:perf_hooks';
import { JspError } from '../base/errors.ts';
import { addressFamily, fromSystem, normalAddress } from '../base/ip-address.ts';
import { type ReceiveBatch, ReceiveQueue, type TransmitBatch } from '../protocol/datagram/index.ts';
import { resolvedAddresses } from './addresses.ts';
import {
  BUFFER_BYTES,
  countErrorCode,
  type DatagramSocket,
  grantedBytes,
  isFatal,
  type SocketAddress,
  type SocketCounters,
  type SocketOptions,
  socketCounters,
} from './datagram-socket.ts';

/**
 * Binds a `node:dgram` socket.
 * @throws JspError `ERR_JSP_SOCKET` when the system refuses, with the system's error as `cause`
 */
export async function bindDgramSocket(options: SocketOptions = {}): Promise<DatagramSocket> {
  const { host, remote } = await resolvedAddresses(options);
  return remote === null ? bindDgramSocketNow(host, options) : connectDgramSocket(host, remote, options);
}

/** The same with addresses that are resolved already, and a peer. */
async function connectDgramSocket(
  host: string,
  remote: SocketAddress,
  options: SocketOptions,
): Promise<DatagramSocket> {
  let socket: Socket | undefined;
  try {
    socket = boundSocket(host, options);
    const bound = socket;
    await new Promise<void>((done, failed) => {
      bound.connect(remote.port, remote.host, (error?: unknown) =>
        error instanceof Error ? failed(error) : done(),
      );
    });
    return new DgramSocket(socket, remote);
  } catch (error) {
    socket?.close();
    throw socketError(`${remote.host}:${remote.port}`, error as Error);
  }
}

/**
 * Binds a socket that has no single peer, without waiting for anything.
 *
 * @param host - an address; names are for {@link bindDgramSocket}
 * @param local - the number that what comes here is handed over with
 * @throws JspError `ERR_JSP_SOCKET`
 */
export function bindDgramSocketNow(host: string, options: SocketOptions, local = 0): DgramSocket {
  try {
    return new DgramSocket(boundSocket(host, options), null, local);
  } catch (error) {
    throw socketError(`${host}:${options.port ?? 0}`, error as Error);
  }
}

/** Why several sockets of `dgram` cannot be bound to one address here; null: they can, as far as is known before it is tried. */
export function dgramReusePortFault(): string | null {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const isKnown = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  if (!isKnown)
    return `Node ${process.versions.node} cannot bind several sockets to one port, which 22.12 and 23.1 can`;
  const spreads = ['linux', 'freebsd', 'sunos', 'aix'].includes(process.platform);
  return spreads ? null : `${process.platform} does not spread datagrams among sockets with one port`;
}

/**
 * {@link DatagramSocket} over a `node:dgram` socket that is bound already, and connected to `remote` if that is not null.
 *
 * What shaped it, measured with Node 20 on Linux (loopback, nanoseconds of CPU a datagram, of which the system calls
 * alone take 2,500 to send and 450 to read in C):
 *
 * - Node tries each send at once (`uv_udp_try_send`) and queues it only when the system's buffer is full, but does not say
 *   which happened; `getSendQueueCount()` does. With a lookup that answers in place, nothing is put off to a later tick.
 * - Sending costs 4,130 connected and 4,700 unconnected: give a client's socket its only peer.
 * - Passing a view that exists already saves 60 over making one, and 120 over `send(buffer, offset, length)`.
 * - Without a callback Node drops errors silently, and a callback costs 80 to 130. So every datagram has one while few are sent at once,
 *   after an error for a while, and when it is larger than any that was taken before; in a large run the first, the last to each
 *   destination and every eighth do. The last also tells (the queue being first in, first out) when the system has let go of the batch.
 * - Reading costs 3,100, two thirds of it in Node: a 64 KB buffer, a copy, and an address object each. libuv reads at most 32
 *   datagrams before it lets the loop turn, so `setImmediate` hands over all that one turn brings. Ticks and microtasks
 *   run after each single datagram: too early.
 * - `setImmediate` itself costs 1,150 a turn, so while datagrams come one by one each is handed over as it comes.
 */
export class DgramSocket implements DatagramSocket {
  readonly path = 'dgram';
  readonly localHost: string;
  readonly localPort: number;
  readonly remote: SocketAddress | null;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  readonly counters: SocketCounters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;

  private readonly socket: Socket;
  private readonly connected: boolean;
  /** What goes with each datagram that comes, to say where it came. */
  private readonly local: number;
  private readonly received = new ReceiveQueue({ isExclusive: true });
  /** The address of the latest datagram, as the system wrote it and in normal form. */
  private lastAddress = '';
  private lastHost = '';
  private handOverIsDue = false;
  /** Datagrams come one by one, so that waiting for others of the same turn would be in vain. */
  private sparse = true;
  /** Turns in a row that brought one datagram. */
  private singles = 0;
  private handedOverAtMs = 0;
  private held = false;
  /** Runs yet to be sent with a callback for every datagram. */
  private wary = 0;
  /** The largest datagram that the system has taken. */
  private largestTaken = 0;
  private lookIsDue = false;
  private closed: Promise<void> | null = null;
  /** A fatal error was reported. */
  private isBroken = false;

  // One function each for the life of the socket: nothing is allocated a datagram.
  private readonly handOver = (): void => {
    this.handOverIsDue = false;
    this.singles = this.received.count === 1 ? this.singles + 1 : 0;
    this.sparse = this.singles >= SPARSE_TURNS;
    this.flushReceived();
  };
  private readonly sent = (error: Error | null): void => {
    if (this.closed !== null) return;
    if (error !== null) {
      this.countRefused(error);
      this.report(error);
    }
    if (this.held) this.release();
  };
  private readonly lookAgain = (): void => {
    this.lookIsDue = false;
    if (this.held && this.closed === null) this.release();
  };

  /** @param local - what datagrams are handed over with, to say that they came here */
  constructor(socket: Socket, remote: SocketAddress | null, local = 0) {
    const { address, port } = socket.address();
    this.socket = socket;
    this.localHost = normalAddress(address);
    this.localPort = port;
    this.remote = remote;
    this.connected = remote !== null;
    this.local = local;
    this.receiveBufferBytes = grantedBytes(socket.getRecvBufferSize());
    this.sendBufferBytes = grantedBytes(socket.getSendBufferSize());
    socket.on('message', (data: Uint8Array, info: RemoteInfo) => this.receive(data, info.address, info.port));
    socket.on('error', (error: Error) => {
      this.counters.receiveErrors++;
      countErrorCode(this.counters, error);
      this.report(error);
    });
  }

  /** True while the system holds bytes that were to be sent. */
  get isHeld(): boolean {
    return this.held;
  }

  send(batch: TransmitBatch): boolean {
    return this.sendRun(batch, 0, batch.count);
  }

  /** {@link send} for the datagrams from `start` on and before `end`. */
  sendRun(batch: TransmitBatch, start: number, end: number): boolean {
    if (this.closed !== null || this.isBroken || start === end) return true;
    const { arena, offset, length, host, port } = batch;
    const views = viewsOf(arena, batch.datagramsMax);
    const isWatched = this.wary > 0 || end - start <= WATCHED_RUN_MAX;
    if (this.wary > 0) this.wary--;
    let bytes = 0;
    let skipped = 0;
    try {
      for (let i = start; i < end; i++) {
        const view = views.at(i, offset[i], length[i]);
        const next = i + 1;
        let callback = isWatched || (i - start) % SAMPLED_EVERY === 0 || next === end ? this.sent : undefined;
        if (length[i] > this.largestTaken) callback = this.watch(length[i], host[i], port[i]);
        if (this.connected) {
          this.socket.send(view, callback);
        } else if (port[i] !== 0) {
          if (callback === undefined && (port[next] !== port[i] || host[next] !== host[i]))
            callback = this.sent;
          this.socket.send(view, port[i], host[i], callback);
        } else {
          skipped++;
          continue;
        }
        bytes += length[i];
      }
    } catch (error) {
      // Node throws when the socket was closed behind our back.
      this.counters.sendErrors += end - start;
      countErrorCode(this.counters, error as Error, end - start);
      this.report(error as Error);
      return true;
    }
    this.counters.datagramsSent += end - start - skipped;
    this.counters.bytesSent += bytes;
    this.counters.sendErrors += skipped;
    if (this.socket.getSendQueueCount() === 0) return true;
    this.counters.batchesHeld++;
    this.held = true;
    this.lookAgainSoon();
    return false;
  }

  close(): Promise<void> {
    if (this.closed === null) {
      this.received.clear();
      this.closed = new Promise((done) => {
        try {
          this.socket.close(done);
        } catch {
          done(); // it was closed behind our back
        }
      });
    }
    return this.closed;
  }

  ref(): void {
    if (this.closed === null) this.socket.ref();
  }

  unref(): void {
    if (this.closed === null) this.socket.unref();
  }

  private receive(data: Uint8Array, address: string, port: number): void {
    // Node makes a new string for each datagram's address; one for all of them makes later comparisons cheap.
    if (address !== this.lastAddress) {
      this.lastAddress = address;
      this.lastHost = fromSystem(address);
    }
    this.counters.datagramsReceived++;
    this.counters.bytesReceived += data.length;
    if (port === 0) {
      this.counters.datagramsDropped++;
      return;
    }
    this.received.push(data, this.lastHost, port, this.local);
    if (this.handOverIsDue) {
      if (this.received.count >= RECEIVE_BATCH_MAX) this.flushReceived();
    } else if (this.sparse && performance.now() - this.handedOverAtMs > burstGapMs(data.length)) {
      this.flushReceived();
      this.handedOverAtMs = performance.now();
    } else {
      this.handOverIsDue = true;
      setImmediate(this.handOver);
    }
  }

  private flushReceived(): void {
    if (this.closed === null) this.received.handOver(this.onBatch);
  }

  /** For a datagram that is larger than any before: what became of it says which sizes this system takes. */
  private watch(bytes: number, host: string, port: number): (error: Error | null) => void {
    return (error) => {
      if (error === null) this.largestTaken = Math.max(this.largestTaken, bytes);
      if (error === null || !isTooLarge(error) || this.closed !== null) return this.sent(error);
      this.countRefused(error);
      this.onTooLarge?.(bytes, host, port);
      this.sent(null);
    };
  }

  private countRefused(error: Error): void {
    this.counters.sendErrors++;
    countErrorCode(this.counters, error);
    this.wary = WARY_RUNS;
  }

  private release(): void {
    if (this.socket.getSendQueueCount() > 0) {
      this.lookAgainSoon();
    } else {
      this.held = false;
      this.onWritable?.();
    }
  }

  /** The last datagram's callback says when a batch is free, unless just that datagram was refused before the others left. */
  private lookAgainSoon(): void {
    if (this.lookIsDue) return;
    this.lookIsDue = true;
    setTimeout(this.lookAgain, HELD_LOOK_MS).unref();
  }

  private report(error: Error): void {
    if (this.closed !== null || this.isBroken) return;
    this.isBroken = isFatal(error);
    this.onError?.(error, this.isBroken);
  }
}

/** Sockets of one process share a few arenas, and the views into them. */
function viewsOf(arena: Uint8Array, datagramsMax: number): ArenaViews {
  let views = VIEWS.get(arena);
  if (views === undefined) {
    views = new ArenaViews(arena, datagramsMax);
    VIEWS.set(arena, views);
  }
  return views;
}

/** Views into an arena, remembered by index: in bulk transfer the n-th datagram is at the same place every time. */
class ArenaViews {
  private readonly arena: Uint8Array;
  private readonly offset: Int32Array;
  private readonly length: Int32Array;
  private readonly view: Uint8Array[] = [];

  constructor(arena: Uint8Array, datagramsMax: number) {
    this.arena = arena;
    this.offset = new Int32Array(datagramsMax).fill(-1);
    this.length = new Int32Array(datagramsMax);
  }

  /** The view of `length` bytes at `offset`, for the datagram at `index` of its batch. */
  at(index: number, offset: number, length: number): Uint8Array {
    if (this.offset[index] === offset && this.length[index] === length) return this.view[index];
    const view = new Uint8Array(this.arena.buffer, this.arena.byteOffset + offset, length);
    this.offset[index] = offset;
    this.length[index] = length;
    this.view[index] = view;
    return view;
  }
}

function isTooLarge(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EMSGSIZE';
}

type LookupCallback = (error: NodeJS.ErrnoException | null, address: string, family: number) => void;

/** Destinations are literal addresses here, so nothing is looked up and `send` reaches the system within the call. */
function literalLookup(address: string, _family: unknown, callback: LookupCallback): void {
  callback(null, address, 4);
}

/** The same for IPv6 sockets, which name an IPv4 peer by its mapped address. */
function literalLookup6(address: string, _family: unknown, callback: LookupCallback): void {
  callback(null, address.includes(':') ? address : `::ffff:${address}`, 6);
}

/** Node binds within the call when nothing is to be looked up, and tells of a failure by an event within it. */
function boundSocket(host: string, options: SocketOptions): Socket {
  const type = addressFamily(host) === 4 ? 'udp4' : 'udp6';
  if (options.reusePort === true) {
    // Older Node ignores the option, and the next socket would find the address in use.
    const fault = dgramReusePortFault();
    if (fault !== null) throw new Error(fault);
  }
  const how: DgramOptions & { reusePort: boolean } = {
    type,
    reuseAddr: options.reuseAddress ?? false,
    reusePort: options.reusePort ?? false,
    ipv6Only: options.ipv6Only ?? false,
    lookup: type === 'udp4' ? literalLookup : literalLookup6,
  };
  const socket = createSocket(how);
  let failure: Error | null = null;
  const onError = (error: Error): void => {
    failure = error;
  };
  socket.once('error', onError);
  socket.bind({ address: host, port: options.port ?? 0, exclusive: true });
  socket.removeListener('error', onError);
  if (failure !== null) {
    socket.close();
    throw failure;
  }
  grow(options.receiveBufferBytes, 'getRecvBufferSize', 'setRecvBufferSize', socket);
  grow(options.sendBufferBytes, 'getSendBufferSize', 'setSendBufferSize', socket);
  return socket;
}

function socketError(where: string, cause: Error): JspError {
  return new JspError('ERR_JSP_SOCKET', `UDP socket for ${where}: ${cause.message}`, { cause });
}

/** Asks for a larger buffer. Some systems grant less than was asked for; others refuse, and are asked for half of it, again and again. */
function grow(
  bytes = BUFFER_BYTES,
  size: 'getRecvBufferSize' | 'getSendBufferSize',
  setSize: 'setRecvBufferSize' | 'setSendBufferSize',
  socket: Socket,
): void {
  for (let wanted = bytes; wanted > socket[size](); wanted = Math.floor(wanted / 2)) {
    try {
      return socket[setSize](wanted);
    } catch {}
  }
}

/**
 * The next datagram of one turn comes sooner than this behind the last, but a large one takes long to read. A misjudged one is handed over
 * alone or late by a turn; were all of 32 KB taken for single ones, each would have a turn of its own, at half of the rate.
 */
function burstGapMs(bytes: number): number {
  return BURST_GAP_MS + bytes * READING_MS_A_BYTE;
}

const VIEWS = new WeakMap<Uint8Array, ArenaViews>();
/** A batch that grows to this size is handed over before the event loop's turn ends. */
const RECEIVE_BATCH_MAX = 64;
/** After so many turns with one datagram each, datagrams are handed over as they come. */
const SPARSE_TURNS = 4;
const BURST_GAP_MS = 0.005;
const READING_MS_A_BYTE = 0.000_001;
const HELD_LOOK_MS = 1;
/** In a run of so many datagrams all have a callback. */
const WATCHED_RUN_MAX = 4;
const SAMPLED_EVERY = 8;
const WARY_RUNS = 256;
