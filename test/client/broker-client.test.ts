import { describe, expect, test } from 'vitest';
import { connectClient, type PublishOptions } from '../../src/client/index.ts';
import { Command, encodePlain, ReasonCode, STREAM_LABEL } from '../../src/pubsub/command.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork, type FakeStream } from './fake-transport.ts';

describe('publishing', () => {
  test('reaches a subscriber with topic and payload, as text or bytes of any length', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received: [string, Buffer][] = [];
    await subscriber.subscribe('#', ({ topic, payload }) => received.push([topic, payload]));
    const payloads = [0, 1, 100, 4_000, 4_088, 4_089, 20_000].map((length) => Buffer.alloc(length, length));
    for (const payload of payloads) publisher.publish(`length/${payload.length}`, payload);
    publisher.publish('Grüße/温度', 'été 🎉');
    await publisher.flush();
    await until(() => received.length === payloads.length + 1);
    expect(received.slice(0, -1)).toEqual(payloads.map((payload) => [`length/${payload.length}`, payload]));
    expect(received.at(-1)).toEqual(['Grüße/温度', Buffer.from('été 🎉')]);
  });

  test('refuses what is no topic or no payload before anything is sent', async () => {
    const { client, connection } = await new FakeBroker().clientAndConnection();
    expect(() => client.publish('a/+', '')).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_TOPIC_INVALID' }),
    );
    expect(() => client.publish('a', 7 as never)).toThrow(TypeError);
    expect(connection.streams.every((stream) => stream.outbox.length === 0)).toBe(true);
  });

  test('says when to stop, and when to go on [BRK-18]', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 4 });
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received: string[] = [];
    const subscription = await subscriber.subscribe('n');
    let drains = 0;
    publisher.on('drain', () => drains++);
    const publishing = (async () => {
      for (let i = 0; i < 2_000; i++) if (!publisher.publish('n', `${i}`)) await publisher.drained();
      await publisher.flush();
    })();
    await settled();
    expect(broker.service.metrics().publishersStopped).toBe(1);
    for await (const message of subscription) {
      received.push(message.text());
      if (received.length === 2_000) break;
    }
    await publishing;
    expect(received).toEqual(Array.from({ length: 2_000 }, (_, i) => `${i}`));
    expect(drains).toBeGreaterThan(10);
  });

  test('flushes only when the broker has everything [BRK-25]', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 1 }, new FakeNetwork(1, 1));
    const client = await broker.client();
    const subscription = await client.subscribe('a', { queueMessages: 1 });
    for (let i = 0; i < 400; i++) client.publish('a', `${i}`);
    let flushed = false;
    const flushing = client.flush().then(() => {
      flushed = true;
    });
    await settled();
    expect(flushed).toBe(false);
    let count = 0;
    for await (const _ of subscription) if (++count === 400) break;
    await flushing;
  });

  test('gives up a wait when its signal says so', async () => {
    const broker = new FakeBroker({}, new FakeNetwork(1, 1));
    const client = await broker.client();
    const subscription = await client.subscribe('a', { queueMessages: 1 });
    while (client.publish('a', '')) await settled();
    for (let i = 0; i < 400; i++) client.publish('a', '');
    const aborted = expect.objectContaining({ code: 'ERR_JSP_ABORTED', cause: 'enough' });
    for (const wait of [client.flush.bind(client), client.drained.bind(client)]) {
      const controller = new AbortController();
      const waiting = wait({ signal: controller.signal });
      controller.abort('enough');
      await expect(waiting).rejects.toEqual(aborted);
      await expect(client.flush({ signal: controller.signal })).rejects.toEqual(aborted);
    }
    subscription.close();
    await client.flush();
  });
});

