/**
 * What compression costs where it brings nothing: random bytes to another process, over a stream with compression and one without, in turns, on one
 * connection. A machine that is shared with others is fast now and slow then; what is done in turns has its share of both.
 *
 *     npm run bench compression -- [--json] [--size 1400,10000] [--rounds 41] [--megabytes 10] [--same]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { Prng } from '../src/base/random.ts';
import { formatTable, median, whole } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { connect, generateIdentity, listen, type Stream } from '../src/index.ts';

const RECEIVER = 'receiver';
const WARM_UP_ROUNDS = 6;
const NOTHING = { seconds: 0, cpuMicros: 0 };

interface Options {
  readonly json?: boolean;
  readonly size: readonly number[];
  readonly mtu: number;
  readonly rounds: number;
  readonly megabytes: number;
  readonly same?: boolean;
}

if (process.argv[2] === RECEIVER) await receive();
else await compare();

/** Takes whatever comes, and counts on nobody reading it. */
async function receive(): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0, compression: true });
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', () => {}));
  });
  process.on('disconnect', () => process.exit());
  process.send?.(listener.url);
}

async function compare(): Promise<void> {
  const options = new Command()
    .option('--json', 'a line of JSON a size')
    .option('--size <bytes,...>', 'of a message', wholeNumbers(1, 1024 * 1024), [1_400, 10_000])
    .option('--mtu <bytes>', 'UDP payload', wholeNumber(512, 65_507), 1_472)
    .option('--rounds <n>', 'pairs, of whose ratios the median is told', wholeNumber(1, 10_000), 41)
    .option('--megabytes <n>', 'sent in each half of a pair', positiveNumber, 10)
    .option('--same', 'off in both halves: what the ratio is worth on this machine')
    .parse()
    .opts<Options>();
  const receiver = fork(fileURLToPath(import.meta.url), [RECEIVER]);
  const [url] = (await once(receiver, 'message')) as [string];
  const connection = await connect(url, { compression: true, mtu: options.mtu });
  const streams = {
    off: connection.openStream({ compression: false }),
    on: connection.openStream({ compression: options.same !== true }),
  };
  const rows: string[][] = [];
  for (const size of options.size) {
    const messages = randomMessages(size);
    const count = Math.ceil((options.megabytes * 1e6) / size);
    const costs = { time: [] as number[], cpu: [] as number[] };
    const rates = { off: [] as number[], on: [] as number[] };
    for (let round = -WARM_UP_ROUNDS; round < options.rounds; round++) {
      const order = round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const);
      const spent = { off: NOTHING, on: NOTHING };
      for (const which of order) spent[which] = await send(streams[which], messages, count);
      if (round < 0) continue;
      costs.time.push(1 - spent.off.seconds / spent.on.seconds);
      costs.cpu.push(1 - spent.off.cpuMicros / spent.on.cpuMicros);
      for (const which of order) rates[which].push(count / spent[which].seconds);
    }
    const result = {
      size,
      off: median(rates.off),
      on: median(rates.on),
      cost: median(costs.time),
      cpuCost: median(costs.cpu),
      rounds: costs.time.length,
    };
    if (options.json) console.log(JSON.stringify(result));
    rows.push([
      whole(size),
      whole(result.off),
      whole(result.on),
      percent(result.cost),
      percent(result.cpuCost),
    ]);
  }
  if (!options.json)
    console.log(formatTable(['size', 'off /s', 'on /s', 'cost', 'CPU time of the sender'], rows));
  await connection.close();
  receiver.disconnect();
}

/** What a half of a pair took. */
interface Spent {
  /** Until everything had arrived. */
  readonly seconds: number;
  readonly cpuMicros: number;
}

/** Sends so many messages as fast as the stream takes them. */
async function send(stream: Stream, messages: readonly Uint8Array[], count: number): Promise<Spent> {
  const start = performance.now();
  const before = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    if (!stream.send(messages[i % messages.length])) await once(stream, 'drain');
  }
  await stream.flush();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - start) / 1_000, cpuMicros: user + system };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** So many that nothing in them repeats itself soon. */
function randomMessages(size: number): Uint8Array[] {
  const prng = new Prng(size);
  return Array.from({ length: 64 }, () => {
    const message = new Uint8Array(size);
    prng.fill(message);
    return message;
  });
}
