/**
 * What a flood of hellos costs: somebody sends a server 10,000 whole hellos a second from hundreds of addresses that never answer, or one
 * captured first datagram again and again, while honest clients connect, each from an address that the server does not know yet.
 *
 *     npm run bench flood -- [--json] [--seconds 30] [--rate 10000] [--only hellos,captured] [--retry auto]
 *
 * Server, flood and honest clients are a process each. Of a run it is told by how much the server's memory grew at most, what share of a core
 * the server used, and how long new connections took. It fails (exit 1) where memory grew by more than 32 MB or a connection took more than
 * a second, the bounds that it is held to.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable } from '../src/bench/figures.ts';
import { oneOfWords, positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { ProgressLine } from '../src/cli/progress-line.ts';
import { connect, generateIdentity, type ListenOptions, listen } from '../src/index.ts';
import { names } from './arguments.ts';
import { hellosAt } from './attacks/attacker.ts';

interface Outcome {
  readonly flood: string;
  /** Datagrams that it really sent, a second. */
  readonly perSecond: number;
  /** Most resident memory of the server, less what it had before. */
  readonly rssGrowthMegabytes: number;
  /** Share of a core. */
  readonly serverCpu: number;
  readonly connections: number;
  readonly connectMedianMs: number;
  readonly connectMaxMs: number;
  readonly handshakesStarted: number;
  readonly retriesSent: number;
  /** Datagrams that reached the server's process; the system drops what it has no room for. */
  readonly received: number;
}

interface ServerState {
  readonly rssBytes: number;
  readonly rssMaxBytes: number;
  readonly cpuMs: number;
  readonly handshakesStarted: number;
  readonly retriesSent: number;
  readonly datagramsReceived: number;
}

interface FloodOptions {
  readonly json?: boolean;
  readonly seconds: number;
  readonly rate: number;
  readonly only: readonly string[];
  readonly retry: NonNullable<ListenOptions['retry']>;
}

const RSS_MEGABYTES_MAX = 32;
const CONNECT_MS_MAX = 1_000;
const WARM_UP_MS = 8_000;
const SOCKETS = 512;
/** Different ones, sent in turn: to a server that keeps nothing they are ever new. */
const HELLOS = 20_000;

const [role, ...given] = process.argv.slice(2);
if (role === 'server') await serve(given[0] as FloodOptions['retry']);
else if (role === 'flood') await flood(given[0], given[1], Number(given[2]));
else await measureAll();

async function measureAll(): Promise<void> {
  const options = new Command()
    .option('--json', 'a line of JSON a flood')
    .option('--seconds <s>', 'of each flood', positiveNumber, 30)
    .option('--rate <n>', 'datagrams a second', wholeNumber(1, 1_000_000), 10_000)
    .option('--only <names>', 'of floods, with commas between them', names, ['none', 'hellos', 'captured'])
    .option(
      '--retry <mode>',
      'of the server: auto, always, never',
      oneOfWords(['auto', 'always', 'never']),
      'auto',
    )
    .parse()
    .opts<FloodOptions>();
  const outcomes: Outcome[] = [];
  for (const name of options.only) {
    const outcome = await measure(name, options);
    if (options.json) console.log(JSON.stringify(outcome));
    outcomes.push(outcome);
  }
  if (!options.json) console.log(outcomeTable(outcomes));
  const isHeld = outcomes.every(
    ({ rssGrowthMegabytes, connectMaxMs }) =>
      rssGrowthMegabytes <= RSS_MEGABYTES_MAX && connectMaxMs <= CONNECT_MS_MAX,
  );
  process.exit(isHeld ? 0 : 1);
}

