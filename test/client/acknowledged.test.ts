import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BrokerClient, PublishReceipt } from '../../src/client/index.ts';
import { encodePublished, PublishResult } from '../../src/pubsub/acknowledgement.ts';
import { Command, encodeRefused, ReasonCode } from '../../src/pubsub/command.ts';
import { decodeProperties, endOfProperties } from '../../src/pubsub/properties.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork } from './fake-transport.ts';
import { ManualClock } from './manual-clock.ts';
import { playedBroker } from './played-broker.ts';

const unhandled: unknown[] = [];
const note = (error: unknown): void => void unhandled.push(error);
let listeners: NodeJS.UnhandledRejectionListener[] = [];

beforeEach(() => {
  listeners = process.listeners('unhandledRejection') as NodeJS.UnhandledRejectionListener[];
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', note);
});

afterEach(async () => {
  await settled();
  process.removeAllListeners('unhandledRejection');
  for (const listener of listeners) process.on('unhandledRejection', listener);
  expect(unhandled.splice(0)).toEqual([]);
});

function publishAll(client: BrokerClient, texts: readonly string[]): Promise<PublishReceipt>[] {
  return texts.map((text) => client.publish('t', text, { qos: 1 }));
}

describe('a publish with QoS 1', () => {
  test('resolves when the broker has stored it, with its offset', async () => {
    const client = await new FakeBroker().client();
    const receipts = await Promise.all(publishAll(client, ['a', 'b', 'c']));
    expect(receipts.map(({ offset }) => offset)).toEqual([1, 2, 3]);
    expect(receipts[0]).toEqual({ offset: 1, duplicate: false, result: 'inMemory' });
    expect(client.unconfirmed).toBe(0);
  });

  test('has numbers that rise, of each class by itself [CLT-8]', async () => {
    const { client, world } = await playedBroker();
    publishAll(client, ['a', 'b']);
    void client.publish('t', 'c', { qos: 1, priority: 'system' });
    await settled();
    expect(world.sent.map(({ id, priority }) => `${priority} ${id}`)).toEqual([
      'chat 1',
      'chat 2',
      'system 1',
    ]);
    client.destroy();
  });

  test('is answered for all before it, or for itself, or refused by its number [CLT-8]', async () => {
    const { client, answer } = await playedBroker();
    const receipts = publishAll(client, ['a', 'b', 'c', 'd', 'e']);
    await settled();
    answer(encodeRefused(2, ReasonCode.STORE_FULL, 'full'));
    answer(encodePublished(3, true, PublishResult.STORED, 70));
    answer(encodePublished(5, false, PublishResult.NO_SUBSCRIBER));
    answer(encodePublished(9, false, PublishResult.STORED, 1)); // which nobody has sent
    answer(encodeRefused(7, ReasonCode.QUOTA, ''));
    expect(await receipts[0]).toEqual({ offset: 68, duplicate: false, result: 'stored' });
    await expect(receipts[1]).rejects.toMatchObject({
      code: 'ERR_JSP_STORE_FULL',
      applicationCode: ReasonCode.STORE_FULL,
    });
    expect(await receipts[2]).toMatchObject({ offset: 70 });
    expect(await receipts[4]).toEqual({ offset: null, duplicate: false, result: 'noSubscriber' });
    expect(client.unconfirmed).toBe(1);
    client.destroy();
    await expect(receipts[3]).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });

  test('comes again after a lost connection, in the same order and with the same numbers, before later ones [CLT-9]', async () => {
    const { client, world, answer, reconnect } = await playedBroker();
    const receipts = publishAll(client, ['a', 'b', 'c']);
    await settled();
    answer(encodePublished(1, true, PublishResult.STORED, 1));
    await receipts[0];
    world.isReachable = false;
    world.connections[0].break();
    receipts.push(...publishAll(client, ['d', 'e']));
    world.isReachable = true;
    await reconnect();
    expect(world.sent.map(({ id, text }) => `${id} ${text}`)).toEqual(['2 b', '3 c', '4 d', '5 e']);
    answer(encodePublished(2, true, PublishResult.DUPLICATE));
    answer(encodePublished(5, true, PublishResult.STORED, 4));
    expect(await Promise.all(receipts)).toEqual([
      { offset: 1, duplicate: false, result: 'stored' },
      { offset: null, duplicate: true, result: 'duplicate' },
      { offset: 2, duplicate: false, result: 'stored' },
      { offset: 3, duplicate: false, result: 'stored' },
      { offset: 4, duplicate: false, result: 'stored' },
    ]);
  });

  test('fails when its time to live is over and the broker does not have it, rather than to come after its time [CLT-9]', async () => {
    const clock = new ManualClock();
    const { client, world, answer, reconnect } = await playedBroker({ clock });
    const receipts = ['a', 'b', 'c'].map((text, i) =>
      client.publish('t', text, { qos: 1, ttlMs: i === 2 ? 60_000 : 5_000 }),
    );
    await settled();
    clock.advance(6_000);
    world.lastIds[2] = 1; // of what is published as chat
    const reconnected = reconnect();
    clock.advance(300);
    await reconnected;
    expect(world.sent.map(({ id, text }) => `${id} ${text}`)).toEqual(['1 a', '3 c']);
    await expect(receipts[1]).rejects.toMatchObject({ code: 'ERR_JSP_EXPIRED' });
    answer(encodePublished(3, true, PublishResult.STORED, 2));
    expect(await receipts[2]).toMatchObject({ offset: 2 });
    client.destroy();
  });

  test('begins its numbers far behind those that the session has used before, as a broker that is cut off may have more of them [CLT-8] [CLT-9]', async () => {
    const before = await playedBroker({ session: 'mine' });
    before.world.lastIds.fill(41);
    await before.reconnect();
    publishAll(before.client, ['a']);
    await settled();
    expect(before.world.sent.map(({ id }) => id)).toEqual([41 + 8_192 + 1]);
    before.client.destroy();
  });

  test.each([
    ['the broker has another session of that name', { isPresent: false, last: 0 }, [1, 2]],
    ['the session has begun anew meanwhile', { epoch: 2, last: 7 }, [8_200, 8_201]],
    ['another client has had the session meanwhile', { last: 9 }, [8_202, 8_203]],
  ])('gets other numbers where %s [CLT-9]', async (_, { last, ...state }, ids) => {
    const { client, world, reconnect } = await playedBroker();
    publishAll(client, ['a', 'b']);
    await settled();
    Object.assign(world, state);
    world.lastIds.fill(last);
    await reconnect();
    expect(world.sent.map(({ id }) => id)).toEqual(ids);
    client.destroy();
  });

  test('goes on behind the last number of all [CLT-8]', async () => {
    const { client, world, answer, reconnect } = await playedBroker();
    world.lastIds.fill(0xffff_fffe - 8_192);
    await reconnect();
    const receipts = publishAll(client, ['a', 'b']);
    await settled();
    expect(world.sent.map(({ id }) => id)).toEqual([0xffff_ffff, 1]);
    answer(encodePublished(1, true, PublishResult.STORED, 11));
    expect((await Promise.all(receipts)).map(({ offset }) => offset)).toEqual([10, 11]);
  });

  test('ends its wait by its signal, before it has left or after [CLT-12]', async () => {
    const { client, world, answer, reconnect } = await playedBroker();
    const controllers = [0, 1, 2].map(() => new AbortController());
    const publish = (i: number) => client.publish('t', `${i}`, { qos: 1, signal: controllers[i].signal });
    const left = publish(0);
    await settled();
    world.isReachable = false;
    world.connections[0].break();
    const [waiting, kept] = [publish(1), publish(2)];
    for (const i of [0, 1]) controllers[i].abort('enough');
    for (const each of [left, waiting]) {
      await expect(each).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED', cause: 'enough' });
    }
    world.isReachable = true;
    await reconnect();
    expect(world.sent.map(({ text }) => text)).toEqual(['2']);
    answer(encodePublished(2, true, PublishResult.STORED, 2));
    await kept;
    const aborted = client.publish('t', '', { qos: 1, signal: controllers[0].signal });
    await expect(aborted).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
  });

  test('that nobody awaits is told by an event when it fails, and is never an unhandled rejection [CLT-11]', async () => {
    const { client, answer } = await playedBroker();
    const told: string[] = [];
    client.on('unpublished', ({ topic, qos }, error) => told.push(`${topic} ${qos} ${error.code}`));
    void client.publish('bad/+', '', { qos: 1 });
    void client.publish('t', 7 as never, { qos: 1 }).catch(() => told.push('not a payload'));
    void client.publish('t', 'a', { qos: 1 });
    void client.publish('t', 'b', { qos: 1 });
    await settled();
    answer(encodeRefused(1, ReasonCode.STORE_FAILED, 'disk'));
    await settled();
    client.destroy();
    void client.publish('t', 'c', { qos: 1 });
    await settled();
    expect(told).toEqual([
      'bad/+ 1 ERR_JSP_TOPIC_INVALID',
      'not a payload',
      't 1 ERR_JSP_STORE_FAILED',
      't 1 ERR_JSP_CLOSED',
      't 1 ERR_JSP_CLOSED',
    ]);
  });

  test('says by properties what its options say [CLT-13]', async () => {
    const broker = new FakeBroker();
    const client = await broker.client();
    const received: Buffer[] = [];
    const [near, far] = broker.network.connect();
    broker.service.serve(far);
    const stream = near.openStream({ label: 'jsp-broker/1' });
    stream.on('message', (message: Buffer) => {
      if (message[0] === Command.PUBLISH) received.push(message);
    });
    stream.send(Buffer.from([Command.SUBSCRIBE, 0, 0, 1, 0, 0, 0, 1, 0x74]));
    await settled();
    const options = {
      ttlMs: 60_000,
      replyTo: 'answers',
      correlation: 'c',
      contentType: 'text/plain',
      key: 'k',
      headers: { a: 'b', __proto__x: 'y' },
      class: 'reliable',
      messageId: 'm',
      traceparent: 'p',
    } as const;
    client.publish('t', 'zero', options);
    await client.publish('t', 'one', { qos: 1, ...options });
    await until(() => received.length === 2);
    for (const message of received) {
      const start = 8 + message.readUInt16BE(2);
      const { ttlMs, ...rest } = decodeProperties(message, start);
      expect(ttlMs).toBeGreaterThan(50_000);
      expect(rest).toEqual({
        replyTopic: 'answers',
        correlation: Buffer.from('c'),
        contentType: 'text/plain',
        key: 'k',
        headers: { a: 'b', __proto__x: 'y' },
        deliveryClass: 2,
        messageId: 'm',
        traceparent: 'p',
      });
      expect(message.toString('utf8', endOfProperties(message, start))).toMatch(/^(zero|one)$/);
    }
    expect(() => client.publish('t', '', { class: 'nonsense' as never })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
    );
  });

  test('stops and goes on as the way is full, in order [BRK-84]', async () => {
    const broker = new FakeBroker({}, new FakeNetwork(2, 2));
    const { client, connections } = await broker.returningClient();
    const receipts = publishAll(
      client,
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
    for (let i = 0; i < 4; i++) {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      connections.at(-1)?.break();
    }
    const offsets = (await Promise.all(receipts))
      .map(({ offset }) => offset)
      .filter((offset) => offset !== null);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    expect(broker.service.metrics()).toMatchObject({ clients: 1 });
    expect(Math.max(...offsets)).toBe(300); // each is stored once
  });
});

describe('a loop of publishes with QoS 1 that awaits none', () => {
  test('is told by drained() when to go on: while more than half of the buffer is not answered [CLT-10]', async () => {
    const { client, answer } = await playedBroker({ buffer: { messages: 4 } });
    const receipts = publishAll(client, ['a', 'b', 'c', 'd']);
    await expect(client.publish('t', 'e', { qos: 1 })).rejects.toMatchObject({ code: 'ERR_JSP_BUFFER_FULL' });
    let isDrained = false;
    const drained = client.drained().then(() => {
      isDrained = true;
    });
    await settled();
    answer(encodePublished(1, true, PublishResult.STORED, 1));
    await receipts[0];
    await settled();
    expect(isDrained).toBe(false);
    answer(encodePublished(2, true, PublishResult.STORED, 2));
    await drained;
    client.destroy();
  });
});

describe('flush and close', () => {
  test('wait for what is published with QoS 1, over a lost connection too', async () => {
    const { client, answer, reconnect } = await playedBroker();
    const receipts = publishAll(client, ['a', 'b']);
    let done = 0;
    const closing = client.close().then(() => done++);
    await settled();
    await reconnect();
    expect(done).toBe(0);
    answer(encodePublished(2, true, PublishResult.STORED, 2));
    await Promise.all([...receipts, closing]);
    expect(client.state).toBe('closed');
    await expect(client.publish('t', '', { qos: 1 })).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });

  test('say what is missing when there is no more time', async () => {
    const { client } = await playedBroker();
    const receipts = publishAll(client, ['a', 'b']);
    await expect(client.close({ timeoutMs: 1 })).rejects.toMatchObject({
      code: 'ERR_JSP_CLOSE_INCOMPLETE',
      message: expect.stringContaining('2 published messages'),
    });
    for (const each of receipts) await expect(each).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    expect(client.unconfirmed).toBe(2);
  });
});
