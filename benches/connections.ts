/**
 * What connections cost: full handshakes a second, one after another on fresh sockets, and the server's memory for each idle one.
 *
 *     node benches/run.js connections [--json] [--handshakes 500] [--idle 1000] [--runs 5]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Connection, connect, generateIdentity, listen } from '../src/index.ts';

/** Long enough for closed connections to be forgotten. */
const SETTLE_MS = 2_000;

if (process.send === undefined) await measure();
else await serve();

async function measure(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      handshakes: { type: 'string', default: '500' },
      idle: { type: 'string', default: '1000' },
      runs: { type: 'string', default: '5' },
    },
  });
  const rates: number[] = [];
  const kilobytes: number[] = [];
  for (let run = 0; run < Number(values.runs); run++) {
    const server = fork(fileURLToPath(import.meta.url), [], { execArgv: ['--expose-gc'] });
    const url = (await answer(server)) as string;
    rates.push(await handshakesPerSecond(url, Number(values.handshakes)));
    kilobytes.push(await kilobytesPerConnection(server, url, Number(values.idle)));
    server.kill();
  }
  const handshakes = median(rates);
  const idleKilobytes = median(kilobytes);
  if (values.json) console.log(JSON.stringify({ handshakesPerSecond: handshakes, idleKilobytes }));
  else
    console.log(
      `${handshakes.toFixed(0)} handshakes/s, ${idleKilobytes.toFixed(1)} KB of RSS an idle connection`,
    );
}

async function handshakesPerSecond(url: string, count: number): Promise<number> {
  for (let i = 0; i < 100; i++) (await connect(url)).destroy();
  const before = performance.now();
  for (let i = 0; i < count; i++) (await connect(url)).destroy();
  return count / ((performance.now() - before) / 1_000);
}

async function kilobytesPerConnection(server: ChildProcess, url: string, count: number): Promise<number> {
  await sleep(SETTLE_MS);
  const before = await residentBytes(server);
  const connections: Connection[] = [];
  for (let i = 0; i < count; i++) connections.push(await connect(url));
  await sleep(SETTLE_MS);
  const after = await residentBytes(server);
  for (const connection of connections) connection.destroy();
  return (after - before) / count / 1_024;
}

async function residentBytes(server: ChildProcess): Promise<number> {
  server.send('memory');
  return (await answer(server)) as number;
}

function answer(server: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => server.once('message', resolve));
}

async function serve(): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0 });
  listener.on('connection', () => {});
  process.on('message', () => {
    global.gc?.();
    global.gc?.();
    process.send?.(process.memoryUsage.rss());
  });
  process.on('disconnect', () => process.exit());
  process.send?.(listener.url);
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}
