import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect, generateIdentity } from '../../src/index.ts';
import { ownPort } from '../own-port.ts';
import { ProgramFolder } from '../program-folder.ts';
import { Violation } from '../sim/invariants.ts';

export interface ReplayReport {
  /** Sent by who captured them, and read by the servers. */
  readonly sent: number;
  readonly received: number;
  /** Hellos with early data that were captured; how many of them some server took, and how often that happened again. */
  readonly captured: number;
  readonly taken: number;
  readonly takenAgain: number;
  readonly seconds: number;
}

/**
 * Plays captured first datagrams with early data to servers that are processes of their own, so many to each: to the one that gave the ticket, to another with
 * its keys for tickets, to the first one after it was killed and started again with its keys, and after that with others. The last three are also
 * sent one that no server has heard.
 *
 * @throws {Violation} when early data was taken a second time, or by a server that did not give the ticket
 */
export async function replayEarlyData(
  datagrams: number,
  onStep: (step: string) => void = () => {},
): Promise<ReplayReport> {
  const startedAtMs = performance.now();
  const identity = generateIdentity().exportSecret();
  const wire = await Wire.open();
  const servers: TicketServer[] = [];
  let received = 0;
  let captured = 0;
  const start = async (key: string, port = 0): Promise<TicketServer> => {
    const server = new TicketServer(identity, key, port);
    servers.push(server);
    await server.listens;
    return server;
  };
  const capture = (server: TicketServer): Promise<Buffer> => wire.capture(server, `order ${++captured}`);
  const replay = async (to: string, server: TicketServer, hellos: readonly Buffer[]): Promise<void> => {
    onStep(`${datagrams} datagrams to ${to}`);
    const before = (await server.count()).datagramsReceived;
    let reads = 0;
    for (let sent = 0, looks = 0; reads < datagrams; looks++) {
      if (looks > datagrams + LOOKS_MAX) throw new Violation(`of ${sent} datagrams ${to} read ${reads}`);
      // No more than its socket holds.
      for (const end = Math.min(datagrams, reads + BATCH); sent < end; sent++)
        wire.send(hellos[sent % hellos.length], server.port);
      reads = (await server.count()).datagramsReceived - before;
    }
    received += reads;
  };
  try {
    const first = await start(KEYS[0], await ownPort());
    const second = await start(KEYS[0]);
    const heard = [await capture(first), await capture(first)];
    await replay('the server that gave the tickets', first, heard);
    const hellos = [...heard, await capture(first)];
    await replay('another with its keys', second, hellos);
    await first.kill();
    const again = await start(KEYS[0], first.port);
    await replay('the first one, started again', again, hellos);
    await again.kill();
    await replay('the first one, started with other keys', await start(KEYS[1], first.port), hellos);
    const [orders, ...others] = servers.map((server) => server.heard);
    const taken = new Set(orders).size;
    const takenAgain = orders.length - taken + others.flat().length;
    if (takenAgain > 0)
      throw new Violation(`early data was taken again: ${JSON.stringify([orders, others])}`);
    if (taken < heard.length) throw new Violation(`the server that gave the tickets took ${taken} of them`);
    const seconds = (performance.now() - startedAtMs) / 1_000;
    return { sent: wire.sent, received, captured, taken, takenAgain, seconds };
  } finally {
    wire.close();
    await Promise.all(servers.map((server) => server.remove()));
  }
}

/** Stands between clients and servers, keeps what clients send first, and is the only one who sends it. */
class Wire {
  sent = 0;
  private readonly sockets: readonly Socket[];

  static async open(): Promise<Wire> {
    const sockets = Array.from({ length: PORTS }, () => createSocket('udp4'));
    await Promise.all(
      sockets.map((socket) => {
        socket.bind(0, '127.0.0.1');
        return once(socket, 'listening');
      }),
    );
    return new Wire(sockets);
  }

  private constructor(sockets: readonly Socket[]) {
    this.sockets = sockets;
  }

  /** The first datagram of a client that comes back to this server with a ticket of it, and says something early. */
  async capture({ url }: TicketServer, text: string): Promise<Buffer> {
    const before = await connect(url);
    const [ticket] = (await once(before, 'ticket')) as [Uint8Array];
    await before.close();
    const [socket] = this.sockets;
    const captured = once(socket, 'message');
    const wired = url.replace(/:\d+$/, `:${socket.address().port}`);
    const client = await connect(wired, { ticket, earlyData: true });
    client.openStream({ earlyData: true }).send(text);
    const [datagram] = (await captured) as [Buffer];
    client.destroy();
    return datagram;
  }

  /** From one port after the other, the client's own first. */
  send(datagram: Buffer, port: number): void {
    this.sockets[this.sent++ % PORTS].send(datagram, port, '127.0.0.1');
  }

  close(): void {
    for (const socket of this.sockets) socket.close();
  }
}

/** A line of ticket-server.js. */
type Line =
  | { kind: 'listens'; url: string; port: number }
  | { kind: 'heard'; text: string }
  | { kind: 'counted'; datagramsReceived: number };

/** A server as a process of its own, the built package. */
class TicketServer {
  url = '';
  port = 0;
  /** What clients said early. */
  readonly heard: string[] = [];
  readonly listens: Promise<unknown>;
  private readonly child: ChildProcess;
  private readonly folder = new ProgramFolder('jsp-tickets-');
  private readonly ended: Promise<unknown>;
  private counted: (line: Line & { kind: 'counted' }) => void = () => {};

  constructor(identity: string, key: string, port: number) {
    this.child = spawn(process.execPath, [SERVER, identity, key, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.folder.runs(this.child);
    this.ended = once(this.child, 'exit');
    const lines = createInterface({ input: this.child.stdout as NonNullable<ChildProcess['stdout']> });
    this.listens = new Promise((resolve, reject) => {
      this.child.on('exit', (code, signal) => reject(new Error(`the server ended with ${code ?? signal}`)));
      lines.on('line', (text) => {
        const line = JSON.parse(text) as Line;
        if (line.kind === 'heard') this.heard.push(line.text);
        else if (line.kind === 'counted') this.counted(line);
        else resolve(Object.assign(this, { url: line.url, port: line.port }));
      });
    });
  }

  /** What it has counted by the time that it reads the question. */
  count(): Promise<{ readonly datagramsReceived: number }> {
    return new Promise((resolve, reject) => {
      this.counted = resolve;
      void this.ended.then(() => reject(new Error('the server has ended')));
      this.child.stdin?.write('\n');
    });
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    await this.folder.remove();
  }
}

const SERVER = fileURLToPath(new URL('ticket-server.js', import.meta.url));
const KEYS = ['01'.repeat(32), '02'.repeat(32)] as const;
/** Ports that datagrams are sent from. */
const PORTS = 16;
const BATCH = 50;
/** Questions in vain, before the rest counts as lost. */
const LOOKS_MAX = 10_000;
