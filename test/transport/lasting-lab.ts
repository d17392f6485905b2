import {
  type Connection,
  type ConnectOptions,
  connect,
  generateIdentity,
  type Identity,
  type Listener,
  type ListenOptions,
  listen,
  type ReconnectingConnection,
  type Stream,
} from '../../src/index.ts';
import { Lab, type LabSocket, type LinkOptions } from '../../src/testing/index.ts';
import {
  type ConnectTo,
  type ReconnectOptions,
  reconnectingConnection,
} from '../../src/transport/reconnect.ts';
import { parseServerUrl } from '../../src/transport/url.ts';
import { InterfaceWatch } from '../../src/udp/interfaces.ts';

/** A server of the lab, as far as it runs. */
interface Server {
  readonly socket: LabSocket;
  readonly listener: Listener;
}

/** Servers that come and go, and clients that come back to them, in a lab of their own. */
export class LastingLab {
  readonly lab: Lab;
  readonly servers = new Map<string, Server>();
  /** What servers got, by label, in the order of its coming. */
  readonly got: { host: string; label: string; text: string }[] = [];
  /** Connections that servers took. */
  readonly accepted: Connection[] = [];
  /** Told of each stream that a server is opened. */
  onStream: (stream: Stream, host: string) => void = () => {};
  /** Told of each connection that a client made, before the client has it. */
  onDialed: (connection: Connection) => void = () => {};
  /** Of clients, beside those of the lab. */
  clientOptions: ConnectOptions = {};
  private readonly identities = new Map<string, Identity>();
  /** Where the client's machine is, which its sockets are bound to. */
  clientHost = 'client';
  readonly addresses = new InterfaceWatch({ addresses: () => [this.clientHost], pollMs: 1_000_000 });
  private ports = 2_000;

  constructor(seed = 5, link: LinkOptions = { delayMs: 5 }) {
    this.lab = new Lab({ seed, link });
  }

  /** Starts a server, or starts it anew: its identity is that of its host. */
  async start(host: string, options: Omit<ListenOptions, 'identity'> = {}): Promise<Server> {
    const { clock, random } = this.lab;
    const socket = this.lab.socket({ host, port: 4_577 });
    const listener = await listen({ ...options, identity: this.identityOf(host), socket, clock, random });
    listener.on('connection', (connection) => {
      this.accepted.push(connection);
      connection.on('stream', (stream) => {
        stream.on('error', () => {});
        stream.on('message', (message) => this.got.push({ host, label: stream.label, text: `${message}` }));
        this.onStream(stream, host);
      });
    });
    const server = { socket, listener };
    this.servers.set(host, server);
    return server;
  }

  /** As `kill -9` does: it says nothing any more, and nothing is left of it. */
  kill(host: string): void {
    void this.servers.get(host)?.socket.close();
    this.servers.delete(host);
  }

  url(host: string): string {
    return `jsp://${Buffer.from(this.identityOf(host).fingerprint).toString('base64url')}@${host}:4577`;
  }

  /** Connects to the first of the hosts that lets it. */
  join(
    hosts: readonly string[],
    reconnect: ReconnectOptions = {},
    clock = this.lab.clock,
  ): Promise<ReconnectingConnection> {
    const { random } = this.lab;
    const dial = async (
      url: string,
      signal: AbortSignal | undefined,
      ticket: Uint8Array | undefined,
    ): Promise<Connection> => {
      const { host, port } = parseServerUrl(url);
      const socket = this.lab.socket({
        host: this.clientHost,
        port: this.ports++,
        connectTo: { host, port },
      });
      const connection = await connect(url, { socket, clock, random, signal, ticket, ...this.clientOptions });
      this.onDialed(connection);
      return connection;
    };
    const connectTo: ConnectTo = async (urls, signal, ticketOf) => {
      for (const url of urls.slice(0, -1)) {
        try {
          return await dial(url, signal, ticketOf(url));
        } catch (error) {
          if (signal?.aborted) throw error;
        }
      }
      const last = urls[urls.length - 1];
      return dial(last, signal, ticketOf(last));
    };
    const urls = hosts.map((host) => this.url(host));
    return this.lab.settle(
      reconnectingConnection(connectTo, urls, {
        ...{ clock, random, signal: undefined, ticket: undefined, streamDefaults: {}, reconnect },
        addresses: this.addresses,
      }),
    );
  }

  texts(label: string): string[] {
    return this.got.filter((message) => message.label === label).map(({ text }) => text);
  }

  private identityOf(host: string): Identity {
    const identity = this.identities.get(host) ?? generateIdentity();
    this.identities.set(host, identity);
    return identity;
  }
}
