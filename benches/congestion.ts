/**
 * What congestion controllers make of a path, in virtual time: the library as it is, over a link that does what it is told. The same
 * options give the same figures.
 *
 *     npm run bench congestion -- [--only loss,queues,policers,jitter,shares] [--controllers cubic,bbr] [--seeds 1,2,3] [--seconds 20]
 *         [--mtu 512] [--json]
 */
import { Command } from 'commander';
import { Prng } from '../src/base/random.ts';
import { MILLISECOND } from '../src/base/time.ts';
import { median } from '../src/bench/figures.ts';
import { wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { type Connection, connect, generateIdentity, listen } from '../src/index.ts';
import { Lab, type LinkOptions } from '../src/testing/index.ts';
import { names } from './arguments.ts';

/** A path of which all transfers share the way up. */
interface PathPlan {
  readonly megabits: number;
  readonly rttMs: number;
  /** Of the queue, or a policer's bucket. */
  readonly queueBytes: number;
  readonly link?: LinkOptions;
  /** The way back loses this share, too. */
  readonly lossBack?: number;
}

interface TransferPlan {
  readonly congestion: string;
  readonly startMs: number;
}

interface Outcome {
  /** Of messages, each transfer's own, once all have run for a while. */
  readonly megabits: readonly number[];
  /** Share of datagrams that the queue or policer dropped. */
  readonly drops: number;
}

interface Options {
  readonly only: readonly string[];
  readonly controllers: readonly string[];
  readonly seeds: readonly number[];
  readonly seconds: number;
  readonly mtu?: number;
  readonly json?: boolean;
}

const options = new Command()
  .option('--only <tables>', 'loss, queues, policers, jitter, shares', names, [
    'loss',
    'queues',
    'policers',
    'jitter',
    'shares',
  ])
  .option('--controllers <names>', 'with commas between them', names, ['cubic', 'bbr'])
  .option('--seeds <n,...>', 'of which the median is told', wholeNumbers(1, 2 ** 31), [1])
  .option('--seconds <s>', 'of virtual time in each measurement', wholeNumber(1, 10_000), 20)
  .option(
    '--mtu <bytes>',
    'size of all datagrams, as UDP payload; without it what the library finds',
    wholeNumber(512, 1_472),
  )
  .option('--json', 'a line of JSON a result')
  .parse()
  .opts<Options>();

const FAST: PathPlan = { megabits: 100, rttMs: 50, queueBytes: 625_000 };
const SLOW: PathPlan = { megabits: 20, rttMs: 50, queueBytes: 125_000 };
const WARM_UP_MS = 5_000;
const SERVER = '10.0.0.1';
const CLIENT = '10.0.0.2';
const PORT = 4_577;
const MESSAGE_BYTES = 16_384;

const TABLES: Readonly<Record<string, () => Promise<void>>> = {
  loss: async () => {
    for (const loss of [0, 0.001, 0.01, 0.03, 0.05, 0.1, 0.2]) {
      const path = { ...FAST, link: { loss }, lossBack: loss };
      await alone(`${loss * 100} % lost`, path);
    }
    const burstLoss = { enter: (0.2 * 0.05) / 0.95, leave: 0.2 };
    await alone('5 % in bursts of 5', { ...FAST, link: { burstLoss } });
  },
  queues: async () => {
    for (const share of [0.02, 0.05, 0.1, 0.25, 1, 4])
      await alone(`queue of ${share} BDP`, { ...FAST, queueBytes: share * FAST.queueBytes });
  },
  policers: async () => {
    for (const kilobytes of [16, 128, 1_024])
      await alone(`policer of ${kilobytes} KiB`, {
        ...SLOW,
        queueBytes: 1_024 * kilobytes,
        link: { polices: true },
      });
  },
  jitter: async () => {
    for (const loss of [0, 0.01]) {
      const link = { jitterMs: 3, jitterReorders: true, loss };
      await alone(`3 ms of jitter that reorders, ${loss * 100} % lost`, {
        ...FAST,
        megabits: 50,
        queueBytes: 312_500,
        link,
      });
    }
  },
  shares: async () => {
    const pairs = options.controllers.flatMap((a, i) => options.controllers.slice(i).map((b) => [a, b]));
    for (const share of [0.5, 1, 2, 3])
      for (const [a, b] of pairs)
        for (const [first, second] of a === b
          ? [[a, b]]
          : [
              [a, b],
              [b, a],
            ]) {
          const path = { ...SLOW, queueBytes: share * SLOW.queueBytes };
          await tell(`${first}, 3 s later ${second}, queue of ${share} BDP`, path, [
            { congestion: first, startMs: 0 },
            { congestion: second, startMs: 3_000 },
          ]);
        }
  },
};

for (const name of options.only) await TABLES[name]?.();
process.exit();

async function alone(what: string, path: PathPlan): Promise<void> {
  for (const congestion of options.controllers)
    await tell(`${what}, ${congestion}`, path, [{ congestion, startMs: 0 }]);
}

/** Runs a plan with each seed and tells the median of each transfer. */
async function tell(what: string, path: PathPlan, transfers: readonly TransferPlan[]): Promise<void> {
  const outcomes: Outcome[] = [];
  for (const seed of options.seeds) outcomes.push(await run(path, transfers, seed));
  const megabits = transfers.map((_, i) => median(outcomes.map((outcome) => outcome.megabits[i])));
  const drops = median(outcomes.map((outcome) => outcome.drops));
  if (options.json) {
    console.log(JSON.stringify({ what, megabits, drops }));
    return;
  }
  const rates = megabits.map((rate) => rate.toFixed(1)).join(' : ');
  console.log(
    `${what.padEnd(52)} ${rates.padStart(12)} Mbit/s ${(100 * drops).toFixed(2).padStart(6)} % dropped`,
  );
}

async function run(path: PathPlan, transfers: readonly TransferPlan[], seed: number): Promise<Outcome> {
  const delayMs = path.rttMs / 2;
  const lab = new Lab({ seed, link: { delayMs }, instantsMax: Number.POSITIVE_INFINITY });
  const { clock } = lab;
  const bytes = transfers.map(() => 0);
  const socket = lab.socket({ host: SERVER, port: PORT });
  const listener = await listen({ identity: generateIdentity(), socket, clock, random: new Prng(seed) });
  const url = new URL(listener.url);
  url.hostname = SERVER;
  const clients: Connection[] = [];
  for (const [i, { congestion }] of transfers.entries()) {
    const accepted = new Promise<Connection>((resolve) => listener.once('connection', resolve));
    const connectTo = { host: SERVER, port: PORT };
    const client = lab.socket({ host: CLIENT, port: PORT + i, connectTo });
    const random = new Prng(seed + i + 1);
    const choice = congestion as 'bbr' | 'cubic' | 'newreno';
    clients.push(
      await lab.settle(
        connect(url.href, { socket: client, clock, random, congestion: choice, mtu: options.mtu }),
      ),
    );
    const server = await lab.settle(accepted);
    server.on('stream', (stream) => {
      stream.on('message', (message) => {
        bytes[i] += message.length;
      });
    });
  }
  const { megabits, queueBytes, link = {}, lossBack = 0 } = path;
  const up = { ...link, delayMs, bitsPerSecond: megabits * 1e6, queueBytesMax: queueBytes };
  lab.network.connect(CLIENT, SERVER, up, { delayMs, loss: lossBack });
  const { counters } = lab.network.link(CLIENT, SERVER);
  const begun = lab.now;
  for (const [i, { startMs }] of transfers.entries()) {
    await lab.run(startMs - (lab.now - begun) / MILLISECOND);
    sendOn(clients[i]);
  }
  await lab.run(WARM_UP_MS);
  const before = [...bytes];
  const { sent, droppedQueue } = counters;
  await lab.run(options.seconds * 1_000);
  const outcome = {
    megabits: bytes.map((all, i) => ((all - before[i]) * 8) / options.seconds / 1e6),
    drops: (counters.droppedQueue - droppedQueue) / (counters.sent - sent),
  };
  for (const client of clients) client.destroy();
  return outcome;
}

/** Sends all that it takes. */
function sendOn(client: Connection): void {
  const stream = client.openStream({ priority: 'bulk' });
  const message = new Uint8Array(MESSAGE_BYTES);
  const fill = (): void => {
    while (stream.send(message));
  };
  stream.on('drain', fill);
  fill();
}
