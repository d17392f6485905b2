import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { printable } from '../base/errors.ts';
import { formatTable, whole } from '../bench/figures.ts';
import { type PubsubLoad, STAMP_BYTES } from '../bench/pubsub/load.ts';
import { brokerKindOf } from '../bench/pubsub/open-client.ts';
import { type PubsubLatencies, type PubsubResult, runPubsub } from '../bench/pubsub/run.ts';
import { checkedUrl, oneOfWords, PAYLOAD_BYTES_MAX, qos, seconds, wholeNumber } from './arguments.ts';
import { ProgressLine } from './progress-line.ts';
import { CommandError, coloursOf, onStopSignal, print, printJson, warn } from './terminal.ts';

interface PubsubOptions {
  broker?: string;
  pubs: number;
  subs: number;
  share?: boolean;
  topics: number;
  size: number;
  rate: Rate[];
  overflow: PubsubLoad['overflow'];
  qos: 0 | 1;
  window: number;
  durable?: boolean;
  store?: string;
  seconds: number;
  warmUp: number;
  processes: number;
  json?: boolean;
}

/** Messages a second; as many as the broker takes; half of what it took in the run before. */
type Rate = number | 'max' | 'half';

export function addPubsubBench(bench: Command): void {
  bench
    .command('pubsub')
    .description(
      'messages through a broker: how many, how late, and what became of each; without a URL, through one of its own',
    )
    .argument('[url]', 'of a broker')
    .option(
      '--broker <url>',
      'the same; mqtt://, mqtts://, ws:// and nats:// measure others, by the clients that they have',
    )
    .option('--pubs <n>', 'publishers, a connection each', wholeNumber(1, CLIENTS_MAX), 1)
    .option(
      '--subs <n>',
      'subscribers, a connection each, which get every message',
      wholeNumber(1, CLIENTS_MAX),
      1,
    )
    .option('--share', 'the subscribers are a shared group: each message goes to one of them')
    .option('--topics <n>', 'that messages go to by turns', wholeNumber(1, 100_000), 1)
    .option('--size <bytes>', 'of a message', wholeNumber(STAMP_BYTES, PAYLOAD_BYTES_MAX), 256)
    .option(
      '--rate <n,...>',
      'messages a second of all publishers together; max: as many as the broker takes; half: of what it took before',
      rates,
      ['max', 'half'],
    )
    .option(
      '--overflow <policy>',
      `what a subscription does whose queue is full: ${OVERFLOWS.join(', ')}`,
      oneOfWords(OVERFLOWS),
      'block',
    )
    .option('--qos <0|1>', '1: through the log, acknowledged both ways', qos, 0)
    .option(
      '--window <n>',
      'with QoS 1: messages of a publisher that are not acknowledged',
      wholeNumber(1, 65_536),
      1_000,
    )
    .option('--durable', 'with QoS 1: the broker keeps where each subscriber is')
    .option('--store <dir>', 'where the broker of its own stores its logs; otherwise in memory')
    .option('--seconds <s>', 'length of each measurement', seconds, 5)
    .option('--warm-up <s>', 'before each, with the same load', seconds, 1)
    .option(
      '--processes <n>',
      'most of publishers, and of subscribers',
      wholeNumber(1, 64),
      Math.max(1, availableParallelism() >> 1),
    )
    .option('--json', 'print a line of JSON for each rate')
    .addHelpText('after', HELP)
    .action(report);
}

async function report(argument: string | undefined, options: PubsubOptions): Promise<void> {
  const url = options.broker ?? argument;
  assertTogether(argument, options);
  const checked = url === undefined ? null : checkedBrokerUrl(url);
  const stop = new AbortController();
  const forget = onStopSignal((signal) =>
    stop.abort(new CommandError('ERR_JSP_BENCH_INTERRUPTED', `stopped by ${signal} before the end`)),
  );
  const progress = new ProgressLine(process.stderr);
  const results: PubsubResult[] = [];
  try {
    for (const rate of options.rate) {
      const load = loadOf(options, rate, results.at(-1));
      const { warmUpSeconds, seconds } = load;
      progress.begin(rateName(load.rate), warmUpSeconds + seconds + CONNECTING_SECONDS);
      const result = await runPubsub({
        url: checked,
        load,
        store: options.store ?? null,
        processes: options.processes,
        signal: stop.signal,
        onProgress: ({ phase, published, delivered, p99Ms }) =>
          progress.note(
            `${phase}: ${whole(published)}/s published, ${whole(delivered)}/s delivered, p99 ${milliseconds(p99Ms * 1e3)} ms`,
          ),
      });
      if (options.json) progress.above(() => printJson(result));
      results.push(result);
    }
  } finally {
    progress.end();
    forget();
  }
  if (!options.json) printTables(results, brokerName(checked, options));
  tellFailures(results);
}

