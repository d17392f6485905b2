/** mqtt.js as it comes from the registry, in Node, both ways with clients of this project. In browsers: test/browser/mqtt-js.test.ts. */

import { once } from 'node:events';
import { createServer, connect as dial, type Socket } from 'node:net';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type BrokerClient, connectClient, type Message } from '../../../src/client/index.ts';
import { mqttInMemory, type TestMqtt, until } from './mqtt-server.ts';

let server: TestMqtt;
let jsp: BrokerClient;

beforeAll(async () => {
  server = await mqttInMemory();
  jsp = await connectClient(server.broker.url);
});
afterAll(async () => {
  await jsp.close();
  expect(server.faults).toEqual([]);
  await server.close();
});

async function connected(options: IClientOptions = {}): Promise<MqttClient> {
  const client = await connectAsync(server.mqtt.url, { reconnectPeriod: 5, ...options });
  client.on('error', () => {}); // it tells of connections that break, and makes them again
  onTestFinished(() => client.endAsync(true));
  return client;
}

/** Unlike `once` of Node it goes on waiting over errors, which a client tells and gets over. */
function heardOnce(client: MqttClient, event: 'connect' | 'close' | 'message'): Promise<unknown[]> {
  return new Promise((resolve) => {
    client.once(event, (...args: unknown[]) => resolve(args));
  });
}

/** What comes to a client, as texts. */
function heardBy(client: MqttClient): string[] {
  const heard: string[] = [];
  client.on(
    'message',
    (topic, payload, { qos, retain }) =>
      void heard.push(`${topic} ${payload} ${qos}${retain ? ' kept' : ''}`),
  );
  return heard;
}

describe.each([4, 5] as const)('mqtt.js with protocol version %i', (protocolVersion) => {
  const base = `js/${protocolVersion}`;

  test('publishes to jsp clients and hears what they publish, with each QoS', async () => {
    const client = await connected({ protocolVersion });
    const heard = heardBy(client);
    const granted = await client.subscribeAsync({ [`${base}/out/+`]: { qos: 2 }, [`${base}/0`]: { qos: 0 } });
    expect(granted.map(({ qos }) => qos)).toEqual([1, 0]);
    const native: string[] = [];
    const subscription = await jsp.subscribe(
      `${base}/in/#`,
      ({ topic, payload }) => void native.push(`${topic} ${payload}`),
    );
    const kinds = protocolVersion === 4 ? ([0, 1, 2] as const) : ([0, 1] as const);
    for (const qos of kinds) await client.publishAsync(`${base}/in/${qos}`, `é ${qos}`, { qos });
    await until(() => native.length === kinds.length);
    expect(native.sort()).toEqual(kinds.map((qos) => `${base}/in/${qos} é ${qos}`));
    jsp.publish(`${base}/out/a`, 'volatile');
    await jsp.publish(`${base}/out/b`, 'stored', { qos: 1 });
    await jsp.publish(`${base}/0`, 'stored, taken as QoS 0', { qos: 1 });
    await until(() => heard.length === 3);
    expect(heard.sort()).toEqual([
      `${base}/0 stored, taken as QoS 0 0`,
      `${base}/out/a volatile 0`,
      `${base}/out/b stored 1`,
    ]);
    await client.unsubscribeAsync(`${base}/out/+`);
    await jsp.publish(`${base}/out/b`, 'unheard', { qos: 1 });
    await jsp.publish(`${base}/0`, 'heard', { qos: 1 });
    await until(() => heard.length === 4);
    expect(heard[3]).toBe(`${base}/0 heard 0`);
    await subscription.unsubscribe();
  });

  test('a connection that breaks is made again, and nothing of QoS 1 is missed', async () => {
    const way = await breakableWay(server.port);
    const client = await connected({
      protocolVersion,
      ...PERSISTENT,
      clientId: `breaks-${protocolVersion}`,
      ...way.options,
    });
    const heard = heardBy(client);
    await client.subscribeAsync(`${base}/breaks/#`, { qos: 1 });
    const published: string[] = [];
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) {
        published.push(`${base}/breaks/jsp ${round}.${i} 1`);
        await jsp.publish(`${base}/breaks/jsp`, `${round}.${i}`, { qos: 1 });
      }
      const back = heardOnce(client, 'connect');
      const gone = heardOnce(client, 'close');
      way.cut();
      await gone; // what is written into a socket that breaks is the affair of mqtt.js
      const own = client.publishAsync(`${base}/breaks/own`, `${round}`, { qos: 1 });
      await back;
      await own;
    }
    await until(() => new Set(heard).size === published.length + 3);
    expect([...new Set(heard)].filter((line) => line.includes('/jsp '))).toEqual(published);
    await client.endAsync();
    await way.close();
  });

  test('leaves its will when it is cut off, and none when it says goodbye', async () => {
    const heard: string[] = [];
    const subscription = await jsp.subscribe(`${base}/will`, ({ payload }) => void heard.push(`${payload}`));
    for (const isForced of [false, true]) {
      const payload = Buffer.from(`forced: ${isForced}`);
      const client = await connected({
        protocolVersion,
        reconnectPeriod: 0,
        will: { topic: `${base}/will`, payload, qos: 1, retain: false },
      });
      if (isForced) client.stream.destroy();
      else await client.endAsync();
    }
    await until(() => heard.length > 0);
    expect(heard).toEqual(['forced: true']);
    await subscription.unsubscribe();
  });
});

