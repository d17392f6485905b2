import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { lookup as resolve } from 'node:dns/promises';
import { isIP, isIPv4 } from 'node:net';
import { JspError } from '../base/errors.ts';
import { ReceiveBatch, type TransmitBatch } from '../wire/batch.ts';
import {
  type DatagramSocket,
  type SocketAddress,
  type SocketCounters,
  socketCounters,
} from './datagram-socket.ts';

export interface DgramSocketOptions {
  /** Address or name to listen on; default is any address of the family of `connectTo`, else any IPv4 address. */
  readonly host?: string;
  /** Default 0: the system chooses. */
  readonly port?: number;
  /** Asked of the system, which may grant less. Default 4 MiB. */
  readonly receiveBufferBytes?: number;
  /** Asked of the system, which may grant less. Default 4 MiB. */
  readonly sendBufferBytes?: number;
  /** Lets another socket bind the same address (SO_REUSEADDR). Default false. */
  readonly reuseAddress?: boolean;
  /** An IPv6 socket that does not take IPv4 too. Default false. */
  readonly ipv6Only?: boolean;
  /** The only peer: the kernel drops datagrams of others, and reports "port unreachable". */
  readonly connectTo?: { readonly host: string; readonly port: number };
}

/**
 * Binds a `node:dgram` socket.
 * @throws JspError `ERR_JSP_SOCKET` when the system refuses, with the system's error as `cause`
 */
