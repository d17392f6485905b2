/**
 * A gateway that is asked for twice what it can do, by autocannon over many connections: how many callers are answered and how late, how many are told to come back and whether
 * they are told when, what that costs in memory, and whether those who watch it are answered all the same.
 *
 *     npm run bench overload -- [--connections 3000] [--seconds 15] [--json]
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
import { jsp } from './gateway/jsp.ts';
import type { RunningGateway } from './gateway/peer.ts';

interface Answers {
  /** Ms of those that were answered with 200, in the order of length. */
  readonly taken: readonly number[];
  /** With 429 or 503. */
  readonly refused: number;
  /** Of these, those that say when to come back. */
  readonly refusedWithTime: number;
  readonly others: Readonly<Record<string, number>>;
  readonly errors: number;
  readonly seconds: number;
}

/** What the parent sees meanwhile, a look four times a second. */
interface Watch {
  readonly rssMaxMiB: number;
  /** Ms that `/healthz` took at most; infinite where it was not answered with 200. */
  readonly healthMaxMs: number;
}

async function main(): Promise<void> {
  const { json, connections, seconds } = new Command()
    .option('--connections <n>', 'that ask at once', wholeNumber(1, 20_000), 3_000)
    .option('--seconds <s>', 'of each part', positiveNumber, 15)
    .option('--json', 'one line of JSON')
    .parse()
    .opts<{ json?: boolean; connections: number; seconds: number }>();
  const gateway = await jsp.start();
  try {
    const url = `http://${gateway.host}:${gateway.port}`;
    await cannon(url, 20, 3, 0); // until the code is compiled
    const alone = await cannon(url, 20, seconds, 0);
    const capacity = alone.taken.length / alone.seconds;
    const rssBefore = rssMiB(gateway);
    const watching = new AbortController();
    const watched = watch(gateway, url, watching.signal);
    const pressed = await cannon(url, connections, seconds, Math.round(2 * capacity));
    watching.abort();
    const seen = await watched;
    await sleep(2_000);
    const after = await cannon(url, 20, Math.min(5, seconds), 0);
    const report = { capacity, rssBefore, ...seen, rssAfter: rssMiB(gateway) };
    if (json) {
      const short = (each: Answers) => ({
        ...each,
        taken: each.taken.length,
        ...timesOf(each),
      });
      console.log(
        JSON.stringify({ ...report, alone: short(alone), pressed: short(pressed), after: short(after) }),
      );
      return;
    }
    const row = (name: string, each: Answers): string[] => [
      name,
      (each.taken.length / each.seconds).toFixed(0),
      timesOf(each).p50.toFixed(1),
      timesOf(each).p99.toFixed(1),
      (each.refused / each.seconds).toFixed(0),
      each.refused === 0 ? '' : `${((100 * each.refusedWithTime) / each.refused).toFixed(1)} %`,
      `${each.errors}`,
      Object.entries(each.others)
        .map(([status, count]) => `${count} x ${status}`)
        .join(' '),
    ];
    const rows = [
      row('20 callers', alone),
      row(`${connections} callers, twice as much`, pressed),
      row('20 callers, afterwards', after),
    ];
    const head = [
      '',
      'taken/s',
      'p50 ms',
      'p99 ms',
      'refused/s',
      'with Retry-After',
      'errors',
      'other answers',
    ];
    console.log(formatTable(head, rows));
    console.log(
      `memory of the gateway: ${rssBefore.toFixed(0)} MiB before, ${seen.rssMaxMiB.toFixed(0)} at most, ${report.rssAfter.toFixed(0)} afterwards; /healthz was answered within ${seen.healthMaxMs.toFixed(0)} ms`,
    );
  } finally {
    await gateway.stop();
  }
}

/** Runs autocannon in a process of its own. @param rate - requests a second; 0: as fast as they are answered */
async function cannon(url: string, connections: number, seconds: number, rate: number): Promise<Answers> {
  const child = fork(fileURLToPath(import.meta.url), [
    CANNON,
    url,
    `${connections}`,
    `${seconds}`,
    `${rate}`,
  ]);
  const [answers] = (await once(child, 'message')) as [Answers];
  child.disconnect();
  return answers;
}

async function shoot(url: string, connections: number, seconds: number, rate: number): Promise<Answers> {
  const taken: number[] = [];
  const others: Record<string, number> = {};
  let refused = 0;
  let refusedWithTime = 0;
  const run = autocannon({
    url: `${url}/v1/topics/bench/overload`,
    connections,
    duration: seconds,
    ...(rate === 0 ? {} : { overallRate: rate }),
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"n":1,"text":"a reading of a sensor, as devices post it"}',
    timeout: 30,
    setupClient: (client) => {
      client.on('headers', ({ statusCode, headers }: { statusCode: number; headers: string[] }) => {
        if (statusCode !== 429 && statusCode !== 503) return;
        if (headers.some((each) => `${each}`.toLowerCase() === 'retry-after')) refusedWithTime++;
      });
    },
  });
  run.on('response', (_client: unknown, status: number, _bytes: number, ms: number) => {
    if (status === 200) taken.push(ms);
    else if (status === 429 || status === 503) refused++;
    else others[status] = (others[status] ?? 0) + 1;
  });
  const { errors, duration } = await run;
  taken.sort((a, b) => a - b);
  return { taken, refused, refusedWithTime, others, errors, seconds: duration };
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

/** NaN of none. */
function timesOf({ taken }: Answers): { p50: number; p99: number } {
  const { p50 = Number.NaN, p99 = Number.NaN } = quantilesOf(taken) ?? {};
  return { p50, p99 };
}

const CANNON = 'cannon';

if (process.argv[2] === CANNON) {
  const [, , , url, ...numbers] = process.argv;
  const [connections, seconds, rate] = numbers.map(Number);
  process.send?.(await shoot(url, connections, seconds, rate));
} else await main();
