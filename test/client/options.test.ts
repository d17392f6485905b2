import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { type Broker, type BrokerOptions, startBroker } from '../../src/broker/index.ts';
import type { BrokerService } from '../../src/broker/service.ts';
import { connectClientBy } from '../../src/client/broker-client.ts';
import {
  type BrokerClient,
  type BrokerClientOptions,
  connectClient,
  type SubscribeOptions,
} from '../../src/client/index.ts';
import { connect, generateIdentity } from '../../src/index.ts';
import {
  COMMAND_BYTES_MAX,
  Command,
  encodePlain,
  ReasonCode,
  STREAM_LABEL,
} from '../../src/pubsub/command.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork, type FakeStream } from './fake-transport.ts';

const identity = generateIdentity();
const open: { close(): Promise<unknown> }[] = [];

async function listen(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await startBroker({ identity, port: 0, ...options });
  open.push({ close: () => broker.close({ drainMs: 0 }) });
  return broker;
}

async function client(broker: Broker, options?: BrokerClientOptions): Promise<BrokerClient> {
  const connected = await connectClient(broker.url, options);
  open.push({ close: async () => connected.destroy() });
  return connected;
}

/** The first SUBSCRIBE of a subscription with these options, and the stream it went on. */
async function subscribing(options?: SubscribeOptions) {
  const [near, far] = new FakeNetwork().connect();
  let seen: { stream: FakeStream; message: Buffer } | null = null;
  far.on('stream', (stream: FakeStream) => {
    stream.on('message', (message: Buffer) => {
      seen ??= { stream, message };
      stream.send(encodePlain(Command.SUBSCRIBED, message.readUInt32BE(4)));
    });
  });
  const connected = await connectClient(near);
  await connected.subscribe('f', options);
  const { stream, message } = seen as unknown as { stream: FakeStream; message: Buffer };
  return { priority: stream.priority, overflow: message[1] & 3, body: [...message.subarray(9)] };
}

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close().catch(() => {});
});

describe('options of subscribe', () => {
  test('leave everything to the broker by default: it blocks, gives no bounds, and is of class chat', async () => {
    expect(await subscribing()).toEqual({ priority: 'chat', overflow: 0, body: [] });
  });

  test.each<[SubscribeOptions, object]>([
    [{ overflow: 'block' }, { overflow: 0 }],
    [{ overflow: 'dropOldest' }, { overflow: 1 }],
    [{ overflow: 'dropNewest' }, { overflow: 2 }],
    [{ queueMessages: 258 }, { body: [0, 0, 1, 2, 0, 0, 0, 0] }],
    [{ queueBytes: 65_537 }, { body: [0, 0, 0, 0, 0, 1, 0, 1] }],
    [{ priority: 'bulk' }, { priority: 'bulk' }],
  ])('%o reach the broker', async (options, expected) => {
    expect(await subscribing(options)).toMatchObject(expected);
  });
});