/** The URL of a broker of ours, or of another kind. */
function checkedBrokerUrl(url: string): string {
  if (brokerKindOf(url) === 'jsp' || !url.includes('://')) return checkedUrl(url, 'the URL');
  if (brokerKindOf(url) !== null && URL.canParse(url)) return url;
  throw new CommandError(
    'ERR_JSP_USAGE',
    `${url} is no broker that can be measured: jsp://, mqtt://, mqtts://, ws://, wss://, nats:// and tls:// (NATS) can`,
  );
}

function assertTogether(
  argument: string | undefined,
  { broker, rate, qos, durable, overflow, store }: PubsubOptions,
): void {
  if (argument !== undefined && broker !== undefined)
    throw new CommandError('ERR_JSP_USAGE', 'one broker at a time: give its URL, or --broker');
  const url = broker ?? argument;
  if (overflow !== 'block' && url !== undefined && brokerKindOf(url) !== 'jsp')
    throw new CommandError(
      'ERR_JSP_USAGE',
      '--overflow is of a broker of ours: others have what they are configured with',
    );
  if (rate[0] === 'half')
    throw new CommandError(
      'ERR_JSP_USAGE',
      '--rate half is half of the rate before it: begin with max or a number',
    );
  if (store !== undefined && url !== undefined) {
    throw new CommandError('ERR_JSP_USAGE', '--store is of the broker that is started without a URL');
  }
  if (durable && qos === 0) throw new CommandError('ERR_JSP_USAGE', '--durable goes with --qos 1');
}

function loadOf(
  options: PubsubOptions,
  rate: Rate,
  before: PubsubResult | undefined,
): Omit<PubsubLoad, 'prefix'> {
  const half = Math.max(1, Math.round((before?.publishedPerSecond ?? 0) / 2));
  return {
    publishers: options.pubs,
    subscribers: options.subs,
    shared: options.share === true,
    topics: options.topics,
    size: options.size,
    overflow: options.overflow,
    qos: options.qos,
    window: options.window,
    durable: options.durable === true,
    rate: rate === 'max' ? 0 : rate === 'half' ? half : rate,
    warmUpSeconds: options.warmUp,
    seconds: options.seconds,
  };
}

function printTables(results: readonly PubsubResult[], broker: string): void {
  const { bold, dim } = coloursOf(process.stdout);
  const [{ load }] = results;
  const clients = `${counted(load.publishers, 'publisher')}, ${counted(load.subscribers, 'subscriber')}${load.shared ? ' in a shared group' : ''}`;
  print(
    bold(
      `${clients}, ${counted(load.topics, 'topic')}, messages of ${whole(load.size)} B, QoS ${load.qos}${load.durable ? ', durable' : ''}`,
    ),
  );
  print(dim(`${broker}; ${load.seconds} s each, after ${load.warmUpSeconds} s of warm-up\n`));
  print(formatTable(COUNTS_HEADER, results.map(countCells)));
  print(`\n${formatTable(RATES_HEADER, results.map(rateCells))}`);
  print(dim('\nms from when a message was due until a subscriber has it'));
  print(
    formatTable(
      LATENCY_HEADER,
      results.map(({ latencyMicros, delivered, load }) => latencyCells(load, latencyMicros, delivered)),
    ),
  );
  if (load.qos === 1) {
    print(
      dim(
        `\nms until its publisher knows that the broker has it, with ${whole(load.window)} on the way at most`,
      ),
    );
    print(
      formatTable(
        LATENCY_HEADER,
        results.map(({ acknowledgedMicros, acknowledged, load }) =>
          latencyCells(load, acknowledgedMicros, acknowledged),
        ),
      ),
    );
  }
  if (load.rate === 0) print(dim('max keeps all queues full: its times are those of queues'));
  const shown = results.at(-1);
  if (shown !== undefined && shown.distribution.length > 1) print(`\n${plot(shown)}`);
}

