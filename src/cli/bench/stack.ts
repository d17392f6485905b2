import { performance } from 'node:perf_hooks';
import type { AeadPreference } from '../../protocol/crypto/index.ts';
import { connect } from '../../transport/connect.ts';
import type { Connection } from '../../transport/connection.ts';
import { type Listener, listen } from '../../transport/listen.ts';
import type { TransportOptions } from '../../transport/options.ts';
import type { Stream } from '../../transport/stream.ts';
import { generateIdentity } from '../../transport/system-crypto.ts';
import { LatencyRecorder } from './latency-recorder.ts';
import type { Counts, Receiver, Sender, Target, Workload, WorkloadOptions } from './workload.ts';

/**
 * The whole transport as its users have it: one connection, one ordered reliable stream, one `send` call a message, and a `message`
 * event for each at the receiver. An mtu of 0 leaves the packet size to the library.
 */
export const STREAMING: Workload = {
  name: 'stack',
  module: import.meta.url,
  async openReceiver(options: WorkloadOptions): Promise<Receiver> {
    return new StackReceiver(
      await listen({ identity: generateIdentity(), port: 0, ...transportOptions(options) }),
    );
  },
  async openSender(options: WorkloadOptions, target: Target): Promise<Sender> {
    if (target.url === undefined) throw new TypeError('the receiver of this workload gives a URL');
    const connection = await connect(target.url, transportOptions(options));
    return new StackSender(connection, messageBytes(options));
  },
};

/** One message goes there and back, and then the next. */
export const PING_PONG: Workload = {
  name: 'stack ping-pong',
  module: import.meta.url,
  async openReceiver(options: WorkloadOptions): Promise<Receiver> {
    const listener = await listen({ identity: generateIdentity(), port: 0, ...transportOptions(options) });
    return new StackReceiver(listener, true);
  },
  async openSender(options: WorkloadOptions, target: Target): Promise<Sender> {
    if (target.url === undefined) throw new TypeError('the receiver of this workload gives a URL');
    return new StackPinger(await connect(target.url, transportOptions(options)), messageBytes(options));
  },
};

export const workloads: readonly Workload[] = [STREAMING, PING_PONG];

class StackReceiver implements Receiver {
  readonly target: Target;
  private readonly listener: Listener;
  private readonly connections: Connection[] = [];
  private messages = 0;
  private bytes = 0;

  /** @param isEcho - sends every message back */
  constructor(listener: Listener, isEcho = false) {
    this.listener = listener;
    this.target = { host: listener.host, port: listener.port, receiveBufferBytes: 0, url: listener.url };
    listener.on('connection', (connection) => {
      this.connections.push(connection);
      connection.on('stream', (stream) => {
        stream.on('message', (message) => {
          this.messages++;
          this.bytes += message.length;
          if (isEcho) stream.send(message);
        });
      });
    });
  }

  counts(): Counts {
    let packets = 0;
    for (const connection of this.connections) packets += connection.metrics().packetsReceived;
    return { messages: this.messages, bytes: this.bytes, packets };
  }

  close(): Promise<void> {
    return this.listener.close({ timeoutMs: 0 });
  }
}

class StackSender implements Sender {
  readonly latencies = null;
  private readonly connection: Connection;
  private readonly stream: Stream;
  private readonly message: Uint8Array;
  private messages = 0;
  private running = false;

  constructor(connection: Connection, size: number) {
    this.connection = connection;
    this.stream = connection.openStream();
    this.message = new Uint8Array(size).fill(0x5a);
  }

  start(): void {
    this.running = true;
    this.stream.on('drain', () => this.fill());
    this.fill();
  }

  stop(): void {
    this.running = false;
  }

  counts(): Counts {
    const packets = this.connection.metrics().packetsSent;
    return { messages: this.messages, bytes: this.messages * this.message.length, packets };
  }

  async close(): Promise<void> {
    await this.connection.close({ timeoutMs: 1_000 });
  }

  private fill(): void {
    const { stream, message } = this;
    while (this.running) {
      this.messages++;
      if (!stream.send(message)) return;
    }
  }
}

/** Sends the next message when the last one is back. */
class StackPinger implements Sender {
  readonly latencies = new LatencyRecorder();
  private readonly connection: Connection;
  private readonly stream: Stream;
  private readonly message: Uint8Array;
  private messages = 0;
  private running = false;
  private sentAt = 0;

  constructor(connection: Connection, size: number) {
    this.connection = connection;
    this.stream = connection.openStream();
    this.message = new Uint8Array(size).fill(0x5a);
    this.stream.on('message', () => {
      this.latencies.add((performance.now() - this.sentAt) * 1_000);
      if (this.running) this.ping();
    });
  }

  start(): void {
    this.running = true;
    this.ping();
  }

  stop(): void {
    this.running = false;
  }

  counts(): Counts {
    const packets = this.connection.metrics().packetsSent;
    return { messages: this.messages, bytes: this.messages * this.message.length, packets };
  }

  async close(): Promise<void> {
    await this.connection.close({ timeoutMs: 1_000 });
  }

  private ping(): void {
    this.messages++;
    this.sentAt = performance.now();
    this.stream.send(this.message);
  }
}

/** A size of 0 fills the packets of the mtu, as the rungs below the stack do. */
function messageBytes({ size, mtu }: WorkloadOptions): number {
  if (size > 0) return size;
  return mtu === 0 ? DEFAULT_MESSAGE_BYTES : mtu - OVERHEAD_BYTES;
}

function transportOptions({ mtu, settings }: WorkloadOptions): TransportOptions {
  const options: TransportOptions = {};
  if (mtu > 0) options.mtu = mtu;
  if (typeof settings.aead === 'string') options.aead = settings.aead as AeadPreference;
  return options;
}

/** Header, tag and frame header of a packet with one message, and some more for larger numbers. */
const OVERHEAD_BYTES = 40;
const DEFAULT_MESSAGE_BYTES = 1_400;
