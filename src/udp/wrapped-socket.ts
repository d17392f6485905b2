import type { ReceiveBatch, TransmitBatch } from '../protocol/datagram/index.ts';
import type { DatagramSocket, SocketAddress, SocketCounters, SocketPath } from './datagram-socket.ts';

/**
 * A socket around another one. All is as the inner socket has it, but what the wrapper does with datagrams on their way: {@link receive} and
 * {@link send}. What the inner one says of its network (`setsDontFragment`, `usesEcn`) holds for a wrapper only where it says so, too.
 */
export abstract class WrappedSocket implements DatagramSocket {
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;
  protected readonly inner: DatagramSocket;

  constructor(inner: DatagramSocket) {
    this.inner = inner;
    inner.onBatch = (batch) => this.receive(batch);
    inner.onWritable = () => this.resume();
    inner.onError = (error, fatal) => this.onError?.(error, fatal);
    inner.onTooLarge = (bytes, host, port) => this.onTooLarge?.(bytes, host, port);
  }

  get path(): SocketPath {
    return this.inner.path ?? 'custom';
  }

  get localHost(): string {
    return this.inner.localHost;
  }

  get localPort(): number {
    return this.inner.localPort;
  }

  get remote(): SocketAddress | null {
    return this.inner.remote;
  }

  get receiveBufferBytes(): number {
    return this.inner.receiveBufferBytes;
  }

  get sendBufferBytes(): number {
    return this.inner.sendBufferBytes;
  }

  get counters(): Readonly<SocketCounters> {
    return this.inner.counters;
  }

  hostOfLocal(local: number): string {
    return this.inner.hostOfLocal?.(local) ?? this.inner.localHost;
  }

  localOfHost(host: string): number {
    return this.inner.localOfHost?.(host) ?? 0;
  }

  abstract send(batch: TransmitBatch): boolean;

  close(): Promise<void> {
    return this.inner.close();
  }

  ref(): void {
    this.inner.ref();
  }

  unref(): void {
    this.inner.unref();
  }

  /** Datagrams came to the inner socket. */
  protected abstract receive(batch: ReceiveBatch): void;

  /** The inner socket holds nothing any more. */
  protected resume(): void {
    this.onWritable?.();
  }
}
