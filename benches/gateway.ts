/**
 * The six workloads of the Pulsar Proxy report over this project's gateway, beside a proxy of the same function of Fastify and Redis, by turns: the callers are a process, the
 * gateway and what is behind it are others.
 *
 *     npm run bench gateway -- [--workloads single,bulk] [--seconds 3] [--runs 5] [--only jsp,'fastify + redis'] [--json]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { names } from './arguments.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { type GatewayPeer, PEERS, peerNamed } from './gateway/peer.ts';
import { type Outcome, WORKLOADS } from './gateway/workloads.ts';
import { byTurns, onlyOption, ratioToFirst } from './turns.ts';

interface Figures extends Outcome {
  /** Seconds of CPU time of the gateway and what is behind it, warm-up included; NaN where the system does not tell. */
  readonly cpu: number;
}

/** What the report says of the Pulsar Proxy, on its author's machine. */
const REPORTED: Readonly<Record<string, number>> = {
  single: 1_338,
  bulk: 32_955,
  concurrent: 428,
  connects: 1_117,
  'end to end': 814,
  broadcast: 15_731,
};

async function main(): Promise<void> {
  const { json, runs, workloads, only, seconds } = new Command()
    .option('--workloads <names>', Object.keys(WORKLOADS).join(', '), names, Object.keys(WORKLOADS))
    .option('--seconds <s>', 'of each measurement, after 1.5 s to warm up, 4 of connects', positiveNumber, 3)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 5)
    .addOption(onlyOption(PEERS))
    .option('--json', 'a line of JSON a workload')
    .parse()
    .opts<{ json?: boolean; runs: number; workloads: string[]; only: string[]; seconds: number }>();
  const peers = PEERS.filter(({ name }) => only.includes(name));
  const rows: string[][] = [];
  for (const workload of workloads) {
    const results = await byTurns(peers, runs, (peer) => runOnce(peer, workload, seconds));
    if (json) console.log(JSON.stringify({ workload, seconds, results: Object.fromEntries(results) }));
    for (const [name, each] of results) {
      const of = (key: keyof Figures): number => median(each.map((run) => run[key]));
      const ratio = ratioToFirst(results, each, ({ rate }) => rate);
      rows.push([
        workload,
        name,
        of('rate').toFixed(0),
        name === peers[0].name ? '' : ratio.toFixed(1),
        of('p50').toFixed(2),
        of('p99').toFixed(2),
        of('cpu').toFixed(2),
        `${REPORTED[workload]}`,
      ]);
    }
  }
  const head = [
    'workload',
    'peer',
    'a second',
    `${peers[0].name} / it`,
    'p50 ms',
    'p99 ms',
    'CPU s',
    'report',
  ];
  if (!json) console.log(formatTable(head, rows));
}

async function runOnce(peer: GatewayPeer, workload: string, seconds: number): Promise<Figures> {
  const gateway = await peer.start();
  const { pids, stop: _, ...address } = gateway;
  const callers = fork(fileURLToPath(import.meta.url), [
    CALLERS,
    peer.name,
    workload,
    `${seconds}`,
    JSON.stringify(address),
  ]);
  try {
    const answered = once(callers, 'message');
    const ended = once(callers, 'exit').then(() => {
      throw new Error(`the callers of "${workload}" at ${peer.name} have failed, see above`);
    });
    ended.catch(() => {});
    const [outcome] = (await Promise.race([answered, ended])) as [Outcome];
    const cpu = pids.reduce((sum, pid) => sum + (cpuSecondsOf(pid) ?? Number.NaN), 0);
    return { ...outcome, cpu };
  } finally {
    callers.kill();
    await gateway.stop();
  }
}

const CALLERS = 'callers';

if (process.argv[2] === CALLERS) {
  const [, , , name, workload, seconds, address] = process.argv;
  const target = { peer: peerNamed(name), gateway: JSON.parse(address) };
  process.send?.(await WORKLOADS[workload](target, Number(seconds)));
} else await main();
