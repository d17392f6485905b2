import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, type Snapshot, startBroker } from '../../../src/broker/index.ts';
import { type BrokerClient, connectClient, type Message } from '../../../src/client/index.ts';
import { generateIdentity } from '../../../src/index.ts';

let broker: Broker;
let operator: BrokerClient;

beforeAll(async () => {
  broker = await startBroker({ identity: generateIdentity(), port: 0 });
  operator = await connectClient(broker.url, { session: 'operator' });
});

afterAll(async () => {
  await operator.close();
  await broker.close();
});

async function ask(verb: string, request: object = {}) {
  const reply = await operator.request(`$sys/admin/${verb}`, JSON.stringify(request));
  return reply.json<Record<string, never>>();
}

describe('a broker that is asked by one of its clients [OPS-1]', () => {
  test('says what it is, who is connected and how good their link is', async () => {
    expect(await ask('status')).toMatchObject({
      state: 'ready',
      url: broker.url,
      pid: process.pid,
      version: '0.1.0',
    });
    const { items } = await ask('clients', { search: 'operator' });
    expect(items).toMatchObject([
      { session: 'operator', door: 'native', address: '127.0.0.1', kind: 'anonymous' },
    ]);
    const [{ link }] = items as { link: { rttMs: number; packetsReceived: number } }[];
    expect(link.rttMs).toBeGreaterThan(0);
    expect(link.packetsReceived).toBeGreaterThan(1);
  });

  test('refuses what it does not know with a status, which the client tells as an error', async () => {
    await expect(operator.request('$sys/admin/nonsense', '')).rejects.toMatchObject({
      code: 'ERR_JSP_REQUEST_FAILED',
      message: expect.stringContaining('404'),
    });
  });

  test('kicks a client, which comes back, and that is an event', async () => {
    const client = await connectClient(broker.url, { session: 'noisy' });
    const states: string[] = [];
    client.on('state', (state) => states.push(state));
    expect(await ask('kick', { session: 'noisy', reason: 'too loud' })).toEqual({ kicked: 1 });
    while (states.at(-1) !== 'online') await new Promise((resolve) => client.once('state', resolve));
    const { items } = await ask('events');
    expect(items).toContainEqual(
      expect.objectContaining({ what: 'kicked', detail: expect.stringContaining('too loud') }),
    );
    await client.close();
  });

  test('tells its figures to whoever subscribes to them [OPS-2]', async () => {
    const first = await new Promise<Message>((resolve, reject) => {
      operator.subscribe('$sys/feed', resolve).catch(reject);
    });
    const snapshot = first.json<Snapshot>();
    expect(snapshot).toMatchObject({ state: 'ready', clients: 1 });
    expect(broker.operations.snapshot().at).toBeGreaterThanOrEqual(snapshot.at);
    const { text } = await broker.operations.exposition();
    expect(text).toContain('jsp_clients 1\n');
  });
});
