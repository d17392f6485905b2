import { describe, expect, test } from 'vitest';
import type { BrokerClient } from '../../src/client/index.ts';
import { type Clock, systemClock } from '../../src/udp/clock.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork } from './fake-transport.ts';
import { ManualClock } from './manual-clock.ts';
import { playedBroker } from './played-broker.ts';

/** Everything that a broker delivers. */
async function listener(broker: FakeBroker): Promise<string[]> {
  const heard: string[] = [];
  await (await broker.client()).subscribe('#', (message) => heard.push(message.text()));
  return heard;
}

function unpublished(client: BrokerClient): string[] {
  const told: string[] = [];
  client.on('unpublished', ({ topic, qos }, { code }) => told.push(`${topic} ${qos} ${code}`));
  return told;
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

describe('a client without a connection', () => {
  test('keeps what is published, and sends it before what is published later [CLT-10]', async () => {
    const broker = new FakeBroker({}, new FakeNetwork(4, 4));
    const heard = await listener(broker);
    const { client, connections, way } = await broker.returningClient();
    client.publish('t', '0');
    await client.flush();
    way.isReachable = false;
    connections[0].break();
    expect(client.state).toBe('offline');
    for (let i = 1; i < 100; i++) client.publish('t', `${i}`);
    expect([client.unconfirmed, client.metrics().buffered.messages]).toEqual([99, 99]);
    way.isReachable = true;
    client.once('state', () => {
      for (let i = 100; i < 200; i++) client.publish('t', `${i}`);
    });
    await until(() => client.state === 'online');
    for (let i = 200; i < 300; i++) client.publish('t', `${i}`);
    await client.flush();
    await until(() => heard.length === 300);
    expect(heard).toEqual(numbers(300));
    expect(client.unconfirmed).toBe(0);
  });

  test('comes back at once when its machine wakes up [CLT-3]', async () => {
    const listeners = new Set<() => void>();
    const clock: Clock = {
      now: () => systemClock.now(),
      setTimer: (at, callback) => systemClock.setTimer(at, callback),
      clearTimer: (timer) => systemClock.clearTimer(timer),
      soon: (callback) => systemClock.soon(callback),
      onResume: (callback) => {
        listeners.add(callback);
        return () => listeners.delete(callback);
      },
    };
    const { client, world } = await playedBroker({
      clock,
      reconnect: { minMs: 3_600_000, maxMs: 3_600_000 },
    });
    const before = listeners.size;
    world.connections[0].break();
    await settled();
    expect([client.state, listeners.size]).toEqual(['offline', before + 1]);
    for (const wake of listeners) wake();
    await until(() => client.state === 'online');
    expect([world.connections.length, listeners.size]).toEqual([2, before]);
    await client.close();
  });

  test('also before the first one', async () => {
    const broker = new FakeBroker();
    const heard = await listener(broker);
    const { client, way } = await broker.returningClient({ firstConnect: 'background' });
    way.isReachable = false;
    expect(client.state).toBe('connecting');
    client.publish('t', '0');
    const stored = client.publish('t', '1', { qos: 1 });
    way.isReachable = true;
    await client.flush();
    await stored;
    await until(() => heard.length === 2);
    expect(heard.sort()).toEqual(['0', '1']);
  });

  test('takes no more than its buffer has room for, says so, and tells when there is room again [CLT-10]', async () => {
    const broker = new FakeBroker();
    const { client, connections, way } = await broker.returningClient({ buffer: { messages: 4 } });
    way.isReachable = false;
    connections[0].break();
    expect(numbers(4).map((text) => client.publish('t', text))).toEqual([true, true, false, false]);
    expect(() => client.publish('t', '4')).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_BUFFER_FULL',
        message: expect.stringContaining('4 published messages'),
      }),
    );
    await expect(client.publish('t', '4', { qos: 1 })).rejects.toMatchObject({ code: 'ERR_JSP_BUFFER_FULL' });
    let drains = 0;
    client.on('drain', () => drains++);
    const drained = client.drained();
    way.isReachable = true;
    await drained;
    await client.flush();
    expect([drains, client.publish('t', '5')]).toEqual([1, true]);
  });

  test('keeps messages and requests as they were, whatever the application does with their memory [CLT-10]', async () => {
    const broker = new FakeBroker();
    const { client, connections, way } = await broker.returningClient();
    const seen: unknown[] = [];
    await (await broker.client()).subscribe('t/#', (message) => {
      const { headers, correlation } = message;
      seen.push([message.text(), { ...headers }, `${correlation}`]);
      if (message.replyTo !== undefined) message.respond('');
    });
    way.isReachable = false;
    connections[0].break();
    const payload = Buffer.from('as it was');
    const options = { headers: { a: 'as it was' }, correlation: Buffer.from('as it was') };
    client.publish('t/message', payload, options);
    const answered = client.request('t/request', payload, options);
    for (const bytes of [payload, options.correlation]) bytes.fill('x');
    options.headers.a = 'x';
    way.isReachable = true;
    await answered;
    expect(seen).toEqual(Array(2).fill(['as it was', { a: 'as it was' }, 'as it was']));
  });

  test('counts bytes as well, and takes nothing that is larger than all of it [CLT-10]', async () => {
    const broker = new FakeBroker();
    const buffer = { bytes: 1_000, policy: 'dropOldest' } as const;
    const { client, connections, way } = await broker.returningClient({ buffer });
    const told = unpublished(client);
    way.isReachable = false;
    connections[0].break();
    for (const topic of ['a', 'b', 'c']) client.publish(topic, Buffer.alloc(400));
    expect(told).toEqual(['a 0 ERR_JSP_BUFFER_FULL']);
    expect(() => client.publish('d', Buffer.alloc(1_000))).toThrow(/buffer/);
    expect(told.length).toBe(1);
    client.destroy();
  });

  test('drops what is oldest, of both qualities, where it may [CLT-10]', async () => {
    const broker = new FakeBroker();
    const heard = await listener(broker);
    const buffer = { messages: 3, policy: 'dropOldest' } as const;
    const { client, connections, way } = await broker.returningClient({ buffer });
    const told = unpublished(client);
    way.isReachable = false;
    connections[0].break();
    const first = client.publish('a', '0', { qos: 1 });
    client.publish('b', '1');
    const third = client.publish('c', '2', { qos: 1 });
    client.publish('d', '3', { priority: 'system' });
    client.publish('e', '4');
    await expect(first).rejects.toMatchObject({ code: 'ERR_JSP_BUFFER_FULL' });
    expect(told).toEqual(['a 1 ERR_JSP_BUFFER_FULL', 'b 0 ERR_JSP_BUFFER_FULL']);
    way.isReachable = true;
    await third;
    await client.flush();
    await until(() => heard.length === 3);
    expect(heard.sort()).toEqual(['2', '3', '4']);
    expect(client.metrics().buffered).toMatchObject({ messages: 0, dropped: 2 });
  });

  test('keeps the newest of each topic where that is what counts, at no cost in memory [CLT-10]', async () => {
    const broker = new FakeBroker();
    const heard = await listener(broker);
    const buffer = { messages: 3, policy: 'latestPerTopic' } as const;
    const { client, connections, way } = await broker.returningClient({ buffer });
    way.isReachable = false;
    connections[0].break();
    for (let i = 0; i < 1_000; i++) client.publish(`t/${i % 2}`, `${i}`);
    client.publish('u', 'u');
    client.publish('v', 'v');
    expect(client.metrics().buffered).toMatchObject({ messages: 3, dropped: 999 });
    way.isReachable = true;
    await client.flush();
    await until(() => heard.length === 3);
    expect(heard).toEqual(['999', 'u', 'v']);
  });

  test('drops what is not worth anything any more, when that is so, and sends what is left of the rest [CLT-10]', async () => {
    const clock = new ManualClock();
    const broker = new FakeBroker();
    const { client, connections, way } = await broker.returningClient({
      clock,
      reconnect: { minMs: 0 },
      buffer: { ageMs: 5_000 },
    });
    const told = unpublished(client);
    way.isReachable = false;
    connections[0].break();
    const short = client.publish('a', '', { qos: 1, ttlMs: 1_000 });
    client.publish('b', '', { ttlMs: 2_000 });
    client.publish('c', '');
    clock.advance(1_000);
    await expect(short).rejects.toMatchObject({ code: 'ERR_JSP_EXPIRED' });
    clock.advance(1_000);
    expect(told).toEqual(['a 1 ERR_JSP_EXPIRED', 'b 0 ERR_JSP_EXPIRED']);
    clock.advance(3_000);
    expect(told.at(-1)).toBe('c 0 ERR_JSP_EXPIRED');
    expect(client.metrics().buffered).toMatchObject({ messages: 0, bytes: 0, expired: 3 });
    client.publish('d', '', { ttlMs: 60_000 });
    client.destroy();
    expect(clock.pending).toBe(0);
  });

  test('loses what it had handed over with QoS 0 when a connection broke, and says how much', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 1 }, new FakeNetwork(1, 1));
    await (await broker.client()).subscribe('t');
    const { client, connections } = await broker.returningClient();
    for (let i = 0; i < 10; i++) client.publish('t', `${i}`);
    const flushing = client.flush();
    const offline = new Promise<string>((resolve) => {
      client.once('state', (state, reason) => resolve(`${state}: ${reason?.message}`));
    });
    connections[0].break();
    await expect(flushing).rejects.toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
    expect(await offline).toMatch(/offline: .*has not confirmed 10 published messages/);
    expect(client.metrics().lost).toBe(10);
    await until(() => client.state === 'online');
    client.destroy();
  });

  test('tells each message that still waits when it is ended, once [CLT-11]', async () => {
    const { client, connections, way } = await new FakeBroker().returningClient();
    const told = unpublished(client);
    way.isReachable = false;
    connections[0].break();
    client.publish('a', '');
    const receipt = client.publish('b', '', { qos: 1 });
    client.publish('c', '', { priority: 'bulk' });
    client.destroy();
    await expect(receipt).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    await settled();
    expect(told.sort()).toEqual(['a 0 ERR_JSP_CLOSED', 'b 1 ERR_JSP_CLOSED', 'c 0 ERR_JSP_CLOSED']);
    expect(client.metrics().buffered).toMatchObject({ messages: 0, bytes: 0 });
  });

  test('closes at once when it has nothing to say, and fails what it had when it has no time', async () => {
    const { client, connections, way } = await new FakeBroker().returningClient();
    way.isReachable = false;
    connections[0].break();
    client.publish('t', '');
    await expect(client.close({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
    const other = await new FakeBroker().returningClient();
    other.way.isReachable = false;
    other.connections[0].break();
    await other.client.close();
    expect(await other.client.closed).toBeNull();
    await settled();
  });
});
