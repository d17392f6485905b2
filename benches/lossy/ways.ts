/** The ways on which messages go from a sender to a receiver, each a process at its end of a bad link. */
import { once } from 'node:events';
import { createServer, connect as openTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, generateIdentity, listen, type TransportOptions } from '../../src/index.ts';

/** What a message is sent with. */
export interface Sending {
  send(message: Uint8Array): void;
  close(): void;
}

export interface Way {
  /**
   * Takes messages of `size` bytes, and answers where.
   *
   * @param host - local address; 127.0.0.1 behind a tunnel
   */
  receive(host: string, size: number, onMessage: (message: Uint8Array) => void): Promise<string>;
  /** Opens the way to the place that {@link receive} answered. */
  open(target: string): Promise<Sending>;
}

/** How a stream of this library is to be; both sides are told the same. */
export interface JspSettings {
  readonly ordered: boolean;
  readonly transport: TransportOptions;
}

export function jspWay({ ordered, transport }: JspSettings): Way {
  return {
    async receive(host, _size, onMessage) {
      const listener = await listen({ ...transport, identity: generateIdentity(), host, port: 0 });
      listener.on('connection', (connection) => {
        connection.on('stream', (stream) => stream.on('message', onMessage));
      });
      return listener.url;
    },
    async open(url) {
      const connection = await connect(url, transport);
      const stream = connection.openStream({ ordered });
      return { send: (message) => void stream.send(message), close: () => connection.destroy() };
    },
  };
}

/** Messages of one size behind each other on a TCP connection, each written at once. What carries it is the system's or a tunnel's affair. */
export const TCP_WAY: Way = {
  async receive(host, size, onMessage) {
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      let rest: Uint8Array = new Uint8Array(0);
      socket.on('data', (data) => {
        const bytes = rest.length === 0 ? data : Buffer.concat([rest, data]);
        let at = 0;
        for (; at + size <= bytes.length; at += size) onMessage(bytes.subarray(at, at + size));
        rest = bytes.subarray(at);
      });
    });
    server.listen(host === TUNNEL_END ? TUNNELLED_PORT : 0, host);
    await once(server, 'listening');
    return `${host}:${(server.address() as { port: number }).port}`;
  },
  async open(target) {
    const [host, port] = target.split(':');
    const socket = await openSoon(host, Number(port));
    return { send: (message) => void socket.write(message), close: () => socket.destroy() };
  },
};

/** A tunnel that is being started does not listen yet. */
async function openSoon(host: string, port: number, triesLeft = 50): Promise<ReturnType<typeof openTcp>> {
  const socket = openTcp({ host, port, noDelay: true });
  try {
    await once(socket, 'connect');
    return socket;
  } catch (error) {
    if (triesLeft === 0) throw error;
    await sleep(20);
    return openSoon(host, port, triesLeft - 1);
  }
}

/** Where tunnels have their ends on both sides. */
export const TUNNEL_END = '127.0.0.1';
/** What a tunnel leads to, on the receiver's side. */
export const TUNNELLED_PORT = 4_579;
