/**
 * MQTT clients of the broker, beside Mosquitto, by turns: what an idle connection costs in memory, and how many messages of one publisher reach how many subscribers. Publisher, server
 * and subscribers are a process each, and each client does no more than this needs.
 *
 *     npm run bench mqtt -- [--connections 10000] [--subscribers 1,20] [--qos 0,1] [--size 100] [--seconds 3] [--runs 3] [--only jsp,mosquitto] [--json]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median } from '../src/bench/figures.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { type MqttServer, type RunningServer, SERVERS } from './mqtt/servers.ts';
import { PINGREQ, publishPacket, WireClient } from './mqtt/wire-client.ts';
import { byTurns, onlyOption, ratioToFirst } from './turns.ts';

interface Settings {
  readonly subscribers: number;
  readonly qos: number;
  readonly size: number;
  readonly seconds: number;
}

interface Rates {
  /** A second, counted where they arrive. */
  readonly deliveries: number;
  /** Of what was published, the share of the deliveries that never came. */
  readonly lost: number;
  /** CPU time of a delivery, in us, of publisher, server and subscribers. */
  readonly cpu: readonly number[];
}

interface Idle {
  readonly connectsPerSecond: number;
  readonly kilobytesEach: number;
  readonly megabytes: number;
  /** Of a core, while nothing happens. */
  readonly cpuPercent: number;
}

async function main(): Promise<void> {
  const { json, runs, only, connections, subscribers, qos, size, seconds } = new Command()
    .option(
      '--connections <n>',
      'that are idle, each with a subscription; 0: none are measured',
      wholeNumber(0, 100_000),
      10_000,
    )
    .option('--subscribers <n,...>', 'each with a connection', wholeNumbers(1, 1_000), [1, 20])
    .option('--qos <n,...>', 'of messages and subscriptions', wholeNumbers(0, 1), [0, 1])
    .option('--size <bytes>', 'of a payload', wholeNumber(0, 65_536), 100)
    .option('--seconds <s>', 'of each measurement, after as long to warm up', positiveNumber, 3)
    .option('--runs <n>', 'of which medians are told', wholeNumber(1, 1_000), 3)
    .addOption(onlyOption(SERVERS))
    .option('--json', 'a line of JSON a measurement')
    .parse()
    .opts<{
      json?: boolean;
      runs: number;
      only: string[];
      connections: number;
      subscribers: number[];
      qos: number[];
      size: number;
      seconds: number;
    }>();
  const servers = SERVERS.filter(({ name }) => only.includes(name));
  if (connections > 0) {
    const results = await byTurns(servers, runs, (server) => whileIdle(server, connections, seconds));
    if (json) console.log(JSON.stringify({ connections, results: Object.fromEntries(results) }));
    else console.log(`${idleTable(connections, results)}\n`);
  }
  const rows: string[][] = [];
  for (const count of subscribers) {
    for (const each of qos) {
      const settings: Settings = { subscribers: count, qos: each, size, seconds };
      const results = await byTurns(servers, runs, (server) => underLoad(server, settings));
      if (json) console.log(JSON.stringify({ ...settings, results: Object.fromEntries(results) }));
      rows.push(...rateRows(settings, servers[0].name, results));
    }
  }
  const head = [
    '',
    'server',
    'deliveries/s',
    'lost %',
    `${servers[0].name} / it`,
    'us: publisher + server + subscribers',
  ];
  if (!json) console.log(formatTable(head, rows));
}

function idleTable(connections: number, results: ReadonlyMap<string, readonly Idle[]>): string {
  const rows = [...results].map(([name, each]) => [
    name,
    median(each.map(({ kilobytesEach }) => kilobytesEach)).toFixed(2),
    median(each.map(({ megabytes }) => megabytes)).toFixed(0),
    median(each.map(({ connectsPerSecond }) => connectsPerSecond)).toFixed(0),
    median(each.map(({ cpuPercent }) => cpuPercent)).toFixed(1),
  ]);
  return formatTable([`${connections} idle`, 'KB each', 'MB in all', 'connects/s', 'CPU %'], rows);
}

function rateRows(
  { subscribers, qos }: Settings,
  first: string,
  results: ReadonlyMap<string, readonly Rates[]>,
): string[][] {
  return [...results].map(([name, each]) => [
    `1:${subscribers} QoS ${qos}`,
    name,
    median(each.map(({ deliveries }) => deliveries)).toFixed(0),
    (100 * median(each.map(({ lost }) => lost))).toFixed(1),
    name === first ? '' : ratioToFirst(results, each, ({ deliveries }) => deliveries).toFixed(2),
    [0, 1, 2].map((i) => median(each.map(({ cpu }) => cpu[i])).toFixed(2)).join(' + '),
  ]);
}

async function whileIdle(server: MqttServer, connections: number, seconds: number): Promise<Idle> {
  const running = await server.start();
  const holder = await worker(HOLDER, running.port);
  try {
    await ask(holder, WARM_UP);
    const before = await running.memory();
    const begun = performance.now();
    const held = await ask(holder, connections);
    const connectsPerSecond = connections / ((performance.now() - begun) / 1_000);
    if (held !== connections + WARM_UP)
      throw new Error(`${held} of ${connections + WARM_UP} connections are there`);
    await sleep(1_000);
    const after = await running.memory();
    const cpu = cpuOf(running.pid);
    await sleep(seconds * 1_000);
    return {
      connectsPerSecond,
      kilobytesEach: (after - before) / connections / 1_024,
      megabytes: after / 2 ** 20,
      cpuPercent: (100 * (cpuOf(running.pid) - cpu)) / seconds,
    };
  } finally {
    holder.kill();
    await running.stop();
  }
}

