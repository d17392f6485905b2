/**
 * How long a request takes to be answered, through a broker, one at a time or several: three processes. This project beside NATS over TLS, by turns.
 *
 *     npm run bench request-reply -- [--seconds 4] [--size 64] [--parallel 1,16] [--runs 5] [--only jsp,'nats tls'] [--json]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median, quantilesOf } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { type BrokerConnection, type BrokerPeer, PEERS, peerNamed, USUAL_PEERS } from './broker/peer.ts';
import { byTurns, onlyOption } from './turns.ts';

interface Settings {
  readonly seconds: number;
  readonly size: number;
  readonly parallel: number;
}

/** Of one run, in us. */
interface Figures {
  readonly p50: number;
  readonly p99: number;
  /** Requests a second. */
  readonly rate: number;
}

async function main(): Promise<void> {
  const { json, runs, parallel, only, ...given } = new Command()
    .option('--seconds <s>', 'of each measurement, after 3 s to warm up', positiveNumber, 4)
    .option('--size <bytes>', 'of a request, and of its answer', wholeNumber(0, 65_536), 64)
    .option('--parallel <n,...>', 'requests that are under way', wholeNumbers(1, 10_000), [1, 16])
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 5)
    .addOption(onlyOption(PEERS, USUAL_PEERS))
    .option('--json', 'a line of JSON a number of requests')
    .parse()
    .opts<{
      json?: boolean;
      runs: number;
      parallel: number[];
      only: string[];
      seconds: number;
      size: number;
    }>();
  const peers = PEERS.filter(({ name }) => only.includes(name));
  const rows: string[][] = [];
  for (const width of parallel) {
    const settings: Settings = { ...given, parallel: width };
    const results = await byTurns(peers, runs, (peer) => runOnce(peer, settings));
    if (json) console.log(JSON.stringify({ ...settings, results: Object.fromEntries(results) }));
    for (const [name, each] of results) {
      const [p50, p99, rate] = (['p50', 'p99', 'rate'] as const).map((key) =>
        median(each.map((run) => run[key])),
      );
      rows.push([`${width}`, name, p50.toFixed(0), p99.toFixed(0), rate.toFixed(0)]);
    }
  }
  if (!json) console.log(formatTable(['under way', 'peer', 'p50 us', 'p99 us', 'requests/s'], rows));
}

async function runOnce(peer: BrokerPeer, settings: Settings): Promise<Figures> {
  const broker = await peer.startBroker();
  const responder = fork(fileURLToPath(import.meta.url), [RESPONDER, peer.name, broker.address]);
  try {
    await once(responder, 'message');
    const connection = await peer.connect(broker.address);
    const figures = await ask(connection, settings);
    await connection.close();
    return figures;
  } finally {
    responder.disconnect();
    await broker.stop();
  }
}

async function ask(connection: BrokerConnection, { seconds, size, parallel }: Settings): Promise<Figures> {
  const payload = new Uint8Array(size);
  const times: number[] = [];
  const from = performance.now() + WARM_UP_MS;
  const until = from + seconds * 1_000;
  const askAgain = async (): Promise<void> => {
    for (let now = performance.now(); now < until; ) {
      const sent = now;
      await connection.ask(TOPIC, payload);
      now = performance.now();
      if (sent >= from) times.push((now - sent) * 1_000);
    }
  };
  await Promise.all(Array.from({ length: parallel }, askAgain));
  const { p50 = Number.NaN, p99 = Number.NaN } = quantilesOf(times.sort((a, b) => a - b)) ?? {};
  return { p50, p99, rate: times.length / seconds };
}

const RESPONDER = 'responder';
const TOPIC = 'bench/request';
/** Until the code of three processes is compiled. */
const WARM_UP_MS = 3_000;

if (process.argv[2] === RESPONDER) {
  const [, , , name, address] = process.argv;
  const connection = await peerNamed(name).connect(address);
  await connection.answer(TOPIC);
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
} else await main();