describe('options of a client', () => {
  test.each([
    [100, true],
    [64, true],
    [63, false],
  ])('let the broker open streams when it may open %i [BRK-39]', async (streamsMax, lanes) => {
    const broker = await listen();
    const subscriber = await client(broker, { streamsMax });
    await subscriber.subscribe('a', () => {});
    subscriber.publish('a', '', { priority: 'bulk' });
    await subscriber.flush();
    expect(broker.metrics().lanes).toBe(lanes ? 1 : 0);
  });

  test('come from the profile, before those that the client has by itself, unless they are given', async () => {
    const broker = await listen({ profile: 'broker' });
    const largest = async (options: BrokerClientOptions): Promise<unknown[]> => {
      const subscriber = await client(broker, options);
      const missed: unknown[] = [];
      await subscriber.subscribe('a', ({ payload }) => missed.push(payload.length));
      subscriber.on('missed', (_, count) => missed.push(`${count} missed`));
      const publisher = await client(broker);
      publisher.publish('a', Buffer.alloc(70_000));
      await publisher.flush();
      await until(() => missed.length > 0);
      return missed;
    };
    expect(await largest({ profile: 'iot' })).toEqual(['1 missed']);
    expect(await largest({ profile: 'iot', messageBytesMax: 100_000 })).toEqual([70_000]);
  });

  test('go before those of the profile under either of their names', async () => {
    const broker = await listen({ profile: 'broker', fec: 'off' });
    const subscriber = await client(broker, { profile: 'gaming', fec: 'off' });
    const heard: string[] = [];
    await subscriber.subscribe('a', (message) => heard.push(message.text()));
    subscriber.publish('a', 'unprotected');
    await until(() => heard.length > 0);
    expect(heard).toEqual(['unprotected']);
  });

  test('and what it is told of its device reach its connection', async () => {
    const [near] = new FakeNetwork().connect();
    const told: string[] = [];
    Object.assign(near, {
      setNetworkType: (type: string) => told.push(type),
      setAppState: (state: string) => told.push(state),
    });
    const connected = await connectClient(near);
    connected.setNetworkType('cellular');
    connected.setAppState('background');
    expect(told).toEqual(['cellular', 'background']);
    const real = await client(await listen());
    expect(() => real.setAppState('asleep' as never)).toThrow('setAppState: state must be one of');
    real.setAppState('background');
  });

  test('do not keep a process alive after unref, nor does a broker', async () => {
    const dist = new URL('../../dist/', import.meta.url).href;
    const program = `
      const { startBroker } = await import('${dist}broker/index.js');
      const { connectClient } = await import('${dist}client/index.js');
      const { generateIdentity } = await import('${dist}index.js');
      const broker = await startBroker({ identity: generateIdentity(), port: 0 });
      const client = await connectClient(broker.url);
      await client.subscribe('a', () => {});
      client.publish('a', '');
      client.unref().ref().unref();
      broker.unref().ref().unref();
      console.log('free');
    `;
    expect(await outcomeOf(program)).toEqual([0, 'free\n']);
  });

  test('keep it alive while they are offline, unless it is unref [CLT-16]', async () => {
    const dist = new URL('../../dist/', import.meta.url).href;
    const program = `
      const { connectClient } = await import('${dist}client/index.js');
      const url = 'jsp://${'A'.repeat(43)}@127.0.0.1:9';
      const client = await connectClient(url, { firstConnect: 'background', reconnect: { minMs: 1e9, maxMs: 1e9 } });
      while (client.metrics().failedAttempts === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      setTimeout(() => {
        console.log('alive');
        client.unref();
      }, 50).unref();
    `;
    expect(await outcomeOf(program)).toEqual([0, 'alive\n']);
  });
});

/** Exit code and output of a program. */
async function outcomeOf(program: string): Promise<[number, string]> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  const [code] = await once(child, 'close');
  return [code, out];
}

describe('options that do not exist, or cannot be so', () => {
  const wrong = (message: RegExp) =>
    expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID', message: expect.stringMatching(message) });

  test('are refused by the broker, with the nearest that does exist', async () => {
    const bad: [object, RegExp][] = [
      [{ queueMessageMax: 1 }, /queueMessagesMax/],
      [{ stallMS: 1 }, /stallMs/],
      [{ prt: 1 }, /port/],
      [{ queueBytesMax: 0 }, /queueBytesMax must be/],
      [{ routesMax: 9 }, /power of two/],
      [{ stallMs: -1 }, /stallMs must be/],
    ];
    for (const [options, message] of bad) {
      await expect(startBroker({ identity, port: 0, ...options })).rejects.toEqual(wrong(message));
    }
    const broker = await listen();
    expect(() => broker.close({ drainMS: 1 } as object)).toThrow(wrong(/drainMs/));
  });

  test('are refused by the client', async () => {
    const connected = await new FakeBroker().client();
    const [near] = new FakeNetwork().connect();
    await expect(connectClient(near, { publishPriorty: 'chat' } as object)).rejects.toEqual(
      wrong(/publishPriority/),
    );
    await expect(connectClient(near, { publishPriority: 'fast' } as object)).rejects.toEqual(wrong(/one of/));
    await expect(connected.subscribe('a', { overfow: 'block' } as object)).rejects.toEqual(wrong(/overflow/));
    await expect(connected.subscribe('a', () => {}, { queueMessages: -1 })).rejects.toEqual(
      wrong(/queueMessages/),
    );
    expect(() => connected.publish('a', '', { prority: 'bulk' } as object)).toThrow(wrong(/priority/));
    expect(() => connected.close({ timeOutMs: 1 } as object)).toThrow(wrong(/timeoutMs/));
    await expect(connected.flush({ timeoutMs: 1 } as object)).rejects.toEqual(wrong(/signal/));
    await expect(connected.subscribe('a', 'handler' as never)).rejects.toEqual(wrong(/an object/));
    await expect(connected.subscribe('a', null as never)).rejects.toEqual(wrong(/an object/));
    await expect(connectClient(near, { messageBytesMax: 16 })).rejects.toEqual(wrong(/from 17/));
  });

  test('are told from topics and filters that are no text', async () => {
    const connected = await new FakeBroker().client();
    expect(() => connected.publish(5 as never, '')).toThrow(
      new TypeError('topic must be a string, not number'),
    );
    for (const filter of [5, [5], undefined]) {
      await expect(connected.subscribe(filter as never)).rejects.toThrow(/^filter must be a string, not/);
    }
  });
});

