import { describe, expect, test } from 'vitest';
import type { Message } from '../../src/client/index.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`);
}

describe('a client and a broker with a log', () => {
  test('pass on what is published with QoS 1, in order, until it is acknowledged', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const got: Message[] = [];
    const subscription = await subscriber.subscribe('n/#', (message) => got.push(message), { qos: 1 });
    const receipts = await Promise.all(
      numbers(500).map((text) => publisher.publish('n/a', text, { qos: 1, headers: { text } })),
    );
    await until(() => got.length === 500 && subscription.unsettled === 0);
    expect(got.map((message) => message.text())).toEqual(numbers(500));
    expect(got.map(({ offset }) => offset)).toEqual(receipts.map(({ offset }) => offset));
    expect(got[7].headers).toEqual({ text: '7' });
    expect(got.every(({ redelivered, epoch }) => !redelivered && epoch === got[0].epoch)).toBe(true);
  });

  test('deliver again what a handler rejects, with the number of the attempt', async () => {
    const broker = new FakeBroker();
    const client = await broker.client();
    const seen: unknown[] = [];
    client.on('handlerError', () => {});
    await client.subscribe(
      'n',
      async ({ redelivered, attempt }) => {
        seen.push([redelivered, attempt]);
        if (seen.length < 3) throw new Error('not yet');
      },
      { qos: 1, backoffMs: [1] },
    );
    await client.publish('n', 'x', { qos: 1 });
    await until(() => seen.length === 3);
    expect(seen).toEqual([
      [false, 1],
      [true, 2],
      [true, 3],
    ]);
  });

  test('send what was given up to the dead-letter topic, with where it was', async () => {
    const client = await new FakeBroker().client();
    const dead: Message[] = [];
    await client.subscribe('dead', (message) => dead.push(message));
    await client.subscribe('n', (message) => void message.terminate('no use'), {
      qos: 1,
      deadLetter: 'dead',
    });
    const { offset } = await client.publish('n', 'x', { qos: 1 });
    await until(() => dead.length === 1);
    expect(dead[0].text()).toBe('x');
    expect(dead[0].properties.origin).toMatchObject({ topic: 'n', offset, reason: 'no use', attempts: 1 });
  });

  test('go on with a durable subscription where it was, after its client was gone', async () => {
    const broker = new FakeBroker();
    const publisher = await broker.client();
    const options = { qos: 1, durable: 'd' } as const;
    const seen: string[] = [];
    for (const round of [0, 1, 2]) {
      const client = await broker.client();
      const subscription = await client.subscribe('n', (message) => seen.push(message.text()), options);
      await publisher.publish('n', `${2 * round}`, { qos: 1 });
      await until(() => seen.length === 2 * round + 1 && subscription.unsettled === 0);
      await settled();
      await client.close();
      await publisher.publish('n', `${2 * round + 1}`, { qos: 1 });
    }
    expect(seen).toEqual(numbers(5));
  });

  test.each([{}, { durable: 'd' }])('lose nothing when connections break, %o [CLT-28]', async (options) => {
    const broker = new FakeBroker();
    const publisher = await broker.client();
    const { client: subscriber, connections } = await broker.returningClient();
    const seen: [string, boolean][] = [];
    const told: unknown[] = [];
    const subscription = await subscriber.subscribe(
      'n',
      async (message) => {
        seen.push([message.text(), message.redelivered]);
        await new Promise((resolve) => setImmediate(resolve));
      },
      { qos: 1, maxUnacked: 10, ...options },
    );
    subscription.on('resumed', ({ recovered }) => told.push(recovered));
    subscription.on('gap', (gap) => told.push(gap));
    for (let round = 0; round < 5; round++) {
      for (const text of numbers(20)) void publisher.publish('n', `${20 * round + Number(text)}`, { qos: 1 });
      await until(() => seen.length >= 20 * round + 5);
      connections.at(-1)?.break();
    }
    await until(() => new Set(seen.map(([text]) => text)).size === 100 && subscription.unsettled === 0);
    const first = seen.filter(([, redelivered]) => !redelivered).map(([text]) => text);
    expect(first).toEqual([...new Set(first)]);
    expect(first.map(Number)).toEqual(first.map(Number).sort((a, b) => a - b));
    await until(() => told.length === 5);
    expect(told).toEqual(Array(5).fill(true));
  });

  test('tell it when the broker has come back without its log, and go on [CLT-28, CLT-29]', async () => {
    const broker = new FakeBroker();
    const { client: subscriber, connections } = await broker.returningClient();
    const seen: string[] = [];
    const told: unknown[] = [];
    subscriber.on('gap', (_, { missed }) => told.push(missed));
    subscriber.on('resumed', (_, { recovered }) => told.push(recovered));
    await subscriber.subscribe('n', (message) => seen.push(message.text()), { qos: 1, durable: 'd' });
    await subscriber.publish('n', 'before', { qos: 1 });
    await until(() => seen.length === 1);
    broker.restart();
    connections.at(-1)?.break();
    // It is in the new log before the subscription is there again.
    await (await broker.client()).publish('n', 'meanwhile', { qos: 1 });
    await until(() => seen.length === 2);
    await subscriber.publish('n', 'after', { qos: 1 });
    await until(() => seen.length === 3);
    expect([seen, told]).toEqual([
      ['before', 'meanwhile', 'after'],
      ['unknown', false],
    ]);
  });

  test('give a durable subscription to who asks for it last, and tell who had it [CLT-30]', async () => {
    const broker = new FakeBroker();
    const [{ client: older }, newer] = [await broker.returningClient(), await broker.client()];
    const lost: unknown[] = [];
    older.on('lost', (_, error) => lost.push((error as { applicationCode?: number }).applicationCode));
    await older.subscribe('n', () => {}, { qos: 1, durable: 'd' });
    const seen: string[] = [];
    await newer.subscribe('n', (message) => seen.push(message.text()), { qos: 1, durable: 'd' });
    await until(() => lost.length === 1);
    await newer.publish('n', 'x', { qos: 1 });
    await until(() => seen.length === 1);
    expect([lost, older.state]).toEqual([[0x17], 'online']);
  });
});