function brokerName(url: string | null, { qos, store }: PubsubOptions): string {
  if (url !== null) {
    const { host, protocol } = new URL(url);
    const speaks = { jsp: '', mqtt: 'MQTT 5 ', nats: 'NATS ' }[brokerKindOf(url) ?? 'jsp'];
    const isPlain = ['mqtt:', 'ws:', 'nats:'].includes(protocol);
    return `${speaks}broker at ${host}, ${isPlain ? 'not encrypted' : 'encrypted'}`;
  }
  const logs = qos === 0 ? '' : store === undefined ? ', logs in memory' : ', logs on disk';
  return `broker of its own on this machine${logs}, encrypted`;
}

function countCells(result: PubsubResult): string[] {
  const { offered, published, acknowledged, refused, delivered, lost, doubled, disordered } = result;
  const counts = [offered, published, acknowledged, refused, delivered, lost, doubled, disordered];
  return [rateName(result.load.rate), ...counts.map(whole)];
}

function rateCells(result: PubsubResult): string[] {
  const { publishedPerSecond, deliveredPerSecond, deliveredMegabytesPerSecond, cpu, stolen } = result;
  const { publishedLeast, publishedMost, deliveredLeast, deliveredMost } = result;
  return [
    rateName(result.load.rate),
    whole(publishedPerSecond),
    whole(deliveredPerSecond),
    deliveredMegabytesPerSecond.toFixed(1),
    `${whole(publishedLeast)}-${whole(publishedMost)}`,
    `${whole(deliveredLeast)}-${whole(deliveredMost)}`,
    [cpu.publishers, cpu.broker, cpu.subscribers].map(percent).join('/'),
    stolen === null ? '-' : `${percent(stolen)} %`,
  ];
}

function latencyCells({ rate }: PubsubLoad, micros: PubsubLatencies | null, count: number): string[] {
  return [
    rateName(rate),
    ...LATENCIES.map(([, key, least]) =>
      micros === null || count < least ? '-' : milliseconds(micros[key]),
    ),
  ];
}

/** How many messages took how long, a row for each step, which is as many times the one before. */
function plot({ load, distribution }: PubsubResult): string {
  const { bold, dim, yellow, red } = coloursOf(process.stdout);
  const stride = Math.ceil((distribution.length - 1) / ROWS_MAX);
  const points = distribution.filter((_, i) => (distribution.length - 1 - i) % stride === 0);
  const rows = points.map(([micros, share], i) => ({ micros, share, of: share - (points[i - 1]?.[1] ?? 0) }));
  const shown = rows.filter(({ of, share }) => of > 0 || (share > 0 && share < 1));
  const most = Math.max(...shown.map(({ of }) => of));
  const width = Math.max(10, Math.min(BAR_COLUMNS_MAX, (process.stdout.columns ?? 80) - LABELS_COLUMNS));
  const lines = shown.map(({ micros, share, of }) => {
    const colour = share - of >= 0.999 ? red : share - of >= 0.99 ? yellow : (text: string) => text;
    const bar = colour(barOf(of / most, width).padEnd(width));
    return `${milliseconds(micros).padStart(9)} ms  ${bar} ${percentOf(of).padStart(8)} ${percentOf(share).padStart(8)}`;
  });
  const title = bold(`how long messages took at ${rateName(load.rate)}`);
  const heads = dim(
    `${'up to'.padStart(9)}     ${''.padEnd(width)} ${'of all'.padStart(8)} ${'so far'.padStart(8)}`,
  );
  return [title, heads, ...lines].join('\n');
}

/** To an eighth of a column; what is there shows. */
function barOf(share: number, width: number): string {
  const eighths = share === 0 ? 0 : Math.max(1, Math.round(share * width * 8));
  return `${'█'.repeat(eighths >> 3)}${EIGHTHS[eighths & 7]}`;
}

