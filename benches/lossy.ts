/**
 * The time that small messages take one way over a bad link, for this library and for others, on the real stack of the system: each run is
 * two network namespaces with an emulated link between them, a sender in one and a receiver in the other, on the clock that both share.
 *
 *     npm run bench lossy -- --netlab PATH [--loss 10] [--only off,auto,kcptun,'tcp cubic','tcp bbr'] [--interval 10] [--size 64]
 *                                          [--rtt 50] [--seconds 15] [--warm-up 3] [--runs 5] [--at-once 5] [--record FILE]
 *                                          [--json]
 *
 * It needs root, and a program that makes the link: `PATH run --delay MS --loss PCT --seed N --cc NAME --stats FILE -- SERVER -- CLIENT`,
 * which runs both commands at their ends and writes the counters of the link. kcptun is the package of that name of Debian.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median, quantileOf } from '../src/bench/figures.ts';
import { percentage, positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { names } from './arguments.ts';
import { STAMP_BYTES } from './lossy/arrivals.ts';
import type { EndOrder } from './lossy/end.ts';
import { linkStats } from './lossy/link-stats.ts';
import { commandsOf, PEERS, type Peer } from './lossy/peers.ts';
import { addRecord, type PeerResult, type RunResult } from './lossy/record.ts';

interface Options {
  netlab: string;
  loss: number;
  only: string[];
  interval: number;
  size: number;
  rtt: number;
  seconds: number;
  warmUp: number;
  runs: number;
  seed: number;
  atOnce: number;
  link: string[];
  record?: string;
  json?: boolean;
}

async function main(): Promise<void> {
  const options = new Command()
    .requiredOption('--netlab <path>', 'the program that makes the link (or NETLAB)', process.env.NETLAB)
    .option('--loss <percent>', 'of packets, in both directions', percentage, 10)
    .option(
      '--only <names>',
      'of peers, with commas between them',
      names,
      PEERS.map(({ name }) => name),
    )
    .option('--interval <ms>', 'from one message to the next', positiveNumber, 10)
    .option('--size <bytes>', 'of a message', wholeNumber(STAMP_BYTES, 65_536), 64)
    .option('--rtt <ms>', 'round trip of the path', positiveNumber, 50)
    .option('--seconds <s>', 'of each run', positiveNumber, 15)
    .option('--warm-up <s>', 'before the first message that is timed', positiveNumber, 3)
    .option('--runs <n>', 'of which medians are told, each with a seed of its own', wholeNumber(1, 1_000), 5)
    .option('--seed <n>', 'of the first run', wholeNumber(0, 2 ** 31), 1)
    .option('--at-once <n>', 'runs beside each other', wholeNumber(1, 64), 1)
    .option(
      '--link <options>',
      'more for the program that makes the link, with blanks between them',
      blanks,
      [],
    )
    .option('--record <file>', 'keeps the results there, in place of older ones of the same peers')
    .option('--json', 'a line of JSON a peer')
    .parse()
    .opts<Options>();
  const results: PeerResult[] = [];
  for (const name of options.only) {
    const peer = PEERS.find((each) => each.name === name);
    if (peer === undefined)
      throw new Error(`no peer "${name}": ${PEERS.map((each) => each.name).join(', ')}`);
    const result = await measure(peer, options);
    if (options.json) console.log(JSON.stringify(result));
    results.push(result);
  }
  if (options.record !== undefined) addRecord(options.record, argumentsTold(options), results);
  if (!options.json) console.log(reportOf(options, results));
}

/** The command line without what is this machine's own. */
function argumentsTold({ netlab, record }: Options): string[] {
  return process.argv
    .slice(2)
    .map((word) => (word === netlab ? 'PATH' : word === record ? 'FILE' : word))
    .map((word) => (/[^\w.,:=-]/.test(word) ? `'${word}'` : word));
}

async function measure(peer: Peer, options: Options): Promise<PeerResult> {
  const { loss, rtt, interval, size, seconds } = options;
  const seeds = Array.from({ length: options.runs }, (_, i) => options.seed + i);
  const runs: RunResult[] = [];
  while (seeds.length > 0) {
    const batch = seeds.splice(0, options.atOnce);
    runs.push(...(await Promise.all(batch.map((seed) => runOnce(peer, seed, options)))));
  }
  return {
    peer: peer.name,
    loss: peer.loss ?? loss,
    rttMs: rtt,
    intervalMs: interval,
    size,
    seconds,
    messages: messagesOf(options),
    ordered: peer.jsp?.ordered ?? true,
    shares: SHARES,
    runs,
  };
}

