/**
 * What a client saves that comes back with a ticket: handshakes a second, one after another on fresh sockets, and the time from `connect` to the
 * answer to its first message; full, resumed, and with that message as early data. Beside it TLS 1.3 (X25519, ECDSA P-256) in the same run, full and
 * resumed by session tickets. The server is another process.
 *
 *     npm run bench resumption -- [--json] [--handshakes 300] [--runs 5]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { createServer, connect as dialTls, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median } from '../src/bench/figures.ts';
import { wholeNumber } from '../src/cli/arguments.ts';
import { ProgressLine } from '../src/cli/progress-line.ts';
import { type Connection, connect, generateIdentity, listen } from '../src/index.ts';
import { selfSigned } from './peers/self-signed.ts';

const TLS_1_3 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ecdhCurve: 'X25519' } as const;
const WARM_UP = 50;
/** Of a run for each handshake that is asked for: ten kinds of coming, some milliseconds each. */
const SECONDS_EACH = 0.03;
const MESSAGE = Buffer.from('21.5');

interface Addresses {
  readonly url: string;
  readonly tlsPort: number;
}

/** Comes to the server once, and answers when it has what the next time needs. */
interface Way {
  readonly name: string;
  /** In ms, until the handshake is complete. */
  handshake(): Promise<number>;
  /** In ms, until the first message is answered. */
  message(): Promise<number>;
}

interface Figures {
  readonly way: string;
  readonly handshakesPerSecond: number;
  readonly firstAnswerMs: number;
}

if (process.send === undefined) await measure();
else await serve();

async function measure(): Promise<void> {
  const { json, handshakes, runs } = new Command()
    .option('--json', 'one line of JSON')
    .option('--handshakes <n>', 'one after another, of each kind', wholeNumber(1, 1_000_000), 300)
    .option('--runs <n>', 'of which the median is told', wholeNumber(1, 1_000), 5)
    .parse()
    .opts<{ json?: boolean; handshakes: number; runs: number }>();
  const taken = new Map<string, { rates: number[]; answers: number[] }>();
  const progress = new ProgressLine(process.stderr);
  for (let run = 0; run < runs; run++) {
    progress.begin(`run ${run + 1} of ${runs}`, handshakes * SECONDS_EACH);
    const server = fork(fileURLToPath(import.meta.url));
    const [addresses] = (await once(server, 'message')) as [Addresses];
    for (const way of waysTo(addresses)) {
      const { rates, answers } = taken.get(way.name) ?? { rates: [], answers: [] };
      taken.set(way.name, { rates, answers });
      const times = await repeated(handshakes, () => way.handshake());
      rates.push(1_000 / (times.reduce((sum, time) => sum + time, 0) / times.length));
      answers.push(median(await repeated(handshakes, () => way.message())));
    }
    server.kill();
  }
  progress.end();
  print(
    [...taken].map(([way, { rates, answers }]) => ({
      way,
      handshakesPerSecond: Math.round(median(rates)),
      firstAnswerMs: median(answers),
    })),
    json === true,
  );
}

function print(figures: readonly Figures[], asJson: boolean): void {
  if (asJson) return console.log(JSON.stringify(figures));
  const rows = figures.map(({ way, handshakesPerSecond, firstAnswerMs }) => [
    way,
    `${handshakesPerSecond}`,
    `${firstAnswerMs.toFixed(2)} ms`,
  ]);
  console.log(formatTable(['', 'handshakes/s', 'first answer'], rows));
}

async function repeated(count: number, once: () => Promise<number>): Promise<number[]> {
  for (let i = 0; i < WARM_UP; i++) await once();
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push(await once());
  return times;
}

function waysTo({ url, tlsPort }: Addresses): readonly Way[] {
  return [
    ourWay('full', url, false),
    ourWay('resumed', url, true),
    earlyWay(url),
    tlsWay(tlsPort, false),
    tlsWay(tlsPort, true),
  ];
}

function ourWay(name: string, url: string, isResumed: boolean): Way {
  let ticket: Uint8Array | undefined;
  const come = async (act: (connection: Connection) => Promise<unknown>): Promise<number> => {
    const before = performance.now();
    const connection = await connect(url, { ticket });
    const next = isResumed ? nextTicket(connection) : null;
    await act(connection);
    const time = performance.now() - before;
    if (ticket !== undefined && !connection.isResumed) throw new Error('the server did not take the ticket');
    ticket = (await next) ?? undefined;
    connection.destroy();
    return time;
  };
  return {
    name: `jsp ${name}`,
    handshake: () => come(async () => {}),
    message: () => come((connection) => answerOf(connection)),
  };
}

/** The handshake of a client with early data is complete when that was answered, too. */
function earlyWay(url: string): Way {
  let ticket: Uint8Array | undefined;
  const come = async (isAnswered: boolean): Promise<number> => {
    const isEarly = ticket !== undefined;
    const before = performance.now();
    const connection = await connect(url, { ticket, earlyData: isEarly });
    const next = nextTicket(connection);
    const established = isEarly ? once(connection, 'connected') : Promise.resolve();
    const answer = answerOf(connection);
    await (isAnswered ? answer : established);
    const time = performance.now() - before;
    await Promise.all([established, answer]);
    if (isEarly && connection.earlyData !== 'accepted') throw new Error('the server refused early data');
    ticket = await next;
    connection.destroy();
    return time;
  };
  return { name: 'jsp early data', handshake: () => come(false), message: () => come(true) };
}

async function nextTicket(connection: Connection): Promise<Uint8Array> {
  const [ticket] = (await once(connection, 'ticket')) as [Uint8Array];
  return ticket;
}

async function answerOf(connection: Connection): Promise<void> {
  const stream = connection.openStream({ earlyData: true });
  stream.send(MESSAGE);
  await once(stream, 'message');
}

/** The client is done when it has the server's certificate and FINISHED, as ours is. */
function tlsWay(port: number, isResumed: boolean): Way {
  let session: Buffer | undefined;
  const come = async (act: (socket: TLSSocket) => Promise<unknown>): Promise<number> => {
    const before = performance.now();
    const socket = dialTls({ host: '127.0.0.1', port, rejectUnauthorized: false, session, ...TLS_1_3 });
    const next = isResumed && session === undefined ? (once(socket, 'session') as Promise<[Buffer]>) : null;
    socket.resume(); // tickets come as data does
    await once(socket, 'secureConnect');
    await act(socket);
    const time = performance.now() - before;
    if (session !== undefined && !socket.isSessionReused()) throw new Error('TLS did not take the session');
    if (next !== null) session = (await next)[0]; // TLS takes it as often as it comes
    socket.destroy();
    return time;
  };
  return {
    name: `TLS 1.3 ${isResumed ? 'resumed' : 'full'}`,
    handshake: () => come(async () => {}),
    message: () =>
      come(async (socket) => {
        socket.setNoDelay(true);
        socket.write(MESSAGE);
        await once(socket, 'data');
      }),
  };
}

async function serve(): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0 });
  listener.on('connection', (connection) =>
    connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message))),
  );
  process.on('disconnect', () => process.exit());
  const tls = createServer({ ...selfSigned('localhost'), ...TLS_1_3 }, (socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write(data));
  });
  tls.on('tlsClientError', () => {}); // a client that is done at once
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  const addresses: Addresses = { url: listener.url, tlsPort: (tls.address() as AddressInfo).port };
  process.send?.(addresses);
}