function tellFailures(results: readonly PubsubResult[]): void {
  const failures = results.flatMap((result) => result.failures);
  if (failures.length === 0) return;
  for (const failure of new Set(failures.slice(0, FAILURES_TOLD_MAX))) warn(printable(failure));
  warn(
    `${counted(failures.length, 'connection')} ended before the end, so the figures are not those of the whole load`,
  );
  process.exitCode = 1;
}

/** Rates, `max` and `half`, with commas between several. */
function rates(text: string): Rate[] {
  return text.split(',').map((rate) => {
    if (rate === 'max' || rate === 'half') return rate;
    if (/^\d+$/.test(rate) && Number(rate) > 0) return Number(rate);
    throw new InvalidArgumentError(
      'It must be messages a second, max or half, such as max,half or 1000,10000.',
    );
  });
}

function rateName(rate: number): string {
  return rate === 0 ? 'max' : `${whole(rate)}/s`;
}

function counted(count: number, what: string): string {
  return `${whole(count)} ${what}${count === 1 ? '' : 's'}`;
}

function percent(share: number | null): string {
  return share === null ? '-' : (share * 100).toFixed(0);
}

function percentOf(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

/** With three figures that say something. */
function milliseconds(micros: number): string {
  const ms = micros / 1e3;
  return ms >= 100 ? whole(ms) : ms >= 10 ? ms.toFixed(1) : ms >= 1 ? ms.toFixed(2) : ms.toFixed(3);
}

const OVERFLOWS = ['block', 'dropOldest', 'dropNewest'] as const;
const CLIENTS_MAX = 10_000;
/** About how long processes need to start and connect, for the bar. */
const CONNECTING_SECONDS = 1;
const FAILURES_TOLD_MAX = 100;
const COUNTS_HEADER = [
  'load',
  'offered',
  'published',
  'acknowledged',
  'refused',
  'delivered',
  'lost',
  'doubled',
  'out of order',
];
const RATES_HEADER = [
  'load',
  'published/s',
  'delivered/s',
  'MB/s',
  'a publisher',
  'a subscriber',
  'cpu % p/b/s',
  'stolen',
];
/** Each with how many messages it takes to know it. */
const LATENCIES: readonly (readonly [name: string, key: keyof PubsubLatencies, least: number])[] = [
  ['min', 'min', 1],
  ['p50', 'p50', 1],
  ['p90', 'p90', 10],
  ['p99', 'p99', 100],
  ['p99.9', 'p999', 1_000],
  ['p99.99', 'p9999', 10_000],
  ['max', 'max', 1],
];
const LATENCY_HEADER = ['load', ...LATENCIES.map(([name]) => name)];
const ROWS_MAX = 20;
const BAR_COLUMNS_MAX = 60;
/** Of what stands beside a bar. */
const LABELS_COLUMNS = 34;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

const HELP = `
Publishers and subscribers are in processes of their own. Every message says who published it as which number and when it was due, and each is
counted once: offered is what the rate had due, published what the client took in time, acknowledged what the broker has confirmed, delivered what came to the
subscribers, lost what did not, doubled what came again, out of order what came behind a later one of its publisher and topic.
A message is due when the rate says, also while those before it wait, so that a pause is in the latency of all that it has held up.
At max each is due when it is published, and queues are full: for latencies give a rate below that, as half does.

Other brokers are measured by the same: MQTT 5 by the package mqtt, NATS by @nats-io/transport-node, QoS 1 of it by @nats-io/jetstream on a stream in memory that
the run makes and takes back. They are to be installed beside this one. A name and a password stand in the URL; certificates that Node does not know, in NODE_EXTRA_CA_CERTS.
What MQTT acknowledges of QoS 0 is that it was written.

Examples:
  $ jsp bench pubsub
  $ jsp bench pubsub --pubs 4 --subs 8 --topics 100 --size 1024
  $ jsp bench pubsub --rate 1000,10000,50000 --seconds 10 --json
  $ jsp bench pubsub jsp://FINGERPRINT@broker.example.org:4577 --subs 100 --rate 500
  $ jsp bench pubsub --subs 4 --share
  $ jsp bench pubsub --broker mqtt://127.0.0.1:1883 --qos 1 --rate 1000
  $ jsp bench pubsub --broker nats://127.0.0.1:4222 --subs 8 --rate max,half
`;
