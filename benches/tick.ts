/**
 * A game server's tick: a small state to each of many connections, best effort, a datagram each. Its server is one process, all clients are others, each of
 * them with a socket of its own; what a delivery costs is the CPU time of the server alone. With the native path and without it, by turns.
 *
 *     npm run bench tick -- [--connections 1000] [--size 100] [--hz 60] [--seconds 5] [--runs 3] [--processes 1] [--only native,pure] [--json]
 *
 * `paced` ticks at `--hz`; `lockstep` as soon as all clients have the one before, or 100 ms after it, so that no two states share a datagram: on few cores the
 * clients set its pace, and what the server could do alone is a second divided by what a delivery costs it.
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
  readonly hz: number;
  readonly seconds: number;
  readonly processes: number;
}

interface Phase {
  readonly seconds: number;
  readonly sent: number;
  readonly arrived: number;
  /** Of the server, in us a delivery. */
  readonly cpu: number;
  readonly system: number;
  /** Datagrams that came to the server for each that it sent. */
  readonly acks: number;
  /** From the beginning of a tick to each arrival. */
  readonly latency: LatencyMicros | null;
}

interface Figures {
  readonly path: PathName;
  readonly paced: Phase;
  readonly lockstep: Phase;
}

async function main(): Promise<void> {
  const { json, runs, only, ...settings } = new Command()
    .option('--connections <n>', 'each with a socket of its own', wholeNumber(1, 60_000), 1_000)
    .option('--size <bytes>', 'of a state', wholeNumber(8, 1_100), 100)
    .option('--hz <n>', 'ticks a second', positiveNumber, 60)
    .option('--seconds <s>', 'of each measurement, after as long to warm up', positiveNumber, 5)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 3)
    .option('--processes <n>', 'that share the clients', wholeNumber(1, 64), 1)
    .addOption(onlyOption(PATHS))
    .option('--json', 'a line of JSON a path')
    .parse()
    .opts<Settings & { json?: boolean; runs: number; only: string[] }>();
  await printByPath({ json, only, runs }, settings, (env) => runOnce(settings, env), TABLE);
}

function cellsOf(runs: readonly Phase[]): string[] {
  const of = (figure: (run: Phase) => number): number => median(runs.map(figure));
  return [
    whole(of(({ arrived, seconds }) => arrived / seconds)),
    `${(100 * of(({ arrived, sent }) => 1 - arrived / sent)).toFixed(2)} %`,
    of(({ cpu }) => cpu).toFixed(2),
    of(({ system }) => system).toFixed(2),
    whole(of(({ cpu }) => 1e6 / cpu)),
    of(({ acks }) => acks).toFixed(3),
    of(({ latency }) => (latency?.p50 ?? Number.NaN) / 1_000).toFixed(2),
    of(({ latency }) => (latency?.p99 ?? Number.NaN) / 1_000).toFixed(2),
  ];
}

async function runOnce(
  { connections, processes, ...settings }: Settings,
  env: NodeJS.ProcessEnv,
): Promise<Figures> {
  const server = fork(FILE, [SERVER, JSON.stringify(settings)], { env: { ...process.env, ...env } });
  const clients: ChildProcess[] = [];
  try {
    const [{ url, path }] = (await once(server, 'message')) as [{ url: string; path: PathName }];
    const share = Math.ceil(connections / processes);
    for (let left = connections; left > 0; left -= share) {
      const client = fork(FILE, [CLIENTS, url, `${Math.min(share, left)}`]);
      clients.push(client);
      await once(client, 'message');
    }
    let mode: Mode = 'paced';
    let arrivals = 0;
    for (const client of clients) {
      client.on('message', (message) => {
        if (message === TICK && mode === 'lockstep' && ++arrivals % clients.length === 0) server.send(TICK);
      });
    }
    const phase = async (next: Mode, seconds: number): Promise<Phase> => {
      mode = next;
      for (const client of clients) client.send(CLEAR);
      const sent = (await orderOf(server, { mode, seconds })) as Sent;
      await sleep(SETTLE_MS);
      const reports: ClientReport[] = [];
      for (const client of clients) reports.push((await orderOf(client, REPORT)) as ClientReport);
      const arrived = reports.reduce((sum, report) => sum + report.arrived, 0);
      const { latency } = reports[0];
      const { cpuMicros, systemMicros } = sent;
      return {
        seconds: sent.seconds,
        sent: sent.sent,
        arrived,
        cpu: cpuMicros / arrived,
        system: systemMicros / arrived,
        acks: sent.acks / sent.sent,
        latency,
      };
    };
    await phase('paced', settings.seconds);
    const paced = await phase('paced', settings.seconds);
    await phase('lockstep', settings.seconds);
    return { path, paced, lockstep: await phase('lockstep', settings.seconds) };
  } finally {
    server.disconnect();
    for (const client of clients) client.disconnect();
  }
}

