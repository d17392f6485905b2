/** A broker with real workers. What is in dist/ is used: a thread that begins with TypeScript would need a loader. Where sockets cannot share an address there is one worker. */

import { once } from 'node:events';
import { createConnection } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Broker, BrokerOptions } from '../../../src/broker/index.ts';
import type { BrokerClientOptions } from '../../../src/client/index.ts';
import { reusePortFault } from '../../../src/udp/bind-socket.ts';
import { NEVER_LATE } from '../../gateway/gateway-server.ts';

const built = async <T>(module: string) =>
  (await import(new URL(`../../../dist/${module}`, import.meta.url).href)) as T;
const { generateIdentity } = await built<typeof import('../../../src/index.ts')>('index.js');
const { startBroker } = await built<typeof import('../../../src/broker/index.ts')>('broker/index.js');
const { connectClient } = await built<typeof import('../../../src/client/index.ts')>('client/index.js');
const { startGateway, startMqtt } =
  await built<typeof import('../../../src/gateway/index.ts')>('gateway/index.js');

const WORKERS = reusePortFault() === null ? 2 : 1;
/** All would be with one of two workers once in 2^31 runs. */
const CLIENTS_MAX = 32;

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close().catch(() => {});
});

async function listen(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await startBroker({ identity: generateIdentity(), port: 0, workers: WORKERS, ...options });
  open.push({ close: () => broker.close({ drainMs: 0 }) });
  return broker;
}

async function connect(broker: Broker, options: BrokerClientOptions = {}) {
  const client = await connectClient(broker.url, options);
  open.push({ close: async () => client.destroy() });
  return client;
}

/** Clients until each worker has one, at least as many as are asked for. */
async function clientsOfAll(broker: Broker, least = 1, options = (_: number): BrokerClientOptions => ({})) {
  const clients = [];
  const isAlone = () => broker.metrics().workers?.some(({ connections }) => connections === 0);
  while (clients.length < least || (isAlone() && clients.length < CLIENTS_MAX))
    clients.push(await connect(broker, options(clients.length)));
  return clients;
}

