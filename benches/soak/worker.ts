/** A process of `soak.ts`: the broker, all publishers or all subscribers. Does what its parent orders, and ends with it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, connectClient, type Message } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';

export type SoakOrder =
  | { order: 'serve'; folder: string }
  | { order: 'publish'; url: string }
  | { order: 'subscribe'; url: string }
  /** Answered with what this process holds, and what it did since it was asked last. */
  | { order: 'report' }
  /** Answered when everything that was begun is done. */
  | { order: 'finish' };

export type SoakAnswer =
  | { kind: 'done'; result: unknown }
  | { kind: 'failed'; text: string }
  | { kind: 'fault'; text: string };

let counts: Record<string, number> = {};
let finish: () => Promise<void> = async () => {};

process.on('disconnect', () => process.exit());
process.on('unhandledRejection', (error) => fault(`unhandled: ${(error as Error).stack ?? error}`));
process.on('message', (order: SoakOrder) => {
  obey(order).then(
    (result = null) => tell({ kind: 'done', result }),
    (error: Error) => tell({ kind: 'failed', text: error.stack ?? error.message }),
  );
});

async function obey(order: SoakOrder): Promise<unknown> {
  switch (order.order) {
    case 'serve':
      return serve(order.folder);
    case 'publish':
      return publish(order.url);
    case 'subscribe':
      return subscribe(order.url);
    case 'report':
      return report();
    case 'finish':
      return finish();
  }
}

async function serve(folder: string): Promise<string> {
  const broker = await startBroker({
    identity: generateIdentity(),
    port: 0,
    store: { directory: join(folder, 'store') },
    logs: [{ name: 'orders', filters: ['orders/#'], maxBytes: LOG_BYTES_MAX }],
  });
  broker.on('fault', (error) => fault(`the broker: ${(error as Error).stack}`));
  return broker.url;
}

async function publish(url: string): Promise<void> {
  const client = await connectClient(url, { session: 'soak-publishers' });
  let stopped = false;
  let unanswered = 0;
  const every = async (ms: number, work: () => void): Promise<void> => {
    for (let dueMs = performance.now(); !stopped; dueMs += ms) {
      await sleep(Math.max(0, dueMs - performance.now()));
      work();
    }
  };
  let telemetry = 0;
  let order = 0;
  let state = 0;
  const loops = [
    every(5, () => {
      for (let i = 0; i < 10; i++)
        client.publish(`telemetry/${telemetry % 100}`, padded(`${telemetry++}`, 128));
    }),
    every(10, () => {
      for (let i = 0; i < 5; i++) {
        unanswered++;
        const number = order++;
        const options = {
          qos: 1 as const,
          headers: { number: `${number}` },
          ttlMs: number % 7 === 0 ? 600_000 : undefined,
        };
        client
          .publish(`orders/${number % 10}`, padded(`${Math.floor(number / 10)}`, 256), options)
          .then(() => count('orders stored'))
          .catch((error: Error) => fault(`an order: ${error.message}`))
          .finally(() => {
            unanswered--;
          });
      }
    }),
    every(100, () => void client.publish(`state/${state % 50}`, `${state++}`, { retain: true })),
  ];
  finish = async () => {
    stopped = true;
    await Promise.all(loops);
    while (unanswered > 0) await sleep(20);
    await client.close();
  };
}

async function subscribe(url: string): Promise<void> {
  const client = await connectClient(url, { session: 'soak-subscribers' });
  let stopped = false;
  await client.subscribe('telemetry/#', () => count('telemetry delivered'), { overflow: 'dropOldest' });
  await client.subscribe('telemetry/#', () => sleep(20), { overflow: 'dropOldest', queueMessages: 100 });
  const lasts = new Map<string, number>();
  const onOrder = (message: Message): void => {
    count('orders delivered');
    const number = Number(message.text());
    const last = lasts.get(message.topic);
    if (message.redelivered) return;
    if (last !== undefined && number !== last + 1)
      fault(`order ${message.topic} ${number} came behind ${last}`);
    lasts.set(message.topic, number);
  };
  await client.subscribe('orders/#', onOrder, { qos: 1, durable: 'soak-ledger' });
  for (let i = 0; i < 2; i++) {
    const work = (message: Message): void => {
      if (!message.redelivered && Math.random() < 0.02) throw new Error('refused, to be tried again');
      count('orders worked');
    };
    const member = await client.subscribe('$share/kitchen/orders/#', work, { qos: 1, backoffMs: [200] });
    member.on('handlerError', () => count('orders refused'));
  }
  await client.subscribe('state/#', () => count('state delivered'));
  await client.subscribe('ask', (message) => message.respond('enough'));
  const churning = churn(url, () => stopped);
  finish = async () => {
    stopped = true;
    await churning;
    await client.close();
  };
}

/** Clients that come, take what is retained, and go, politely or not. */
async function churn(url: string, isOver: () => boolean): Promise<void> {
  for (let i = 0; !isOver(); i++) {
    let client: BrokerClient;
    try {
      client = await connectClient(url, { session: `churn-${i}`, sessionExpiryMs: 5_000 });
    } catch {
      count('dials failed'); // on a machine that is busy enough
      continue;
    }
    await client.subscribe('state/#', () => count('retained to newcomers'));
    await client.subscribe(`telemetry/${i % 100}`, () => {});
    await sleep(500);
    if (i % 2 === 0) await client.close();
    else client.destroy();
    count('clients gone');
  }
}

function report(): unknown {
  global.gc?.();
  global.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const memory = { rssMb: rss / MB, heapMb: heapUsed / MB, outsideMb: external / MB };
  const since = counts;
  counts = {};
  return { memory, counts: since };
}

function count(name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

function padded(text: string, bytes: number): string {
  return text.padEnd(bytes);
}

function fault(text: string): void {
  tell({ kind: 'fault', text });
}

function tell(answer: SoakAnswer): void {
  process.send?.(answer);
}

const LOG_BYTES_MAX = 64 * 1024 * 1024;
const MB = 1024 * 1024;
