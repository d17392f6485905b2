import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { type Broker, type BrokerOptions, startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, type BrokerClientOptions, connectClient } from '../../src/client/index.ts';
import { type Connection, connect, generateIdentity } from '../../src/index.ts';
import { STREAM_LABEL } from '../../src/pubsub/command.ts';
import { until } from './fake-broker.ts';

const identity = generateIdentity();
const open: { close(): Promise<void> }[] = [];

async function listen(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await startBroker({ identity, port: 0, ...options });
  open.push(broker);
  return broker;
}

async function client(broker: Broker, options?: BrokerClientOptions): Promise<BrokerClient> {
  const connected = await connectClient(broker.url, options);
  open.push(connected);
  return connected;
}

async function publishAll(publisher: BrokerClient, topic: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) if (!publisher.publish(topic, `${i}`)) await publisher.drained();
  await publisher.flush();
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`);
}

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close().catch(() => {});
});

describe('broker and clients over the encrypted transport', () => {
  test('know each other by the identity of the handshake alone, with a session or without, for it needs no other credentials [AUT-13]', async () => {
    const known = generateIdentity();
    const broker = await listen({
      clientIdentity: 'optional',
      auth: {
        identities: [{ fingerprint: known.fingerprintText, rules: [{ allow: ['publish'], topics: ['#'] }] }],
      },
    });
    for (const options of [{ reconnect: false }, { reconnect: false, session: 'mine' }]) {
      const robot = await client(broker, { ...options, identity: known });
      expect(await robot.publish('t', 'x', { qos: 1 })).toMatchObject({ duplicate: false });
      const nobody = client(broker, { ...options, identity: generateIdentity() });
      await expect(nobody).rejects.toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    }
  });

  test('carry 50,000 messages from one client to another, complete and in order [BRK-20]', async () => {
    const broker = await listen();
    const [publisher, subscriber] = [await client(broker), await client(broker)];
    const received: string[] = [];
    await subscriber.subscribe('numbers', (message) => received.push(message.text()));
    await publishAll(publisher, 'numbers', 50_000);
    await until(() => received.length === 50_000);
    expect(received).toEqual(numbers(50_000));
  });

  test('carry every message to each of eight subscribers [BRK-7]', async () => {
    const broker = await listen();
    const publisher = await client(broker);
    const received = numbers(8).map(() => [] as string[]);
    for (const [i, list] of received.entries()) {
      const filter = i % 2 === 0 ? 'fan/out' : 'fan/+';
      await (await client(broker)).subscribe(filter, (message) => list.push(message.text()));
    }
    await publishAll(publisher, 'fan/out', 3_000);
    await until(() => received.every((list) => list.length === 3_000));
    for (const list of received) expect(list).toEqual(numbers(3_000));
    expect(broker.metrics()).toMatchObject({ messagesIn: 3_000, messagesOut: 24_000, clients: 9 });
  });

  test('carry compressed payloads that no connection below compresses again [BRK-42]', async () => {
    const broker = await listen({ compression: true });
    const links = [
      await connect(broker.url, { compression: true }),
      await connect(broker.url, { compression: true }),
    ];
    const [publisher, subscriber] = await Promise.all(
      links.map((link) =>
        connectClient(link, { compression: { dictionaries: [Buffer.from('the state of the world')] } }),
      ),
    );
    open.push(publisher, subscriber);
    const received: string[] = [];
    await subscriber.subscribe('#', (message) => received.push(message.text()));
    const sent = [30, 200, 9_000, 200_000].map((size, i) =>
      `${i}: the state of the world; `.repeat(size / 30),
    );
    for (const text of sent) publisher.publish(`t/${text.length}`, text);
    await publisher.flush();
    await until(() => received.length === sent.length);
    expect(received.sort()).toEqual(sent.sort());
    for (const link of links) {
      expect(link.metrics()).toMatchObject({ messagesCompressed: 0, compressionSkippedIncompressible: 0 });
      expect(link.metrics()).toMatchObject({ messagesInflated: 0 });
    }
    publisher.publish('t', sent.join(), { compression: false });
    await publisher.flush();
    expect(links[0].metrics()).toMatchObject({ messagesCompressed: 1 });
  });

  test('leave what a profile compresses to the connection, and that alone where the option is given [BRK-42]', async () => {
    const broker = await listen({ compression: true });
    const text = 'the state of the world; '.repeat(40);
    for (const [compression, compressed] of [
      [undefined, 1],
      [true, 0],
      [false, 0],
    ] as const) {
      const publisher = await client(broker, { profile: 'iot', compression });
      publisher.publish('t', text);
      await publisher.flush();
      const { life } = publisher as unknown as { life: { link: { connection: Connection } } };
      expect(life.link.connection.metrics()).toMatchObject({ messagesCompressed: compressed });
    }
  });

  test('carry a payload of 16 MiB byte for byte', async () => {
    const broker = await listen();
    const [publisher, subscriber] = [await client(broker), await client(broker)];
    const payload = randomBytes(16 * 1024 * 1024);
    const subscription = await subscriber.subscribe('large');
    publisher.publish('large', payload);
    await publisher.flush();
    for await (const message of subscription) {
      const digests = [payload, message.payload].map((bytes) =>
        createHash('sha256').update(bytes).digest('hex'),
      );
      expect(digests[1]).toBe(digests[0]);
      break;
    }
  });

  test('slow a publisher down to its slowest subscriber, and lose nothing [BRK-18]', async () => {
    const broker = await listen({ queueMessagesMax: 100, messageBytesMax: 65_536 });
    const publisher = await client(broker);
    const subscriber = await client(broker, { messageBytesMax: 65_536 });
    const subscription = await subscriber.subscribe('n');
    const payload = 'x'.repeat(1_000);
    const count = 6_000;
    const publishing = (async () => {
      for (let i = 0; i < count; i++)
        if (!publisher.publish('n', `${i} ${payload}`)) await publisher.drained();
      await publisher.flush();
    })();
    await until(() => broker.metrics().publishersStopped === 1);
    expect(broker.metrics().queuedMessages).toBeLessThanOrEqual(100);
    const received: string[] = [];
    for await (const message of subscription) {
      received.push(message.text().split(' ')[0]);
      if (received.length === count) break;
    }
    await publishing;
    expect(received).toEqual(numbers(count));
  });

  test('let publishers go on when a slow subscriber vanishes [BRK-5]', async () => {
    const broker = await listen({ queueMessagesMax: 10, messageBytesMax: 65_536 });
    const publisher = await client(broker);
    const subscriber = await connectClient(broker.url, { messageBytesMax: 65_536 });
    await subscriber.subscribe('n');
    for (let i = 0; i < 6_000; i++) publisher.publish('n', Buffer.alloc(1_000));
    await until(() => broker.metrics().publishersStopped === 1);
    subscriber.destroy();
    await publisher.flush();
    expect(broker.metrics()).toMatchObject({
      clients: 1,
      subscriptions: 0,
      messagesIn: 6_000,
      queuedMessages: 0,
    });
  });

  test('unsubscribe, subscribe again and ping on one connection', async () => {
    const broker = await listen();
    const one = await client(broker);
    const received: string[] = [];
    for (let i = 0; i < 20; i++) {
      const subscription = await one.subscribe(`round/${i}`, (message) => received.push(message.text()));
      one.publish(`round/${i}`, `${i}`);
      await one.flush();
      await subscription.unsubscribe();
      expect(await one.ping()).toBeGreaterThan(0);
    }
    expect(received).toEqual(numbers(20));
    await until(() => broker.metrics().streams === 2);
  });

  test('close the connection of a client that breaks the protocol, and tell it why [BRK-6]', async () => {
    const broker = await listen();
    const connection = await connect(broker.url);
    const stream = connection.openStream({ label: STREAM_LABEL });
    stream.on('error', () => {});
    stream.send('?');
    expect(await connection.closed).toMatchObject({
      code: 'ERR_JSP_CLOSED_BY_PEER',
      message: expect.stringContaining('COMMAND_ENCODING_ERROR'),
    });
    expect(broker.metrics()).toMatchObject({ clients: 0, clientsFailed: 1 });
  });

  test('deliver what is queued when the broker closes, and tell the clients [BRK-35]', async () => {
    const broker = await listen();
    const [publisher, subscriber] = [await client(broker), await client(broker)];
    const received: string[] = [];
    await subscriber.subscribe('n', (message) => received.push(message.text()));
    await publishAll(publisher, 'n', 2_000);
    const offline = [publisher, subscriber].map((each) => once(each, 'state'));
    await broker.close();
    expect(received).toEqual(numbers(2_000));
    for (const each of await Promise.all(offline)) {
      expect(each).toMatchObject([
        'offline',
        { code: 'ERR_JSP_CLOSED_BY_PEER', message: expect.stringContaining('SHUTTING_DOWN') },
      ]);
    }
  });

  test('listen on the loopback address unless told otherwise [BRK-36]', async () => {
    const broker = await listen();
    expect(broker.host).toBe('127.0.0.1');
    expect(broker.url).toMatch(/^jsp:\/\/[\w-]+@127\.0\.0\.1:\d+$/);
  });
});
