/**
 * What one subscriber that reads nothing costs the others: how long messages take to 49 subscribers of a topic, beside a fiftieth that reads, and beside
 * one that does not. Broker, publisher, readers and the fiftieth are processes of their own, fresh for each run; runs of both sorts take turns.
 *
 *     npm run bench stalled -- [--kinds dropOldest,qos1] [--rate 200] [--size 256] [--seconds 10] [--from 3] [--runs 5] [--json]
 *
 * Fails when the median p99 rises by more than `--most` (20 %).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, type LatencyMicros, median } from '../src/bench/figures.ts';
import { startBroker } from '../src/broker/index.ts';
import { positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { type BrokerClient, connectClient } from '../src/client/index.ts';
import { generateIdentity } from '../src/index.ts';
import { names } from './arguments.ts';
import { type ArrivalReport, Arrivals, STAMP_BYTES, stamp } from './broker/arrivals.ts';
import { pace } from './broker/pace.ts';

/** How subscribers subscribe: one that is full stops its publishers by its own choice (`block`), so that is none of them. */
const KINDS = ['dropOldest', 'dropNewest', 'qos1'] as const;
type Kind = (typeof KINDS)[number];

interface Load {
  readonly kind: Kind;
  readonly rate: number;
  readonly size: number;
  readonly seconds: number;
  readonly fromSecond: number;
}

type Order =
  | { order: 'broker' }
  | { order: 'read'; url: string; load: Load; count: number }
  | { order: 'stall'; url: string; load: Load }
  | { order: 'publish'; url: string; load: Load }
  | { order: 'report' };

async function measure(): Promise<void> {
  const { json, kinds, runs, most, rate, size, seconds, from } = new Command()
    .option('--kinds <names>', `of subscriptions: ${KINDS.join(', ')}`, names, ['dropOldest', 'qos1'])
    .option('--rate <n>', 'messages a second, each to 50 subscribers', wholeNumber(1, 100_000), 200)
    .option('--size <bytes>', 'of a message', wholeNumber(STAMP_BYTES, 65_536), 256)
    .option('--seconds <s>', 'of a run', wholeNumber(1, 3_600), 10)
    .option('--from <second>', 'the first that counts', positiveNumber, 3)
    .option('--runs <n>', 'of each sort, of which medians are told', wholeNumber(1, 1_000), 5)
    .option('--most <percent>', 'that p99 may rise by', positiveNumber, 20)
    .option('--json', 'a line of JSON a kind')
    .parse()
    .opts<{
      json?: boolean;
      kinds: Kind[];
      runs: number;
      most: number;
      rate: number;
      size: number;
      seconds: number;
      from: number;
    }>();
  const rows: string[][] = [];
  for (const kind of kinds) {
    if (!KINDS.includes(kind)) throw new RangeError(`--kinds are of ${KINDS.join(', ')}, not "${kind}"`);
    const load = { kind, rate, size, seconds, fromSecond: from };
    const without: LatencyMicros[] = [];
    const beside: LatencyMicros[] = [];
    for (let run = 0; run < runs; run++) {
      const turns = [() => runOnce(load, false), () => runOnce(load, true)];
      if (run % 2 === 1) turns.reverse();
      const [first, second] = [await turns[0](), await turns[1]()];
      without.push(run % 2 === 0 ? first : second);
      beside.push(run % 2 === 0 ? second : first);
    }
    const rise = (p99Of(beside) / p99Of(without) - 1) * 100;
    if (rise > most) process.exitCode = 1;
    if (json) console.log(JSON.stringify({ ...load, risePercent: rise, without, beside }));
    const figures = (all: LatencyMicros[]) =>
      [median(all.map(({ p50 }) => p50)), p99Of(all)].map((us) => us.toFixed(0));
    rows.push([kind, ...figures(without), ...figures(beside), `${rise.toFixed(1)} %`]);
  }
  if (!json)
    console.log(formatTable(['kind', 'p50 us', 'p99 us', 'p50 beside', 'p99 beside', 'p99 rises by'], rows));
}

