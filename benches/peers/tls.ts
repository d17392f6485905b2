import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import {
  type Counts,
  Pinger,
  type Receiver,
  type Sender,
  type Target,
  type Workload,
  type WorkloadOptions,
} from '../../src/bench/workload.ts';
import { selfSigned } from './self-signed.ts';

/**
 * The peer to beat: messages with a 4-byte length before each, over one TLS 1.3 connection with ChaCha20-Poly1305.
 *
 *   tls            one write call a message
 *   tls cork       the same, corked until the end of the tick: the best that a user of TLS can do
 *   tls ping-pong  one message there and back, and then the next
 */
export const TLS = flood('tls', false);
export const TLS_CORK = flood('tls cork', true);
export const TLS_PING_PONG: Workload = {
  name: 'tls ping-pong',
  module: import.meta.url,
  openReceiver: () => listen((socket) => (chunk) => socket.write(chunk)),
  openSender: async (options, target) => pingerOver(await dial(target), messageBytes(options)),
};

export const workloads: readonly Workload[] = [TLS, TLS_CORK, TLS_PING_PONG];

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

function pingerOver(socket: TLSSocket, bytes: number): Pinger {
  const frame = frameOf(bytes);
  let sent = 0;
  let returned = 0;
  const link = {
    send() {
      sent++;
      socket.write(frame);
    },
    packetsSent: () => sent,
    close: async () => void socket.destroy(),
  };
  const pinger = new Pinger(link, bytes);
  socket.on('error', () => pinger.stop());
  socket.on('data', (chunk: Buffer) => {
    returned += chunk.length;
    if (returned < frame.length) return;
    returned = 0;
    pinger.returned();
  });
  return pinger;
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
