/**
 * What an attack costs others: an honest client's round trips and new connections, and the server's memory and CPU time, while somebody
 * sends it 20 Mbit/s of what is worst for it.
 *
 *     npm run bench attacks -- [--json] [--seconds 4] [--megabits 20] [--only captured,hellos]
 *
 * Server, attacker and honest client are a process each.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { performance, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, latencyHistogram, percentilesOf, recordMicros } from '../src/bench/figures.ts';
import { positiveNumber } from '../src/cli/arguments.ts';
import { type Connection, connect, generateIdentity, listen, type Stream } from '../src/index.ts';
import { names } from './arguments.ts';
import { ATTACKS, attack } from './attacks/attacker.ts';

interface Outcome {
  readonly attack: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The longest of the new connections; null when one failed. */
  readonly connectMs: number | null;
  readonly serverCpu: number;
  readonly rssGrowthMegabytes: number;
}

const [role, ...given] = process.argv.slice(2);
if (role === 'server') await serve();
else if (role === 'attacker') await attack(given[0], given[1], Number(given[2]));
else await measureAll();

async function measureAll(): Promise<void> {
  const { json, seconds, megabits, only } = new Command()
    .option('--json', 'a line of JSON an attack')
    .option('--seconds <s>', 'of each attack', positiveNumber, 4)
    .option('--megabits <n>', 'a second that the attacker sends', positiveNumber, 20)
    .option('--only <names>', 'of attacks, with commas between them', names, Object.keys(ATTACKS))
    .parse()
    .opts<{ json?: boolean; seconds: number; megabits: number; only: string[] }>();
  const outcomes: Outcome[] = [];
  for (const name of ['none', ...only]) {
    const outcome = await measure(name, seconds, megabits);
    if (json) console.log(JSON.stringify(outcome));
    outcomes.push(outcome);
  }
  if (!json) console.log(outcomeTable(outcomes));
  process.exit();
}

/** One attack, or none, on a fresh server. */
async function measure(name: string, seconds: number, megabits: number): Promise<Outcome> {
  const server = fork(fileURLToPath(import.meta.url), ['server'], {
    execArgv: [...process.execArgv, '--expose-gc'],
  });
  const [url] = (await once(server, 'message')) as [string];
  const connection = await connect(url);
  const stream = connection.openStream();
  await echoes(stream, 1_500, latencyHistogram());
  const before = await stateOf(server);
  const attacker =
    name === 'none' ? null : fork(fileURLToPath(import.meta.url), ['attacker', name, url, `${megabits}`]);
  if (attacker !== null) await once(attacker, 'message');
  const latency = latencyHistogram();
  const begun = performance.now();
  const connecting = newConnections(url, seconds * 1_000);
  await echoes(stream, seconds * 1_000, latency);
  const connectMs = await connecting;
  const after = await stateOf(server);
  const elapsed = performance.now() - begun;
  attacker?.kill();
  connection.destroy();
  server.kill();
  const percentiles = percentilesOf(latency);
  return {
    attack: name,
    p50Ms: (percentiles?.p50 ?? Number.NaN) / 1_000,
    p99Ms: (percentiles?.p99 ?? Number.NaN) / 1_000,
    connectMs,
    serverCpu: (after.cpuMs - before.cpuMs) / elapsed,
    rssGrowthMegabytes: (after.rssBytes - before.rssBytes) / 2 ** 20,
  };
}

/** Sends a message there and back, again and again with short pauses. */
async function echoes(stream: Stream, forMs: number, latency: RecordableHistogram): Promise<void> {
  for (const end = performance.now() + forMs; performance.now() < end; await sleep(2)) {
    const begun = performance.now();
    stream.send(Buffer.alloc(64));
    await new Promise((resolve) => stream.once('message', resolve));
    recordMicros(latency, (performance.now() - begun) * 1_000);
  }
}

/** The longest that a new connection took, of as many as there is time for; null when one failed. */
async function newConnections(url: string, forMs: number): Promise<number | null> {
  let longest = 0;
  for (const end = performance.now() + forMs - 1_000; performance.now() < end; await sleep(300)) {
    const begun = performance.now();
    let connection: Connection;
    try {
      connection = await connect(url, { handshakeTimeoutMs: 5_000 });
    } catch {
      return null;
    }
    longest = Math.max(longest, performance.now() - begun);
    connection.destroy();
  }
  return longest;
}

interface ServerState {
  readonly rssBytes: number;
  readonly cpuMs: number;
}

async function stateOf(server: ChildProcess): Promise<ServerState> {
  server.send('state');
  const [state] = (await once(server, 'message')) as [ServerState];
  return state;
}

async function serve(): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0 });
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
  });
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ rssBytes: process.memoryUsage.rss(), cpuMs: (user + system) / 1_000 });
  });
  process.on('disconnect', () => process.exit());
  process.send?.(listener.url);
}

function outcomeTable(outcomes: readonly Outcome[]): string {
  const header = ['attack', 'p50 ms', 'p99 ms', 'connect ms', 'server cpu', 'RSS +MB'];
  const rows = outcomes.map(({ attack: name, p50Ms, p99Ms, connectMs, serverCpu, rssGrowthMegabytes }) => [
    name,
    p50Ms.toFixed(2),
    p99Ms.toFixed(2),
    connectMs === null ? 'failed' : connectMs.toFixed(0),
    `${(serverCpu * 100).toFixed(0)} %`,
    rssGrowthMegabytes.toFixed(1),
  ]);
  return formatTable(header, rows);
}
