/**
 * A durable subscription that reads a log from its beginning: a broker with its store on a disk, and one subscriber, each a process of its own. Told are messages a second
 * from the first to the last, and what each costs both ends.
 *
 *     npm run bench replay -- [--messages 400000] [--size 256] [--max-unacked 1000] [--runs 5] [--directory DIR] [--json]
 *
 * The broker is started anew on what it has stored, so that nothing of it is in its memory. What comes first warms both up and is told apart: from then on each run is another
 * subscription, which reads all of it again.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median } from '../src/bench/figures.ts';
import { wholeNumber } from '../src/cli/arguments.ts';
import { type BrokerClient, connectClient } from '../src/client/index.ts';
import type { Store } from './broker/peer.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { jsp } from './peers/jsp.ts';

interface Settings {
  readonly messages: number;
  readonly size: number;
  readonly maxUnacked: number;
  readonly runs: number;
  /** Where the broker's folder is made. */
  readonly directory: string;
}

/** Of one run. */
interface Figures {
  /** Messages a second. */
  readonly rate: number;
  /** CPU time of a message, in us; NaN where the system does not tell. */
  readonly broker: number;
  readonly subscriber: number;
}

async function main(): Promise<void> {
  const { json, ...settings } = new Command()
    .option('--messages <n>', 'in the log', wholeNumber(1, 100_000_000), 400_000)
    .option('--size <bytes>', 'of a message', wholeNumber(0, 65_536), 256)
    .option('--max-unacked <n>', 'of the subscription', wholeNumber(1, 65_535), 1_000)
    .option('--runs <n>', 'of which medians are told, after one to warm up', wholeNumber(1, 1_000), 5)
    .option('--directory <dir>', 'on the disk that is meant', tmpdir())
    .option('--json', 'a line of JSON')
    .parse()
    .opts<Settings & { json?: boolean }>();
  const directory = mkdtempSync(join(settings.directory, 'jsp-replay-'));
  try {
    const [first, ...runs] = await replay(settings, { directory, topic: TOPIC });
    if (json) {
      console.log(JSON.stringify({ ...settings, first, runs }));
      return;
    }
    const of = (key: keyof Figures) => median(runs.map((run) => run[key]));
    console.log(
      formatTable(
        ['', 'messages/s', "broker's CPU, us", "subscriber's CPU, us"],
        [
          rowOf('the first', first),
          rowOf(`median of ${runs.length}`, {
            rate: of('rate'),
            broker: of('broker'),
            subscriber: of('subscriber'),
          }),
        ],
      ),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function rowOf(name: string, { rate, broker, subscriber }: Figures): string[] {
  return [name, rate.toFixed(0), broker.toFixed(2), subscriber.toFixed(2)];
}

async function replay(settings: Settings, store: Store): Promise<Figures[]> {
  await fill(settings, store);
  const broker = await jsp.startBroker(store);
  const subscriber = fork(fileURLToPath(import.meta.url), [
    SUBSCRIBER,
    JSON.stringify({ ...settings, url: broker.address } satisfies Order),
  ]);
  const ended = new AbortController();
  subscriber.once('exit', () => ended.abort()); // what it died of it has printed
  const answered = () => once(subscriber, 'message', { signal: ended.signal });
  try {
    await answered();
    const figures: Figures[] = [];
    const pids = [broker.pid, subscriber.pid as number];
    const cpus = () => pids.map((pid) => cpuSecondsOf(pid) ?? Number.NaN);
    for (let run = 0; run <= settings.runs; run++) {
      const before = cpus();
      const answer = answered();
      subscriber.send(run);
      const [seconds] = (await answer) as [number];
      const [ofBroker, ofSubscriber] = cpus().map(
        (each, i) => ((each - before[i]) / settings.messages) * 1e6,
      );
      figures.push({ rate: settings.messages / seconds, broker: ofBroker, subscriber: ofSubscriber });
    }
    return figures;
  } finally {
    subscriber.disconnect();
    await broker.stop();
  }
}

/** Stores the messages, and ends the broker. */
async function fill({ messages, size }: Settings, store: Store): Promise<void> {
  const broker = await jsp.startBroker(store);
  const client = await connectClient(broker.address);
  const payload = new Uint8Array(size);
  for (let sent = 0; sent < messages; ) {
    const stored: Promise<unknown>[] = [];
    for (const end = Math.min(messages, sent + STORED_AT_ONCE); sent < end; sent++)
      stored.push(client.publish(TOPIC, payload, { qos: 1 }));
    await Promise.all(stored);
  }
  await client.close();
  await broker.stop();
}

/** The subscriber's process: for each number that it is told it reads all of the log, and answers with how long that took, in seconds. */
async function subscribe({ url, messages, maxUnacked }: Order): Promise<void> {
  process.on('disconnect', () => process.exit());
  process.on('message', (run: number) => {
    void readAll(url, `replay-${run}`, messages, maxUnacked).then((seconds) => process.send?.(seconds));
  });
  process.send?.('ready');
}

async function readAll(url: string, durable: string, messages: number, maxUnacked: number): Promise<number> {
  const client: BrokerClient = await connectClient(url);
  let left = messages;
  let expected = -1;
  const startedAt = performance.now();
  await new Promise<void>((resolve, reject) => {
    const options = { qos: 1, durable, from: 'earliest', maxUnacked } as const;
    client
      .subscribe(
        TOPIC,
        ({ offset = -1, redelivered }) => {
          if (redelivered || (expected >= 0 && offset !== expected)) {
            reject(new Error(`offset ${offset} came instead of ${expected}`));
          }
          expected = offset + 1;
          if (--left === 0) resolve();
        },
        options,
      )
      .catch(reject);
  });
  const seconds = (performance.now() - startedAt) / 1_000;
  await client.close();
  return seconds;
}

/** What the subscriber's process is to do. */
interface Order extends Settings {
  readonly url: string;
}

const SUBSCRIBER = 'subscriber';
const TOPIC = 'bench/replay';
/** Messages that are under way while the log is filled. */
const STORED_AT_ONCE = 1_000;

if (process.argv[2] === SUBSCRIBER) await subscribe(JSON.parse(process.argv[3]) as Order);
else await main();