async function runOnce(peer: Peer, seed: number, options: Options): Promise<RunResult> {
  const { netlab, loss, rtt, interval, size, seconds, warmUp, link } = options;
  const folder = mkdtempSync(join(tmpdir(), 'lossy-'));
  try {
    const order: Omit<EndOrder, 'host' | 'via'> = {
      jsp: peer.jsp,
      size,
      perSecond: 1_000 / interval,
      count: messagesOf(options),
      folder,
    };
    const { server, client } = commandsOf(peer, END, order);
    const stats = join(folder, 'link');
    const setting = [
      '--delay',
      rtt / 2,
      '--loss',
      peer.loss ?? loss,
      '--seed',
      seed,
      '--cc',
      peer.congestion,
    ];
    const limit = ['--timeout', Math.ceil(warmUp + seconds) + PATIENCE_S];
    await run(netlab, ['run', ...setting, ...limit, ...link, '--stats', stats, '--', server, '--', client]);
    const took = JSON.parse(readFileSync(join(folder, 'arrivals'), 'utf8')) as (number | null)[];
    return {
      seed,
      ...timesOf(took.slice((warmUp * 1_000) / interval), rtt / 2 + LATE_MS),
      link: linkStats(readFileSync(stats, 'utf8')),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function timesOf(tookMicros: readonly (number | null)[], lateMs: number): Omit<RunResult, 'seed' | 'link'> {
  const sorted = tookMicros
    .filter((micros) => micros !== null)
    .map((micros) => micros / 1_000)
    .sort((a, b) => a - b);
  const missing = tookMicros.length - sorted.length;
  const late = missing + sorted.filter((ms) => ms > lateMs).length;
  return {
    oneWayMs: SHARES.map((share) => rounded(quantileOf(sorted, share))),
    late: late / tookMicros.length,
    missing,
  };
}

function messagesOf({ warmUp, seconds, interval }: Options): number {
  return Math.round(((warmUp + seconds) * 1_000) / interval);
}

/** To a hundredth of a ms. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

function run(program: string, args: readonly (string | number)[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args.map(String), { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ended with code ${code}`));
    });
  });
}

function reportOf(options: Options, results: readonly PeerResult[]): string {
  const { loss, rtt, interval, size, runs, seconds } = options;
  const title = `${size} B each ${interval} ms for ${seconds} s, round trip ${rtt} ms, loss ${loss} %; ms one way: median of ${runs} runs, and of how much they differ`;
  const rows = results.map(({ peer, runs }) => [
    peer,
    ...TOLD.map((share) => spread(runs.map(({ oneWayMs }) => oneWayMs[SHARES.indexOf(share)]))),
    `${(100 * median(runs.map(({ late }) => late))).toFixed(1)} %`,
    ...(['up', 'down'] as const).map((way) => spread(runs.map(({ link }) => link[way].bytes / 1_000))),
    Math.max(...runs.map(({ link }) => link.lateMsMax)).toFixed(1),
  ]);
  return `${title}\n\n${formatTable(HEADER, rows)}`;
}

function spread(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(0));
  return `${median(values).toFixed(0)} (${least}-${most})`;
}

function blanks(text: string): string[] {
  return text.split(' ').filter((word) => word !== '');
}

const HEADER = ['peer', 'p50', 'p95', 'p99', 'p99.9', 'late', 'KB up', 'KB down', 'link late ms'];
const TOLD = [0.5, 0.95, 0.99, 0.999];
/** To the last of a thousand, closer together towards the end, and those that are told. */
const SHARES = [...new Set([...Array.from({ length: 31 }, (_, i) => 1 - 10 ** (-i / 10)), ...TOLD])]
  .map((share) => Number(share.toFixed(6)))
  .sort((a, b) => a - b);
const LATE_MS = 12;
/** For starting, and for what has not arrived when the last message is sent. */
const PATIENCE_S = 40;
/** The same extension as this file has. */
const END = fileURLToPath(new URL(`./lossy/end${extname(import.meta.url)}`, import.meta.url));

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