test('of MQTT 5, what a message has beside its payload goes both ways', async () => {
  const client = await connected({ protocolVersion: 5 });
  const heard: Message[] = [];
  const subscription = await jsp.subscribe('js/properties', (message) => void heard.push(message));
  const properties = {
    contentType: 'text/x',
    correlationData: Buffer.from('c'),
    userProperties: { a: 'é', b: ['1', '2'] },
  };
  await client.publishAsync('js/properties', 'x', { qos: 1, properties });
  await until(() => heard.length === 1);
  expect(heard[0].contentType).toBe('text/x');
  expect(heard[0].headers).toMatchObject({ a: 'é' });
  await client.subscribeAsync('js/back', { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const message = heardOnce(client, 'message');
  await jsp.publish('js/back', 'y', { qos: 1, contentType: 'text/y', ttlMs: 100_000, headers: { c: 'ü' } });
  const [, , packet] = (await message) as [string, Buffer, { properties: Record<string, unknown> }];
  expect(packet.properties).toMatchObject({
    contentType: 'text/y',
    messageExpiryInterval: expect.any(Number),
    subscriptionIdentifier: 7,
  });
  // In whole seconds, of which some may have passed.
  expect(packet.properties.messageExpiryInterval).toBeGreaterThan(50);
  expect(packet.properties.messageExpiryInterval).toBeLessThanOrEqual(100);
  expect({ ...(packet.properties.userProperties as object) }).toEqual({ c: 'ü' });
  await subscription.unsubscribe();
});

test('of MQTT 5, topic aliases that mqtt.js assigns by itself, both ways', async () => {
  const client = await connected({
    protocolVersion: 5,
    autoAssignTopicAlias: true,
    properties: { topicAliasMaximum: 5 },
  });
  const heard = heardBy(client);
  await client.subscribeAsync('js/alias/+', { qos: 1 });
  for (let i = 0; i < 3; i++) {
    for (const topic of ['one', 'two']) await client.publishAsync(`js/alias/${topic}`, `${i}`, { qos: 1 });
  }
  await until(() => heard.length === 6);
  expect(heard).toEqual([0, 1, 2].flatMap((i) => ['one', 'two'].map((topic) => `js/alias/${topic} ${i} 1`)));
});

test('of MQTT 5, it asks a jsp service by response topic, and answers a jsp client', async () => {
  const client = await connected({ protocolVersion: 5 });
  const service = await jsp.reply('js/upper', (request) => request.text().toUpperCase());
  await client.subscribeAsync('js/answers', { qos: 1 });
  const answered = heardOnce(client, 'message');
  const properties = { responseTopic: 'js/answers', correlationData: Buffer.from('1') };
  await client.publishAsync('js/upper', 'hello', { properties });
  const [topic, payload, packet] = (await answered) as [
    string,
    Buffer,
    { properties: { correlationData: Buffer } },
  ];
  expect([topic, String(payload), String(packet.properties.correlationData)]).toEqual([
    'js/answers',
    'HELLO',
    '1',
  ]);
  await service.unsubscribe();

  client.on('message', (asked, question, { properties: about }) => {
    if (asked !== 'js/lower') return;
    const correlationData = about?.correlationData;
    client.publish(about?.responseTopic ?? '', String(question).toLowerCase(), {
      ...(correlationData && { properties: { correlationData } }),
    });
  });
  await client.subscribeAsync('js/lower');
  expect((await jsp.request('js/lower', 'HELLO')).text()).toBe('hello');
});

const PERSISTENT = { clean: false, properties: { sessionExpiryInterval: 600 } };

/** A way to the door that can be cut. */
async function breakableWay(
  port: number,
): Promise<{ options: IClientOptions; cut(): void; close(): Promise<void> }> {
  const ends = new Set<Socket>();
  const relay = createServer((near) => {
    const far = dial(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      ends.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        ends.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const cut = (): void => {
    for (const end of ends) end.destroy();
  };
  return {
    options: { host: '127.0.0.1', port: (relay.address() as { port: number }).port },
    cut,
    close: async () => {
      cut();
      relay.close();
      await once(relay, 'close');
    },
  };
}
