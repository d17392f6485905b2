import { afterEach, describe, expect, test } from 'vitest';
import { type BrokerReloadOptions, startBroker } from '../../src/broker/index.ts';
import { type BrokerClientOptions, connectClient } from '../../src/client/index.ts';
import { connect as connectTransport, type GoAwayNotice, generateIdentity } from '../../src/index.ts';

const open: { close(): Promise<void> }[] = [];

async function listen() {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  open.push(broker);
  return broker;
}

async function connect(url: string, options: BrokerClientOptions = {}) {
  const client = await connectClient(url, options);
  open.push({ close: async () => client.destroy() });
  return client;
}

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close().catch(() => {});
});

describe('a broker that runs', () => {
  test('goes by other limits, also for clients that were there before, and takes nothing from them [CFG-5]', async () => {
    const broker = await listen();
    const client = await connect(broker.url);
    await client.subscribe('a', () => {});
    await client.subscribe('b', () => {});
    await broker.reload({ filtersPerClientMax: 1, queueBytesTotalMax: 1_000_000 });
    expect(broker.metrics().queuedBytesMax).toBe(1_000_000);
    await expect(client.subscribe('c', () => {})).rejects.toMatchObject({ code: 'ERR_JSP_BROKER' });
    expect(broker.metrics()).toMatchObject({ clients: 1, subscriptions: 2 });
    await broker.reload({ filtersPerClientMax: 3 });
    await client.subscribe('c', () => {});
    expect(broker.metrics().queuedBytesMax).toBe(1_000_000); // what is not said stays
  });

  test('stays as it is where one of them is wrong, or cannot be changed [CFG-5]', async () => {
    const broker = await listen();
    const before = broker.metrics().queuedBytesMax;
    const wrong = { queueBytesTotalMax: 1_000_000, sessionsMax: -1 };
    await expect(broker.reload(wrong)).rejects.toThrow('sessionsMax must be');
    await expect(broker.reload({ routesMax: 8 } as BrokerReloadOptions)).rejects.toThrow(
      'no option "routesMax"',
    );
    (await broker.prepareReload({ queueBytesTotalMax: 1_000_000 })).drop();
    expect(broker.metrics().queuedBytesMax).toBe(before);
  });
});

describe('a broker that closes and hands its clients over [CFG-6]', () => {
  test('tells them where to go, and they go there with their subscriptions', async () => {
    const first = await listen();
    const second = await listen();
    const client = await connect(first.url);
    const subscription = await client.subscribe('t/#');
    const resumed = new Promise((resolve) => subscription.on('resumed', resolve));
    await first.close({ drainMs: 200, handOverTo: [second.url] });
    await resumed;
    expect(second.metrics()).toMatchObject({ clients: 1, subscriptions: 1 });
    const publisher = await connect(second.url);
    publisher.publish('t/1', 'x');
    for await (const { topic } of subscription) {
      expect(topic).toBe('t/1');
      break;
    }
  });

  test('tells also who speaks another protocol, and lets nobody in any more [BRK-35]', async () => {
    const first = await listen();
    const second = await listen();
    const stranger = await connectTransport(first.url);
    // What is far away holds the drain up.
    const far = await connect(first.url, { impairment: { seed: 1, outgoing: { delayMs: 150 } } });
    await far.subscribe('t', () => {});
    const publisher = await connect(first.url);
    for (let i = 0; i < 2_000; i++) publisher.publish('t', Buffer.alloc(1_000));
    await publisher.flush();
    const told = new Promise<GoAwayNotice>((resolve) => stranger.on('goaway', resolve));
    const closing = first.close({ drainMs: 3_000, handOverTo: [second.url] });
    const notice = await told;
    expect(notice.url).toBe(second.url);
    expect(notice.withinMs).toBeGreaterThan(1_000);
    await expect(connectTransport(first.url)).rejects.toMatchObject({ code: 'ERR_JSP_SERVER_CLOSING' });
    await closing;
    expect((await stranger.closed)?.reason).toBe('SHUTTING_DOWN');
  });

  test('takes nothing for a URL that proves nothing', async () => {
    const broker = await listen();
    expect(() => broker.close({ handOverTo: ['jsp://127.0.0.1:4577'] })).toThrow('handOverTo must be');
    const many = Array.from({ length: 17 }, () => broker.url);
    expect(() => broker.close({ handOverTo: many })).toThrow('handOverTo must be a list of at most 16');
  });
});
