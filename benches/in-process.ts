/**
 * What our own code costs a message and a packet, at each end: both ends of a connection in one process, with a socket that only hands over
 * and a cipher that does nothing. What a native path has to do on top of this is measured by the ladder.
 *
 *     npm run bench in-process -- [--json] [--size 64,1400,8192,65536] [--mtu 1472] [--memory shared,own] [--packets 200000] [--runs 3]
 *
 * `shared` hands datagrams over as a socket with GRO does, many in one memory that is used again; `own` as `dgram` does, each in its own.
 */

import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { median } from '../src/bench/figures.ts';
import { wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';
import { connect, generateIdentity, listen } from '../src/index.ts';
import { chooseAead } from '../src/protocol/crypto/index.ts';
import { names } from './arguments.ts';
import { type HandOver, HandOverSocket } from './in-process/hand-over-socket.ts';

interface Cost {
  readonly memory: string;
  readonly size: number;
  readonly mtu: number;
  readonly messages: number;
  /** Nanoseconds of CPU time. */
  readonly sendMessage: number;
  readonly receiveMessage: number;
  readonly sendPacket: number;
  readonly receivePacket: number;
  /** Datagrams from the sender that the receiver was handed at a time. */
  readonly packetsAtOnce: number;
  readonly acksPerPacket: number;
}

const LOOK_MS = 5;
const BYTES = wholeNumbers(1, 16 * 1024 * 1024);
const options = new Command()
  .option('--json', 'a line of JSON each')
  .option('--size <bytes,...>', 'of a message', BYTES, [64, 1_400, 8_192, 65_536])
  .option('--mtu <bytes,...>', 'UDP payload', BYTES, [1_472])
  .option('--memory <kinds>', 'in which datagrams are handed over', names, ['shared', 'own'])
  .option(
    '--packets <n>',
    'of each measurement, after a warm-up of as many',
    wholeNumber(1_000, 1e9),
    200_000,
  )
  .option('--runs <n>', 'of which the median is told', wholeNumber(1, 1_000), 3)
  .parse()
  .opts<{ json?: true; size: number[]; mtu: number[]; memory: string[]; packets: number; runs: number }>();

makeCipherDoNothing();
// Neither sockets that are none nor timers of connections keep a process alive.
const alive = setInterval(() => {}, 1_000);
const costs: Cost[] = [];
for (const memory of options.memory) {
  for (const mtu of options.mtu) {
    for (const size of options.size) {
      const runs: Cost[] = [];
      for (let i = 0; i < options.runs; i++) runs.push(await measure(memory, mtu, size));
      const middle = median(runs.map(({ sendPacket, receivePacket }) => sendPacket + receivePacket));
      costs.push(runs.find((run) => run.sendPacket + run.receivePacket >= middle) ?? runs[0]);
      if (options.json) console.log(JSON.stringify(costs.at(-1)));
    }
  }
}
clearInterval(alive);
if (!options.json) console.table(costs.map((cost) => rounded(cost)));

async function measure(memory: string, mtu: number, size: number): Promise<Cost> {
  const wire: HandOver = { receiverMs: 0, outsideMs: 0, toReceiver: 0, toSender: 0, batches: 0 };
  const [near, far] = HandOverSocket.pair(memory === 'shared', wire);
  const common = { mtu, aead: 'noble', cipherSuites: ['chacha20-poly1305'] } as const;
  const listener = await listen({ identity: generateIdentity(), socket: far, ...common });
  let messages = 0;
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => {
      stream.on('message', () => {
        messages++;
      });
    });
  });
  const connection = await connect(listener.url, { socket: near, ...common });
  const stream = connection.openStream();
  const message = new Uint8Array(size).fill(0x5a);
  let isRunning = true;
  const fill = () => {
    while (isRunning && stream.send(message));
  };
  stream.on('drain', fill);
  fill();
  await arrived(wire, options.packets);
  const cpu = process.cpuUsage();
  const from = { ...wire, messages, atMs: performance.now() };
  await arrived(wire, wire.toReceiver + options.packets);
  const { user, system } = process.cpuUsage(cpu);
  const count = messages - from.messages;
  const packets = wire.toReceiver - from.toReceiver;
  const elapsedMs = performance.now() - from.atMs;
  const outsideMs = wire.outsideMs - from.outsideMs;
  const receiverMs = wire.receiverMs - from.receiverMs;
  // Garbage is collected on other threads, too: what the process has used, shared out as the time of the one thread was.
  const factor = (user + system) / 1_000 / elapsedMs;
  const receiverNs = receiverMs * factor * 1e6;
  const senderNs = (elapsedMs - receiverMs - outsideMs) * factor * 1e6;
  isRunning = false;
  connection.destroy();
  await listener.close({ timeoutMs: 0 });
  return {
    memory,
    size,
    mtu,
    messages: count,
    sendMessage: senderNs / count,
    receiveMessage: receiverNs / count,
    sendPacket: senderNs / packets,
    receivePacket: receiverNs / packets,
    packetsAtOnce: packets / (wire.batches - from.batches),
    acksPerPacket: (wire.toSender - from.toSender) / packets,
  };
}

/** Resolves when so many datagrams went to the receiver: a busy machine has to do as much as a quiet one before it counts. */
async function arrived(wire: HandOver, packets: number): Promise<void> {
  while (wire.toReceiver < packets) await sleep(LOOK_MS);
}

/** Both ends of a connection are here, so that nobody notices. */
function makeCipherDoNothing(): void {
  Object.assign(chooseAead('noble'), {
    createKey: () => ({ seal() {}, open: () => true, wipe() {} }),
    createHeaderKey: () => ({
      mask: (_: Uint8Array, __: number, mask: Uint8Array) => mask.fill(0),
      wipe() {},
    }),
  });
}

function rounded(cost: Cost): Cost {
  return Object.fromEntries(
    Object.entries(cost).map(([name, value]) => [
      name,
      typeof value === 'number' ? Math.round(value * 100) / 100 : value,
    ]),
  ) as unknown as Cost;
}
