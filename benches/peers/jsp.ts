import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../../src/broker/index.ts';
import { connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import type { BrokerPeer } from '../broker/peer.ts';

const BROKER_ROLE = 'jsp-broker';

/** This project's broker and client, with their defaults. */
export const jsp: BrokerPeer = {
  name: 'jsp',
  async startBroker() {
    const child = fork(fileURLToPath(import.meta.url), [BROKER_ROLE]);
    const [address] = (await once(child, 'message')) as [string];
    return {
      address,
      pid: child.pid as number,
      async stop() {
        child.disconnect();
        await once(child, 'exit');
      },
    };
  },
  async connect(address) {
    const client = await connectClient(address);
    return {
      publish: (topic, payload) => void client.publish(topic, payload),
      async flood(topic, payload) {
        for (;;) {
          while (client.publish(topic, payload));
          await client.drained();
        }
      },
      async subscribe(topic, onMessage) {
        await client.subscribe(topic, (message) => onMessage(message.payload));
      },
      async answer(topic) {
        await client.reply(topic, (request) => request.payload);
      },
      ask: (topic, payload) => client.request(topic, payload),
      flush: () => client.flush(),
      close: () => client.close(),
    };
  },
};

if (process.argv[2] === BROKER_ROLE) {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  process.on('disconnect', () => process.exit());
  process.send?.(broker.url);
}