async function underLoad(server: MqttServer, { subscribers, qos, size, seconds }: Settings): Promise<Rates> {
  const running: RunningServer = await server.start();
  const receiver = await worker(SUBSCRIBERS, running.port, subscribers, qos);
  const publisher = await worker(PUBLISHER, running.port, qos, size);
  try {
    await sleep(seconds * 1_000);
    const pids = [publisher.pid as number, running.pid, receiver.pid as number];
    const look = async () => ({ cpu: pids.map(cpuOf), count: await ask(receiver, 0), at: performance.now() });
    const before = await look();
    await sleep(seconds * 1_000);
    const after = await look();
    const published = await ask(publisher, 0); // and no more
    let arrived = after.count;
    for (let last = -1; arrived !== last; ) {
      await sleep(SETTLE_MS);
      [last, arrived] = [arrived, await ask(receiver, 0)];
    }
    const count = after.count - before.count;
    return {
      deliveries: (count / (after.at - before.at)) * 1_000,
      lost: 1 - arrived / (published * subscribers),
      cpu: after.cpu.map((each, i) => ((each - before.cpu[i]) / count) * 1e6),
    };
  } finally {
    publisher.kill();
    receiver.kill();
    await running.stop();
  }
}

function cpuOf(pid: number): number {
  return cpuSecondsOf(pid) ?? Number.NaN;
}

/** A process of this file; resolves when it is ready. */
async function worker(role: string, ...values: number[]): Promise<ChildProcess> {
  const child = fork(fileURLToPath(import.meta.url), [role, ...values.map(String)]);
  await once(child, 'message');
  return child;
}

async function ask(child: ChildProcess, question: number): Promise<number> {
  const answer = once(child, 'message');
  child.send(question);
  return ((await answer) as [number])[0];
}

/** Opens as many connections as it is asked for, and answers how many there are. */
async function hold(port: number): Promise<void> {
  const held: WireClient[] = [];
  process.on('message', async (more: number) => {
    for (let left = more; left > 0; left -= AT_ONCE) {
      const batch = Array.from({ length: Math.min(AT_ONCE, left) }, async (_, i) => {
        const number = held.length + i;
        const client = await WireClient.open(port, `idle-${number}`);
        await client.subscribe(`idle/${number}`, 0);
        return client;
      });
      held.push(...(await Promise.all(batch)));
    }
    process.send?.(held.filter(({ isGone }) => !isGone).length);
  });
  process.send?.('ready');
}

async function subscribe(port: number, subscribers: number, qos: number): Promise<void> {
  let count = 0;
  for (let i = 0; i < subscribers; i++) {
    const client = await WireClient.open(port, `subscriber-${i}`);
    client.onMessage = () => {
      count++;
    };
    await client.subscribe(TOPIC, qos);
  }
  process.on('message', () => process.send?.(count));
  process.send?.('ready');
}

/** As fast as the server answers, with so much on its way; answers how many it were, and ends. */
async function publish(port: number, qos: number, size: number): Promise<void> {
  const client = await WireClient.open(port, 'publisher');
  const batches = Array.from({ length: WINDOW / BATCH }, (_, i) => batchOf(qos, size, i * BATCH + 1));
  const answersOfBatch = qos === 0 ? 1 : BATCH;
  let published = 0;
  let unanswered = 0;
  let isOver = false;
  let wake = (): void => {};
  client.onAnswered = (count) => {
    unanswered -= count;
    wake();
  };
  process.on('message', () => {
    isOver = true;
    process.send?.(published);
  });
  process.send?.('ready');
  for (let i = 0; !isOver; i = (i + 1) % batches.length) {
    while (unanswered > answersOfBatch * (batches.length - 1)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (isOver) return;
    unanswered += answersOfBatch;
    published += BATCH;
    await client.write(batches[i]);
  }
}

function batchOf(qos: number, size: number, firstId: number): Buffer {
  const payload = new Uint8Array(size);
  const packets = Array.from({ length: BATCH }, (_, i) => publishPacket(TOPIC, qos, payload, firstId + i));
  return Buffer.concat(qos === 0 ? [...packets, PINGREQ] : packets);
}

const HOLDER = 'mqtt-holder';
const SUBSCRIBERS = 'mqtt-subscribers';
const PUBLISHER = 'mqtt-publisher';
const TOPIC = 'bench/mqtt';
const AT_ONCE = 100;
const WARM_UP = 100;
/** Messages that are published at once, and that are on their way. */
const BATCH = 20;
const WINDOW = 400;
const SETTLE_MS = 1_000;

const [, , role, ...values] = process.argv;
const [port, second, third] = values.map(Number);
if (role === HOLDER) await hold(port);
else if (role === SUBSCRIBERS) await subscribe(port, second, third);
else if (role === PUBLISHER) await publish(port, second, third);
else await main();
