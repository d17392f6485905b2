import { normalAddress } from '../base/ip-address.ts';
import { type ReceiveBatch, ReceiveQueue, type TransmitBatch } from '../protocol/wire/batch.ts';
import {
  type DatagramSocket,
  type SocketAddress,
  type SocketCounters,
  socketCounters,
} from '../udp/datagram-socket.ts';
import type { LabDatagram, LabPort, Network } from './network.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface LabSocketOptions {
  host: string;
  /** Default 0: a free one. */
  port?: number | undefined;
  /** The only peer: datagrams of others are dropped. */
  connectTo?: SocketAddress | undefined;
  /** What the socket says that it was granted; the lab itself never drops for want of it. Default 4 MiB. */
  receiveBufferBytes?: number | undefined;
  /** The same for sending. Default 4 MiB. */
  sendBufferBytes?: number | undefined;
}

/** A socket on the lab's network. It never holds a batch back, so {@link onWritable} is never called. */
export class LabSocket implements DatagramSocket {
  readonly remote: SocketAddress | null;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  readonly setsDontFragment = true;
  readonly counters: SocketCounters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;
  /** Its place on the network, to {@link LabPort.rebind} it. */
  readonly labPort: LabPort;
  private readonly clock: VirtualClock;
  private readonly received = new ReceiveQueue({ isExclusive: true });
  private handOverIsDue = false;
  private closed = false;

  constructor(network: Network, clock: VirtualClock, options: LabSocketOptions) {
    this.clock = clock;
    const { connectTo } = options;
    this.remote = connectTo === undefined ? null : { ...connectTo, host: normalAddress(connectTo.host) };
    this.receiveBufferBytes = options.receiveBufferBytes ?? 4 * 1024 * 1024;
    this.sendBufferBytes = options.sendBufferBytes ?? 4 * 1024 * 1024;
    this.labPort = network.open(normalAddress(options.host), options.port ?? 0, (datagram) =>
      this.receive(datagram),
    );
    this.localHost = this.labPort.host;
    this.localPort = this.labPort.port;
  }

  readonly localHost: string;
  readonly localPort: number;

  send(batch: TransmitBatch): boolean {
    if (this.closed) return true;
    for (let i = 0; i < batch.count; i++) {
      const data = batch.arena.subarray(batch.offset[i], batch.offset[i] + batch.length[i]);
      this.counters.datagramsSent++;
      this.counters.bytesSent += data.length;
      this.labPort.send(data, this.remote?.host ?? batch.host[i], this.remote?.port ?? batch.port[i]);
    }
    return true;
  }

  close(): Promise<void> {
    this.closed = true;
    this.labPort.close();
    this.received.clear();
    return Promise.resolve();
  }

  ref(): void {}

  unref(): void {}

  private receive({ data, host, port }: LabDatagram): void {
    const { remote } = this;
    if (this.closed || (remote !== null && (remote.host !== host || remote.port !== port))) {
      this.counters.datagramsDropped++;
      return;
    }
    this.counters.datagramsReceived++;
    this.counters.bytesReceived += data.length;
    this.received.push(data, host, port);
    if (this.handOverIsDue) return;
    this.handOverIsDue = true;
    // Behind all that arrives at this instant, so that it makes one batch.
    this.clock.schedule(this.clock.now(), () => this.handOver());
  }

  private handOver(): void {
    this.handOverIsDue = false;
    if (!this.closed) this.received.handOver(this.onBatch);
  }
}
