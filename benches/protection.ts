/**
 * What protection costs a message in CPU time: both ends in one process, on a path in virtual time that loses packets and takes 50 ms there
 * and back, so that plans are made as they are out there. The lab's own cost is in every figure, about the same a packet; the ways to protect
 * take turns.
 *
 *     npm run bench protection -- [--only small,bulk] [--ways off,repeats,codes,10+2] [--loss 10] [--messages 20000] [--runs 5] [--json]
 */
import { Command } from 'commander';
import { MILLISECOND } from '../src/base/time.ts';
import { median } from '../src/bench/figures.ts';
import { LabPath, PERFECT_PATH } from '../src/bench/lab-path.ts';
import { positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import type { StreamOptions, TransportOptions } from '../src/index.ts';
import { names } from './arguments.ts';
import { byTurns } from './turns.ts';

interface Way {
  readonly name: string;
  readonly protection: TransportOptions['protection'];
  readonly stream: StreamOptions;
}

interface Cost {
  /** User and system time of both ends, in microseconds a message. */
  readonly cpu: number;
  /** Packets of the sender, and of the receiver, a message. */
  readonly up: number;
  readonly down: number;
  /** Repairs and repeats a message. */
  readonly repairs: number;
  readonly recovered: number;
}

interface Load {
  readonly name: string;
  readonly bytes: number;
  /** Between messages; 0: as fast as the path takes them. */
  readonly intervalMs: number;
  readonly bitsPerSecond: number;
}

const WAYS: readonly Way[] = [
  { name: 'off', protection: 'off', stream: {} },
  { name: 'repeats', protection: 'auto', stream: { ordered: false } },
  { name: 'codes', protection: 'auto', stream: { ordered: true } },
  { name: '10+2', protection: { data: 10, parity: 2 }, stream: { ordered: true } },
];
const LOADS: readonly Load[] = [
  { name: 'small', bytes: 64, intervalMs: 10, bitsPerSecond: 0 },
  { name: 'bulk', bytes: 1_200, intervalMs: 0, bitsPerSecond: 20_000_000 },
];

const options = new Command()
  .option('--only <loads>', 'small: 64 B each 10 ms; bulk: 1,200 B, as fast as 20 Mbit/s take them', names, [
    'small',
    'bulk',
  ])
  .option(
    '--ways <names>',
    'off, repeats, codes, 10+2',
    names,
    WAYS.map(({ name }) => name),
  )
  .option('--loss <percent>', 'of packets, in both directions', positiveNumber, 10)
  .option('--messages <n>', 'of each run, after a warm-up of a tenth', wholeNumber(100, 1e9), 20_000)
  .option('--runs <n>', 'of which the median is told', wholeNumber(1, 1_000), 5)
  .option('--json', 'a line of JSON each')
  .parse()
  .opts<{ only: string[]; ways: string[]; loss: number; messages: number; runs: number; json?: true }>();

const ways = WAYS.filter(({ name }) => options.ways.includes(name));
const rows: Record<string, string | number>[] = [];
for (const load of LOADS.filter(({ name }) => options.only.includes(name))) {
  for (const way of ways) await measure(load, way, 0); // compiled before anything is measured
  let seed = 0;
  const results = await byTurns(ways, options.runs, (way) => measure(load, way, ++seed));
  const [first] = results.values();
  for (const [way, runs] of results) {
    const of = (pick: (cost: Cost) => number) => Number(median(runs.map(pick)).toFixed(2));
    rows.push({
      load: load.name,
      way,
      'us/message': of(({ cpu }) => cpu),
      ratio: Number(median(runs.map(({ cpu }, i) => cpu / first[i].cpu)).toFixed(2)),
      'packets up': of(({ up }) => up),
      'packets down': of(({ down }) => down),
      repairs: of(({ repairs }) => repairs),
      recovered: of(({ recovered }) => recovered),
    });
    if (options.json) console.log(JSON.stringify(rows.at(-1)));
  }
}
if (!options.json) console.table(rows);

async function measure(load: Load, way: Way, seed: number): Promise<Cost> {
  const path = await LabPath.open(
    {
      ...PERFECT_PATH,
      seed,
      loss: options.loss / 100,
      bitsPerSecond: load.bitsPerSecond,
      queueBytes: 125_000,
    },
    { protection: way.protection, congestion: 'bbr' },
  );
  let messages = 0;
  path.server.on('stream', (stream) =>
    stream.on('message', () => {
      messages++;
    }),
  );
  const stream = path.client.openStream(way.stream);
  const message = new Uint8Array(load.bytes).fill(0x5a);
  let isRunning = true;
  const send = () => {
    while (isRunning && stream.send(message));
  };
  if (load.intervalMs === 0) {
    stream.on('drain', send);
    send();
  }
  const pass = async (count: number) => {
    const end = messages + count;
    for (let at = path.now; messages < end; ) {
      if (load.intervalMs > 0) stream.send(message);
      at += Math.max(1, load.intervalMs) * MILLISECOND;
      await path.runUntil(at);
    }
  };
  await pass(options.messages / 10);
  const before = { messages, up: path.up.packets, down: path.down.packets, ...counters(path) };
  const used = process.cpuUsage();
  await pass(options.messages);
  const { user, system } = process.cpuUsage(used);
  const count = messages - before.messages;
  const after = counters(path);
  const cost = {
    cpu: (user + system) / count,
    up: (path.up.packets - before.up) / count,
    down: (path.down.packets - before.down) / count,
    repairs: (after.repairs - before.repairs) / count,
    recovered: (after.recovered - before.recovered) / count,
  };
  isRunning = false;
  path.client.destroy();
  await path.lab.run(1);
  return cost;
}

function counters({ client, server }: LabPath) {
  const { repairsSent, repeatsSent } = client.metrics();
  return { repairs: repairsSent + repeatsSent, recovered: server.metrics().packetsRecovered };
}
