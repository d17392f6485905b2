/**
 * What connections cost: full handshakes a second, one after another on fresh sockets, beside those of TLS 1.3 (X25519, ECDSA P-256, without
 * resumption) in the same run, and the server's memory for each idle one.
 *
 *     npm run bench connections -- [--json] [--handshakes 500] [--idle 1000] [--runs 5]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer, connect as dialTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { median } from '../src/bench/figures.ts';
import { wholeNumber } from '../src/cli/arguments.ts';
import { type Connection, connect, generateIdentity, listen } from '../src/index.ts';
import { selfSigned } from './peers/self-signed.ts';

const TLS_1_3 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ecdhCurve: 'X25519' } as const;
/** Long enough for closed connections to be forgotten. */
const SETTLE_MS = 2_000;

if (process.send === undefined) await measure();
else await serve();

async function measure(): Promise<void> {
  const { json, handshakes, idle, runs } = new Command()
    .option('--json', 'one line of JSON')
    .option('--handshakes <n>', 'one after another, of each kind', wholeNumber(1, 1_000_000), 500)
    .option('--idle <n>', 'connections that are kept', wholeNumber(1, 1_000_000), 1_000)
    .option('--runs <n>', 'of which the median is told', wholeNumber(1, 1_000), 5)
    .parse()
    .opts<{ json?: boolean; handshakes: number; idle: number; runs: number }>();
  const rates: number[] = [];
  const tlsRates: number[] = [];
  const kilobytes: number[] = [];
  for (let run = 0; run < runs; run++) {
    const server = fork(fileURLToPath(import.meta.url), [], {
      execArgv: [...process.execArgv, '--expose-gc'],
    });
    const { url, tlsPort } = (await answer(server)) as Addresses;
    rates.push(await handshakesPerSecond(handshakes, async () => (await connect(url)).destroy()));
    tlsRates.push(await handshakesPerSecond(handshakes, () => tlsHandshake(tlsPort)));
    kilobytes.push(await kilobytesPerConnection(server, url, idle));
    server.kill();
  }
  const result = {
    handshakesPerSecond: median(rates),
    tlsHandshakesPerSecond: median(tlsRates),
    idleKilobytes: median(kilobytes),
  };
  if (json) {
    console.log(JSON.stringify(result));
  } else {
    const { handshakesPerSecond: ours, tlsHandshakesPerSecond: theirs, idleKilobytes } = result;
    console.log(`${ours.toFixed(0)} handshakes/s (TLS 1.3: ${theirs.toFixed(0)})`);
    console.log(`${idleKilobytes.toFixed(1)} KB of RSS an idle connection`);
  }
}

async function handshakesPerSecond(count: number, handshake: () => Promise<void>): Promise<number> {
  for (let i = 0; i < 100; i++) await handshake();
  const before = performance.now();
  for (let i = 0; i < count; i++) await handshake();
  return count / ((performance.now() - before) / 1_000);
}

/** The client is done when it has the server's certificate and FINISHED, as ours is. */
async function tlsHandshake(port: number): Promise<void> {
  const socket = dialTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...TLS_1_3 });
  await once(socket, 'secureConnect');
  socket.destroy();
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
  const tls = createServer({ ...selfSigned('localhost'), ...TLS_1_3 }, (socket) =>
    socket.on('error', () => {}),
  );
  tls.on('tlsClientError', () => {}); // a client that is done at once
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  const addresses: Addresses = { url: listener.url, tlsPort: (tls.address() as AddressInfo).port };
  process.send?.(addresses);
}

interface Addresses {
  url: string;
  tlsPort: number;
}
