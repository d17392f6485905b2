/**
 * Messages that a broker has on its disk before it acknowledges them: a publisher that waits for each, and several with many under way. Broker and publishers are
 * processes of their own. This project beside JetStream and streams of Redis, both over TLS, and the disk by itself, by turns. Redis syncs before it answers, as we do, and
 * so does JetStream from NATS 2.10 on (`sync_interval: always`); one before that answers first and syncs two minutes later.
 *
 *     npm run bench durable -- [--publishers 1,8] [--window 1,256] [--size 256] [--seconds 3] [--runs 5] [--directory DIR] [--json]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { constants, mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median, quantilesOf } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { PEERS as BROKERS, type RunningBroker, type StorePeer, USUAL_PEERS } from './broker/peer.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { redisStreams } from './peers/redis.ts';
import { byTurns, onlyOption } from './turns.ts';

interface Settings {
  readonly publishers: number;
  /** Messages of a publisher that are not acknowledged yet. */
  readonly window: number;
  readonly size: number;
  readonly seconds: number;
  /** Where the broker's folder is made. */
  readonly directory: string;
}

/** Of one run. */
interface Figures {
  /** Acknowledged a second. */
  readonly rate: number;
  /** From publish to acknowledgement, in us. */
  readonly p50: number;
  readonly p99: number;
  /** CPU time of the broker, in us a message; NaN where the system does not tell. */
  readonly cpu: number;
}

async function main(): Promise<void> {
  const { json, runs, publishers, window, only, ...given } = new Command()
    .option('--publishers <n,...>', 'each with a connection', wholeNumbers(1, 1_000), [1, 8])
    .option('--window <n,...>', 'of a publisher, for each number of them', wholeNumbers(1, 65_536), [1, 256])
    .option('--size <bytes>', 'of a message', wholeNumber(0, 65_536), 256)
    .option('--seconds <s>', 'of each measurement, after as long to warm up', positiveNumber, 3)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 5)
    .option('--directory <dir>', 'on the disk that is meant', tmpdir())
    .addOption(onlyOption(ALL, [...USUAL_PEERS, redisStreams, DISK]))
    .option('--json', 'a line of JSON a number of publishers')
    .parse()
    .opts<{
      json?: boolean;
      runs: number;
      publishers: number[];
      window: number[];
      only: string[];
      size: number;
      seconds: number;
      directory: string;
    }>();
  const peers = ALL.filter(({ name }) => only.includes(name));
  const rows: string[][] = [];
  for (const [i, count] of publishers.entries()) {
    const settings: Settings = { ...given, publishers: count, window: window[i] ?? window[0] };
    const results = await byTurns(peers, runs, (peer) =>
      'connect' in peer ? runOnce(peer, settings) : syncOnce(settings),
    );
    if (json) console.log(JSON.stringify({ ...settings, results: Object.fromEntries(results) }));
    for (const [name, each] of results) {
      const [rate, p50, p99, cpu] = (['rate', 'p50', 'p99', 'cpu'] as const).map((key) =>
        median(each.map((run) => run[key])),
      );
      const under = `${count} x ${settings.window}`;
      rows.push([under, name, rate.toFixed(0), p50.toFixed(0), p99.toFixed(0), cpu.toFixed(0)]);
    }
  }
  const head = ['under way', 'peer', 'stored/s', 'p50 us', 'p99 us', "broker's CPU, us"];
  if (!json) console.log(formatTable(head, rows));
}

async function runOnce(peer: StorePeer, settings: Settings): Promise<Figures> {
  const directory = mkdtempSync(join(settings.directory, 'jsp-durable-'));
  try {
    const broker = await peer.startBroker({ directory, topic: TOPIC });
    try {
      return await measure(peer, broker, settings);
    } finally {
      await broker.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(peer: StorePeer, broker: RunningBroker, settings: Settings): Promise<Figures> {
  const order: Order = { ...settings, peer: peer.name, address: broker.address };
  const publishers = fork(fileURLToPath(import.meta.url), [PUBLISHERS, JSON.stringify(order)]);
  try {
    await once(publishers, 'message'); // warm
    const cpuBefore = cpuSecondsOf(broker.pid) ?? Number.NaN;
    const [{ times }] = (await once(publishers, 'message')) as [{ times: number[] }];
    const cpu = (cpuSecondsOf(broker.pid) ?? Number.NaN) - cpuBefore;
    return { ...figuresOf(times, settings.seconds), cpu: (cpu / times.length) * 1e6 };
  } finally {
    publishers.disconnect();
  }
}

/** As many bytes as are under way are written behind one another and synced, in one call where the system has that, and nothing else is done: what the disk takes at best. */
async function syncOnce({ publishers, window, size, seconds, directory }: Settings): Promise<Figures> {
  const folder = mkdtempSync(join(directory, 'jsp-durable-'));
  const { O_CREAT, O_WRONLY, O_DSYNC } = constants;
  const syncs = process.platform === 'linux';
  const file = await open(join(folder, 'file'), syncs ? O_CREAT | O_WRONLY | O_DSYNC : 'w');
  const messages = publishers * window;
  const bytes = Buffer.alloc(messages * size);
  const times: number[] = [];
  const until = performance.now() + seconds * 1_000;
  for (let from = performance.now(); from < until; ) {
    await file.write(bytes);
    if (!syncs) await file.datasync();
    const now = performance.now();
    times.push((now - from) * 1_000);
    from = now;
  }
  await file.close();
  rmSync(folder, { recursive: true });
  const { rate, ...latencies } = figuresOf(times, seconds);
  return { ...latencies, rate: rate * messages, cpu: Number.NaN };
}

function figuresOf(times: number[], seconds: number): Omit<Figures, 'cpu'> {
  const { p50 = Number.NaN, p99 = Number.NaN } = quantilesOf(times.sort((a, b) => a - b)) ?? {};
  return { rate: times.length / seconds, p50, p99 };
}

/** The publishers' process: says when it is warm, and then how long each message took, in us. */
async function publish({ peer, address, publishers, window, size, seconds }: Order): Promise<void> {
  const payload = new Uint8Array(size);
  const times: number[] = [];
  const from = performance.now() + seconds * 1_000;
  const until = from + seconds * 1_000;
  const publishAgain = async (): Promise<void> => {
    const connection = await connections[turn++ % publishers];
    for (let now = performance.now(); now < until; ) {
      const sent = now;
      await connection.publishStored(TOPIC, payload);
      now = performance.now();
      if (sent >= from) times.push((now - sent) * 1_000);
    }
  };
  let turn = 0;
  const { connect } = PEERS.find(({ name }) => name === peer) as StorePeer;
  const connections = Array.from({ length: publishers }, () => connect(address));
  setTimeout(() => process.send?.('warm'), seconds * 1_000);
  await Promise.all(Array.from({ length: publishers * window }, publishAgain));
  process.send?.({ times });
}

/** What the publishers' process is to do. */
interface Order extends Settings {
  readonly peer: string;
  readonly address: string;
}

const PEERS: readonly StorePeer[] = [...BROKERS, redisStreams];
const DISK = { name: 'disk' };
const ALL = [...PEERS, DISK];
const PUBLISHERS = 'publishers';
const TOPIC = 'bench.stored';

if (process.argv[2] === PUBLISHERS) {
  process.on('disconnect', () => process.exit());
  await publish(JSON.parse(process.argv[3]) as Order);
} else await main();
