import { expect, test } from 'vitest';
import { BrokerState } from '../../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';

test('a session without a name begins with its connection, and is forgotten with it', () => {
  const broker = new BrokerState({}, new MemoryStore(), () => {});
  const sessions = broker.sessions.all;
  const clients = [1, 2].map(() => broker.connect({ openableStreams: 0 }));
  expect([...sessions]).toEqual([...broker.clients.values()]);
  expect(sessions.size).toBe(2);
  for (const client of [...clients, ...clients]) broker.disconnect(client);
  expect([sessions.size, broker.clients.size]).toEqual([0, 0]);
});
