import type { Command } from 'commander';
import { positiveNumber, wholeNumber, wholeNumbers } from './arguments.ts';
import { type RunOptions, runWorkload } from './bench/harness.ts';
import { oneCore } from './bench/pinning.ts';
import type { BenchResult } from './bench/result.ts';
import { workloads as rungs } from './bench/rungs/ladder.ts';
import { workloads as rawPingPong } from './bench/rungs/ping-pong.ts';
import { workloads as stack } from './bench/stack.ts';
import { formatTable } from './bench/table.ts';
import type { Workload } from './bench/workload.ts';
import { formatMtuTable, type MtuResult, mtuResult } from './mtu-report.ts';
import { note } from './terminal.ts';

interface BenchOptions {
  size: number;
  /** 0 leaves it to the library. */
  mtu: number;
  mtus: number[];
  seconds: number;
  runs: number;
  json?: boolean;
}

export function addBenchCommand(program: Command): void {
  const bench = program
    .command('bench')
    .description(
      'measure what this machine does over loopback, sender and receiver in processes of their own',
    )
    .helpCommand(false)
    .addHelpText('after', HELP);
  measuring(bench, 'transport', 'messages one way over one connection')
    .option('--size <bytes>', 'of a message', wholeNumber(1, MESSAGE_BYTES_MAX), 1_400)
    .option('--mtu <bytes>', 'of a datagram; without it the library chooses', MTU, 0)
    .action((options: BenchOptions) => reportAll([{ workload: STREAMING, ...options }], options.json));
  measuring(bench, 'latency', 'round trips of one message at a time, beside those of a bare datagram')
    .option('--size <bytes>', 'of a message', wholeNumber(1, 65_507), 64)
    .option('--mtu <bytes>', 'of a datagram; without it the library chooses', MTU, 0)
    .action((options: BenchOptions) => reportAll(latencyRuns(options), options.json));
  measuring(bench, 'mtu', 'messages one way in packets of each of several sizes')
    .option('--size <bytes>', 'of a message', wholeNumber(1, MESSAGE_BYTES_MAX), 8_192)
    .option('--mtus <bytes,...>', 'sizes of datagrams', wholeNumbers(512, 65_507), MTUS)
    .action(reportMtus);
  measuring(
    bench,
    'ladder',
    'what each layer costs: bare datagrams, + framing, + encryption, + ACKs, and the whole stack',
  )
    .option('--size <bytes>', 'of a message; 0: as many as fill a datagram', wholeNumber(0, 65_507), 0)
    .option('--mtu <bytes>', 'of a datagram', MTU, 1_472)
    .action((options: BenchOptions) => reportAll(ladderRuns(options), options.json));
}

/** One line of a report: a workload, and how it is run. */
type Run = RunOptions & { workload: Workload };

function measuring(bench: Command, name: string, description: string): Command {
  return bench
    .command(name)
    .description(description)
    .option('--seconds <s>', 'length of a measurement', positiveNumber, 2)
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
  return [...rawPingPong, ...PING_PONG].map((workload) => ({ workload, ...options, cores }));
}

/** The stack sends messages of the size that fills its packets, as the rungs below it do. */
function ladderRuns(options: BenchOptions): Run[] {
  const size = options.size === 0 ? options.mtu - STACK_OVERHEAD_BYTES : options.size;
  return [...rungs.map((workload) => ({ workload, ...options })), { workload: STREAMING, ...options, size }];
}

async function reportAll(runs: readonly Run[], json = false): Promise<void> {
  const results: BenchResult[] = [];
  for (const run of runs) {
    const result = await runWorkload(run.workload, run);
    if (json) print(JSON.stringify(result));
    results.push(result);
  }
  if (!json) print(formatTable(results));
}

async function reportMtus(options: BenchOptions): Promise<void> {
  const results: MtuResult[] = [];
  for (const mtu of options.mtus) {
    const result = mtuResult(await runWorkload(STREAMING, { ...options, mtu }));
    if (options.json) print(JSON.stringify(result));
    results.push(result);
  }
  if (!options.json) print(formatMtuTable(results));
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const MTU = wholeNumber(512, 65_507);
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
const MTUS = [512, 1_100, 1_200, 1_400, 1_472, 8_972, 16_384];
const STACK_OVERHEAD_BYTES = 40;
const STREAMING = stack.find(({ name }) => name === 'stack') as Workload;
const PING_PONG = stack.filter(({ name }) => name.endsWith('ping-pong'));

const HELP = `
Examples:
  $ jsp bench transport --size 64 --seconds 5
  $ jsp bench mtu --json
  $ jsp bench ladder
`;
