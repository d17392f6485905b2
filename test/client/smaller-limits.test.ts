import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { type Broker, type BrokerOptions, startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, type BrokerClientOptions, connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { until } from './fake-broker.ts';

/** A broker that comes back and takes smaller messages than the one before: what is too large ends with an error of its own. */

const identity = generateIdentity();
const open: { close(): Promise<void> }[] = [];
const TOO_LARGE = { code: 'ERR_JSP_MESSAGE_TOO_LARGE' };
const LESS = 700;
const LONG = `${'long'.repeat(200)}/#`;

async function listen(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await startBroker({ identity, port: 0, ...options });
  open.push(broker);
  return broker;
}

/** A client that comes back soon. */
async function client(broker: Broker, options: BrokerClientOptions = {}): Promise<BrokerClient> {
  const connected = await connectClient(broker.url, {
    reconnect: { minMs: 10, maxMs: 100 },
    ...options,
  });
  open.push(connected);
  return connected;
}

/** The broker goes, the client notices, and does what it does; then there is another broker at the same address. */
async function replace(broker: Broker, ours: BrokerClient, meanwhile: () => void): Promise<Broker> {
  const { port } = broker;
  await broker.close();
  await until(() => ours.state === 'offline');
  meanwhile();
  return listen({ port, messageBytesMax: LESS });
}

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close().catch(() => {});
});

describe('a client whose broker comes back and takes smaller messages [CLT-42]', () => {
  test('has what is too large fail, each by itself, and publishes all else, in order', async () => {
    const broker = await listen();
    const ours = await client(broker, { session: 'ours' });
    const heard: string[] = [];
    await ours.subscribe('t', (message) => heard.push(message.text()));
    const unpublished: string[] = [];
    ours.on('unpublished', ({ topic, qos }, { code }) => unpublished.push(`${topic} ${qos} ${code}`));
    const states: string[] = [];
    ours.on('state', (state) => states.push(state));
    const receipts: Promise<unknown>[] = [];
    const publish = (text: string): void => {
      ours.publish('t', text);
      receipts.push(ours.publish('t', `${text}!`, { qos: 1 }));
    };
    const large = 'x'.repeat(LESS);
    await replace(broker, ours, () => {
      for (const text of ['1', large, '2', large, '3']) publish(text);
      for (const receipt of receipts) receipt.catch(() => {});
    });
    const outcomes = await Promise.allSettled(receipts);
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
    ]);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(TOO_LARGE);
    await ours.flush();
    await until(() => heard.length === 6);
    expect(heard.filter((text) => text.endsWith('!'))).toEqual(['1!', '2!', '3!']);
    expect(heard.filter((text) => !text.endsWith('!'))).toEqual(['1', '2', '3']);
    expect(unpublished.sort()).toEqual([
      ...['t 0 ERR_JSP_MESSAGE_TOO_LARGE', 't 0 ERR_JSP_MESSAGE_TOO_LARGE'],
      ...['t 1 ERR_JSP_MESSAGE_TOO_LARGE', 't 1 ERR_JSP_MESSAGE_TOO_LARGE'],
    ]);
    expect(states).toEqual(['offline', 'online']);
    expect(() => ours.publish('t', large)).toThrow(expect.objectContaining(TOO_LARGE));
  });

  test('ends a subscription whose SUBSCRIBE is too large, and has the others', async () => {
    const broker = await listen();
    const ours = await client(broker);
    const long = await ours.subscribe(LONG);
    const short = await ours.subscribe('short/#');
    await replace(broker, ours, () => {});
    expect(await long.closed).toMatchObject(TOO_LARGE);
    await until(() => ours.state === 'online');
    ours.publish('short/way', 'home');
    for await (const message of short) {
      expect(message.text()).toBe('home');
      break;
    }
    await expect(ours.subscribe(LONG)).rejects.toMatchObject(TOO_LARGE);
    expect(ours.state).toBe('online');
  });

  test('is over when even its HELLO is too large, and does not try for ever', async () => {
    const broker = await listen();
    const ours = await client(broker, { session: 'ours', credentials: { jwt: 'x'.repeat(LESS) } });
    const closed = once(ours, 'close');
    await replace(broker, ours, () => {});
    expect((await closed)[0]).toMatchObject(TOO_LARGE);
    expect(ours.state).toBe('closed');
  });
});
