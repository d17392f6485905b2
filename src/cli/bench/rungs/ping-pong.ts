import { performance } from 'node:perf_hooks';
import { TransmitBatch } from '../../../protocol/wire/batch.ts';
import type { DatagramSocket } from '../../../udp/datagram-socket.ts';
import { bindDgramSocket } from '../../../udp/dgram-socket.ts';
import { LatencyRecorder } from '../latency-recorder.ts';
import type { Counts, Receiver, Sender, Target, Workload, WorkloadOptions } from '../workload.ts';

/** One bare datagram goes there and back, and then the next: the time a round trip takes at least. */
export const workloads: readonly Workload[] = [
  {
    name: 'raw ping-pong',
    module: import.meta.url,
    openReceiver: async () => new Echo(await bindDgramSocket({ host: '127.0.0.1' })),
    openSender: async (options, target) =>
      new Pinger(await bindDgramSocket({ connectTo: target }), options, target),
  },
];

class Echo implements Receiver {
  readonly target: Target;
  private readonly socket: DatagramSocket;
  private readonly batch = new TransmitBatch(BATCH_BYTES, BATCH_DATAGRAMS);
  private readonly received: Counts = { messages: 0, bytes: 0, packets: 0 };

  constructor(socket: DatagramSocket) {
    this.socket = socket;
    this.target = {
      host: socket.localHost,
      port: socket.localPort,
      receiveBufferBytes: socket.receiveBufferBytes,
    };
    socket.onBatch = ({ count, data, host, port }) => {
      this.batch.clear();
      for (let i = 0; i < count; i++) {
        this.received.messages++;
        this.received.packets++;
        this.received.bytes += data[i].length;
        if (!this.batch.hasRoom(data[i].length)) continue;
        this.batch.arena.set(data[i], this.batch.used);
        this.batch.push(data[i].length, host[i], port[i]);
      }
      this.socket.send(this.batch);
    };
  }

  counts(): Counts {
    return this.received;
  }

  async close(): Promise<void> {
    await this.socket.close();
  }
}

class Pinger implements Sender {
  readonly latencies = new LatencyRecorder();
  private readonly socket: DatagramSocket;
  private readonly batch: TransmitBatch;
  private readonly bytes: number;
  private readonly target: Target;
  private readonly sent: Counts = { messages: 0, bytes: 0, packets: 0 };
  private sentAt = 0;
  private running = false;
  private stallTimer: NodeJS.Timeout | null = null;

  constructor(socket: DatagramSocket, options: WorkloadOptions, target: Target) {
    this.socket = socket;
    this.target = target;
    this.bytes = options.size === 0 ? options.mtu : options.size;
    this.batch = new TransmitBatch(this.bytes, 1);
    socket.onBatch = () => {
      this.latencies.add((performance.now() - this.sentAt) * 1_000);
      if (this.running) this.ping();
    };
  }

  start(): void {
    this.running = true;
    this.stallTimer = setInterval(() => {
      if (performance.now() - this.sentAt > STALL_MS) this.ping();
    }, STALL_MS);
    this.ping();
  }

  stop(): void {
    this.running = false;
    if (this.stallTimer !== null) clearInterval(this.stallTimer);
  }

  counts(): Counts {
    return this.sent;
  }

  async close(): Promise<void> {
    this.stop();
    await this.socket.close();
  }

  private ping(): void {
    this.batch.clear();
    this.batch.push(this.bytes, this.target.host, this.target.port);
    this.sent.messages++;
    this.sent.packets++;
    this.sent.bytes += this.bytes;
    this.sentAt = performance.now();
    this.socket.send(this.batch);
  }
}

const BATCH_BYTES = 64 * 1024;
const BATCH_DATAGRAMS = 64;
const STALL_MS = 100;