describe('subscribing', () => {
  test('resolves when the broker has acknowledged, and loses nothing from then on [BRK-14]', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received: string[] = [];
    const subscription = await subscriber.subscribe('a', (message) => received.push(message.text()));
    expect(broker.service.metrics().subscriptions).toBe(1);
    publisher.publish('a', '1');
    await publisher.flush();
    await until(() => received.length === 1);
    expect(subscription.filters).toEqual(['a']);
  });

  test('gives a message once for several filters of one subscription, and to each subscription it matches', async () => {
    const client = await new FakeBroker().client();
    const one: string[] = [];
    const other: string[] = [];
    await client.subscribe(['a/+', 'a/#', 'a/b', 'a/b'], ({ topic }) => one.push(topic));
    await client.subscribe('#', ({ topic }) => other.push(topic));
    for (const topic of ['a', 'a/b', 'a/c/d', 'b']) client.publish(topic, '');
    await client.flush();
    await until(() => other.length === 4);
    expect(one).toEqual(['a', 'a/b', 'a/c/d']);
    expect(other).toEqual(['a', 'a/b', 'a/c/d', 'b']);
  });

  test.each<[string, PublishOptions, RegExp]>([
    ['key', { key: 'k'.repeat(257) }, /key must have 0 to 256 bytes, not 257/],
    ['message id', { messageId: '' }, /messageId must have 1 to 256 bytes, not 0/],
    ['topic for replies', { replyTo: 'r'.repeat(1_025) }, /replyTo must have 1 to 1024 bytes/],
    ['correlation', { correlation: new Uint8Array(300) }, /correlation must have 0 to 256 bytes, not 300/],
    ['header', { headers: { a: 'x'.repeat(70_000) } }, /at most 65535 bytes, headers included/],
    ["header's name", { headers: { ['k'.repeat(256)]: '' } }, /a header's name is at most 255 bytes/],
  ])(
    'refuses a message whose %s has more or less bytes than it may, and says so',
    async (_, options, message) => {
      const client = await new FakeBroker().client();
      const refusal = { code: 'ERR_JSP_OPTION_INVALID', message: expect.stringMatching(message) };
      expect(() => client.publish('a', 'x', options)).toThrow(expect.objectContaining(refusal));
      await expect(client.publish('a', 'x', { ...options, qos: 1 })).rejects.toMatchObject(refusal);
    },
  );

  test('refuses what is no filter itself, and tells what the broker refused', async () => {
    const client = await new FakeBroker({ filtersPerClientMax: 1 }).client();
    await expect(client.subscribe('a/#/b')).rejects.toMatchObject({ code: 'ERR_JSP_FILTER_INVALID' });
    await expect(client.subscribe([])).rejects.toThrow(RangeError);
    await client.subscribe('a');
    await expect(client.subscribe('b')).rejects.toMatchObject({
      code: 'ERR_JSP_BROKER',
      message: expect.stringContaining('TOO_MANY_SUBSCRIPTIONS'),
    });
  });

  test('delivers everything queued before an unsubscription, and nothing after it [BRK-15]', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received: string[] = [];
    const subscription = await subscriber.subscribe('n', (message) => received.push(message.text()));
    for (let i = 0; i < 100; i++) publisher.publish('n', `${i}`);
    await publisher.flush();
    await subscription.unsubscribe();
    expect(received.length).toBe(100);
    expect(broker.service.metrics()).toMatchObject({ subscriptions: 0, filters: 0 });
    publisher.publish('n', 'late');
    await publisher.flush();
    await settled();
    expect(received.length).toBe(100);
    expect(broker.service.metrics()).toMatchObject({ messagesUnrouted: 1, streams: 1 });
  });

  test('ends an iteration behind the last message when it is unsubscribed', async () => {
    const client = await new FakeBroker().client();
    const subscription = await client.subscribe('n');
    for (let i = 0; i < 50; i++) client.publish('n', `${i}`);
    await client.flush();
    const unsubscribing = subscription.unsubscribe();
    const received: string[] = [];
    for await (const message of subscription) received.push(message.text());
    await unsubscribing;
    expect(received).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
  });

  test('takes the subscription back when a loop is left, and lets its publishers go on [BRK-5]', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 2 });
    const client = await broker.client();
    const subscription = await client.subscribe('n');
    for (let i = 0; i < 1_000; i++) client.publish('n', `${i}`);
    await settled();
    expect(broker.service.metrics().publishersStopped).toBe(1);
    for await (const message of subscription) if (message.text() === '10') break;
    await client.flush();
    expect(broker.service.metrics()).toMatchObject({
      subscriptions: 0,
      publishersStopped: 0,
      messagesIn: 1_000,
    });
  });

  test('gives a slow handler one message at a time, in order, with back-pressure', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 4 });
    const client = await broker.client();
    const received: string[] = [];
    let running = 0;
    await client.subscribe('n', async (message) => {
      expect(++running).toBe(1);
      if (received.length % 500 === 0) await settled();
      received.push(message.text());
      running--;
    });
    for (let i = 0; i < 1_500; i++) client.publish('n', `${i}`);
    await until(() => received.length === 1_500);
    expect(received).toEqual(Array.from({ length: 1_500 }, (_, i) => `${i}`));
    expect(broker.service.metrics().publisherStops).toBeGreaterThan(0);
  });

  test.each(['dropOldest', 'dropNewest'] as const)(
    'with %s a slow reader delays nobody, and drops are counted [BRK-19]',
    async (overflow) => {
      const broker = new FakeBroker();
      const client = await broker.client();
      const slow = await client.subscribe('n', { overflow, queueMessages: 10 });
      for (let i = 0; i < 5_000; i++) client.publish('n', `${i}`);
      await client.flush();
      await settled();
      const { publisherStops, droppedOldest, droppedNewest } = broker.service.metrics();
      expect(publisherStops).toBe(0);
      const unsubscribing = slow.unsubscribe();
      const received: string[] = [];
      for await (const message of slow) received.push(message.text());
      await unsubscribing;
      expect(received.length + slow.dropped + droppedOldest + droppedNewest).toBe(5_000);
      expect(received.includes('4999')).toBe(overflow === 'dropOldest');
      expect(received.includes('0')).toBe(overflow === 'dropNewest');
    },
  );

  test('does not iterate over a subscription that has a handler', async () => {
    const client = await new FakeBroker().client();
    const subscription = await client.subscribe('a', () => {});
    await expect(subscription[Symbol.asyncIterator]().next()).rejects.toThrow(TypeError);
  });

  test('hands the error of a handler on and goes on with the next message', async () => {
    const client = await new FakeBroker().client();
    const received: string[] = [];
    const errors: unknown[] = [];
    const listeners = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => errors.push(error));
    try {
      await client.subscribe('n', async (message) => {
        received.push(message.text());
        if (message.text() === '1') throw new Error('of the handler');
      });
      for (let i = 0; i < 4; i++) client.publish('n', `${i}`);
      await until(() => received.length === 4 && errors.length === 1);
      expect(received).toEqual(['0', '1', '2', '3']);
      expect(errors).toEqual([new Error('of the handler')]);
    } finally {
      process.removeAllListeners('unhandledRejection');
      for (const listener of listeners) process.on('unhandledRejection', listener);
    }
  });
});

