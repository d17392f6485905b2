import { expect, test } from 'vitest';
import { BrokerState } from '../../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../../src/broker/core/store/store.ts';

test('a session without a name begins with its connection, and the store forgets it with that', () => {
  const store = new MemoryStore();
  const broker = new BrokerState({}, store, () => {});
  const clients = [1, 2].map(() => broker.connect({ openableStreams: 0 }));
  expect([...store.sessions]).toEqual([...broker.clients.values()]);
  expect(store.sessions.size).toBe(2);
  for (const client of [...clients, ...clients]) broker.disconnect(client);
  expect([store.sessions.size, broker.clients.size]).toEqual([0, 0]);
});
