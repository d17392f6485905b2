/**
 * Many connections that all move data, on one socket of one server: each client has small messages echoed. Clients have a socket each and are other processes;
 * what the server spends and holds is its own alone. With the native path and without it, by turns.
 *
 *     npm run bench crowd -- [--connections 10000] [--size 100] [--rate 1] [--seconds 10] [--runs 1] [--processes 2] [--only native,pure] [--json]
 *
 * `paced` sends `--rate` messages a second on each connection, evenly spread; `at once` the next on each connection as soon as the one before is back.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import {
  type LatencyMicros,
  latencyHistogram,
  median,
  percentilesOf,
  recordMicros,
  whole,
} from '../src/bench/figures.ts';
import { sharedMicros } from '../src/bench/metronome.ts';
import { positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { connect, generateIdentity, listen, type Stream } from '../src/index.ts';
import {
  CLIENTS_AT_ONCE,
  inParallel,
  PATHS,
  type PathName,
  type PhaseTable,
  pathOf,
  printByPath,
} from './paths.ts';
import { onlyOption } from './turns.ts';

interface Settings {
  readonly connections: number;
  readonly size: number;
  readonly rate: number;
  readonly seconds: number;
  readonly processes: number;
}

interface Phase {
  readonly echoesPerSecond: number;
  /** Of the server, in us an echo: a message in and one out. */
  readonly cpu: number;
  readonly latency: LatencyMicros | null;
}

interface Figures {
  readonly path: PathName;
  /** Of the server's RSS, after a collection, for each connection beyond the first hundred: before any has sent, and with all moving data. */
  readonly idleKilobytes: number;
  readonly movingKilobytes: number;
  readonly paced: Phase;
  readonly atOnce: Phase;
}

type Mode = 'paced' | 'at once';

async function main(): Promise<void> {
  const { json, runs, only, ...settings } = new Command()
    .option('--connections <n>', 'each with a socket of its own', wholeNumber(200, 60_000), 10_000)
    .option('--size <bytes>', 'of a message', wholeNumber(8, 65_536), 100)
    .option('--rate <n>', 'messages a second on each connection', positiveNumber, 1)
    .option('--seconds <s>', 'of each measurement, after as long to warm up', positiveNumber, 10)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 1)
    .option('--processes <n>', 'that share the clients', wholeNumber(1, 64), 2)
    .addOption(onlyOption(PATHS))
    .option('--json', 'a line of JSON a path')
    .parse()
    .opts<Settings & { json?: boolean; runs: number; only: string[] }>();
  await printByPath({ json, only, runs }, settings, (env) => runOnce(settings, env), TABLE);
}

function cellsOf(runs: readonly Figures[], phaseOf: (run: Figures) => Phase): string[] {
  const of = (figure: (run: Figures) => number, digits: number) => median(runs.map(figure)).toFixed(digits);
  return [
    whole(median(runs.map((run) => phaseOf(run).echoesPerSecond))),
    of((run) => phaseOf(run).cpu, 1),
    of((run) => (phaseOf(run).latency?.p50 ?? Number.NaN) / 1_000, 2),
    of((run) => (phaseOf(run).latency?.p99 ?? Number.NaN) / 1_000, 2),
    of(({ idleKilobytes }) => idleKilobytes, 1),
    of(({ movingKilobytes }) => movingKilobytes, 1),
  ];
}

async function runOnce(
  { connections, processes, rate, seconds, size }: Settings,
  env: NodeJS.ProcessEnv,
): Promise<Figures> {
  const execArgv = [...process.execArgv, '--expose-gc'];
  const server = fork(FILE, [SERVER], { env: { ...process.env, ...env }, execArgv });
  const clients: ChildProcess[] = [];
  try {
    const [{ url, path }] = (await once(server, 'message')) as [{ url: string; path: PathName }];
    const each = async <T>(order: object): Promise<T[]> =>
      await Promise.all(clients.map((client) => answerOf<T>(client, order)));
    for (let i = 0; i < processes; i++) {
      const client = fork(FILE, [CLIENTS, url, `${size}`]);
      clients.push(client);
      await once(client, 'message');
    }
    await each({ connect: Math.ceil(FIRST / processes) });
    const before = await answerOf<ServerReport>(server, {});
    const others = connections - FIRST;
    await each({ connect: Math.ceil(others / processes) });
    await sleep(SETTLE_MS);
    const idle = await answerOf<ServerReport>(server, {});
    const phase = async (mode: Mode): Promise<Phase & { rss: number }> => {
      await each({ mode, rate });
      await sleep(seconds * 1_000);
      await each({ clear: true });
      const from = await answerOf<ServerReport>(server, { isBrief: true });
      await sleep(seconds * 1_000);
      const to = await answerOf<ServerReport>(server, { isBrief: true });
      const reports = await each<ClientReport>({ report: true });
      const { rss } = await answerOf<ServerReport>(server, {});
      await each({ stop: true });
      await sleep(SETTLE_MS);
      const echoes = reports.reduce((sum, { echoed }) => sum + echoed, 0);
      return {
        echoesPerSecond: (echoes / (to.atMicros - from.atMicros)) * 1e6,
        cpu: (to.cpuMicros - from.cpuMicros) / echoes,
        latency: reports[0].latency,
        rss,
      };
    };
    const { rss, ...paced } = await phase('paced');
    const { rss: _, ...atOnce } = await phase('at once');
    const kilobytes = (bytes: number): number => (bytes - before.rss) / others / 1_024;
    return { path, idleKilobytes: kilobytes(idle.rss), movingKilobytes: kilobytes(rss), paced, atOnce };
  } finally {
    server.disconnect();
    for (const client of clients) client.disconnect();
  }
}

