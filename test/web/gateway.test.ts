import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import WebSocket from 'ws';
import { makeApiKey } from '../../src/broker/auth/api-key.ts';
import { type Broker, startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, connectClient as connectNative } from '../../src/client/index.ts';
import { type Gateway, startGateway } from '../../src/gateway/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { connectClient, type WebClient } from '../../src/web/client.ts';
import type { WebClientOptions } from '../../src/web/client-options.ts';
import type { Message } from '../../src/web/message.ts';
import { jsonCodec } from '../../src/web/payload.ts';
import { NEVER_LATE } from '../gateway/gateway-server.ts';

let broker: Broker;
let gateway: Gateway;
let native: BrokerClient;

beforeAll(async () => {
  broker = await startBroker({ identity: generateIdentity(), port: 0 });
  gateway = await startGateway({ broker, port: 0, limits: NEVER_LATE });
  native = await connectNative(broker.url);
});
afterAll(async () => {
  await native?.close();
  await gateway?.close();
  await broker?.close();
});

test('with QoS 0 and 1, text, JSON and bytes, between pages and native clients', async () => {
  const page = await connected();
  const heard: unknown[] = [];
  const toNative: string[] = [];
  await page.subscribe('mix/#', ({ topic, payload, headers, retained }) => {
    heard.push([topic, Buffer.from(payload).toString('hex'), headers.a, retained]);
  });
  await native.subscribe('mix/#', ({ topic, payload, contentType }) => {
    toNative.push(`${topic} ${payload.toString('hex')} ${contentType}`);
  });
  page.publish('mix/text', 'é', { headers: { a: 'b' } });
  page.publish('mix/bytes', new Uint8Array([255, 0]));
  await page.publish('mix/json', [1], { codec: jsonCodec(), qos: 1 });
  await eventually(() => heard.length).toBe(3);
  expect(heard).toEqual([
    ['mix/text', 'c3a9', 'b', false],
    ['mix/bytes', 'ff00', undefined, false],
    ['mix/json', Buffer.from('[1]').toString('hex'), undefined, false],
  ]);
  await eventually(() => toNative).toEqual([
    'mix/text c3a9 undefined',
    'mix/bytes ff00 undefined',
    'mix/json 5b315d application/json',
  ]);
});

test('[WEB-6] a durable subscription goes on in the next page, with what was not acknowledged', async () => {
  const first = await connected();
  const options = { durable: 'd', from: 'earliest', ack: 'manual' } as const;
  const held: Message[] = [];
  await first.subscribe('jobs/#', (message) => held.push(message as Message), options);
  for (const job of ['1', '2', '3']) await native.publish('jobs/a', job, { qos: 1 });
  await eventually(() => held.length).toBe(3);
  held[0].ack();
  held[2].ack();
  await first.drain().catch(() => {}); // says that one is left
  const second = await connected();
  const seen: unknown[] = [];
  const subscription = await second.subscribe(
    'jobs/#',
    (message) => {
      seen.push([message.text(), message.redelivered]);
    },
    { durable: 'd' },
  );
  await native.publish('jobs/a', '4', { qos: 1 });
  await eventually(() => seen).toEqual([
    ['2', true],
    ['4', false],
  ]);
  await subscription.unsubscribe();
});

test('[WEB-7] pages ask and answer, each other and native clients', async () => {
  const page = await connected({ codec: jsonCodec() });
  await page.reply('double', ({ value }) => (value as number) * 2);
  await native.reply('triple', (request) => JSON.stringify(Number(request.text()) * 3));
  expect((await page.request('double', 4)).value).toBe(8);
  expect((await page.request('triple', 4)).json()).toBe(12);
  expect((await native.request('double', '5')).text()).toBe('10');
  await expect(page.request('nobody', 1)).rejects.toMatchObject({ code: 'ERR_JSP_NO_RESPONDERS' });
});

test('presence goes with the page that leaves, and a will is published for one that vanishes', async () => {
  const gone: string[] = [];
  await native.subscribe(['room/+', 'will'], ({ topic, payload }) => void gone.push(`${topic} ${payload}`));
  const page = await connected({ sessionExpiryMs: 0 });
  await page.publish('room/ann', 'here', { qos: 1, retain: true, owned: { graceMs: 0 } });
  await page.setWill({ topic: 'will', payload: 'vanished' });
  await eventually(() => gone).toEqual(['room/ann here']);
  page.destroy();
  await eventually(() => gone.slice(1).sort()).toEqual(['room/ann ', 'will vanished']);
});

test('a page that has had enough is told so: a filter, a topic and a session that are taken', async () => {
  const page = await connected({ session: 'taken' });
  await expect(page.subscribe('$inbox/of/another')).rejects.toMatchObject({
    code: expect.stringMatching(/^ERR_JSP_/),
  });
  const next = await connected({ session: 'taken' });
  expect(await page.closed).toMatchObject({ code: 'ERR_JSP_SESSION_TAKEN' });
  expect(next.state).toBe('online');
});

test('[WEB-3] where the broker asks who they are, pages say it, and do no more than they may', async () => {
  const key = makeApiKey('k1');
  const locked = await startBroker({
    identity: generateIdentity(),
    port: 0,
    auth: {
      keys: [
        {
          id: key.id,
          hash: key.hash,
          name: 'ann',
          rules: [{ allow: ['publish', 'subscribe'], topics: ['ann/#'] }],
        },
      ],
    },
  });
  const door = await startGateway({ broker: locked, port: 0, limits: NEVER_LATE });
  onTestFinished(async () => {
    await door.close();
    await locked.close();
  });
  const at = (options: WebClientOptions) => connected(options, door.url);
  await expect(at({})).rejects.toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
  await expect(at({ credentials: { apiKey: makeApiKey('k1').text } })).rejects.toMatchObject({
    code: 'ERR_JSP_NOT_AUTHORIZED',
  });
  const ann = await at({ credentials: async () => ({ apiKey: key.text }) });
  expect(await ann.publish('ann/x', '', { qos: 1 })).toMatchObject({ duplicate: false });
  await expect(ann.publish('bob/x', '', { qos: 1 })).rejects.toMatchObject({
    code: 'ERR_JSP_NOT_AUTHORIZED',
  });
  await expect(ann.subscribe('bob/#')).rejects.toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
  expect(ann.state).toBe('online');
});

async function connected(options: WebClientOptions = {}, url = gateway.url): Promise<WebClient> {
  const page = await connectClient(url, { WebSocket, ...options });
  onTestFinished(() => page.destroy());
  return page;
}

/** What is looked at again until it is so; on a busy machine that takes its time. */
function eventually<T>(look: () => T) {
  return expect.poll(look);
}
