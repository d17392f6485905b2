import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { LatencyRecorder } from '../../src/cli/bench/latency-recorder.ts';
import type {
  Counts,
  Receiver,
  Sender,
  Target,
  Workload,
  WorkloadOptions,
} from '../../src/cli/bench/workload.ts';
import { selfSigned } from './self-signed.ts';

/**
 * The peer to beat: messages with a 4-byte length before each, over one TLS 1.3 connection with ChaCha20-Poly1305.
 *
 *   tls            one write call a message
 *   tls cork       the same, corked until the end of the tick: the best that a user of TLS can do
 *   tls ping-pong  one message there and back, and then the next
 */
export const workloads: readonly Workload[] = [
  flood('tls', false),
  flood('tls cork', true),
  {
    name: 'tls ping-pong',
    module: import.meta.url,
    openReceiver: () => listen((socket) => (chunk) => socket.write(chunk)),
    openSender: async (options, target) => new TlsPinger(await dial(target), messageBytes(options)),
  },
];

function flood(name: string, cork: boolean): Workload {
  return {
    name,
    module: import.meta.url,
    openReceiver: () => listen(() => () => {}),
    openSender: async (options, target) => new TlsSender(await dial(target), messageBytes(options), cork),
  };
}

function messageBytes(options: WorkloadOptions): number {
  return options.size === 0 ? options.mtu : options.size;
}

async function listen(onConnection: (socket: Socket) => (chunk: Buffer) => void): Promise<Receiver> {
  const server = createServer({ ...selfSigned('localhost'), ...SUITE });
  const receiver = new TlsReceiver(server, onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return receiver;
}

async function dial(target: Target): Promise<TLSSocket> {
  const socket = connect({ host: target.host, port: target.port, rejectUnauthorized: false, ...SUITE });
  await once(socket, 'secureConnect');
  const cipher = socket.getCipher().standardName;
  if (cipher !== SUITE.ciphers) throw new Error(`TLS chose ${cipher}`);
  socket.setNoDelay(true);
  return socket;
}

/** Takes the messages of one connection out of the stream, each as bytes of its own, and counts them. */
class TlsReceiver implements Receiver {
  private readonly server: Server;
  private readonly received: Counts = { messages: 0, bytes: 0, packets: 0 };
  /** Chunks of a frame that is not complete, and their bytes. */
  private rest: Buffer[] = [];
  private restBytes = 0;
  /** Bytes before which it makes no sense to look again. */
  private wanted = PREFIX_BYTES;
  private last: Uint8Array = EMPTY;

  constructor(server: Server, onConnection: (socket: Socket) => (chunk: Buffer) => void) {
    this.server = server;
    server.on('secureConnection', (socket) => {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      const onChunk = onConnection(socket);
      socket.on('data', (chunk: Buffer) => {
        this.take(chunk);
        onChunk(chunk);
      });
    });
  }

  get target(): Target {
    const { address, port } = this.server.address() as AddressInfo;
    return { host: address, port, receiveBufferBytes: 0 };
  }

  counts(): Counts {
    return this.received;
  }

  async close(): Promise<void> {
    this.server.close();
  }

  private take(chunk: Buffer): void {
    this.received.packets++;
    this.rest.push(chunk);
    this.restBytes += chunk.length;
    if (this.restBytes < this.wanted) return;
    const bytes = this.rest.length === 1 ? chunk : Buffer.concat(this.rest, this.restBytes);
    let at = 0;
    this.wanted = PREFIX_BYTES;
    while (bytes.length - at >= this.wanted) {
      const length = readLength(bytes, at);
      this.wanted = PREFIX_BYTES + length;
      if (bytes.length - at < this.wanted) break;
      this.deliver(bytes.subarray(at + PREFIX_BYTES, at + this.wanted));
      at += this.wanted;
      this.wanted = PREFIX_BYTES;
    }
    this.rest = at < bytes.length ? [bytes.subarray(at)] : [];
    this.restBytes = bytes.length - at;
  }

  private deliver(message: Uint8Array): void {
    this.last = message;
    this.received.messages++;
    this.received.bytes += this.last.length;
  }
}

/** Writes one message after the other, up to a bound on what waits in the socket. */
class TlsSender implements Sender {
  readonly latencies = null;
  private readonly socket: TLSSocket;
  private readonly frame: Buffer;
  private readonly bytes: number;
  private readonly cork: boolean;
  private readonly sent: Counts = { messages: 0, bytes: 0, packets: 0 };
  private running = false;

  constructor(socket: TLSSocket, bytes: number, cork: boolean) {
    this.socket = socket;
    this.frame = frameOf(bytes);
    this.bytes = bytes;
    this.cork = cork;
    socket.on('drain', () => this.turn());
    socket.on('error', () => this.stop());
  }

  start(): void {
    this.running = true;
    this.turn();
  }

  stop(): void {
    this.running = false;
  }

  counts(): Counts {
    return this.sent;
  }

  async close(): Promise<void> {
    this.stop();
    this.socket.destroy();
  }

  private turn(): void {
    if (!this.running) return;
    const { frame, socket } = this;
    const count = Math.max(1, Math.floor(BURST_BYTES / frame.length));
    let wait = false;
    if (this.cork) socket.cork();
    for (let i = 0; i < count; i++) wait = !socket.write(frame) || wait;
    if (this.cork) socket.uncork();
    this.sent.messages += count;
    this.sent.bytes += count * this.bytes;
    this.sent.packets += count;
    if (!wait) setImmediate(() => this.turn());
  }
}

class TlsPinger implements Sender {
  readonly latencies = new LatencyRecorder();
  private readonly socket: TLSSocket;
  private readonly frame: Buffer;
  private readonly bytes: number;
  private readonly sent: Counts = { messages: 0, bytes: 0, packets: 0 };
  private returned = 0;
  private sentAt = 0;
  private running = false;

  constructor(socket: TLSSocket, bytes: number) {
    this.socket = socket;
    this.frame = frameOf(bytes);
    this.bytes = bytes;
    socket.on('error', () => this.stop());
    socket.on('data', (chunk: Buffer) => {
      this.returned += chunk.length;
      if (this.returned < this.frame.length) return;
      this.returned = 0;
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
    return this.sent;
  }

  async close(): Promise<void> {
    this.stop();
    this.socket.destroy();
  }

  private ping(): void {
    this.sent.messages++;
    this.sent.bytes += this.bytes;
    this.sent.packets++;
    this.sentAt = performance.now();
    this.socket.write(this.frame);
  }
}

function frameOf(bytes: number): Buffer {
  const frame = Buffer.alloc(PREFIX_BYTES + bytes, 0x5a);
  frame.writeUInt32BE(bytes);
  return frame;
}

function readLength(from: Uint8Array, at: number): number {
  return ((from[at] << 24) | (from[at + 1] << 16) | (from[at + 2] << 8) | from[at + 3]) >>> 0;
}

const EMPTY = new Uint8Array(0);
const PREFIX_BYTES = 4;
const BURST_BYTES = 256 * 1024;
const SUITE = {
  ciphers: 'TLS_CHACHA20_POLY1305_SHA256',
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
} as const;
