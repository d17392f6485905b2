import { describe, expect, test } from 'vitest';
import { jsonCodec, type Message } from '../../src/client/index.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';

async function watching(broker: FakeBroker): Promise<Message[]> {
  const seen: Message[] = [];
  await (await broker.client()).subscribe('gone/#', (message) => seen.push(message));
  return seen;
}

describe('a will', () => {
  test('is published when the connection breaks, with all that it says, and not after a goodbye [CLT-37]', async () => {
    const broker = new FakeBroker();
    const seen = await watching(broker);
    const [dying, leaving] = [await broker.clientAndConnection(), await broker.clientAndConnection()];
    await dying.client.setWill({
      topic: 'gone/a',
      payload: { x: 1 },
      codec: jsonCodec(),
      headers: { h: 'v' },
      retain: true,
    });
    await leaving.client.setWill({ topic: 'gone/b', payload: 'never' });
    await leaving.client.close();
    dying.connection.break();
    await until(() => seen.length === 1);
    await settled();
    expect(seen.map(({ topic }) => topic)).toEqual(['gone/a']);
    expect([seen[0].json(), seen[0].headers, seen[0].contentType]).toEqual([
      { x: 1 },
      { h: 'v' },
      'application/json',
    ]);
  });

  test('is another one, or none, when the application says so [CLT-37]', async () => {
    const broker = new FakeBroker();
    const seen = await watching(broker);
    for (const last of [{ topic: 'gone/second', payload: '' }, null]) {
      const { client, connection } = await broker.clientAndConnection();
      await client.setWill({ topic: 'gone/first', payload: '' });
      await client.setWill(last);
      connection.break();
      await settled();
    }
    expect(seen.map(({ topic }) => topic)).toEqual(['gone/second']);
  });

  test('is told to the broker on each connection, for it is gone when its client returns [CLT-37]', async () => {
    const broker = new FakeBroker();
    const seen = await watching(broker);
    const { client, connections } = await broker.returningClient();
    await client.setWill({ topic: 'gone/a', payload: '' });
    for (const round of [1, 2]) {
      connections.at(-1)?.break();
      await until(() => seen.length === round && client.state === 'online');
      await settled();
    }
  });

  test('waits for a client that is away, and is refused with what it cannot be [CLT-37]', async () => {
    const broker = new FakeBroker();
    const { client, connections, way } = await broker.returningClient();
    way.isReachable = false;
    connections[0].break();
    const set = client.setWill({ topic: 'gone/a', payload: 'x' });
    await settled();
    way.isReachable = true;
    await set;
    await expect(client.setWill({ topic: '#', payload: '' })).rejects.toMatchObject({
      code: 'ERR_JSP_TOPIC_INVALID',
    });
    await expect(client.setWill({ topic: 'a', payload: '', delay: 1 } as never)).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
    });
    await expect(client.setWill({ topic: 'a', payload: 'x'.repeat(70_000) })).rejects.toMatchObject({
      applicationCode: 0x12,
    });
    await client.close();
    await expect(client.setWill(null)).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });
});

describe('a value that a client owns', () => {
  test('is there as long as its session, so that others see who is present', async () => {
    const broker = new FakeBroker();
    const [watcher, member] = [await broker.client(), await broker.clientAndConnection()];
    const present = new Set<string>();
    await watcher.subscribe('room/+', ({ topic, payload }) => {
      if (payload.length > 0) present.add(topic);
      else present.delete(topic);
    });
    member.client.publish('room/ann', 'here', { retain: true, owned: { graceMs: 0 } });
    await until(() => present.has('room/ann'));
    member.connection.break();
    await until(() => present.size === 0);
  });
});
