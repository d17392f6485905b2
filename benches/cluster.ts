/**
 * What brokers cost that are one by NATS. Messages of QoS 0 are published at a steady rate at the first node, and each node has one subscriber: the first gets them without a hop, the others by
 * way of NATS. Counted where they arrive. Beside it a broker that is alone, and plain NATS over TLS with as many subscribers.
 *
 *     npm run bench cluster -- [--nodes 1,2,3] [--rate 2000] [--size 256] [--seconds 4] [--runs 3] [--only jsp,'nats tls'] [--json]
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, type LatencyMicros, median } from '../src/bench/figures.ts';
import { startBroker } from '../src/broker/index.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { generateIdentity } from '../src/index.ts';
import type { ArrivalReport } from './broker/arrivals.ts';
import { PEERS, peerNamed, USUAL_PEERS } from './broker/peer.ts';
import { WorkerProcess } from './broker/worker-process.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { byTurns, onlyOption } from './turns.ts';

interface Settings {
  readonly rate: number;
  readonly size: number;
  readonly seconds: number;
}

/** What runs: `name` of a peer, with so many nodes; 0: a broker without a backplane. */
interface Setup {
  readonly name: string;
  readonly peer: string;
  readonly nodes: number;
}

interface Running {
  /** Of each subscriber; the publisher is at the first. */
  readonly addresses: readonly string[];
  readonly brokers: readonly number[];
  /** Of the engine between them; null: there is none. */
  readonly engine: number | null;
  stop(): Promise<void>;
}

interface Figures {
  readonly deliveries: number;
  readonly lost: number;
  /** CPU time of a delivery, us: of all brokers, and of what is between them. */
  readonly brokers: number;
  readonly engine: number;
  /** At the first node, and the worst of those behind a hop. */
  readonly near: LatencyMicros | null;
  readonly far: LatencyMicros | null;
  /** Resident memory in MiB of the largest broker, before any client came and after the run; and of the engine. */
  readonly idle: number;
  readonly memory: number;
  readonly engineMemory: number;
}

async function main(): Promise<void> {
  const { json, runs, nodes, only, ...settings } = new Command()
    .option('--nodes <n,...>', 'of the cluster', wholeNumbers(1, 16), [1, 2, 3])
    .option('--rate <n>', 'messages a second, at the first node', wholeNumber(1, 1_000_000), 2_000)
    .option('--size <bytes>', 'of a message', wholeNumber(12, 65_536), 256)
    .option('--seconds <s>', 'of each run, behind 3 that warm up', positiveNumber, 4)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 3)
    .addOption(onlyOption(PEERS, USUAL_PEERS))
    .option('--json', 'a line of JSON a setup')
    .parse()
    .opts<Settings & { json?: boolean; runs: number; nodes: number[]; only: string[] }>();
  const setups: Setup[] = [{ name: 'jsp, alone', peer: 'jsp', nodes: 0 }];
  for (const count of nodes) {
    setups.push({ name: `jsp, ${count} on NATS`, peer: 'jsp', nodes: count });
    setups.push({ name: `nats tls, 1:${count}`, peer: 'nats tls', nodes: count });
  }
  const chosen = setups.filter(({ peer }) => only.includes(peer));
  const results = await byTurns(chosen, runs, (setup) => runOnce(setup, settings));
  if (json) {
    for (const [setup, each] of results) console.log(JSON.stringify({ setup, ...settings, runs: each }));
    return;
  }
  const rows = [...results].map(([name, each]) => [
    name,
    middle(each, ({ deliveries }) => deliveries, 0),
    String(each.reduce((sum, { lost }) => sum + lost, 0)),
    `${middle(each, ({ brokers }) => brokers, 1)} + ${middle(each, ({ engine }) => engine, 1)}`,
    latencyText(each.map(({ near }) => near)),
    latencyText(each.map(({ far }) => far)),
    `${middle(each, ({ idle }) => idle, 0)} / ${middle(each, ({ memory }) => memory, 0)}`,
    middle(each, ({ engineMemory }) => engineMemory, 0),
  ]);
  const head = [
    'setup',
    'deliveries/s',
    'lost',
    'CPU us a delivery: brokers + NATS',
    'us without a hop',
    'with one',
  ];
  console.log(
    `${settings.rate} messages/s of ${settings.size} B to one subscriber a node; latency: p50 / p99`,
  );
  console.log(formatTable([...head, 'MiB a broker: idle / then', 'of NATS'], rows));
}

