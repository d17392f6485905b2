import type { Command } from 'commander';
import { formatTable, type Quantiles } from '../bench/figures.ts';
import {
  type GameResult,
  type PriorityResult,
  type QosScenario,
  runGame,
  runPriorities,
  SATURATING,
  STATE_BYTES_MIN,
} from '../bench/qos.ts';
import { CONTROLLERS, type TransportOptions } from '../transport/options.ts';
import { positiveNumber, positiveNumbers, seconds, wholeNumber, words } from './arguments.ts';
import { coloursOf, print } from './terminal.ts';

interface QosOptions {
  /** In Mbit/s. */
  rate: number;
  rtt: number;
  /** In bandwidth-delay products. */
  queue: number[];
  congestion: NonNullable<TransportOptions['congestion']>[];
  queueDelayMax?: number;
  seconds: number;
  gameRate: number;
  gameRtt: number;
  gameQueue: number;
  states: number;
  size: number;
  seed: number;
  json?: boolean;
}

export function addQosBench(bench: Command): void {
  bench
    .command('qos')
    .description(
      'urgent messages beside transfers that fill a path, and a game on a path too small for it; in virtual time',
    )
    .option('--rate <Mbit/s>', 'of the path that is filled', positiveNumber, 20)
    .option('--rtt <ms>', 'its round trip', positiveNumber, 40)
    .option('--queue <bdp,...>', 'its queue, in bandwidth-delay products', positiveNumbers, [0.25, 1])
    .option('--congestion <name,...>', `controllers: ${CONTROLLERS.join(', ')}`, words(CONTROLLERS), [
      'cubic',
      'bbr',
    ])
    .option(
      '--queue-delay-max <ms>',
      'bound on the queue (queueDelayMaxMs); 0 for none',
      wholeNumber(0, 60_000),
    )
    .option('--seconds <s>', 'that are measured', seconds, 20)
    .option('--game-rate <kbit/s>', 'of the path that the game is on', positiveNumber, 128)
    .option('--game-rtt <ms>', 'its round trip', positiveNumber, 50)
    .option('--game-queue <bytes>', 'its queue', wholeNumber(1_500, 2 ** 30), 20_000)
    .option('--states <n>', 'of the game, a second', positiveNumber, 60)
    .option('--size <bytes>', 'of a state', wholeNumber(STATE_BYTES_MIN, 65_536), 400)
    .option('--seed <n>', 'decides what is by chance', wholeNumber(0, 2 ** 32), 1)
    .option('--json', 'print a line of JSON for each result')
    .addHelpText('after', HELP)
    .action(report);
}

async function report(options: QosOptions): Promise<void> {
  const { rate, rtt, queue, congestion: controllers, seconds, seed, json } = options;
  const { bold, dim } = coloursOf(process.stdout);
  const path = {
    seed,
    rttMs: rtt,
    bitsPerSecond: rate * 1e6,
    queueDelayMaxMs: options.queueDelayMax,
    seconds,
  };
  const priorities: PriorityResult[] = [];
  for (const share of queue) {
    const queueBytes = Math.round((share * path.bitsPerSecond * rtt) / 8_000);
    for (const congestion of controllers) {
      const result = await runPriorities({ ...path, congestion, queueBytes });
      if (json) print(JSON.stringify(result));
      priorities.push(result);
    }
  }
  const [congestion] = controllers;
  const game = await runGame({
    ...path,
    congestion,
    rttMs: options.gameRtt,
    bitsPerSecond: options.gameRate * 1_000,
    queueBytes: options.gameQueue,
    rate: options.states,
    size: options.size,
  });
  if (json) return print(JSON.stringify(game));
  print(bold(`system messages beside transfers of ${Object.keys(SATURATING).join(', ')}`));
  print(dim(`${rate} Mbit/s, round trip ${rtt} ms, ${seconds} s, seed ${seed}; ms one way`));
  print(`\n${formatTable(PRIORITY_HEADER, priorities.map(priorityCells))}`);
  print(
    dim(
      '\nwait: from send until the datagram is on the path. share: of the bytes of all three, beside 4:2:1.',
    ),
  );
  print(bold(`\na game: ${options.states} states of ${options.size} B a second, best effort`));
  print(
    dim(
      `${options.gameRate} kbit/s, round trip ${options.gameRtt} ms, queue ${options.gameQueue} B, ${congestion}; age of states when they arrive, ms`,
    ),
  );
  print(`\n${formatTable(GAME_HEADER, [gameCells(game)])}`);
}

function priorityCells(result: PriorityResult): string[] {
  const { scenario, idleMs, loadedMs, waitMs, shares } = result;
  return [
    queueName(scenario),
    scenario.congestion ?? '',
    ...[idleMs?.p50, idleMs?.p99, loadedMs?.p50, loadedMs?.p99].map(milliseconds),
    idleMs === null || loadedMs === null ? '-' : (loadedMs.p99 / idleMs.p99).toFixed(2),
    milliseconds(waitMs?.p99),
    ...Object.entries(SATURATING).map(([priority, share]) => {
      const fair = share / SHARES_SUM;
      const got = shares[priority as keyof typeof SATURATING];
      return `${(100 * got).toFixed(1)} (${(100 * fair).toFixed(1)})`;
    }),
    milliseconds(result.longestGapMs),
    result.megabitsPerSecond.toFixed(1),
  ];
}

function queueName({ bitsPerSecond, rttMs, queueBytes }: QosScenario): string {
  return `${Number(((queueBytes * 8_000) / (bitsPerSecond * rttMs)).toFixed(2))} BDP`;
}

function gameCells({ ageMs, perSecond, longestGapMs, oldestShownMs }: GameResult): string[] {
  const { p50, p95, p99, max } = ageMs ?? ({} as Partial<Quantiles>);
  return [perSecond.toFixed(1), ...[p50, p95, p99, max, longestGapMs, oldestShownMs].map(milliseconds)];
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(1);
}

const SHARES_SUM = Object.values(SATURATING).reduce((sum, share) => sum + share, 0);
const PRIORITY_HEADER = [
  'queue',
  'controller',
  'idle p50',
  'p99',
  'loaded p50',
  'p99',
  'x idle',
  'wait p99',
  ...Object.keys(SATURATING).map((priority) => `${priority} %`),
  'longest gap',
  'Mbit/s',
];
const GAME_HEADER = ['states/s', 'p50', 'p95', 'p99', 'max', 'longest gap', 'oldest shown'];

const HELP = `
The urgent messages are on a stream of priority 'system', the transfers on one stream of each other class, which send as much as they can.
While urgent messages are sent the transfers keep the queue of the path short; --queue-delay-max 0 shows what that is worth.

Examples:
  $ jsp bench qos
  $ jsp bench qos --queue-delay-max 0
  $ jsp bench qos --queue 0.25,1,4 --rate 5 --rtt 80
  $ jsp bench qos --game-rate 64 --states 30 --json
`;
