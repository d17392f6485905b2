/**
 * The sockets of a client that moves from one address of its machine to another, as one: the number that goes with a datagram says which of
 * them it came by, or goes by. While there is one socket, all goes through it as it is.
 */

import { type ReceiveBatch, TransmitBatch } from '../protocol/datagram/index.ts';
import {
  addCounters,
  type DatagramSocket,
  type SocketAddress,
  type SocketCounters,
  type SocketPath,
  socketCounters,
} from './datagram-socket.ts';

export class PathSockets implements DatagramSocket {
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;
  readonly remote: SocketAddress | null;

  /** By their numbers; null where one was closed. */
  private readonly sockets: (DatagramSocket | null)[] = [];
  /** The number of the one that the connection is at. */
  private used = 0;
  /** What was counted by sockets that are closed. */
  private readonly past = socketCounters();
  private isReferenced = true;
  private closed: Promise<void> | null = null;

  constructor(first: DatagramSocket) {
    this.remote = first.remote;
    this.add(first);
  }

  get path(): SocketPath {
    return this.current.path ?? 'custom';
  }

  get localHost(): string {
    return this.current.localHost;
  }

  get localPort(): number {
    return this.current.localPort;
  }

  get receiveBufferBytes(): number {
    return this.current.receiveBufferBytes;
  }

  get sendBufferBytes(): number {
    return this.current.sendBufferBytes;
  }

  get setsDontFragment(): boolean {
    return this.current.setsDontFragment ?? false;
  }

  get usesEcn(): boolean {
    return this.current.usesEcn ?? false;
  }

  get counters(): Readonly<SocketCounters> {
    if (this.sockets.length === 1) return this.current.counters;
    const sum = socketCounters();
    addCounters(sum, this.past);
    for (const socket of this.sockets) if (socket !== null) addCounters(sum, socket.counters);
    return sum;
  }

  /** One more socket. Returns its number, which no other had. */
  add(socket: DatagramSocket): number {
    const number = this.sockets.push(socket) - 1;
    if (!this.isReferenced) socket.unref();
    socket.onBatch = (batch) => {
      if (number > 0) for (let i = 0; i < batch.count; i++) batch.local[i] = number;
      this.onBatch?.(batch);
    };
    socket.onWritable = () => this.onWritable?.();
    socket.onTooLarge = (bytes, host, port) => this.onTooLarge?.(bytes, host, port);
    // What becomes of a socket that the connection is not at is seen by what comes of it.
    socket.onError = (error, fatal) => {
      if (number === this.used) this.onError?.(error, fatal);
    };
    return number;
  }

  /** The connection is at this one from now on. */
  use(number: number): void {
    this.used = number;
  }

  /** Closes a socket that the connection is not at; what goes there is dropped. */
  remove(number: number): void {
    const socket = this.sockets[number];
    if (socket === null || socket === undefined || number === this.used) return;
    this.sockets[number] = null;
    addCounters(this.past, socket.counters);
    void socket.close();
    this.onWritable?.(); // nobody waits for what it held
  }

  /** Closes all but the one that the connection is at. */
  removeOthers(): void {
    for (let number = 0; number < this.sockets.length; number++) this.remove(number);
  }

  send(batch: TransmitBatch): boolean {
    if (this.closed !== null) return true;
    const { count, local } = batch;
    let isMixed = false;
    for (let i = 1; i < count; i++) if (local[i] !== local[0]) isMixed = true;
    if (!isMixed) return this.sockets[local[0]]?.send(batch) ?? true;
    // While a path is tried: each run of datagrams is copied for its socket, which may hold the copy.
    for (let start = 0, end = 0; start < count; start = end) {
      const run = new TransmitBatch(batch.used, count);
      for (end = start; end < count && local[end] === local[start]; end++) {
        run.arena.set(
          batch.arena.subarray(batch.offset[end], batch.offset[end] + batch.length[end]),
          run.used,
        );
        run.push(batch.length[end], batch.host[end], batch.port[end], batch.local[end]);
        if (batch.ecnOf(end) !== 0) run.mark(batch.ecnOf(end));
      }
      this.sockets[local[start]]?.send(run);
    }
    return true;
  }

  close(): Promise<void> {
    this.closed ??= Promise.all(this.sockets.map((socket) => socket?.close())).then(() => {});
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

  private get current(): DatagramSocket {
    return this.sockets[this.used] as DatagramSocket;
  }
}