describe('a broker with workers', () => {
  test('is one broker, whichever worker a client has come to [BRK-134]', async () => {
    const broker = await listen();
    const clients = await clientsOfAll(broker, 4);
    const got = clients.map((): string[] => []);
    for (const [i, client] of clients.entries())
      await client.subscribe('to/#', ({ payload }) => void got[i].push(payload.toString()));
    await clients[0].reply('double', ({ payload }) => Buffer.concat([payload, payload]));
    for (const client of clients) {
      const { payload } = await client.request('double', 'ha');
      expect(payload.toString()).toBe('haha');
    }
    const texts = Array.from({ length: 500 }, (_, i) => `${i}`);
    for (const text of texts) clients[1].publish('to/all', text);
    await clients[1].flush();
    await Promise.all(clients.map((client) => client.flush()));
    for (const each of got) await expect.poll(() => each).toEqual(texts);
    const { transport, workers } = broker.metrics();
    expect(workers?.length).toBe(WORKERS);
    expect(workers?.reduce((sum, { connections }) => sum + connections, 0)).toBe(clients.length);
    await expect.poll(() => broker.metrics().transport.connectionsOpen).toBe(clients.length);
    expect(transport.socket.errorCodes).toEqual({});
  });

  test('keeps sessions, last values and durable subscriptions where a client comes back to another worker [BRK-134]', async () => {
    const broker = await listen();
    const publisher = await connect(broker);
    await publisher.publish('last/value', 'kept', { retain: true, qos: 1 });
    for (let i = 0; i < 8; i++) {
      const client = await connect(broker, { session: 'one' });
      const subscription = await client.subscribe('log/#', { qos: 1, durable: 'mine' });
      await publisher.publish(`log/${i}`, `${i}`, { qos: 1 });
      for await (const message of subscription) {
        expect(message.payload.toString()).toBe(`${i}`);
        await message.ack?.();
        break;
      }
      const retained = await client.subscribe('last/#');
      for await (const { payload } of retained) {
        expect(payload.toString()).toBe('kept');
        break;
      }
      await client.close();
    }
    expect(broker.durables().map(({ name }) => name)).toEqual(['mine']);
  });

  test('knows who clients are, by secrets of connections that its workers have, and shows where they are [BRK-134] [AUT-4]', async () => {
    const identity = generateIdentity();
    const entry = { fingerprint: identity.fingerprintText, name: 'robot' };
    const may = (topic: string) => [{ allow: '*' as const, topics: [topic] }];
    const broker = await listen({ auth: { identities: [{ ...entry, rules: may('a/#') }] } });
    await expect(connect(broker)).rejects.toThrow();
    const client = await connect(broker, { credentials: { identity } });
    await client.subscribe('a/b', () => {});
    await expect(client.subscribe('b/b', () => {})).rejects.toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    await broker.reload({ auth: { identities: [{ ...entry, rules: may('b/#') }] } });
    await client.subscribe('b/b', () => {});
    const asker = { principal: '', address: '' };
    const seen = async () => {
      const { body } = await broker.operations.request('clients', Buffer.from('{}'), asker);
      return body as unknown as {
        rows: { principal: string; address: string; link: { rttMs: number } | null }[];
      };
    };
    await expect.poll(async () => JSON.stringify(await seen())).toMatch(/"address":"127.0.0.1".*"rttMs":/);
    expect(JSON.stringify(await seen())).toContain('robot');
  });

  test('serves HTTP and MQTT beside them [BRK-134]', async () => {
    const broker = await listen();
    const clients = await clientsOfAll(broker);
    const got: string[] = [];
    for (const client of clients) await client.subscribe('#', ({ topic }) => void got.push(topic));
    const gateway = await startGateway({ broker, port: 0, limits: NEVER_LATE });
    open.push({ close: () => gateway.close({ drainMs: 0 }) });
    const { status } = await fetch(`${gateway.url}/v1/topics/by/http`, { method: 'POST', body: 'x' });
    expect(status).toBeLessThan(300);
    const mqtt = await startMqtt({ broker, port: 0 });
    open.push({ close: () => mqtt.close({ drainMs: 0 }) });
    const socket = createConnection(mqtt.port, '127.0.0.1');
    // CONNECT of MQTT 3.1.1 with the client id "x", then PUBLISH of "y" to "by/mqtt".
    socket.write(Buffer.from('100d00044d5154540402003c000178', 'hex').fill(13, 1, 2));
    await once(socket, 'data');
    socket.write(Buffer.concat([Buffer.from([0x30, 10, 0, 7]), Buffer.from('by/mqtty')]));
    await expect
      .poll(() => got.sort())
      .toEqual([...clients.map(() => 'by/http'), ...clients.map(() => 'by/mqtt')]);
    socket.destroy();
  });

  test('delivers what is queued before it closes, and tells where to go [BRK-35] [BRK-134]', async () => {
    const broker = await listen();
    const other = await listen({ workers: 0 });
    const [client] = await clientsOfAll(broker);
    const publisher = await connect(broker, { reconnect: false });
    let count = 0;
    const subscription = await client.subscribe('t', () => void count++);
    const resumed = once(subscription, 'resumed');
    for (let i = 0; i < 2_000; i++) publisher.publish('t', Buffer.alloc(1_000));
    await publisher.flush();
    await broker.close({ drainMs: 10_000, handOverTo: [other.url] });
    expect(count).toBe(2_000);
    await resumed;
    expect(other.metrics().clients).toBeGreaterThanOrEqual(1);
  });

  test('loses a worker: its clients come back, and nothing that was acknowledged is lost [BRK-136]', async () => {
    const broker = await listen();
    const subscribers = await clientsOfAll(broker, 4, (i) => ({ session: `s${i}` }));
    const got = subscribers.map(() => new Set<string>());
    for (const [i, client] of subscribers.entries())
      await client.subscribe('t/#', ({ payload }) => void got[i].add(payload.toString()), {
        ...{ qos: 1, durable: `d${i}` },
      });
    const publisher = await connect(broker, { session: 'p' });
    const acknowledged: string[] = [];
    const ended = once(broker, 'worker');
    for (let i = 0; i < 200; i++) {
      if (i === 50) void broker.restartWorker(0);
      await publisher.publish('t/x', `${i}`, { qos: 1 });
      acknowledged.push(`${i}`);
    }
    const [event] = await ended;
    expect(event).toMatchObject({ worker: 0, state: 'ended', error: { code: 'ERR_JSP_WORKER_FAILED' } });
    for (const each of got) await expect.poll(() => each.size).toBe(acknowledged.length);
    await expect.poll(() => broker.metrics().clients).toBe(subscribers.length + 1);
  }, 120_000);

  test('says what it cannot be told beside workers [BRK-137]', async () => {
    for (const options of [{ authorize: () => ({ accept: true }) as const }, { keyLog: () => {} }])
      await expect(listen(options)).rejects.toMatchObject({
        ...{ code: 'ERR_JSP_OPTION_INVALID', message: expect.stringContaining('beside workers') },
      });
    await expect(listen({ front: { secret: Buffer.alloc(32) } })).rejects.toThrow(
      'does not reach: run a server for each core',
    );
    await expect(listen({ workers: 257 })).rejects.toThrow('workers must be auto, or a whole number');
    await expect(listen({ workers: 'all' as 'auto' })).rejects.toThrow('workers must be auto');
  });

  test.runIf(WORKERS === 1)('says so where there cannot be several [BRK-137]', async () => {
    await expect(listen({ workers: 2 })).rejects.toMatchObject({ code: 'ERR_JSP_WORKERS_UNAVAILABLE' });
    expect((await listen({ workers: 'auto' })).metrics().workers?.length).toBe(1);
  });
});
