import type { Command } from 'commander';
import { type BenchResult, formatTable, resultTable, whole } from '../bench/figures.ts';
import { oneCore, type RunOptions, runWorkload } from '../bench/harness.ts';
import type { Workload } from '../bench/workload.ts';
import { PING_PONG, RAW_PING_PONG, STREAMING } from '../bench/workloads.ts';
import { DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN } from '../protocol/endpoint/index.ts';
import { PAYLOAD_BYTES_MAX, seconds, wholeNumber, wholeNumbers } from './arguments.ts';
import { addCompressionBench } from './bench-compression.ts';
import { addFecBench } from './bench-fec.ts';
import { addBenchLink } from './bench-link.ts';
import { addLossyBench } from './bench-lossy.ts';
import { addPubsubBench } from './bench-pubsub.ts';
import { addQosBench } from './bench-qos.ts';
import { addBenchServe } from './bench-serve.ts';
import { note, print } from './terminal.ts';

interface BenchOptions {
  size: number;
  /** 0 leaves it to the library. */
  mtu: number;
  mtus: number[];
  seconds: number;
  runs: number;
  json?: boolean;
}

/** A result of `jsp bench mtu`. */
interface MtuResult extends BenchResult {
  /** Share of the bytes of all full datagrams that was not messages: headers, tags, acknowledgements, what was sent again. */
  overheadPercent: number;
}

export function addBenchCommand(program: Command): void {
  const bench = program
    .command('bench')
    .description(
      'measure what this machine does over loopback, the link to another host, and what the library does on bad links in virtual time',
    )
    .helpCommand(false)
    .addHelpText('after', HELP);
  measuring(bench, 'transport', 'messages one way over one connection')
    .option('--size <bytes>', 'of a message', wholeNumber(1, PAYLOAD_BYTES_MAX), 1_400)
    .option('--mtu <bytes>', 'of a datagram; without it the library chooses', MTU, 0)
    .action((options: BenchOptions) => reportAll([{ workload: STREAMING, ...options }], options.json));
  measuring(bench, 'latency', 'round trips of one message at a time, beside those of a bare datagram')
    .option('--size <bytes>', 'of a message', wholeNumber(1, DATAGRAM_BYTES_MAX), 64)
    .option('--mtu <bytes>', 'of a datagram; without it the library chooses', MTU, 0)
    .action((options: BenchOptions) => reportAll(latencyRuns(options), options.json));
  measuring(bench, 'mtu', 'messages one way in packets of each of several sizes')
    .option('--size <bytes>', 'of a message', wholeNumber(1, PAYLOAD_BYTES_MAX), 8_192)
    .option(
      '--mtus <bytes,...>',
      'sizes of datagrams',
      wholeNumbers(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX),
      MTUS,
    )
    .action(reportMtus);
  addBenchServe(bench);
  addBenchLink(bench);
  addLossyBench(bench);
  addCompressionBench(bench);
  addFecBench(bench);
  addQosBench(bench);
  addPubsubBench(bench);
}

/** One line of a report: a workload, and how it is run. */
type Run = RunOptions & { workload: Workload };

function measuring(bench: Command, name: string, description: string): Command {
  return bench
    .command(name)
    .description(description)
    .option('--seconds <s>', 'length of a measurement', seconds, 2)
    .option(
      '--runs <n>',
      'measurements, of which the median by messages a second is told',
      wholeNumber(1, 100),
      1,
    )
    .option('--json', 'print a line of JSON for each result');
}

/** Both processes on one core: on two, most of a round trip is the time it takes to wake the other one up. */
function latencyRuns(options: BenchOptions): Run[] {
  const cores = oneCore();
  if (cores === null) note('without taskset the processes run on any core, and the figures depend on which');
  return [RAW_PING_PONG, PING_PONG].map((workload) => ({ workload, ...options, cores }));
}

async function reportAll(runs: readonly Run[], json = false): Promise<void> {
  const results: BenchResult[] = [];
  for (const run of runs) {
    const result = await runWorkload(run.workload, run);
    if (json) print(JSON.stringify(result));
    results.push(result);
  }
  if (!json) print(resultTable(results));
}

async function reportMtus(options: BenchOptions): Promise<void> {
  const results: MtuResult[] = [];
  for (const mtu of options.mtus) {
    const result = withOverhead(await runWorkload(STREAMING, { ...options, mtu }));
    if (options.json) print(JSON.stringify(result));
    results.push(result);
  }
  if (!options.json) print(formatTable(MTU_HEADER, results.map(mtuCells)));
}

function withOverhead(result: BenchResult): MtuResult {
  const datagramMegabits = (result.packetsPerSecond * result.mtu * 8) / 1e6;
  const share = datagramMegabits === 0 ? 0 : 1 - result.megabitsPerSecond / datagramMegabits;
  return { ...result, overheadPercent: Math.max(0, 100 * share) };
}

function mtuCells(result: MtuResult): string[] {
  const { mtu, megabitsPerSecond, packetsPerSecond, messagesPerSecond, overheadPercent } = result;
  const figures = [megabitsPerSecond, packetsPerSecond, messagesPerSecond].map(whole);
  return [String(mtu), ...figures, overheadPercent.toFixed(1)];
}

const MTU = wholeNumber(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX);
const MTUS = [512, 1_100, 1_200, 1_400, 1_472, 8_972, 16_384];
const MTU_HEADER = ['mtu', 'goodput Mbit/s', 'packets/s', 'messages/s', 'overhead %'];

const HELP = `
Examples:
  $ jsp bench transport --size 64 --seconds 5
  $ jsp bench latency
  $ jsp bench mtu --json
  $ jsp bench serve --host 0.0.0.0          on one host, and on another: jsp bench link URL
  $ jsp bench lossy --loss 10
`;