/** Sends an order and has the next answer that is an object. */
async function orderOf(child: ChildProcess, order: object | string): Promise<unknown> {
  child.send(order);
  for (;;) {
    const [answer] = await once(child, 'message');
    if (typeof answer === 'object') return answer;
  }
}

// ---- the server ----

type Mode = 'paced' | 'lockstep';

interface Sent {
  readonly seconds: number;
  readonly sent: number;
  readonly acks: number;
  readonly cpuMicros: number;
  readonly systemMicros: number;
}

async function serve({ hz, size }: Pick<Settings, 'hz' | 'size'>): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0, connectionsMax: 65_536 });
  const streams: Stream[] = [];
  listener.on('connection', (connection) => {
    streams.push(
      connection.openStream({ label: 'state', priority: 'media', delivery: 'bestEffort', ordered: false }),
    );
  });
  const state = Buffer.alloc(size);
  const tick = (): void => {
    state.writeDoubleBE(sharedMicros());
    for (const stream of streams) stream.send(state);
  };
  process.on('disconnect', () => process.exit());
  process.on('message', async (order: { mode: Mode; seconds: number } | string) => {
    if (typeof order === 'string') return;
    const before = process.cpuUsage();
    const { datagramsReceived } = listener.metrics();
    const startMs = performance.now();
    const untilMs = startMs + order.seconds * 1_000;
    let ticks = 0;
    while (performance.now() < untilMs) {
      tick();
      ticks++;
      if (order.mode === 'paced')
        await sleep(Math.max(0, startMs + (ticks * 1_000) / hz - performance.now()));
      else {
        const given = new AbortController();
        await Promise.race([
          once(process, 'message', given),
          sleep(TICK_MS_MAX, undefined, { ...given, ref: true }),
        ]);
        given.abort();
      }
    }
    const { user, system } = process.cpuUsage(before);
    const answer: Sent = {
      seconds: (performance.now() - startMs) / 1_000,
      sent: ticks * streams.length,
      acks: listener.metrics().datagramsReceived - datagramsReceived,
      cpuMicros: user + system,
      systemMicros: system,
    };
    process.send?.(answer);
  });
  process.send?.({ url: listener.url, path: pathOf(listener) });
}

// ---- the clients of one process ----

interface ClientReport {
  readonly arrived: number;
  readonly latency: LatencyMicros | null;
}

async function play(url: string, count: number): Promise<void> {
  let arrived = 0;
  let latency = latencyHistogram();
  const onState = (state: Buffer): void => {
    recordMicros(latency, sharedMicros() - state.readDoubleBE());
    if (++arrived % count === 0) process.send?.(TICK);
  };
  await inParallel(count, CLIENTS_AT_ONCE, async () => {
    const connection = await connect(url, { handshakeTimeoutMs: 60_000 });
    connection.on('stream', (stream) => stream.on('message', onState));
  });
  process.on('disconnect', () => process.exit());
  process.on('message', (order) => {
    if (order === CLEAR) {
      arrived = 0;
      latency = latencyHistogram();
    } else {
      const report: ClientReport = { arrived, latency: percentilesOf(latency) };
      process.send?.(report);
    }
  });
  process.send?.('ready');
}

const FILE = fileURLToPath(import.meta.url);
const SERVER = 'server';
const CLIENTS = 'clients';
const TICK = 'tick';
const CLEAR = 'clear';
const REPORT = 'report';
/** What is on its way has arrived then. */
const SETTLE_MS = 500;
/** A tick of which something was lost is followed by the next all the same. */
const TICK_MS_MAX = 100;
const TABLE: PhaseTable<Figures> = {
  head: [
    'path',
    'ticks',
    'deliveries/s',
    'lost',
    'server us',
    'of it system',
    'deliveries/s a core',
    'datagrams back',
    'p50 ms',
    'p99 ms',
  ],
  phases: [
    ['paced', (runs) => cellsOf(runs.map(({ paced }) => paced))],
    ['lockstep', (runs) => cellsOf(runs.map(({ lockstep }) => lockstep))],
  ],
};

const [, , role, first, second] = process.argv;
if (role === SERVER) await serve(JSON.parse(first));
else if (role === CLIENTS) await play(first, Number(second));
else await main();