export async function bindDgramSocket(options: DgramSocketOptions = {}): Promise<DgramSocket> {
  const remote = options.connectTo === undefined ? null : await resolveRemote(options.connectTo);
  const host = await resolveLocal(options.host, remote);
  const type = isIPv4(host) ? 'udp4' : 'udp6';
  const socket = createSocket({
    type,
    reuseAddr: options.reuseAddress ?? false,
    ipv6Only: options.ipv6Only ?? false,
    lookup: type === 'udp4' ? literalLookup : literalLookup6,
  });
  try {
    await settled(socket, (done) =>
      socket.bind({ address: host, port: options.port ?? 0, exclusive: true }, done),
    );
    growBuffers(socket, options.receiveBufferBytes ?? BUFFER_BYTES, options.sendBufferBytes ?? BUFFER_BYTES);
    if (remote !== null) await settled(socket, (done) => socket.connect(remote.port, remote.host, done));
  } catch (error) {
    socket.close();
    const where = remote === null ? `${host}:${options.port ?? 0}` : `${remote.host}:${remote.port}`;
    throw new JspError('ERR_JSP_SOCKET', `UDP socket for ${where}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return new DgramSocket(socket, remote);
}

/** {@link DatagramSocket} over a `node:dgram` socket that is bound already, and connected to `remote` if that is not null. */
export class DgramSocket implements DatagramSocket {
  readonly localHost: string;
  readonly localPort: number;
  readonly remote: SocketAddress | null;
  readonly receiveBufferBytes: number;
  readonly counters: SocketCounters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;

  private readonly socket: Socket;
  private readonly connected: boolean;
  private readonly received = new ReceiveBatch();
  private readonly views = new WeakMap<Uint8Array, ArenaViews>();
  private lastHost = '';
  private handOverIsDue = false;
  private held = false;
  private closed: Promise<void> | null = null;

  // One function each for the life of the socket: nothing is allocated a datagram.
  private readonly handOver = (): void => {
    this.handOverIsDue = false;
    this.flushReceived();
  };
  private readonly lastSent = (error: Error | null): void => {
    if (error !== null) this.sendFailed(error);
    if (this.held && this.closed === null && this.socket.getSendQueueCount() === 0) {
      this.held = false;
      this.onWritable?.();
    }
  };

  constructor(socket: Socket, remote: SocketAddress | null) {
    const local = socket.address();
    this.socket = socket;
    this.localHost = local.address;
    this.localPort = local.port;
    this.remote = remote;
    this.connected = remote !== null;
    // Linux doubles what was asked, for its own overhead, and reports the double.
    this.receiveBufferBytes = socket.getRecvBufferSize() / (process.platform === 'linux' ? 2 : 1);
    socket.on('message', (data: Uint8Array, info: RemoteInfo) => this.receive(data, info.address, info.port));
    socket.on('error', (error: Error) => {
      this.counters.receiveErrors++;
      this.report(error);
    });
  }

  send(batch: TransmitBatch): boolean {
    if (this.closed !== null || batch.count === 0) return true;
    const { arena, offset, length, host, port, count } = batch;
    const views = this.viewsOf(arena, batch.datagramsMax);
    const last = count - 1;
    let bytes = 0;
    let skipped = 0;
    for (let i = 0; i < count; i++) {
      const view = views.at(i, offset[i], length[i]);
      // The last datagram's callback tells of a broken path, and when the system has let go of the whole batch: the
      // queue behind it is first in, first out.
      const callback = i === last ? this.lastSent : undefined;
      if (this.connected) {
        this.socket.send(view, callback);
      } else if (port[i] !== 0) {
        this.socket.send(view, port[i], host[i], callback);
      } else {
        skipped++;
        continue;
      }
      bytes += length[i];
    }
    this.counters.datagramsSent += count - skipped;
    this.counters.bytesSent += bytes;
    this.counters.sendErrors += skipped;
    if (this.socket.getSendQueueCount() === 0) return true;
    this.counters.batchesHeld++;
    this.held = true;
    return false;
  }

  close(): Promise<void> {
    if (this.closed === null) {
      this.received.clear();
      this.closed = new Promise((done) => this.socket.close(done));
    }
    return this.closed;
  }

  ref(): void {
    if (this.closed === null) this.socket.ref();
  }

  unref(): void {
    if (this.closed === null) this.socket.unref();
  }

  private receive(data: Uint8Array, host: string, port: number): void {
    // Node makes a new string for each datagram's address; one for all of them makes later comparisons cheap.
    if (host !== this.lastHost) this.lastHost = host;
    this.counters.datagramsReceived++;
    this.counters.bytesReceived += data.length;
    if (port === 0) {
      this.counters.datagramsDropped++;
      return;
    }
    this.received.push(data, this.lastHost, port);
    if (this.received.count >= RECEIVE_BATCH_MAX) {
      this.flushReceived();
    } else if (!this.handOverIsDue) {
      this.handOverIsDue = true;
      setImmediate(this.handOver);
    }
  }

  private flushReceived(): void {
    if (this.closed !== null || this.received.count === 0) return;
    this.onBatch?.(this.received);
    this.received.clear();
  }

  private sendFailed(error: Error): void {
    this.counters.sendErrors++;
    this.report(error);
  }

  private report(error: Error): void {
    if (this.closed === null)
      this.onError?.(error, FATAL_CODES.has((error as NodeJS.ErrnoException).code ?? ''));
  }

  private viewsOf(arena: Uint8Array, datagramsMax: number): ArenaViews {
    let views = this.views.get(arena);
    if (views === undefined) {
      views = new ArenaViews(arena, datagramsMax);
      this.views.set(arena, views);
    }
    return views;
  }
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

  at(index: number, offset: number, length: number): Uint8Array {
    if (this.offset[index] === offset && this.length[index] === length) return this.view[index];
    const view = new Uint8Array(this.arena.buffer, this.arena.byteOffset + offset, length);
    this.offset[index] = offset;
    this.length[index] = length;
    this.view[index] = view;
    return view;
  }
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

async function resolveRemote(remote: {
  readonly host: string;
  readonly port: number;
}): Promise<SocketAddress> {
  return { host: await resolveHost(remote.host), port: remote.port };
}

async function resolveLocal(host: string | undefined, remote: SocketAddress | null): Promise<string> {
  if (host !== undefined) return resolveHost(host);
  return remote !== null && !isIPv4(remote.host) ? '::' : '0.0.0.0';
}

async function resolveHost(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    return (await resolve(host)).address;
  } catch (error) {
    throw new JspError('ERR_JSP_SOCKET', `cannot resolve ${host}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Waits for a `bind`, which reports failure as an event, or a `connect`, which hands it to its callback. */
function settled(socket: Socket, start: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolved, rejected) => {
    socket.once('error', rejected);
    start((error) => {
      socket.removeListener('error', rejected);
      if (error instanceof Error) rejected(error);
      else resolved();
    });
  });
}

/** Asks for larger buffers; a system that grants less, or refuses, is no reason to fail. */
function growBuffers(socket: Socket, receiveBytes: number, sendBytes: number): void {
  try {
    if (socket.getRecvBufferSize() < receiveBytes) socket.setRecvBufferSize(receiveBytes);
  } catch {}
  try {
    if (socket.getSendBufferSize() < sendBytes) socket.setSendBufferSize(sendBytes);
  } catch {}
}

const BUFFER_BYTES = 4 * 1024 * 1024;
/** A batch that grows to this size is handed over before the event loop's turn ends. */
const RECEIVE_BATCH_MAX = 64;
const FATAL_CODES: ReadonlySet<string> = new Set(['EBADF', 'ENOTSOCK', 'ERR_SOCKET_DGRAM_NOT_RUNNING']);
