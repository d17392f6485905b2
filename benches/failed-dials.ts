/**
 * What is left of a broker's absence in the memory of a client that tries to come back: its heap after so many dials in vain, at a port that does not answer.
 * Ends with exit code 1 where that is more than 2 MB.
 *
 *     npm run bench failed-dials -- [--json] [--dials 5000]
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/arguments.ts';
import { ProgressLine } from '../src/cli/progress-line.ts';
import { connectClient } from '../src/client/index.ts';

/** Dials until everything is compiled, and remembered that is. */
const WARM_UP = 500;
const BYTES_MAX = 2 * 1024 * 1024;

const { json, dials } = new Command()
  .option('--json', 'one line of JSON')
  .option('--dials <n>', 'in vain', wholeNumber(1, 10_000_000), 5_000)
  .parse()
  .opts<{ json?: boolean; dials: number }>();
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const silent = createSocket('udp4');
silent.bind(0, '127.0.0.1');
await once(silent, 'listening');
const { port } = silent.address() as AddressInfo;
const client = await connectClient(`jsp://${'A'.repeat(43)}@127.0.0.1:${port}`, {
  firstConnect: 'background',
  handshakeTimeoutMs: 1,
  reconnect: { minMs: 0, maxMs: 0 },
});
const before = await heapAfter(WARM_UP);
const line = new ProgressLine(process.stderr);
line.begin(`${dials} dials in vain`, dials / 300);
const bytes = (await heapAfter(WARM_UP + dials)) - before;
line.end();
client.destroy();
silent.close();
const isWithin = bytes <= BYTES_MAX;
if (json) console.log(JSON.stringify({ dials, bytes, isWithin }));
else
  console.log(`${dials} dials in vain left ${(bytes / 1024).toFixed(0)} KiB (at most ${BYTES_MAX / 1024})`);
if (!isWithin) process.exitCode = 1;

/** Bytes of the heap when so many attempts have failed. */
async function heapAfter(failedAttempts: number): Promise<number> {
  while (client.metrics().failedAttempts < failedAttempts) await sleep(5);
  for (let i = 0; i < 5; i++) {
    collectGarbage();
    await sleep(1);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