/** What the 49 have met. */
async function runOnce(load: Load, stalls: boolean): Promise<LatencyMicros> {
  const [broker, readers, fiftieth, publisher] = Array.from({ length: 4 }, () =>
    fork(fileURLToPath(import.meta.url)),
  );
  try {
    const url = (await ask(broker, { order: 'broker' })) as string;
    await ask(readers, { order: 'read', url, load, count: READERS });
    if (stalls) await ask(fiftieth, { order: 'stall', url, load });
    else await ask(fiftieth, { order: 'read', url, load, count: 1 });
    await ask(publisher, { order: 'publish', url, load });
    await sleep(SETTLE_MS);
    const { arrived, total } = (await ask(readers, { order: 'report' })) as ArrivalReport;
    const expected = load.rate * load.seconds * READERS;
    if (total === null || arrived < expected * ARRIVED_MIN)
      throw new Error(`${arrived} of ${expected} messages arrived: too many for this machine, lower --rate`);
    return total;
  } finally {
    for (const child of [broker, readers, fiftieth, publisher]) child.kill('SIGKILL');
  }
}

function p99Of(runs: readonly LatencyMicros[]): number {
  return median(runs.map(({ p99 }) => p99));
}

function ask(child: ChildProcess, order: Order): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error(`the process that was to ${order.order} ended`));
    child.once('exit', onExit);
    child.once('message', (answer: { result: unknown } | { error: string }) => {
      child.off('exit', onExit);
      if ('error' in answer) reject(new Error(answer.error));
      else resolve(answer.result);
    });
    child.send(order);
  });
}

function obeyParent(): void {
  const clients: BrokerClient[] = [];
  let arrivals: Arrivals | null = null;
  const subscribe = async (url: string, { kind }: Load, handler: (payload: Uint8Array) => unknown) => {
    const client = await connectClient(url);
    clients.push(client);
    const options = kind === 'qos1' ? { qos: 1 as const } : { overflow: kind };
    await client.subscribe(TOPIC, ({ payload }) => handler(payload), options);
  };
  const obey = async (order: Order): Promise<unknown> => {
    switch (order.order) {
      case 'broker':
        return (await startBroker({ identity: generateIdentity(), port: 0 })).url;
      case 'read': {
        const { url, load, count } = order;
        arrivals = new Arrivals(load.rate, load.seconds, load.fromSecond);
        const { onMessage } = arrivals;
        for (let i = 0; i < count; i++) await subscribe(url, load, onMessage);
        return null;
      }
      case 'stall':
        return subscribe(order.url, order.load, () => new Promise(() => {}));
      case 'publish':
        return publish(order.url, order.load);
      case 'report':
        return arrivals?.report();
    }
  };
  process.on('disconnect', () => process.exit());
  process.on('message', (order: Order) => {
    obey(order).then(
      (result = null) => process.send?.({ result }),
      (error: Error) => process.send?.({ error: error.message }),
    );
  });
}

async function publish(url: string, { kind, rate, size, seconds }: Load): Promise<null> {
  const client = await connectClient(url);
  const payload = new Uint8Array(size);
  const waiting: Promise<unknown>[] = [];
  await pace('sleep', rate, rate * seconds, (dueMicros, i) => {
    stamp(payload, dueMicros, i);
    if (kind === 'qos1') waiting.push(client.publish(TOPIC, payload, { qos: 1 }));
    else client.publish(TOPIC, payload);
  });
  await Promise.all(waiting);
  await client.flush();
  return null;
}

const TOPIC = 'bench/stalled';
const READERS = 49;
const SETTLE_MS = 500;
/** A run in which fewer arrive has measured something else. */
const ARRIVED_MIN = 0.95;

if (process.send === undefined) await measure();
else obeyParent();