describe('a subscriber whose connection allows the broker few streams', () => {
  test('gets on its subscribing stream what finds no lane [BRK-39]', async () => {
    const broker = await listen();
    for (const streamsMax of [0, 1, 3]) {
      const subscriber = await connectClient(await connect(broker.url, { streamsMax }));
      open.push(subscriber);
      const received: string[] = [];
      await subscriber.subscribe('#', (message) => received.push(message.topic));
      const publisher = await client(broker);
      for (const priority of ['system', 'media', 'chat', 'bulk'] as const) {
        publisher.publish(`${priority}/small`, '', { priority });
        publisher.publish(`${priority}/large`, Buffer.alloc(65_536), { priority });
      }
      await until(() => received.length === 8);
    }
  });
});

describe('bounds of a broker', () => {
  /** What a subscriber that reads nothing leaves in the broker, in its transport and in itself, of `count` messages. */
  async function held(limits: ConstructorParameters<typeof BrokerService>[0], bytes: number) {
    const broker = new FakeBroker(limits, new FakeNetwork(1, 1));
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    await subscriber.subscribe('a');
    const payload = Buffer.alloc(bytes);
    for (let i = 0; i < 20_000 && broker.service.metrics().publishersStopped === 0; i++) {
      if (!publisher.publish('a', payload)) await settled();
    }
    return broker.service.metrics();
  }

  test('are those that are given', async () => {
    expect((await held({ queueMessagesMax: 5 }, 0)).queuedMessages).toBe(5);
    const { queuedBytes } = await held({ queueBytesMax: 10_000 }, 927);
    expect(queuedBytes).toBe(10_000);
  });

  test('allow exactly 1,040 streams of a client, and 1,024 filters, by default [BRK-16]', async () => {
    const broker = await listen();
    const connection = await connect(broker.url);
    open.push(connection);
    const streams = Array.from({ length: 1_060 }, (_, i) => {
      const stream = connection.openStream({ label: STREAM_LABEL });
      stream.on('error', () => {});
      stream.on('message', () => {});
      stream.send(encodePlain(Command.PING, i + 1));
      return stream;
    });
    await until(() => broker.metrics().streams >= 1_040);
    await until(() => connection.metrics().packetsReceived > 0);
    for (let i = 0; i < 20; i++) await settled();
    expect(broker.metrics().streams).toBe(1_040);
    streams[0].end();
    await until(() => streams[0].queuedBytes === 0);
    await until(() => broker.metrics().streams === 1_040);
    const filters = Array.from({ length: 1_024 }, (_, i) => `f/${i}`);
    const holder = await client(broker);
    await holder.subscribe(filters, () => {});
    await expect(holder.subscribe('one more')).rejects.toMatchObject({
      message: expect.stringContaining('TOO_MANY'),
    });
    connection.destroy(); // a close would wait for the streams that may never open
  });

  test('take a message of 16 MiB behind the longest topic, and not one byte more, by default', async () => {
    const broker = await listen();
    const publisher = await client(broker);
    const topic = 't'.repeat(1_024);
    const length = COMMAND_BYTES_MAX - 8 - 1_024;
    expect(length).toBe(16 * 1024 * 1024);
    expect(() => publisher.publish(topic, Buffer.alloc(length + 1))).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' }),
    );
    // Not either where it would fit compressed: whether it does is chance, and no subscriber could open it. [BRK-42]
    expect(() => publisher.publish(topic, Buffer.alloc(length + 1), { compression: true })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' }),
    );
    publisher.publish(topic, Buffer.alloc(length));
    await publisher.flush();
    expect(broker.metrics().bytesIn).toBe(COMMAND_BYTES_MAX);
  });
});

