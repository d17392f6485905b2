import { parseArgs } from 'node:util';
import type { BenchResult } from '../src/cli/bench/result.ts';
import { formatTable } from '../src/cli/bench/table.ts';

export interface BenchArguments {
  readonly json: boolean;
  readonly mtus: readonly number[];
  readonly sizes: readonly number[];
  /** Names of the workloads to run. */
  readonly only: readonly string[];
  readonly seconds: number;
  readonly runs: number;
  readonly settings: Record<string, string | number>;
}

/** Reads the command line; `defaults` are written as on it. `--set name=value` gives a workload a setting of its own. */
export function benchArguments(defaults: { mtu: string; size: string; only: string }): BenchArguments {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      mtu: { type: 'string', default: defaults.mtu },
      size: { type: 'string', default: defaults.size },
      only: { type: 'string', default: defaults.only },
      seconds: { type: 'string', default: '3' },
      runs: { type: 'string', default: '3' },
      set: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  return {
    json: values.json,
    mtus: values.mtu.split(',').map(Number),
    sizes: values.size.split(',').map(Number),
    only: values.only.split(','),
    seconds: Number(values.seconds),
    runs: Number(values.runs),
    settings: Object.fromEntries(values.set.map(setting)),
  };
}

const USAGE = `options:
  --json             a line of JSON a result, as soon as it is there
  --mtu A,B          UDP payload; 0 leaves it to the library
  --size A,B         bytes of a message; 0 fills the packet
  --only A,B         names of workloads
  --seconds S        of each measurement, after a warm-up of the same length (default 3)
  --runs N           of which the median is told (default 3)
  --set NAME=VALUE   a setting of the workload, such as aead=node`;

function setting(text: string): [string, string | number] {
  const [name, value] = text.split('=');
  return [name, Number.isNaN(Number(value)) ? value : Number(value)];
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
  if (!options.json) console.log(formatTable(results));
}
