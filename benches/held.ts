/**
 * Many WebSocket clients, held for a while by a gateway with its broker in the same process: what each costs in memory, what all of them cost while nothing happens, and how long
 * a message to all of them takes. The clients are a process of their own, with sockets that do no more than this needs.
 *
 *     npm run bench held -- [--clients 10000] [--seconds 300] [--every 10] [--json]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable } from '../src/bench/figures.ts';
import { startBroker } from '../src/broker/index.ts';
import { positiveNumber, wholeNumber } from '../src/cli/arguments.ts';
import { startGateway } from '../src/gateway/index.ts';
import { generateIdentity } from '../src/index.ts';
import { cpuSecondsOf } from './cpu-time.ts';

const GATEWAY = 'held-gateway';

async function measure(): Promise<void> {
  const { json, clients, seconds, every } = new Command()
    .option('--json', 'one line of JSON')
    .option(
      '--clients <n>',
      'that subscribe to one topic each, and to one that all have',
      wholeNumber(1, 100_000),
      10_000,
    )
    .option('--seconds <s>', 'for which they are held', positiveNumber, 300)
    .option('--every <s>', 'a message goes to all of them', positiveNumber, 10)
    .parse()
    .opts<{ json?: boolean; clients: number; seconds: number; every: number }>();
  const gateway = fork(fileURLToPath(import.meta.url), [GATEWAY], {
    execArgv: [...process.execArgv, '--expose-gc'],
  });
  const ask = async (what: string): Promise<number> => {
    gateway.send(what);
    return ((await once(gateway, 'message')) as [number])[0];
  };
  const [port] = (await once(gateway, 'message')) as [number];
  const pid = gateway.pid as number;
  const before = await ask('memory');
  const begun = performance.now();
  const held: HeldClient[] = [];
  while (held.length < clients) {
    const batch = Array.from({ length: Math.min(AT_ONCE, clients - held.length) }, (_, i) =>
      HeldClient.open(port, held.length + i),
    );
    held.push(...(await Promise.all(batch)));
  }
  const connectsPerSecond = clients / ((performance.now() - begun) / 1_000);
  await sleep(2_000);
  const after = await ask('memory');
  const cpuBefore = cpuSecondsOf(pid) ?? Number.NaN;
  const toAll: number[] = [];
  const rounds = Math.max(1, Math.floor(seconds / every));
  for (let round = 0; round < rounds; round++) {
    await sleep(every * 1_000);
    const heard = Promise.all(held.map((client) => client.next()));
    const at = performance.now();
    held[round % clients].publish();
    await heard;
    toAll.push(performance.now() - at);
  }
  const cpu = (cpuSecondsOf(pid) ?? Number.NaN) - cpuBefore;
  const end = await ask('memory');
  const lost = held.filter(({ isGone }) => isGone).length;
  gateway.disconnect();
  toAll.sort((a, b) => a - b);
  const result = {
    clients,
    lost,
    connectsPerSecond,
    kilobytesEach: (after - before) / clients / 1_024,
    rssMegabytes: after / 2 ** 20,
    rssMegabytesAtTheEnd: end / 2 ** 20,
    cpuPercent: (100 * cpu) / (rounds * every),
    toAllMs: toAll[toAll.length >> 1],
    toAllMsMax: toAll.at(-1) ?? Number.NaN,
  };
  if (json) console.log(JSON.stringify(result));
  else {
    const figures = Object.entries(result).map(([name, value]) =>
      Number.isInteger(value) ? [name, `${value}`] : [name, value.toFixed(1)],
    );
    console.log(formatTable(['of the gateway and its broker', ''], figures));
  }
  process.exit(lost === 0 ? 0 : 1);
}

/** One client: it subscribes to two topics, answers pings, and knows when something has come on that which all have. */
class HeldClient {
  isGone = false;
  private readonly socket: Socket;
  private received: Buffer = Buffer.alloc(0);
  private isUpgraded = false;
  private subscriptions = 0;
  private onSubscribed: () => void = () => {};
  private onMessage: () => void = () => {};

  static async open(port: number, number: number): Promise<HeldClient> {
    const client = new HeldClient(connect(port, '127.0.0.1'));
    await once(client.socket, 'connect');
    client.socket.write(UPGRADE);
    const all = { type: 'subscribe', id: 1, filters: ['held/all'], qos: 0 };
    client.socket.write(frame(OP_TEXT, JSON.stringify(all)));
    client.socket.write(
      frame(OP_TEXT, JSON.stringify({ type: 'subscribe', id: 2, filters: [`held/${number}`] })),
    );
    await new Promise<void>((resolve, reject) => {
      client.onSubscribed = resolve;
      client.socket.once('close', () => reject(new Error('a client was not taken')));
    });
    return client;
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => this.take(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isGone = true;
      this.onMessage();
    });
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.onMessage = resolve;
      if (this.isGone) resolve();
    });
  }

  publish(): void {
    this.socket.write(
      frame(OP_TEXT, JSON.stringify({ type: 'publish', topic: 'held/all', qos: 0, text: 'x'.repeat(100) })),
    );
  }

  private take(bytes: Buffer): void {
    this.received = this.received.length === 0 ? bytes : Buffer.concat([this.received, bytes]);
    if (!this.isUpgraded) {
      const end = this.received.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.isUpgraded = true;
      this.received = this.received.subarray(end + 4);
    }
    for (;;) {
      const { received } = this;
      if (received.length < 2) return;
      const start = received[1] < 126 ? 2 : 4;
      if (received.length < start) return;
      const end = start + (start === 2 ? received[1] : received.readUInt16BE(2));
      if (received.length < end) return;
      this.received = received.subarray(end);
      this.hear(received[0] & 0x0f, received.toString('latin1', start, Math.min(end, start + 24)));
    }
  }

  private hear(op: number, text: string): void {
    if (op === OP_PING) this.socket.write(frame(OP_PONG, ''));
    else if (text.startsWith('{"type":"message"')) this.onMessage();
    else if (text.startsWith('{"type":"subscribed"') && ++this.subscriptions === 2) this.onSubscribed();
  }
}

/** A client's frame, masked with zeros. */
function frame(op: number, text: string): Buffer {
  const payload = Buffer.from(text);
  const isShort = payload.length < 126;
  const head = isShort
    ? [0x80 | op, 0x80 | payload.length]
    : [0x80 | op, 0xfe, payload.length >> 8, payload.length & 0xff];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

async function serve(): Promise<void> {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  const gateway = await startGateway({ broker, port: 0, limits: { connectionsMax: 1_000_000 } });
  process.on('disconnect', () => process.exit());
  process.on('message', () => {
    global.gc?.();
    global.gc?.();
    process.send?.(process.memoryUsage.rss());
  });
  process.send?.(gateway.port);
}

const OP_TEXT = 1;
const OP_PING = 9;
const OP_PONG = 10;
const AT_ONCE = 100;
const UPGRADE = [
  'GET /v1/ws HTTP/1.1',
  'Host: localhost',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol: jsp.v1.json',
  '',
  '',
].join('\r\n');

if (process.argv[2] === GATEWAY) await serve();
else await measure();