async function answerOf<T>(child: ChildProcess, order: object): Promise<T> {
  child.send(order);
  const [answer] = await once(child, 'message');
  return answer as T;
}

// ---- the server ----

interface ServerReport {
  readonly rss: number;
  readonly cpuMicros: number;
  readonly atMicros: number;
}

async function serve(): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0, connectionsMax: 65_536 });
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', (message) => void stream.send(message)));
  });
  process.on('disconnect', () => process.exit());
  process.on('message', ({ isBrief }: { isBrief?: boolean }) => {
    if (!isBrief) for (let i = 0; i < 2; i++) global.gc?.();
    const { user, system } = process.cpuUsage();
    const report: ServerReport = {
      rss: process.memoryUsage.rss(),
      cpuMicros: user + system,
      atMicros: sharedMicros(),
    };
    process.send?.(report);
  });
  process.send?.({ url: listener.url, path: pathOf(listener) });
}

// ---- the clients of one process ----

interface ClientReport {
  readonly echoed: number;
  readonly latency: LatencyMicros | null;
}

type ClientOrder =
  | { connect: number }
  | { mode: Mode; rate: number }
  | { clear: true }
  | { report: true }
  | { stop: true };

async function talk(url: string, size: number): Promise<void> {
  const streams: Stream[] = [];
  const message = Buffer.alloc(size);
  let echoed = 0;
  let latency = latencyHistogram();
  let mode: Mode | null = null;
  let timer: NodeJS.Timeout | undefined;
  const send = (stream: Stream): void => {
    message.writeDoubleBE(sharedMicros());
    stream.send(message);
  };
  const join = async (): Promise<void> => {
    const connection = await connect(url, { handshakeTimeoutMs: 60_000 });
    const stream = connection.openStream({ label: 'echo' });
    stream.on('message', (echo) => {
      echoed++;
      recordMicros(latency, sharedMicros() - echo.readDoubleBE());
      if (mode === 'at once') send(stream);
    });
    streams.push(stream);
  };
  /** Sends on one connection after the other, as many as are due by now. */
  const pace = (rate: number): void => {
    const from = sharedMicros();
    let sent = 0;
    timer = setInterval(() => {
      const due = ((sharedMicros() - from) / 1e6) * rate * streams.length;
      while (sent < due) send(streams[sent++ % streams.length]);
    }, 5);
  };
  process.on('disconnect', () => process.exit());
  process.on('message', async (order: ClientOrder) => {
    let answer: ClientReport | 'done' = 'done';
    if ('connect' in order) await inParallel(order.connect, CLIENTS_AT_ONCE, join);
    else if ('mode' in order) {
      mode = order.mode;
      if (mode === 'paced') pace(order.rate);
      else for (const stream of streams) send(stream);
    } else if ('stop' in order) {
      mode = null;
      clearInterval(timer);
    } else {
      if ('report' in order) answer = { echoed, latency: percentilesOf(latency) };
      echoed = 0;
      latency = latencyHistogram();
    }
    process.send?.(answer);
  });
  process.send?.('ready');
}

const FILE = fileURLToPath(import.meta.url);
const SERVER = 'server';
const CLIENTS = 'clients';
/** Connections that the server's memory is compared with: what the first ones take, such as compiled code, is not theirs. */
const FIRST = 100;
const SETTLE_MS = 2_000;
const TABLE: PhaseTable<Figures> = {
  head: ['path', 'messages', 'echoes/s', 'server us', 'p50 ms', 'p99 ms', 'KB idle', 'KB moving'],
  phases: [
    ['paced', (runs) => cellsOf(runs, ({ paced }) => paced)],
    ['at once', (runs) => cellsOf(runs, ({ atOnce }) => atOnce)],
  ],
};

const [, , role, url, size] = process.argv;
if (role === SERVER) await serve();
else if (role === CLIENTS) await talk(url, Number(size));
else await main();
