/**
 * A gateway that is asked for twice what it can do. First what it can do; then twice as many requests a second, at random times, from callers who do not wait for each other (an
 * open loop); then as many callers as there are connections who ask again as soon as they are answered or refused, by autocannon. How many are answered and how late, how many are
 * told to come back and whether they are told when, what that costs in memory, and whether those who watch it are answered all the same.
 *
 *     npm run bench overload -- [--connections 6000] [--seconds 10] [--json]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { Command } from 'commander';
import { formatTable, quantilesOf } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { type Answers, arrivals, ONSET_MS } from './gateway/arrivals.ts';
import { jsp } from './gateway/jsp.ts';
import type { RunningGateway } from './gateway/peer.ts';

/** What the parent sees meanwhile, a look four times a second. */
interface Watch {
  readonly rssMaxMiB: number;
  /** Ms that `/healthz` took at most; infinite where it was not answered with 200. */
  readonly healthMaxMs: number;
}

/** What the process of the callers is to do. */
interface Order {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second; null: each connection asks again when it is answered. */
  readonly rate: number | null;
  readonly isCannon: boolean;
}

async function main(): Promise<void> {
  const { json, connections, seconds } = new Command()
    .option('--connections <n>', 'so many requests can be under way', wholeNumber(1, 20_000), 6_000)
    .option('--seconds <s>', 'of each part', positiveNumber, 10)
    .option('--json', 'one line of JSON')
    .parse()
    .opts<{ json?: boolean; connections: number; seconds: number }>();
  const gateway = await jsp.start();
  try {
    const { host, port } = gateway;
    const callers = async (order: Partial<Order>): Promise<Part> => {
      const [pid] = gateway.pids;
      const before = cpuSecondsOf(pid) ?? Number.NaN;
      const answers = await called({
        ...{ host, port, connections: FEW, seconds, rate: null, isCannon: false },
        ...order,
      });
      return { ...answers, cpu: (cpuSecondsOf(pid) ?? Number.NaN) - before };
    };
    await callers({ seconds: 3 }); // until the code is compiled
    const alone = await callers({});
    const rate = (2 * alone.taken.length) / alone.seconds;
    const rssBefore = rssMiB(gateway);
    const watching = new AbortController();
    const watched = watch(gateway, `http://${host}:${port}`, watching.signal);
    const pressed = await callers({ connections, rate });
    const crowd = await callers({ connections, isCannon: true });
    watching.abort();
    const seen = await watched;
    const after = await callers({});
    const parts = {
      [`${FEW} callers`]: alone,
      'twice as much': pressed,
      [`${connections} callers, autocannon`]: crowd,
      [`${FEW} callers, afterwards`]: after,
    };
    const memory = { rssBefore, ...seen, rssAfter: rssMiB(gateway) };
    if (json) {
      console.log(JSON.stringify({ ...memory, parts: Object.entries(parts).map(shortly) }));
      return;
    }
    console.log(formatTable(HEAD, Object.entries(parts).map(rowOf)));
    console.log(
      `memory of the gateway: ${rssBefore.toFixed(0)} MiB before, ${seen.rssMaxMiB.toFixed(0)} at most, ${memory.rssAfter.toFixed(0)} afterwards; /healthz was answered within ${seen.healthMaxMs.toFixed(0)} ms`,
    );
  } finally {
    await gateway.stop();
  }
}

/** What callers have seen, and seconds of CPU time that the gateway took for it, connections included; NaN where the system does not tell. */
interface Part extends Answers {
  readonly cpu: number;
}

/** Calls from a process of its own. */
async function called(order: Order): Promise<Answers> {
  const child = fork(fileURLToPath(import.meta.url), [CALLERS, JSON.stringify(order)]);
  const [answers] = (await once(child, 'message')) as [Answers];
  child.disconnect();
  return answers;
}

function call({ isCannon, rate, ...order }: Order): Promise<Answers> {
  const asked = { ...order, path: PATH, body: BODY };
  return isCannon ? cannon(asked) : arrivals({ ...asked, rate: rate ?? Number.POSITIVE_INFINITY });
}