describe('a broker and its client', () => {
  test('do not take part in commands that are sent best effort [BRK-1]', async () => {
    const broker = await listen();
    const connection = await connect(broker.url);
    open.push(connection);
    const resets: unknown[] = [];
    const foreign = connection.openStream({ label: STREAM_LABEL, delivery: 'partial' });
    foreign.on('error', (error) => resets.push(error));
    foreign.send(encodePlain(Command.PING, 1));
    const stream = connection.openStream({ label: STREAM_LABEL });
    const answers: number[] = [];
    stream.on('message', (message) => answers.push(message[0]));
    stream.on('error', (error) => resets.push(error));
    stream.send(encodePlain(Command.PING, 1));
    await until(() => answers.length === 1);
    stream.send(encodePlain(Command.PING, 2), { delivery: 'bestEffort' });
    await until(() => resets.length === 2);
    for (const reset of resets)
      expect(reset).toMatchObject({ code: 'ERR_JSP_STREAM_RESET', message: expect.stringContaining('7') });
    expect(answers).toEqual([Command.PONG]);
    expect(broker.metrics()).toMatchObject({ clients: 1, clientsFailed: 0, streams: 0 });
  });

  test('tell code and reason of who closed', async () => {
    const broker = await listen();
    const subscriber = await client(broker, { reconnect: false });
    await subscriber.subscribe('a', () => {});
    await broker.close();
    expect(await subscriber.closed).toMatchObject({
      applicationCode: ReasonCode.SHUTTING_DOWN,
      reason: 'SHUTTING_DOWN',
      code: 'ERR_JSP_CLOSED_BY_PEER',
      message: expect.stringContaining('SHUTTING_DOWN'),
    });
  });

  test('drop a message that a subscriber does not take for it alone, and go on [BRK-24]', async () => {
    const broker = await listen();
    const [publisher, small, other] = [
      await client(broker),
      await client(broker, { messageBytesMax: 4_096 }),
      await client(broker),
    ];
    const received: [string, number][] = [];
    const subscription = await small.subscribe('t/#', ({ payload }) =>
      received.push(['small', payload.length]),
    );
    await other.subscribe('t/#', ({ payload }) => received.push(['other', payload.length]));
    for (const size of [8_000, 1, 2]) publisher.publish('t/x', Buffer.alloc(size));
    await publisher.flush();
    await until(() => received.length === 5);
    expect(received.filter(([who]) => who === 'small').map(([, size]) => size)).toEqual([1, 2]);
    expect(subscription.missed).toBe(1);
    expect(broker.metrics().droppedTooLarge).toBe(1);
    await publisher.close();
  });

  test('close a drain that is under way by a shorter one, and at once by a signal', async () => {
    for (const cut of ['later call', 'signal'] as const) {
      const broker = await listen({ messageBytesMax: 65_536 });
      const publisher = await client(broker);
      const subscriber = await client(broker, { messageBytesMax: 65_536 });
      await subscriber.subscribe('n');
      for (let i = 0; i < 6_000; i++) publisher.publish('n', Buffer.alloc(1_000));
      await until(() => broker.metrics().queuedMessages > 100);
      const controller = new AbortController();
      const start = performance.now();
      const closing = broker.close({ drainMs: 60_000, signal: controller.signal }).catch(() => {});
      await settled();
      if (cut === 'signal') controller.abort();
      else void broker.close({ drainMs: 0 }).catch(() => {});
      await closing;
      expect(performance.now() - start).toBeLessThan(20_000);
      expect(broker.metrics().clients).toBe(0);
    }
  });

  test('give a subscription up that nobody reads, so that its publisher ends [BRK-23]', async () => {
    const broker = await listen({ stallMs: 300, queueMessagesMax: 50 });
    const publisher = await client(broker);
    const subscriber = await client(broker);
    const subscription = await subscriber.subscribe('t/#');
    // A busy machine may have given up before anybody looks whether the publisher is stopped.
    const isHeldUp = () => {
      const { publishersStopped, subscriptionsStalled } = broker.metrics();
      return publishersStopped + subscriptionsStalled > 0;
    };
    for (let i = 0; i < 60_000 && !isHeldUp(); i++) {
      if (!publisher.publish('t/x', Buffer.alloc(1_000))) await settled();
    }
    expect(isHeldUp()).toBe(true);
    await publisher.close();
    expect(await subscription.closed).toMatchObject({ code: 'ERR_JSP_BROKER' });
    expect(broker.metrics().subscriptionsStalled).toBe(1);
  });
});

