import type { AeadPreference } from '../../crypto/choose-aead.ts';
import { connect } from '../../transport/connect.ts';
import type { Connection } from '../../transport/connection.ts';
import { generateIdentity } from '../../transport/identity.ts';
import { type Listener, listen } from '../../transport/listen.ts';
import type { TransportOptions } from '../../transport/options.ts';
import type { Stream } from '../../transport/stream.ts';
import type { Counts, Receiver, Sender, Target, Workload, WorkloadOptions } from './workload.ts';

/**
 * The whole transport as its users have it: one connection, one ordered reliable stream, one `send` call a message, and a `message`
 * event for each at the receiver. An mtu of 0 leaves the packet size to the library.
 */
export const workloads: readonly Workload[] = [
  {
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
      return new StackSender(connection, options.size);
    },
  },
];

class StackReceiver implements Receiver {
  readonly target: Target;
  private readonly listener: Listener;
  private readonly connections: Connection[] = [];
  private messages = 0;
  private bytes = 0;

  constructor(listener: Listener) {
    this.listener = listener;
    this.target = { host: listener.host, port: listener.port, receiveBufferBytes: 0, url: listener.url };
    listener.on('connection', (connection) => {
      this.connections.push(connection);
      connection.on('stream', (stream) => {
        stream.on('message', (message) => {
          this.messages++;
          this.bytes += message.length;
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
    // What fills a packet depends on the path; without a size, the messages of the seed's main row are sent.
    this.message = new Uint8Array(size === 0 ? DEFAULT_MESSAGE_BYTES : size).fill(0x5a);
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

function transportOptions({ mtu, settings }: WorkloadOptions): TransportOptions {
  const options: TransportOptions = {};
  if (mtu > 0) options.mtu = mtu;
  if (typeof settings.aead === 'string') options.aead = settings.aead as AeadPreference;
  return options;
}

const DEFAULT_MESSAGE_BYTES = 1_400;