describe('the end', () => {
  test('delivers what was published before it closes [BRK-25]', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received: string[] = [];
    await subscriber.subscribe('n', (message) => received.push(message.text()));
    for (let i = 0; i < 500; i++) publisher.publish('n', `${i}`);
    await publisher.close();
    await until(() => received.length === 500);
    expect(await publisher.closed).toBeNull();
    expect(() => publisher.publish('n', '')).toThrow(/closed|ended/);
    await expect(publisher.subscribe('n')).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    expect(broker.service.metrics().clients).toBe(1);
  });

  test('closes although its own subscription is full [BRK-22]', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 1 });
    const client = await broker.client();
    await client.subscribe('n');
    for (let i = 0; i < 1_000; i++) client.publish('n', `${i}`);
    await settled();
    await client.close();
    expect(broker.service.metrics()).toMatchObject({ clients: 0, messagesIn: 1_000 });
  });

  test('rejects everything that waits when the connection breaks, and cleans up at the broker [BRK-5]', async () => {
    const broker = new FakeBroker({ queueMessagesMax: 1 }, new FakeNetwork(4, 4));
    const { client, connection } = await broker.clientAndConnection();
    const subscription = await client.subscribe('n');
    for (let i = 0; i < 1_000; i++) client.publish('n', `${i}`);
    const waiting = [client.flush(), client.drained(), client.flush()];
    await settled();
    connection.break();
    const gone = { code: 'ERR_JSP_HEARTBEAT_TIMEOUT' };
    for (const wait of waiting) await expect(wait).rejects.toMatchObject(gone);
    expect(await client.closed).toMatchObject(gone);
    await expect(client.flush()).rejects.toThrow();
    await expect(client.ping()).rejects.toMatchObject(gone);
    const iterating = (async () => {
      for await (const _ of subscription);
    })();
    await expect(iterating).rejects.toMatchObject(gone);
    expect(broker.service.metrics()).toMatchObject({
      clients: 0,
      streams: 0,
      subscriptions: 0,
      queuedMessages: 0,
    });
  });

  test('closes a connection on which the broker talks nonsense [BRK-6]', async () => {
    const nonsense = [
      Buffer.from('?'),
      encodePlain(Command.FLUSH, 1),
      Buffer.from([1, 8, 0, 1, 0, 0, 0, 0, 97]),
    ];
    const { COMMAND_ENCODING_ERROR, UNKNOWN_COMMAND } = ReasonCode;
    const codes = [COMMAND_ENCODING_ERROR, UNKNOWN_COMMAND, COMMAND_ENCODING_ERROR];
    for (const [i, bytes] of nonsense.entries()) {
      const [near, far] = new FakeNetwork().connect();
      far.on('stream', (stream: FakeStream) => stream.on('message', () => void stream.send(bytes)));
      const client = await connectClient(near);
      await expect(client.ping()).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
      expect(near.closedWith).toBe(codes[i]);
    }
  });
});

describe('other requests', () => {
  test('measures a round trip, whatever waits on other streams [BRK-4]', async () => {
    const client = await new FakeBroker({ queueMessagesMax: 1 }).client();
    await client.subscribe('n');
    for (let i = 0; i < 1_000; i++) client.publish('n', `${i}`);
    const begun = performance.now();
    const ms = await client.ping();
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeLessThanOrEqual(performance.now() - begun);
  });
});

describe('the broker on a connection', () => {
  test('resets streams that are not its protocol, and goes on [BRK-1]', async () => {
    const broker = new FakeBroker();
    const { client, connection } = await broker.clientAndConnection();
    const foreign = [
      connection.openStream({ label: 'other/1' }),
      connection.openStream({ label: STREAM_LABEL, ordered: false }),
    ];
    await until(() => foreign.every((stream) => stream.isClosed));
    expect(await client.ping()).toBeGreaterThan(0);
    expect(broker.service.metrics().streams).toBe(1);
  });

  test('drains what is queued and takes no new connections when it shuts down [BRK-35]', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received: string[] = [];
    await subscriber.subscribe('n', (message) => received.push(message.text()));
    for (let i = 0; i < 100; i++) publisher.publish('n', `${i}`);
    await publisher.flush();
    await broker.service.drain(5_000);
    await until(() => received.length === 100);
    publisher.publish('n', 'late');
    await settled();
    expect(received.length).toBe(100);
    await expect(broker.client()).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER' });
  });
});
