/**
 * How long a message takes from when it was due at its publisher, through a broker, to its subscriber: three processes, an open loop,
 * light load. This project beside NATS over TLS, by turns.
 *
 *     npm run bench broker-latency -- [--rate 1000,10000] [--size 256] [--seconds 12] [--from 3] [--runs 5] [--pace sleep,spin]
 *                                              [--only jsp,'nats tls'] [--json]
 *
 * The totals begin with second `--from`; the table of seconds shows what came before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { formatTable, type LatencyMicros, median } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { names } from './arguments.ts';
import { type ArrivalReport, STAMP_BYTES } from './broker/arrivals.ts';
import type { Pace } from './broker/pace.ts';
import { type BrokerPeer, PEERS, USUAL_PEERS } from './broker/peer.ts';
import { WorkerProcess } from './broker/worker-process.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { byTurns, onlyOption } from './turns.ts';

interface Settings {
  readonly rate: number;
  readonly size: number;
  readonly seconds: number;
  readonly fromSecond: number;
  readonly how: Pace;
}

interface RunResult extends ArrivalReport {
  readonly lost: number;
  /** Seconds of CPU time from connecting to the end, of publisher, broker and subscriber; null where the system does not tell. */
  readonly cpuSeconds: readonly (number | null)[];
}

async function main(): Promise<void> {
  const {
    json,
    runs,
    pace,
    rate: rates,
    only,
    ...given
  } = new Command()
    .option('--rate <n,...>', 'messages a second', wholeNumbers(1, 1_000_000), [1_000, 10_000])
    .option('--size <bytes>', 'of a message', wholeNumber(STAMP_BYTES, 16 * 1024 * 1024), 256)
    .option('--seconds <s>', 'of each measurement', wholeNumber(1, 3_600), 12)
    .option('--from <second>', 'the first that counts in the totals', positiveNumber, 3)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 5)
    .option('--pace <how>', 'sleep, spin, or both with a comma between them', names, ['sleep'])
    .addOption(onlyOption(PEERS, USUAL_PEERS))
    .option('--json', 'a line of JSON a rate')
    .parse()
    .opts<Options>();
  const peers = PEERS.filter(({ name }) => only.includes(name));
  for (const how of pace) {
    for (const rate of rates) {
      const settings: Settings = {
        rate,
        size: given.size,
        seconds: given.seconds,
        fromSecond: given.from,
        how,
      };
      const results = await byTurns(peers, runs, (peer) => runOnce(peer, settings));
      if (json) console.log(JSON.stringify({ ...settings, results: Object.fromEntries(results) }));
      else console.log(reportOf(settings, results));
    }
  }
}

interface Options {
  json?: boolean;
  rate: number[];
  size: number;
  seconds: number;
  from: number;
  runs: number;
  pace: Pace[];
  only: string[];
}

async function runOnce(peer: BrokerPeer, settings: Settings): Promise<RunResult> {
  const { rate, size, seconds, fromSecond, how } = settings;
  const broker = await peer.startBroker();
  const subscriber = new WorkerProcess();
  const publisher = new WorkerProcess();
  try {
    const { address } = broker;
    await subscriber.order({ order: 'connect', peer: peer.name, address });
    await subscriber.order({ order: 'subscribe', rate, seconds, fromSecond });
    await publisher.order({ order: 'connect', peer: peer.name, address });
    await publisher.order({ order: 'publish', rate, seconds, size, how });
    await sleep(SETTLE_MS);
    const cpuSeconds = [publisher.pid, broker.pid, subscriber.pid].map(cpuSecondsOf);
    const arrivals = (await subscriber.order({ order: 'report' })) as ArrivalReport;
    return { ...arrivals, lost: rate * seconds - arrivals.arrived, cpuSeconds };
  } finally {
    publisher.end();
    subscriber.end();
    await broker.stop();
  }
}

function reportOf(settings: Settings, results: ReadonlyMap<string, readonly RunResult[]>): string {
  const { rate, size, seconds, fromSecond, how } = settings;
  const row = (title: string, cell: (runs: readonly RunResult[]) => string): string[] => [
    title,
    ...[...results.values()].map(cell),
  ];
  const rows = Array.from({ length: seconds }, (_, second) =>
    row(String(second + 1), (runs) => medianText(runs.map((run) => run.seconds[second]))),
  );
  rows.push(row(`${fromSecond} on`, (runs) => medianText(runs.map((run) => run.total))));
  rows.push(row('lost', (runs) => String(runs.reduce((sum, run) => sum + run.lost, 0))));
  rows.push(row('cpu s p/b/s', cpuText));
  const title = `${rate} messages/s of ${size} B, pace ${how}; us from when due, p50 / p95 / p99, medians of the runs`;
  return `\n${title}\n${formatTable(['second', ...results.keys()], rows)}`;
}

/** Median of each percentile over the runs. */
function medianText(runs: readonly (LatencyMicros | null)[]): string {
  const known = runs.filter((run) => run !== null);
  if (known.length === 0) return '-';
  return (['p50', 'p95', 'p99'] as const)
    .map((key) => median(known.map((run) => run[key])).toFixed(0))
    .join(' / ');
}

function cpuText(runs: readonly RunResult[]): string {
  return [0, 1, 2]
    .map((i) => runs.map((run) => run.cpuSeconds[i] ?? Number.NaN))
    .map((seconds) => median(seconds).toFixed(2))
    .join(' / ');
}

const SETTLE_MS = 500;
await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
