import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../../src/broker/index.ts';
import { connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import type { BrokerPeer, RunningBroker, Store } from '../broker/peer.ts';

const BROKER_ROLE = 'jsp-broker';

const PEER: Pick<BrokerPeer, 'connect'> = {
  async connect(address) {
    const client = await connectClient(address);
    return {
      publish: (topic, payload) => void client.publish(topic, payload),
      publishStored: (topic, payload) => client.publish(topic, payload, { qos: 1 }),
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

/** This project's broker and client, with their defaults. */
export const jsp = peerWith(0, 'jsp');
/** The same with clients' connections in threads of their own. */
export const jspWorkers = [peerWith(1, 'jsp 1 worker'), peerWith(2, 'jsp 2 workers')];

function peerWith(workers: number, name: string): BrokerPeer {
  return { ...PEER, name, startBroker: (store) => startedBroker(workers, store) };
}

async function startedBroker(workers: number, store?: Store): Promise<RunningBroker> {
  const child = fork(fileURLToPath(import.meta.url), [
    BROKER_ROLE,
    `${workers}`,
    ...(store ? [store.directory] : []),
  ]);
  const [address] = (await once(child, 'message')) as [string];
  return {
    address,
    pid: child.pid as number,
    async stop() {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

if (process.argv[2] === BROKER_ROLE) {
  const broker = await startBroker({
    identity: generateIdentity(),
    port: 0,
    workers: Number(process.argv[3]),
    ...(process.argv[4] === undefined ? {} : { store: { directory: process.argv[4] } }),
  });
  process.on('disconnect', () => process.exit());
  process.send?.(broker.url);
}
