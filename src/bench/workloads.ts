/**
 * What `jsp bench` runs. All over loopback:
 *
 *   stack            messages one way over one connection and one ordered reliable stream, one `send` call each
 *   stack ping-pong  one message there and back over the same, and then the next
 *   raw ping-pong    one bare datagram there and back: the time a round trip takes at least
 *
 * An mtu of 0 leaves the packet size to the library.
 */
import type { AeadPreference } from '../protocol/crypto/index.ts';
import { TransmitBatch } from '../protocol/datagram/index.ts';
import { connect } from '../transport/connect.ts';
import type { Connection } from '../transport/connection.ts';
import { type Listener, listen } from '../transport/listen.ts';
import type { TransportOptions } from '../transport/options.ts';
import type { Stream } from '../transport/stream.ts';
import { generateIdentity } from '../transport/system-crypto.ts';
import { bindSocket } from '../udp/bind-socket.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import {
  type Counts,
  Pinger,
  type Receiver,
  type Sender,
  type Target,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

export const STREAMING: Workload = {
  name: 'stack',
  module: import.meta.url,
  openReceiver: (options) => openListener(options, false),
  async openSender(options, target) {
    return new StackSender(await connectTo(target, options), messageBytes(options));
  },
};

export const PING_PONG: Workload = {
  name: 'stack ping-pong',
  module: import.meta.url,
  openReceiver: (options) => openListener(options, true),
  async openSender(options, target) {
    return stackPinger(await connectTo(target, options), messageBytes(options));
  },
};

export const RAW_PING_PONG: Workload = {
  name: 'raw ping-pong',
  module: import.meta.url,
  async openReceiver() {
    return new DatagramEcho(await bindSocket({ host: '127.0.0.1' }));
  },
  async openSender(options, target) {
    return rawPinger(await bindSocket({ connectTo: target }), options, target);
  },
};

export const workloads: readonly Workload[] = [STREAMING, PING_PONG, RAW_PING_PONG];

async function openListener(options: WorkloadOptions, isEcho: boolean): Promise<Receiver> {
  const listener = await listen({ identity: generateIdentity(), port: 0, ...transportOptions(options) });
  return new StackReceiver(listener, isEcho);
}

function connectTo(target: Target, options: WorkloadOptions): Promise<Connection> {
  if (target.url === undefined) throw new TypeError('the receiver of this workload gives a URL');
  return connect(target.url, transportOptions(options));
}

class StackReceiver implements Receiver {
  readonly target: Target;
  private readonly listener: Listener;
  private readonly connections: Connection[] = [];
  private messages = 0;
  private bytes = 0;

  /** @param isEcho - sends every message back */
  constructor(listener: Listener, isEcho: boolean) {
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
    this.message = messageOf(size);
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
    await this.connection.close(CLOSING);
  }

  private fill(): void {
    const { stream, message } = this;
    while (this.running) {
      this.messages++;
      if (!stream.send(message)) return;
    }
  }
}

function stackPinger(connection: Connection, size: number): Pinger {
  const stream = connection.openStream();
  const message = messageOf(size);
  const link = {
    send: () => void stream.send(message),
    packetsSent: () => connection.metrics().packetsSent,
    close: async () => void (await connection.close(CLOSING)),
  };
  const pinger = new Pinger(link, size);
  stream.on('message', () => pinger.returned());
  return pinger;
}

/** Sends every datagram back. */
class DatagramEcho implements Receiver {
  readonly target: Target;
  private readonly socket: DatagramSocket;
  private readonly batch = new TransmitBatch(ECHO_BYTES, ECHO_DATAGRAMS);
  private readonly received: Counts = { messages: 0, bytes: 0, packets: 0 };

  constructor(socket: DatagramSocket) {
    this.socket = socket;
    const { localHost: host, localPort: port, receiveBufferBytes } = socket;
    this.target = { host, port, receiveBufferBytes };
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

function rawPinger(socket: DatagramSocket, { size, mtu }: WorkloadOptions, target: Target): Pinger {
  const bytes = size === 0 ? mtu : size;
  const batch = new TransmitBatch(bytes, 1);
  let sent = 0;
  const link = {
    send() {
      batch.clear();
      batch.push(bytes, target.host, target.port);
      socket.send(batch);
      sent++;
    },
    packetsSent: () => sent,
    close: async () => void (await socket.close()),
  };
  const pinger = new Pinger(link, bytes, DATAGRAM_LOSS_MS);
  socket.onBatch = () => pinger.returned();
  return pinger;
}

/** A size of 0 fills the packets of the mtu, as the rungs of the ladder below the stack do. */
function messageBytes({ size, mtu }: WorkloadOptions): number {
  if (size > 0) return size;
  return mtu === 0 ? DEFAULT_MESSAGE_BYTES : mtu - OVERHEAD_BYTES;
}

function messageOf(size: number): Uint8Array {
  return new Uint8Array(size).fill(0x5a);
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
/** The figures are taken; a machine that does much else needs its time for the last acknowledgements. */
const CLOSING = { timeoutMs: 30_000 };
const ECHO_BYTES = 64 * 1024;
const ECHO_DATAGRAMS = 64;
const DATAGRAM_LOSS_MS = 100;
