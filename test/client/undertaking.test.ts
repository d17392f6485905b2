import { expect, onTestFinished, test } from 'vitest';
import type { BrokerClient } from '../../src/client/index.ts';
import { FakeBroker, settled } from './fake-broker.ts';

/** What rejects in this process and nobody holds. */
function unheld(): unknown[] {
  const found: unknown[] = [];
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', (error: { code?: string }) => found.push(error.code ?? error));
  onTestFinished(() => {
    process.removeAllListeners('unhandledRejection');
    for (const other of others) process.on('unhandledRejection', other);
  });
  return found;
}

/** Everything that a client can be asked, and nothing of it awaited. */
function askEverything(client: BrokerClient): void {
  void client.subscribe('a', () => {});
  void client.subscribe('b', { qos: 1 });
  void client.reply('c', () => '');
  void client.request('d', '');
  void client.publish('e', '', { qos: 1 });
  void client.setWill({ topic: 'f', payload: '' });
  void client.flush();
  void client.drained();
  void client.ping();
}

test.each([
  ['is destroyed', (client: BrokerClient) => client.destroy()],
  ['is closed at once', (client: BrokerClient) => void client.close({ timeoutMs: 0 })],
  ['drains and has no time for it', (client: BrokerClient) => void client.drain({ timeoutMs: 0 })],
])('nothing rejects unheld when a client %s that was asked everything [CLT-36]', async (_, end) => {
  const found = unheld();
  const { client } = await new FakeBroker().returningClient();
  const subscription = await client.subscribe('x', { qos: 1 });
  askEverything(client);
  void subscription.unsubscribe();
  end(client);
  askEverything(client);
  void client.close();
  void client.drain();
  await settled();
  expect(found).toEqual([]);
});

test('a subscription that is refused and a request that nobody answers are told to whoever waits or listens, and harm nobody else [CLT-36]', async () => {
  const found = unheld();
  const { client } = await new FakeBroker({ filtersPerClientMax: 0 }).clientAndConnection();
  const lost: unknown[] = [];
  client.on('lost', (_, error) => lost.push((error as { code?: string }).code));
  void client.subscribe('a');
  void client.request('nobody', '');
  await settled();
  expect([found, lost]).toEqual([[], ['ERR_JSP_BROKER']]);
  client.destroy();
});

test('a call that is wrong in itself is a mistake that is heard', async () => {
  const found = unheld();
  const { client } = await new FakeBroker().clientAndConnection();
  void client.subscribe('a/#/b');
  void client.reply('a/#/b', () => '');
  void client.request('+', '');
  void client.flush({ timeoutMs: 1 } as object);
  await settled();
  expect(found).toEqual([
    'ERR_JSP_FILTER_INVALID',
    'ERR_JSP_FILTER_INVALID',
    'ERR_JSP_TOPIC_INVALID',
    'ERR_JSP_OPTION_INVALID',
  ]);
  client.destroy();
});