/** One flood on a fresh server. */
async function measure(name: string, { seconds, rate, retry }: FloodOptions): Promise<Outcome> {
  const self = fileURLToPath(import.meta.url);
  const server = fork(self, ['server', retry], { execArgv: [...process.execArgv, '--expose-gc'] });
  const [url] = (await once(server, 'message')) as [string];
  await connectFor(url, WARM_UP_MS, 10); // until its code is compiled, and its heap is that of a server at work
  const before = await stateOf(server);
  const flooder = name === 'none' ? null : fork(self, ['flood', name, url, `${rate}`]);
  let sent = 0;
  if (flooder !== null) {
    await once(flooder, 'message');
    flooder.on('message', (count: number) => {
      sent = count;
    });
  }
  const begun = performance.now();
  const progress = new ProgressLine(process.stderr);
  progress.begin(name === 'none' ? 'no flood' : `flood of ${name}`, seconds);
  const times = await connectFor(url, seconds * 1_000);
  progress.end();
  const elapsed = performance.now() - begun;
  const after = await stateOf(server);
  flooder?.kill();
  server.kill();
  times.sort((a, b) => a - b);
  return {
    flood: name,
    perSecond: (sent / elapsed) * 1_000,
    rssGrowthMegabytes: (after.rssMaxBytes - before.rssBytes) / 2 ** 20,
    serverCpu: (after.cpuMs - before.cpuMs) / elapsed,
    connections: times.length,
    connectMedianMs: times[times.length >> 1] ?? Number.POSITIVE_INFINITY,
    connectMaxMs: times.at(-1) ?? Number.POSITIVE_INFINITY,
    handshakesStarted: after.handshakesStarted - before.handshakesStarted,
    retriesSent: after.retriesSent - before.retriesSent,
    received: after.datagramsReceived - before.datagramsReceived,
  };
}

/** How long each of the connections took that were made one after the other, from ever new addresses; one that failed took for ever. */
async function connectFor(url: string, forMs: number, pauseMs = 200): Promise<number[]> {
  const times: number[] = [];
  const begun = performance.now();
  for (let i = 0; performance.now() - begun < forMs; i++) {
    const start = performance.now();
    try {
      const localHost = `127.${200 + (i >> 16)}.${(i >> 8) & 0xff}.${1 + (i & 0x7f)}`;
      const connection = await connect(url, { localHost, tokens: false, handshakeTimeoutMs: 5_000 });
      times.push(performance.now() - start);
      connection.destroy();
    } catch {
      times.push(Number.POSITIVE_INFINITY);
    }
    await sleep(pauseMs);
  }
  return times;
}

async function stateOf(server: ChildProcess): Promise<ServerState> {
  server.send('state');
  const [state] = (await once(server, 'message')) as [ServerState];
  return state;
}

async function serve(retry: FloodOptions['retry']): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0, retry });
  let rssMaxBytes = 0;
  setInterval(() => {
    rssMaxBytes = Math.max(rssMaxBytes, process.memoryUsage.rss());
  }, 50);
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    const { handshakesStarted, retriesSent, datagramsReceived } = listener.metrics();
    const rssBytes = process.memoryUsage.rss();
    const cpuMs = (user + system) / 1_000;
    process.send?.({ rssBytes, rssMaxBytes, cpuMs, handshakesStarted, retriesSent, datagramsReceived });
    rssMaxBytes = 0;
  });
  process.on('disconnect', () => process.exit());
  process.send?.(listener.url);
}

/** Sends datagrams at a steady rate for as long as the process lives, from many networks, and listens to none of the answers. */
async function flood(name: string, url: string, rate: number): Promise<void> {
  const { host, port, datagrams } = hellosAt(url, name === 'captured' ? 1 : HELLOS);
  const sockets = await Promise.all(
    Array.from({ length: SOCKETS }, (_, i) => deafSocket(`127.${i >> 7}.${i & 0x7f}.77`)),
  );
  process.on('disconnect', () => process.exit());
  process.send?.(0);
  let sent = 0;
  for (let last = performance.now(), due = 0; ; await sleep(1)) {
    const now = performance.now();
    due = Math.min(due + ((now - last) * rate) / 1_000, rate / 20);
    last = now;
    for (; due >= 1; due--, sent++)
      sockets[sent % SOCKETS].send(datagrams[sent % datagrams.length], port, host);
    if (sent % 64 === 0) process.send?.(sent);
  }
}

async function deafSocket(host: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 });
  socket.on('error', () => {});
  socket.bind(0, host);
  await once(socket, 'listening');
  return socket;
}

function outcomeTable(outcomes: readonly Outcome[]): string {
  const header = [
    'flood',
    'sent/s',
    'RSS +MB',
    'server cpu',
    'connects',
    'median ms',
    'max ms',
    'handshakes',
    'Retries',
  ];
  const rows = outcomes.map((outcome) => [
    outcome.flood,
    outcome.perSecond.toFixed(0),
    outcome.rssGrowthMegabytes.toFixed(1),
    `${(outcome.serverCpu * 100).toFixed(0)} %`,
    `${outcome.connections}`,
    outcome.connectMedianMs.toFixed(0),
    Number.isFinite(outcome.connectMaxMs) ? outcome.connectMaxMs.toFixed(0) : 'failed',
    `${outcome.handshakesStarted}`,
    `${outcome.retriesSent}`,
  ]);
  return formatTable(header, rows);
}