describe('connections that share one signal', () => {
  test('make Node warn of no leak: twelve at once, with their closes', async () => {
    const warnings: unknown[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on('warning', note);
    try {
      const { signal } = new AbortController();
      const broker = await listen();
      const clients = await Promise.all(Array.from({ length: 12 }, () => client(broker, { signal })));
      await Promise.all(clients.map((each) => each.close({ signal })));
      await settled();
      expect(warnings).toEqual([]);
    } finally {
      process.off('warning', note);
    }
  });
});

test('a client shows the identity of its credentials, also where the option identity is given as undefined [AUT-4]', async () => {
  const identity = generateIdentity();
  const shown: unknown[] = [];
  const connecting = connectClientBy(
    (_, options) => {
      shown.push(options?.identity);
      return Promise.reject(new Error('seen'));
    },
    'jsp://127.0.0.1:1',
    { credentials: { identity }, identity: undefined, reconnect: false },
  );
  await expect(connecting).rejects.toThrow('seen');
  expect(shown).toEqual([identity]);
});

test('names and ids that are no well-formed text are refused: as UTF-8 two that differ would be one', async () => {
  const invalid = { code: 'ERR_JSP_OPTION_INVALID' };
  const broker = await listen();
  await expect(connectClient(broker.url, { session: '\ud800' })).rejects.toMatchObject(invalid);
  const connected = await client(broker);
  await expect(connected.subscribe('f', { durable: 'd\udc00' })).rejects.toMatchObject(invalid);
  for (const wrong of [{ messageId: '\ud800' }, { key: '\ud801' }]) {
    expect(() => connected.publish('t', '', wrong)).toThrow(expect.objectContaining(invalid));
    await expect(connected.publish('t', '', { ...wrong, qos: 1 })).rejects.toMatchObject(invalid);
  }
  await connected.publish('t', '', { qos: 1, messageId: '\u{1f600}', key: '\u{1f600}' });
});

test('a handler that is none, or stands behind the options, is the mistake of a program: it would never be called', async () => {
  const connected = await client(await listen());
  const misplaced = connected.subscribe('f', {} as never, (() => {}) as never);
  await expect(misplaced).rejects.toThrow(/handler must be a function, and stand before the options/);
  await expect(connected.reply('f', 'x' as never)).rejects.toThrow(/handler must be a function/);
  const none = { code: 'ERR_JSP_OPTION_INVALID' };
  await expect(connected.reply('f', () => 1, null as never)).rejects.toMatchObject(none);
  await expect(connected.reply('f', () => 1, { group: Symbol('g') as never })).rejects.toMatchObject(none);
});

test('a value of any kind where there should be a number is named with its option', async () => {
  const broker = await listen();
  for (const wrong of [Symbol('s'), Object.create(null), 5n]) {
    await expect(connectClient(broker.url, { idleTimeoutMs: wrong })).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message: expect.stringContaining('idleTimeoutMs must be'),
    });
  }
});
