/**
 * What a server does with one worker and with two: messages of 64 B that it takes, and handshakes that it makes, a second of its CPU time.
 *
 *     npm run bench workers -- [--json] [--clients 32] [--size 64] [--seconds 3] [--runs 5] [--workers 1,2]
 *
 * The load comes from two other processes, which share the cores with the server, so that what is sent a second of the clock tells of the load as much as of
 * the server. The server's CPU time, of all its threads, the main thread and the collector among them, is its own: with a core for each worker it does `workers` seconds of
 * it a second. So its capacity is messages a CPU second, times workers; where two workers hinder each other, by locks of the system or by packets that they hand
 * over, a message costs more. It is told, too, what part the busiest worker had: with few clients the system may spread them unevenly.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median, whole } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { connect, generateIdentity, listen, type Stream } from '../src/index.ts';
import { byTurns } from './turns.ts';

interface Arguments {
  readonly json?: boolean;
  readonly clients: number;
  readonly size: number;
  readonly seconds: number;
  readonly runs: number;
  readonly workers: readonly number[];
}

/** What a server has done so far. */
interface Done {
  readonly messages: readonly number[];
  readonly handshakes: readonly number[];
  readonly handedOver: number;
  readonly cpuSeconds: number;
}

/** What it did in one measurement. */
interface Figures {
  readonly perCpuSecond: number;
  readonly perSecond: number;
  readonly busiestShare: number;
  readonly handedOver: number;
}

const KINDS = ['messages', 'handshakes'] as const;
const HEAD = ['', 'a CPU second', 'capacity', 'of the first', 'a second now', 'busiest', 'handed over'];
const LOADS = 2;
const WARM_UP_MS = 1_500;
/**
 * What each worker has done before it is measured. Each compiles code of its own, and until then a handshake costs far more, the most where there are two of
 * them to share what comes: after 200 each 3.4 ms of CPU with one worker and 5.3 with two, of which V8's helper threads took a quarter; after 2,500 each 2.5 and 2.9.
 */
const WARM_UP_COUNT = 2_500;
/** Handshakes of each load: more would be asked to show by a Retry where they are. */
const AT_ONCE_MAX = 4;

process.on('disconnect', () => process.exit());

const [, , role, ...rest] = process.argv;
if (role === 'serve') await serve(Number(rest[0]));
else if (role === 'messages') await sendMessages(rest[0], Number(rest[1]), Number(rest[2]));
else if (role === 'handshakes') await shakeHands(rest[0], Number(rest[1]));
else await measure();

async function measure(): Promise<void> {
  const args = new Command()
    .option('--json', 'one line of JSON')
    .option('--clients <n>', 'connections that send', wholeNumber(1, 10_000), 32)
    .option('--size <bytes>', 'of a message', wholeNumber(1, 1_000_000), 64)
    .option('--seconds <s>', 'of each measurement', positiveNumber, 3)
    .option('--runs <n>', 'of which the median is told', wholeNumber(1, 1_000), 5)
    .option('--workers <n,...>', 'numbers of workers to compare', wholeNumbers(1, 64), [1, 2])
    .parse()
    .opts<Arguments>();
  const setups = args.workers.flatMap((workers) =>
    KINDS.map((kind) => ({ name: `${kind} ${workers}`, kind, workers })),
  );
  const results = await byTurns(setups, args.runs, ({ kind, workers }) => measureOnce(kind, workers, args));
  const told = [...results].map(([key, figures]) => ({ key, ...medians(figures) }));
  if (args.json) return console.log(JSON.stringify(told));
  const rows: string[][] = [];
  for (const kind of KINDS) {
    const first = told.find(({ key }) => key === `${kind} ${args.workers[0]}`);
    for (const workers of args.workers) {
      const one = told.find(({ key }) => key === `${kind} ${workers}`);
      if (one === undefined || first === undefined) continue;
      const capacity = one.perCpuSecond * workers;
      const times = capacity / (first.perCpuSecond * args.workers[0]);
      rows.push([
        `${kind} of ${workers}`,
        whole(one.perCpuSecond),
        whole(capacity),
        `${times.toFixed(2)} times`,
        whole(one.perSecond),
        `${(100 * one.busiestShare).toFixed(0)} %`,
        whole(one.handedOver),
      ]);
    }
  }
  console.log(formatTable(HEAD, rows));
}

async function measureOnce(
  kind: (typeof KINDS)[number],
  workers: number,
  { clients, seconds, size }: Arguments,
): Promise<Figures> {
  const server = start('serve', workers);
  const url = (await once(server, 'message'))[0] as string;
  const loads = Array.from({ length: LOADS }, () => start(kind, url, Math.ceil(clients / LOADS), size));
  await Promise.all(loads.map((load) => once(load, 'message')));
  await sleep(WARM_UP_MS);
  // The first ones of a thread are made by code that is not compiled yet, and cost many times as much.
  let before = await doneBy(server);
  while (before[kind].some((count) => count < WARM_UP_COUNT)) {
    await sleep(WARM_UP_MS);
    before = await doneBy(server);
  }
  await sleep(seconds * 1_000);
  const after = await doneBy(server);
  for (const child of [...loads, server]) child.kill('SIGKILL');
  const each = after[kind].map((count, i) => count - before[kind][i]);
  const count = each.reduce((sum, some) => sum + some, 0);
  return {
    perCpuSecond: count / (after.cpuSeconds - before.cpuSeconds),
    perSecond: count / seconds,
    busiestShare: Math.max(...each) / count,
    handedOver: after.handedOver - before.handedOver,
  };
}

function start(...args: readonly (string | number)[]): ChildProcess {
  return fork(fileURLToPath(import.meta.url), args.map(String));
}

async function doneBy(server: ChildProcess): Promise<Done> {
  server.send('done');
  return (await once(server, 'message'))[0] as Done;
}

// ---- the server ----

async function serve(workers: number): Promise<void> {
  const data = new SharedArrayBuffer(8 * workers);
  const module = new URL('./workers/session.js', import.meta.url);
  const listener = await listen({ identity: generateIdentity(), port: 0, workers, module, data });
  process.on('message', async () => {
    const { handedOver, workers: each } = await listener.metrics();
    const { system, user } = process.cpuUsage();
    process.send?.({
      messages: [...new Float64Array(data)],
      handshakes: each.map((metrics) => metrics?.handshakesCompleted ?? 0),
      handedOver,
      cpuSeconds: (system + user) / 1e6,
    } satisfies Done);
  });
  process.send?.(listener.url);
}

// ---- the load ----

async function sendMessages(url: string, clients: number, size: number): Promise<void> {
  const message = new Uint8Array(size);
  for (let i = 0; i < clients; i++) void flood((await connect(url)).openStream(), message);
  process.send?.('ready');
}

async function flood(stream: Stream, message: Uint8Array): Promise<never> {
  for (;;) {
    while (stream.send(message));
    await once(stream, 'drain');
  }
}

async function shakeHands(url: string, atOnce: number): Promise<void> {
  for (let i = 0; i < Math.min(AT_ONCE_MAX, atOnce); i++) void again(url);
  process.send?.('ready');
}

async function again(url: string): Promise<never> {
  for (;;) {
    const connection = await connect(url);
    connection.destroy();
    await connection.closed;
  }
}

// ---- figures ----

function medians(all: readonly Figures[]): Figures {
  const of = (name: keyof Figures) => median(all.map((figures) => figures[name]));
  return {
    perCpuSecond: of('perCpuSecond'),
    perSecond: of('perSecond'),
    busiestShare: of('busiestShare'),
    handedOver: of('handedOver'),
  };
}
