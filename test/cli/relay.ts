import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

/**
 * A path between clients and a server on this machine that can be cut at a place rather than at a time: after so many bytes towards the server
 * nothing passes any more, in either direction, until it is opened again.
 */
export class Relay {
  readonly port: number;
  /** Bytes that have passed towards the server. */
  bytes = 0;
  private readonly socket: Socket;
  private readonly server: number;
  private readonly upstream = new Map<string, Socket>();
  private limit = Number.POSITIVE_INFINITY;
  private onLimit: () => void = () => {};

  private constructor(socket: Socket, server: number) {
    this.socket = socket;
    this.server = server;
    this.port = socket.address().port;
    socket.on('message', (datagram, { port, address }) => {
      if (this.isCut) return;
      this.bytes += datagram.length;
      this.towards(address, port).send(datagram, this.server, '127.0.0.1');
      if (this.isCut) this.onLimit();
    });
  }

  static async open(server: number): Promise<Relay> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const relay = new Relay(socket, server);
    onTestFinished(() => relay.close());
    return relay;
  }

  /** Lets so many more bytes pass, and resolves when they have. */
  pass(bytes: number): Promise<void> {
    this.limit = this.bytes + bytes;
    return new Promise((resolve) => {
      this.onLimit = resolve;
    });
  }

  open(): void {
    this.limit = Number.POSITIVE_INFINITY;
  }

  private get isCut(): boolean {
    return this.bytes >= this.limit;
  }

  private towards(address: string, port: number): Socket {
    const client = `${address}:${port}`;
    const known = this.upstream.get(client);
    if (known !== undefined) return known;
    const socket = createSocket('udp4');
    socket.on('message', (datagram) => {
      if (!this.isCut) this.socket.send(datagram, port, address);
    });
    socket.on('error', () => {}); // the server was killed
    this.upstream.set(client, socket);
    return socket;
  }

  private close(): void {
    for (const socket of [this.socket, ...this.upstream.values()]) socket.close();
  }
}
