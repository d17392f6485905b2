/**
 * Deliveries a second of one publisher to several subscribers, through a broker with QoS 0: three processes, each as fast as it is let. This project beside NATS over
 * TLS, by turns.
 *
 *     npm run bench fan-out -- [--subscribers 1,8,100] [--size 256] [--seconds 3] [--runs 5] [--only jsp,'nats tls'] [--json]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { type BrokerPeer, PEERS, peerNamed, USUAL_PEERS } from './broker/peer.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { byTurns, onlyOption, ratioToFirst } from './turns.ts';

interface Settings {
  readonly subscribers: number;
  readonly size: number;
  readonly seconds: number;
}

interface Figures {
  /** A second, counted where they arrive. */
  readonly deliveries: number;
  /** CPU time of a delivery, in us, of publisher, broker and subscribers; NaN where the system does not tell. */
  readonly cpu: readonly number[];
}

async function main(): Promise<void> {
  const { json, runs, subscribers, only, ...given } = new Command()
    .option('--subscribers <n,...>', 'each with a connection', wholeNumbers(1, 1_000), [1, 8, 100])
    .option('--size <bytes>', 'of a message', wholeNumber(0, 65_536), 256)
    .option('--seconds <s>', 'of each measurement, after as long to warm up', positiveNumber, 3)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 5)
    .addOption(onlyOption(PEERS, USUAL_PEERS))
    .option('--json', 'a line of JSON a number of subscribers')
    .parse()
    .opts<{
      json?: boolean;
      runs: number;
      subscribers: number[];
      only: string[];
      seconds: number;
      size: number;
    }>();
  const peers = PEERS.filter(({ name }) => only.includes(name));
  const rows: string[][] = [];
  for (const count of subscribers) {
    const settings: Settings = { ...given, subscribers: count };
    const results = await byTurns(peers, runs, (peer) => runOnce(peer, settings));
    if (json) console.log(JSON.stringify({ ...settings, results: Object.fromEntries(results) }));
    for (const [name, each] of results) {
      const ratio = ratioToFirst(results, each, ({ deliveries }) => deliveries);
      rows.push([
        `1:${count}`,
        name,
        median(each.map(({ deliveries }) => deliveries)).toFixed(0),
        name === peers[0].name ? '' : ratio.toFixed(2),
        [0, 1, 2].map((i) => median(each.map(({ cpu }) => cpu[i])).toFixed(2)).join(' + '),
      ]);
    }
  }
  const head = [
    'fan-out',
    'peer',
    'deliveries/s',
    `${peers[0].name} / it`,
    'us: publisher + broker + subscribers',
  ];
  if (!json) console.log(formatTable(head, rows));
}

async function runOnce(peer: BrokerPeer, { subscribers, size, seconds }: Settings): Promise<Figures> {
  const broker = await peer.startBroker();
  const receiver = await worker(SUBSCRIBERS, peer, broker.address, subscribers);
  const publisher = await worker(PUBLISHER, peer, broker.address, size);
  try {
    await sleep(seconds * 1_000);
    const pids = [publisher.pid as number, broker.pid, receiver.pid as number];
    const look = async () => {
      const cpu = pids.map((pid) => cpuSecondsOf(pid) ?? Number.NaN);
      return { cpu, count: await countOf(receiver), at: performance.now() };
    };
    const before = await look();
    await sleep(seconds * 1_000);
    const after = await look();
    const count = after.count - before.count;
    return {
      deliveries: (count / (after.at - before.at)) * 1_000,
      cpu: after.cpu.map((each, i) => ((each - before.cpu[i]) / count) * 1e6),
    };
  } finally {
    publisher.kill();
    receiver.kill();
    await broker.stop();
  }
}

/** A process of this file; resolves when it is ready. */
async function worker(role: string, peer: BrokerPeer, address: string, value: number): Promise<ChildProcess> {
  const child = fork(fileURLToPath(import.meta.url), [role, peer.name, address, `${value}`]);
  await once(child, 'message');
  return child;
}

async function countOf(receiver: ChildProcess): Promise<number> {
  const answer = once(receiver, 'message');
  receiver.send('count');
  const [count] = (await answer) as [number];
  return count;
}

async function publish(peer: BrokerPeer, address: string, size: number): Promise<void> {
  const connection = await peer.connect(address);
  process.send?.('ready');
  await connection.flood(TOPIC, new Uint8Array(size));
}

async function subscribe(peer: BrokerPeer, address: string, subscribers: number): Promise<void> {
  let count = 0;
  for (let i = 0; i < subscribers; i++) {
    const connection = await peer.connect(address);
    await connection.subscribe(TOPIC, () => {
      count++;
    });
  }
  process.on('message', () => process.send?.(count));
  process.send?.('ready');
}

const SUBSCRIBERS = 'subscribers';
const PUBLISHER = 'publisher';
const TOPIC = 'bench/fan-out';

const [, , role, name, address, value] = process.argv;
if (role === SUBSCRIBERS) await subscribe(peerNamed(name), address, Number(value));
else if (role === PUBLISHER) await publish(peerNamed(name), address, Number(value));
else await main();
