import type { Command } from 'commander';
import { type Bar, drawBars, legendOf } from '../bench/bars.ts';
import { formatTable, whole } from '../bench/figures.ts';
import { PERFECT_PATH } from '../bench/lab-path.ts';
import { LossyBench, type LossyResult, type LossyScenario, NUMBER_BYTES } from '../bench/lossy.ts';
import { CONTROLLERS, DELIVERIES, type Delivery, type TransportOptions } from '../transport/options.ts';
import type { Protection } from '../transport/protection.ts';
import {
  oneOfWords,
  PAYLOAD_BYTES_MAX,
  percentage,
  percentages,
  positiveNumber,
  protectionName,
  protections,
  wholeNumber,
  words,
} from './arguments.ts';
import { coloursOf, print } from './terminal.ts';

interface LossyOptions {
  /** In per cent. */
  loss: number[];
  protection: Protection[];
  order: string[];
  delivery: Delivery;
  lifetime: number;
  congestion: TransportOptions['congestion'];
  interval: number;
  size: number;
  rtt: number;
  jitter: number;
  /** In per cent. */
  reorder: number;
  burst: number;
  rate: number;
  queue: number;
  messages: number;
  warmUp: number;
  seed: number;
  json?: boolean;
}

export function addLossyBench(bench: Command): void {
  bench
    .command('lossy')
    .description(
      'time of messages one way over a link that loses some, in virtual time: exact, the same for the same seed',
    )
    .option('--loss <percent,...>', 'of datagrams, in both directions', percentages, [0, 1, 5, 10, 20])
    .option('--protection <how,...>', 'against loss: off, auto, 10+3, auto:overhead=1.2', protections, [
      'off',
      'auto',
    ])
    .option('--order <how,...>', `of the stream: ${ORDERS.join(', ')}`, words(ORDERS), [...ORDERS])
    .option(
      '--delivery <mode>',
      `of the messages: ${DELIVERIES.join(', ')}`,
      oneOfWords(DELIVERIES),
      'reliable',
    )
    .option('--lifetime <ms>', 'of messages that are not reliable; 0: none', wholeNumber(0, 1_000_000), 0)
    .option(
      '--congestion <name>',
      `controller: ${CONTROLLERS.join(', ')}; default: what the library chooses, bbr with protection, cubic without`,
      oneOfWords(CONTROLLERS),
    )
    .option('--interval <ms>', 'from one message to the next', positiveNumber, 10)
    .option('--size <bytes>', 'of a message', wholeNumber(NUMBER_BYTES, PAYLOAD_BYTES_MAX), 64)
    .option('--rtt <ms>', 'round trip of the path', positiveNumber, 50)
    .option(
      '--jitter <ms>',
      'most that is added to the time one way; order is kept',
      wholeNumber(0, 10_000),
      0,
    )
    .option('--reorder <percent>', 'of datagrams that are held back for 10 ms', percentage, 0)
    .option('--burst <n>', 'mean number of datagrams that are lost in a row', wholeNumber(1, 100), 1)
    .option('--rate <kbit/s>', 'of the path; 0: no limit', wholeNumber(0, 10_000_000), 0)
    .option(
      '--queue <bytes>',
      'that wait before the rate',
      wholeNumber(1_500, 2 ** 30),
      PERFECT_PATH.queueBytes,
    )
    .option('--messages <n>', 'that are timed', wholeNumber(1, 10_000_000), 10_000)
    .option(
      '--warm-up <ms>',
      'of the same traffic before the first message that is timed',
      wholeNumber(0, 600_000),
      3_000,
    )
    .option('--seed <n>', 'decides what is lost', wholeNumber(0, 2 ** 32), 1)
    .option('--json', 'print a line of JSON for each result')
    .addHelpText('after', HELP)
    .action(report);
}

async function report(options: LossyOptions): Promise<void> {
  const bench = new LossyBench();
  const results: LossyResult[] = [];
  for (const scenario of scenariosOf(options)) {
    const result = await bench.run(scenario);
    if (options.json) print(JSON.stringify(result));
    results.push(result);
  }
  if (options.json) return;
  const { bold, dim } = coloursOf(process.stdout);
  print(dim(titleOf(options)));
  for (const order of options.order) {
    const shown = results.filter(({ scenario }) => scenario.ordered === (order === 'ordered'));
    print(`\n${bold(order)}`);
    print(formatTable(HEADER, shown.map(cells)));
    print(`\n${drawBars(barsOf(shown), BAR_COLUMNS, 'ms')}`);
  }
  print(`\n${legendOf(['p50', 'p95', 'p99', 'p99.9'])}`);
  print(
    dim(
      'late: more than 12 ms over the time one way. x: bytes beside those of the same without loss or protection. repeats, repairs: used/sent.',
    ),
  );
}

