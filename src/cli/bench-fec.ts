import { type Command, Option } from 'commander';
import { type FecResult, type FecScenario, type Losses, runFec } from '../bench/fec.ts';
import { formatTable, whole } from '../bench/figures.ts';
import { PERFECT_PATH } from '../bench/lab-path.ts';
import { LossyBench, NUMBER_BYTES } from '../bench/lossy.ts';
import type { ProtectionBlock } from '../transport/protection.ts';
import { codes, percentages, wholeNumber, wholeNumbers } from './arguments.ts';
import { coloursOf, print, warn } from './terminal.ts';

interface FecOptions {
  code: ProtectionBlock[];
  /** In per cent. */
  loss: number[];
  run: number[];
  size: number;
  lost: number;
  seed: number;
  json?: boolean;
}

export function addFecBench(bench: Command): void {
  bench
    .command('fec')
    .description(
      'share of lost packets that repairs bring back, beside what combinatorics promise; in virtual time',
    )
    .addOption(
      new Option('--code <k+r,...>', 'packets of a block and repairs behind them')
        .argParser(codes)
        .default(codes(CODES), CODES),
    )
    .option('--loss <percent,...>', 'of datagrams, each by itself', percentages, [1, 5, 10, 20])
    .option('--run <n,...>', 'datagrams lost in a row, now and then', wholeNumbers(1, 32), [2, 4])
    .option('--size <bytes>', 'of a message, which is a packet', wholeNumber(NUMBER_BYTES, 1_100), 64)
    .option(
      '--lost <n>',
      'messages that are to be lost, about, of 100,000 at most',
      wholeNumber(1, 100_000),
      20_000,
    )
    .option('--seed <n>', 'decides what is lost', wholeNumber(0, 2 ** 32), 1)
    .option('--json', 'print a line of JSON for each result')
    .addHelpText('after', HELP)
    .action(report);
}

async function report(options: FecOptions): Promise<void> {
  const results: FecResult[] = [];
  for (const scenario of scenariosOf(options)) {
    const result = await runFec(scenario);
    if (options.json) print(JSON.stringify(result));
    results.push(result);
  }
  const added = await addedWithoutLoss(options);
  if (options.json) print(JSON.stringify({ addedWithoutLoss: added }));
  else {
    print(
      coloursOf(process.stdout).dim(
        `messages of ${options.size} B, one a packet, sent once; seed ${options.seed}`,
      ),
    );
    print(`\n${formatTable(HEADER, results.map(cells))}`);
    print(`\nBytes that protection 'auto' adds where nothing is lost: ${whole(added)}`);
  }
  const idle = results.filter(
    ({ lost, recovered, predicted }) => lost > 0 && recovered === 0 && predicted > 0,
  );
  for (const { scenario } of idle) warn(`${codeName(scenario)} recovered nothing at ${lossesName(scenario)}`);
  if (idle.length > 0 || added !== 0) process.exitCode = 1;
}

function scenariosOf({ code, loss, run, lost, size, seed }: FecOptions): FecScenario[] {
  const chances = loss.filter((percent) => percent > 0).map((percent) => ({ chance: percent / 100 }));
  const losses: Losses[] = [...chances, ...run.map((length) => ({ run: length }))];
  return code.flatMap((block) =>
    losses.map((each) => ({ seed, block, losses: each, size, messages: messagesFor(block, each, lost) })),
  );
}

/** So many that about `lost` of them are. */
function messagesFor({ data, parity }: ProtectionBlock, losses: Losses, lost: number): number {
  const messages = 'chance' in losses ? lost / losses.chance : (lost * 6 * (data + parity)) / losses.run;
  return Math.min(MESSAGES_MAX, Math.ceil(messages));
}

async function addedWithoutLoss({ size, seed }: FecOptions): Promise<number> {
  const bench = new LossyBench();
  const scenario = {
    ...PERFECT_PATH,
    seed,
    size,
    congestion: 'cubic',
    ordered: true,
    delivery: 'reliable',
    lifetimeMs: 0,
    intervalMs: 10,
    messages: 2_000,
    warmUpMs: 1_000,
  } as const;
  const [off, auto] = [
    await bench.run({ ...scenario, protection: 'off' }),
    await bench.run({ ...scenario, protection: 'auto' }),
  ];
  return auto.up.bytes + auto.down.bytes - off.up.bytes - off.down.bytes;
}

function cells({ scenario, lost, recovered, predicted, bytesUp }: FecResult): string[] {
  const share = lost === 0 ? 0 : recovered / lost;
  return [
    codeName(scenario),
    lossesName(scenario),
    whole(scenario.messages),
    whole(lost),
    whole(recovered),
    percent(share),
    percent(predicted),
    ((share - predicted) * 100).toFixed(1),
    bytesUp.toFixed(2),
  ];
}

function codeName({ block }: FecScenario): string {
  return `${block.data}+${block.parity}`;
}

function lossesName({ losses }: FecScenario): string {
  return 'chance' in losses ? `${Number((losses.chance * 100).toFixed(3))} %` : `runs of ${losses.run}`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

const CODES = '10+2,4+1,20+4';
const MESSAGES_MAX = 100_000;
const HEADER = ['code', 'loss', 'messages', 'lost', 'recovered', 'share', 'predicted', 'points', 'x up'];

const HELP = `
It fails, with exit code 1, when a code recovers nothing where it should, or when 'auto' adds a byte where nothing is lost.

Examples:
  $ jsp bench fec
  $ jsp bench fec --code 8+3 --loss 3,30 --run 6 --size 1000
`;