async function runOnce({ peer, nodes }: Setup, { rate, size, seconds }: Settings): Promise<Figures> {
  const running = peer === 'jsp' ? await startCluster(nodes) : await startPlain(peer, nodes);
  const { brokers, engine, addresses } = running;
  const idle = Math.max(...brokers.map(residentMiB));
  const publisher = new WorkerProcess();
  const subscribers = addresses.map(() => new WorkerProcess());
  const count = Math.round(seconds);
  try {
    for (const [i, subscriber] of subscribers.entries()) {
      await subscriber.order({ order: 'connect', peer, address: addresses[i] });
      await subscriber.order({ order: 'subscribe', rate, seconds: count, fromSecond: 2 });
    }
    await publisher.order({ order: 'connect', peer, address: addresses[0] });
    const look = async () => {
      await sleep(SETTLE_MS);
      const cpu = [brokers, engine === null ? [] : [engine]].map(cpuOf);
      const reports: ArrivalReport[] = [];
      for (const each of subscribers) reports.push((await each.order({ order: 'report' })) as ArrivalReport);
      return { cpu, reports, arrived: reports.reduce((sum, report) => sum + report.arrived, 0) };
    };
    const publish = (time: number) =>
      publisher.order({ order: 'publish', rate, seconds: time, size, how: 'sleep' });
    for (let i = 0; i < WARM_UPS; i++) await publish(1); // of which latencies count from the second second on
    const before = await look();
    await publish(count);
    const after = await look();
    const { reports } = after;
    const arrived = after.arrived - before.arrived;
    const far = reports.slice(1).map(({ total }) => total);
    return {
      deliveries: arrived / count,
      lost: rate * count * addresses.length - arrived,
      brokers: ((after.cpu[0] - before.cpu[0]) / arrived) * 1e6,
      engine: ((after.cpu[1] - before.cpu[1]) / arrived) * 1e6,
      near: reports[0].total,
      far: far.reduce((worst, each) => (each !== null && each.p50 > (worst?.p50 ?? 0) ? each : worst), null),
      ...{ idle, memory: Math.max(...brokers.map(residentMiB)) },
      engineMemory: engine === null ? 0 : residentMiB(engine),
    };
  } finally {
    publisher.end();
    for (const each of subscribers) each.end();
    await running.stop();
  }
}

/** Brokers in processes of their own, on one NATS in another. */
async function startCluster(nodes: number): Promise<Running> {
  const nats = nodes === 0 ? null : await startNats();
  const children: ChildProcess[] = [];
  const addresses: string[] = [];
  for (let i = 0; i < Math.max(1, nodes); i++) {
    const child = fork(fileURLToPath(import.meta.url), [BROKER, nats?.url ?? '', `node-${i}`]);
    const [address] = (await once(child, 'message')) as [string];
    children.push(child);
    addresses.push(address);
  }
  return {
    addresses,
    brokers: children.map(({ pid }) => pid as number),
    engine: nats?.process.pid ?? null,
    async stop() {
      for (const child of children) {
        child.disconnect();
        await once(child, 'exit');
      }
      await nats?.stop();
    },
  };
}

async function startPlain(name: string, subscribers: number): Promise<Running> {
  const broker = await peerNamed(name).startBroker();
  return {
    addresses: Array.from({ length: subscribers }, () => broker.address),
    brokers: [broker.pid],
    engine: null,
    stop: () => broker.stop(),
  };
}

async function startNats(): Promise<{ url: string; process: ChildProcess; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'jsp-bench-cluster-'));
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  // Debian puts it where not everybody's PATH leads.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const args = ['-js', '-a', '127.0.0.1', '-p', `${port}`, '-sd', folder];
  const server = spawn('nats-server', args, { stdio: 'ignore', env });
  server.once('error', (error) => {
    console.error(`${error.message}: "apt-get install nats-server"`);
    process.exit(1);
  });
  for (let i = 0; i < 100 && !(await takes(port)); i++) await sleep(50);
  return {
    url: `nats://127.0.0.1:${port}`,
    process: server,
    async stop() {
      server.kill();
      if (server.exitCode === null) await once(server, 'exit');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function takes(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial(port, '127.0.0.1');
    const settle = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (cpuSecondsOf(pid) ?? Number.NaN), 0);
}

function residentMiB(pid: number): number {
  const [, kilobytes = 'NaN'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(kilobytes) / 1_024;
}

function middle(runs: readonly Figures[], of: (run: Figures) => number, digits: number): string {
  return median(runs.map(of)).toFixed(digits);
}

function latencyText(runs: readonly (LatencyMicros | null)[]): string {
  const known = runs.filter((run) => run !== null);
  if (known.length === 0) return '-';
  return (['p50', 'p99'] as const).map((key) => median(known.map((run) => run[key])).toFixed(0)).join(' / ');
}

const BROKER = 'broker';
const SETTLE_MS = 500;
/** Seconds before what is measured, for what is compiled when it is hot. */
const WARM_UPS = 3;

const [, , role, engine, node] = process.argv;
if (role === BROKER) {
  const backplane = engine === '' ? undefined : ({ kind: 'nats', urls: [engine], node } as const);
  const broker = await startBroker({ identity: generateIdentity(), port: 0, backplane });
  process.on('disconnect', () => process.exit());
  process.send?.(broker.url);
} else await main();
