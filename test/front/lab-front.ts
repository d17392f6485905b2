/** Servers behind a front, in a lab: all in virtual time, with addresses as the world has them. */

import { type Front, type FrontOptions, startFront } from '../../src/front/index.ts';
import {
  type Connection,
  type ConnectOptions,
  connect,
  generateIdentity,
  type Listener,
  type ListenOptions,
  listen,
} from '../../src/index.ts';
import { Lab, type LabSocket, type LinkOptions } from '../../src/testing/index.ts';

export const SECRET = new Uint8Array(32).fill(7);
export const FRONT_HOST = '10.0.0.1';
export const FRONT_PORT = 4_577;

/** One of the servers: what is sent to it comes back. */
export interface LabServer {
  readonly listener: Listener;
  readonly socket: LabSocket;
  readonly connections: Connection[];
}

export class FrontLab {
  readonly lab: Lab;
  readonly identity = generateIdentity();
  readonly servers: LabServer[] = [];
  front!: Front;
  /** The socket that clients come to. */
  frontSocket!: LabSocket;
  /** Those of the front to its servers, in the order in which they were opened. */
  readonly upstreams: LabSocket[] = [];
  private clients = 0;

  constructor(seed = 1, link: LinkOptions = { delayMs: 2 }) {
    this.lab = new Lab({ seed, link });
  }

  /** A server at 10.0.1.x, behind the front unless the options say otherwise. */
  async serve(number: number, options: Partial<ListenOptions> = {}): Promise<LabServer> {
    const { lab } = this;
    const socket = lab.socket({ host: serverHost(number), port: FRONT_PORT });
    const listener = await listen({
      identity: this.identity,
      socket,
      clock: lab.clock,
      random: lab.random,
      front: { secret: SECRET, serverId: number },
      ...options,
    });
    const server: LabServer = { listener, socket, connections: [] };
    listener.on('connection', (connection) => {
      server.connections.push(connection);
      connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
    });
    this.servers[number] = server;
    return server;
  }

  /** A server whose machine lost power: it says nothing to anybody. */
  kill(number: number): void {
    this.servers[number].socket.labPort.close();
  }

  url(number: number): string {
    return `jsp://${this.identity.fingerprintText}@${serverHost(number)}:${FRONT_PORT}`;
  }

  /** A front at 10.0.0.1 before the servers with these numbers; one that is there already is gone without a word. */
  async stand(numbers: readonly number[], options: Partial<FrontOptions> = {}): Promise<Front> {
    const { lab } = this;
    if (this.front !== undefined) await this.front.close();
    const socket = lab.socket({ host: FRONT_HOST, port: FRONT_PORT });
    this.frontSocket = socket;
    this.front = await lab.settle(
      startFront({
        servers: numbers.map((number) => this.url(number)),
        secret: SECRET,
        socket,
        connectSocket: (connectTo) => {
          const upstream = lab.socket({ host: FRONT_HOST, connectTo });
          this.upstreams.push(upstream);
          return upstream;
        },
        clock: lab.clock,
        random: lab.random,
        ...options,
      }),
    );
    return this.front;
  }

  /** A client at 192.0.2.x that connects through the front. */
  async join(options: Partial<ConnectOptions> = {}): Promise<{ connection: Connection; socket: LabSocket }> {
    const { lab } = this;
    const connectTo = { host: FRONT_HOST, port: FRONT_PORT };
    const socket = lab.socket({ host: `192.0.2.${++this.clients}`, port: 5_000, connectTo });
    const connection = await lab.settle(
      connect(this.front.url, { socket, clock: lab.clock, random: lab.random, ...options }),
    );
    await lab.run(20); // the server knows it, too
    return { connection, socket };
  }

  /** Which server has the client that is at this address; -1: none. */
  serverOf(host: string): number {
    return this.servers.findIndex((server) =>
      server?.connections.some(({ remoteHost, isOpen }) => remoteHost === host && isOpen),
    );
  }
}

/** Sends a message and has it back. */
export async function echo({ lab }: FrontLab, connection: Connection, text = 'hello'): Promise<string> {
  const stream = connection.openStream();
  const answer = new Promise<string>((resolve) => stream.on('message', (m) => resolve(m.toString())));
  stream.send(text);
  return await lab.settle(answer);
}

function serverHost(number: number): string {
  return `10.0.1.${number}`;
}
