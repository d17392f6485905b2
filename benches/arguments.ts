import { Command } from 'commander';
import { type BenchResult, resultTable } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';

/** What benchmarks of workloads are told. */
export interface BenchArguments {
  readonly json?: boolean;
  readonly mtu: readonly number[];
  readonly size: readonly number[];
  /** Names of the workloads to run. */
  readonly only: readonly string[];
  readonly seconds: number;
  readonly runs: number;
  /** `--set name=value` gives a workload a setting of its own. */
  readonly set: Record<string, string | number>;
}

/** Reads the command line. */
export function benchArguments(defaults: Pick<BenchArguments, 'mtu' | 'size' | 'only'>): BenchArguments {
  return new Command()
    .option('--json', 'a line of JSON a result, as soon as it is there')
    .option('--mtu <bytes,...>', 'UDP payload; 0 leaves it to the library', BYTES, [...defaults.mtu])
    .option('--size <bytes,...>', 'of a message; 0 fills the packet', BYTES, [...defaults.size])
    .option('--only <names>', 'of workloads, with commas between them', names, [...defaults.only])
    .option('--seconds <s>', 'of each measurement, after a warm-up of the same length', positiveNumber, 3)
    .option('--runs <n>', 'of which the median is told', wholeNumber(1, 1_000), 3)
    .option('--set <name=value>', 'a setting of the workload, such as aead=node', withSetting, {})
    .parse()
    .opts<BenchArguments>();
}

/** Parses names with commas between them. */
export function names(text: string): string[] {
  return text.split(',');
}

/** Prints a table when all is done, or with `--json` one line a result as soon as it is there. */
export async function printResults(
  options: BenchArguments,
  run: () => AsyncIterable<BenchResult>,
): Promise<void> {
  const results: BenchResult[] = [];
  for await (const result of run()) {
    if (options.json) console.log(JSON.stringify(result));
    results.push(result);
  }
  if (!options.json) console.log(resultTable(results));
}

function withSetting(text: string, others: Record<string, string | number>): Record<string, string | number> {
  const [name, value] = text.split('=');
  return { ...others, [name]: Number.isNaN(Number(value)) ? value : Number(value) };
}

const BYTES = wholeNumbers(0, 16 * 1024 * 1024);