/** By order, then by loss, then by protection: what is to be compared stands together. */
function scenariosOf(options: LossyOptions): LossyScenario[] {
  return options.order.flatMap((order) =>
    options.loss.flatMap((loss) =>
      options.protection.map((protection) => ({
        seed: options.seed,
        rttMs: options.rtt,
        loss: loss / 100,
        burst: options.burst,
        jitterMs: options.jitter,
        reorder: options.reorder / 100,
        bitsPerSecond: options.rate * 1_000,
        queueBytes: options.queue,
        protection,
        congestion: options.congestion,
        ordered: order === 'ordered',
        delivery: options.delivery,
        lifetimeMs: options.lifetime,
        intervalMs: options.interval,
        size: options.size,
        messages: options.messages,
        warmUpMs: options.warmUp,
      })),
    ),
  );
}

function titleOf(options: LossyOptions): string {
  const { messages, size, delivery, interval, rtt, congestion, burst, seed } = options;
  const controller = congestion === undefined ? '' : `, ${congestion}`;
  const losses = burst > 1 ? `, losses in runs of ${burst}` : '';
  return `${whole(messages)} ${delivery} messages of ${size} B, one every ${interval} ms, round trip ${rtt} ms${controller}${losses}, seed ${seed}; ms one way`;
}

function cells({ scenario, oneWayMs, late, missing, bytesUp, bytesBoth, spent }: LossyResult): string[] {
  const times = oneWayMs === null ? [] : [oneWayMs.p50, oneWayMs.p95, oneWayMs.p99, oneWayMs.p999];
  return [
    percent(scenario.loss),
    protectionName(scenario.protection),
    ...Array.from({ length: 4 }, (_, i) => times[i]?.toFixed(1) ?? '-'),
    percent(late),
    percent(missing / scenario.messages),
    bytesUp.toFixed(2),
    bytesBoth.toFixed(2),
    spent.repeats === 0 ? '-' : `${spent.repeatsUsed}/${spent.repeats}`,
    spent.repairs === 0 ? '-' : `${spent.recovered}/${spent.repairs}`,
  ];
}

/** A bar for each result, and a free line where the loss changes. */
function barsOf(results: readonly LossyResult[]): (Bar | null)[] {
  return results.flatMap(({ scenario, oneWayMs }, i) => {
    const { loss, protection } = scenario;
    const isNew = i === 0 || results[i - 1].scenario.loss !== loss;
    const label = `${(isNew ? percent(loss) : '').padStart(6)}  ${protectionName(protection)}`;
    const values = oneWayMs === null ? null : [oneWayMs.p50, oneWayMs.p95, oneWayMs.p99, oneWayMs.p999];
    return isNew && i > 0 && results.length > new Set(results.map((each) => each.scenario.loss)).size
      ? [null, { label, values }]
      : [{ label, values }];
  });
}

/** With as many digits as it needs to be told from nothing. */
function percent(share: number): string {
  const value = share * 100;
  return `${Number.isInteger(value) ? value : value.toFixed(value < 1 ? 2 : 1)} %`;
}

const ORDERS = ['ordered', 'unordered'] as const;
const BAR_COLUMNS = 60;
const HEADER = [
  'loss',
  'protection',
  'p50',
  'p95',
  'p99',
  'p99.9',
  'late',
  'missing',
  'x up',
  'x both',
  'repeats',
  'repairs',
];

const HELP = `
A client and a server of this library, with all of its code, are joined by a link in virtual time: minutes take seconds, nothing else that the
machine does is in the figures, and the same seed gives the same ones.

Examples:
  $ jsp bench lossy
  $ jsp bench lossy --loss 10 --interval 1.5 --order ordered
  $ jsp bench lossy --loss 5 --burst 4 --rtt 120 --delivery partial --lifetime 150 --json
`;