async function cannon({
  host,
  port,
  connections,
  seconds,
}: Omit<Order, 'rate' | 'isCannon'>): Promise<Answers> {
  const taken: number[] = [];
  const settled: number[] = [];
  const refused: number[] = [];
  const others: Record<string, number> = {};
  let refusedWithTime = 0;
  const from = performance.now();
  const run = autocannon({
    url: `http://${host}:${port}${PATH}`,
    connections,
    duration: seconds,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: BODY,
    timeout: 30,
    setupClient: (client) => {
      client.on('headers', ({ statusCode, headers }: { statusCode: number; headers: string[] }) => {
        if (statusCode !== 429 && statusCode !== 503) return;
        if (headers.some((each) => `${each}`.toLowerCase() === 'retry-after')) refusedWithTime++;
      });
    },
  });
  run.on('response', (_client: unknown, status: number, _bytes: number, ms: number) => {
    if (status === 200) {
      taken.push(ms);
      if (performance.now() >= from + ONSET_MS) settled.push(ms);
    } else if (status === 429 || status === 503) refused.push(ms);
    else others[status] = (others[status] ?? 0) + 1;
  });
  const { errors, duration } = await run;
  for (const times of [taken, settled, refused]) times.sort((a, b) => a - b);
  return { taken, settled, refused, refusedWithTime, others, errors, unsent: 0, seconds: duration };
}

async function watch(gateway: RunningGateway, url: string, signal: AbortSignal): Promise<Watch> {
  let rssMaxMiB = 0;
  let healthMaxMs = 0;
  while (!signal.aborted) {
    const from = performance.now();
    const isWell = await fetch(`${url}/healthz`).then(
      ({ status }) => status === 200,
      () => false,
    );
    healthMaxMs = Math.max(healthMaxMs, isWell ? performance.now() - from : Number.POSITIVE_INFINITY);
    rssMaxMiB = Math.max(rssMaxMiB, rssMiB(gateway));
    await sleep(250);
  }
  return { rssMaxMiB, healthMaxMs };
}

/** NaN on systems without /proc. */
function rssMiB({ pids: [pid] }: RunningGateway): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}

function rowOf([name, each]: [string, Part]): string[] {
  const { taken, settled, refused, refusedWithTime, unsent, errors, others, seconds, cpu } = each;
  const [ms, refusedMs] = [timesOf(taken), timesOf(refused)];
  return [
    name,
    (taken.length / seconds).toFixed(0),
    ms.p50.toFixed(1),
    ms.p99.toFixed(1),
    timesOf(settled).p99.toFixed(1),
    (refused.length / seconds).toFixed(0),
    refused.length === 0 ? '' : refusedMs.p50.toFixed(1),
    refused.length === 0 ? '' : `${((100 * refusedWithTime) / refused.length).toFixed(1)} %`,
    (unsent / seconds).toFixed(0),
    cpu.toFixed(1),
    `${errors}`,
    Object.entries(others)
      .map(([status, count]) => `${count} x ${status}`)
      .join(' '),
  ];
}

function shortly([name, each]: [string, Part]): object {
  const { taken, settled, refused } = each;
  const { p99: settledP99 } = timesOf(settled);
  return {
    ...{ name, ...each, taken: taken.length, ...timesOf(taken), refused: refused.length },
    ...{ settled: settled.length, settledP99 },
  };
}

/** NaN of none. */
function timesOf(times: readonly number[]): { p50: number; p99: number } {
  const { p50 = Number.NaN, p99 = Number.NaN } = quantilesOf(times) ?? {};
  return { p50, p99 };
}

const CALLERS = 'callers';
/** Enough that the gateway never waits for them. */
const FEW = 100;
const PATH = '/v1/topics/bench/overload';
const BODY = '{"n":1,"text":"a reading of a sensor, as devices post it"}';
const HEAD = [
  '',
  'taken/s',
  'p50 ms',
  'p99 ms',
  `after ${ONSET_MS / 1_000} s`,
  'refused/s',
  'p50 ms',
  'with Retry-After',
  'unsent/s',
  'CPU s',
  'errors',
  'other answers',
];

if (process.argv[2] === CALLERS) process.send?.(await call(JSON.parse(process.argv[3])));
else await main();
