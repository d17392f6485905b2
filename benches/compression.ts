/**
 * What compression costs where it brings nothing: random bytes over one connection, with it and without, a pair of runs after the other.
 *
 *     npm run bench compression -- [--json] [--size 1400,10000] [--seconds 2] [--runs 5] [--same]
 */
import { Command } from 'commander';
import { formatTable, median, whole } from '../src/bench/figures.ts';
import { runOnce } from '../src/bench/harness.ts';
import { STREAMING } from '../src/bench/workloads.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';

interface Options {
  readonly json?: boolean;
  readonly size: readonly number[];
  readonly mtu: number;
  readonly seconds: number;
  readonly runs: number;
  readonly same?: boolean;
}

/** Messages a second of both runs of a pair. */
interface Pair {
  readonly off: number;
  readonly on: number;
}

const options = new Command()
  .option('--json', 'a line of JSON a size')
  .option('--size <bytes,...>', 'of a message', wholeNumbers(1, 16 * 1024 * 1024), [1_400, 10_000])
  .option('--mtu <bytes>', 'UDP payload; 0 leaves it to the library', wholeNumber(0, 65_507), 1_472)
  .option('--seconds <s>', 'of each measurement, after a warm-up of the same length', positiveNumber, 2)
  .option('--runs <n>', 'pairs, of whose ratios the median is told', wholeNumber(1, 1_000), 5)
  .option('--same', 'off in both runs of a pair: what the ratio is worth on this machine')
  .parse()
  .opts<Options>();

const rows: string[][] = [];
for (const size of options.size) {
  const pairs: Pair[] = [];
  for (let i = 0; i < options.runs; i++) pairs.push(await runPair(size, i % 2 === 1));
  const costs = pairs.map(({ off, on }) => 1 - on / off);
  const result = {
    size,
    off: median(pairs.map(({ off }) => off)),
    on: median(pairs.map(({ on }) => on)),
    cost: median(costs),
    costs,
  };
  if (options.json) console.log(JSON.stringify(result));
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  rows.push([
    whole(size),
    whole(result.off),
    whole(result.on),
    percent(result.cost),
    `${percent(Math.min(...costs))} to ${percent(Math.max(...costs))}`,
  ]);
}
if (!options.json) console.log(formatTable(['size', 'off /s', 'on /s', 'cost', 'of the pairs'], rows));

/** @param reversed - the run with compression first, so that neither always has the machine at its best */
async function runPair(size: number, reversed: boolean): Promise<Pair> {
  const rate = async (compression: boolean): Promise<number> => {
    const settings = { random: true, compression: compression && options.same !== true };
    const { messagesPerSecond } = await runOnce(STREAMING, { ...options, size, settings });
    return messagesPerSecond;
  };
  if (!reversed) {
    const off = await rate(false);
    return { off, on: await rate(true) };
  }
  const on = await rate(true);
  return { off: await rate(false), on };
}
