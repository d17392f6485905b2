import { addressFamily } from '../base/ip-address.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { ReceiveBatch } from '../protocol/datagram/index.ts';
import { parseServerUrl, type ServerUrl } from '../transport/url.ts';
import { bindSocket } from '../udp/bind-socket.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import type { FrontOptions } from './options.ts';
import { Outgoing } from './outgoing.ts';

export interface UpstreamHost {
  readonly onBatch: (batch: ReceiveBatch) => void;
  readonly onRefused: () => void;
  readonly receiveBufferBytes: number | undefined;
  readonly sendBufferBytes: number | undefined;
}

/** A front's way to one server: a socket that is connected to it, which is opened anew where its name may mean another address by now. */
export class Upstream {
  readonly url: string;
  datagrams = 0;
  /** Why there is no socket to it. */
  fault: string | null = null;
  private readonly server: ServerUrl;
  private readonly connectSocket: FrontOptions['connectSocket'] | null;
  private readonly host: UpstreamHost;
  private socket: DatagramSocket | null = null;
  private out: Outgoing | null = null;
  /** Of sockets that are closed, and while there was none. */
  private droppedBefore = 0;
  private openedAt: Micros = 0;
  private isOpening = false;
  private isClosed = false;

  constructor(url: string, connectSocket: FrontOptions['connectSocket'] | null, host: UpstreamHost) {
    this.url = url;
    this.server = parseServerUrl(url);
    this.connectSocket = connectSocket;
    this.host = host;
  }

  get dropped(): number {
    return this.droppedBefore + (this.out?.dropped ?? 0);
  }

  push(header: Uint8Array | null, data: Uint8Array): void {
    if (header !== null) this.datagrams++;
    if (this.out === null) this.droppedBefore++;
    else this.out.push(header, data, this.server.host, this.server.port);
  }

  flush(): void {
    this.out?.flush();
  }

  /** The server is gone: perhaps its name means another address by now, or its socket could not be opened. */
  renew(now: Micros): void {
    const isNamed = addressFamily(this.server.host) === 0 && this.connectSocket === null;
    if ((this.socket === null || isNamed) && now - this.openedAt >= RENEW_AFTER) void this.open(now);
  }

  /** Opens the socket, or another in its place. Where that fails, {@link renew} tries again. */
  async open(now: Micros): Promise<void> {
    if (this.isOpening || this.isClosed) return;
    this.isOpening = true;
    this.openedAt = now;
    const { host, port } = this.server;
    const { receiveBufferBytes, sendBufferBytes } = this.host;
    try {
      const connectTo = { host, port };
      const socket =
        this.connectSocket?.(connectTo) ??
        (await bindSocket({ connectTo, receiveBufferBytes, sendBufferBytes }));
      if (this.isClosed) return await socket.close();
      this.use(socket);
    } catch (error) {
      this.fault = (error as Error).message; // such as of a name that means nothing
    } finally {
      this.isOpening = false;
    }
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.socket?.close();
  }

  private use(socket: DatagramSocket): void {
    this.letGo();
    this.socket = socket;
    this.out = new Outgoing(socket);
    this.fault = null;
    socket.onBatch = this.host.onBatch;
    socket.onError = (error, fatal) => {
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') this.host.onRefused();
      if (fatal) this.letGo();
    };
  }

  private letGo(): void {
    void this.socket?.close();
    this.droppedBefore += this.out?.dropped ?? 0;
    this.socket = null;
    this.out = null;
  }
}

/** A name is not looked up more often. */
const RENEW_AFTER: Micros = 5_000 * MILLISECOND;
