import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../../src/broker/index.ts';
import { startGateway } from '../../src/gateway/index.ts';
import { generateIdentity } from '../../src/index.ts';
import type { GatewayPeer } from './peer.ts';

const ROLE = 'jsp-gateway';

/** This project's broker, in memory, with its gateway in the same process; publishes with QoS 1, subscriptions that can be resumed: the defaults. */
export const jsp: GatewayPeer = {
  name: 'jsp',
  async start() {
    const child = fork(fileURLToPath(import.meta.url), [ROLE]);
    const [port] = (await once(child, 'message')) as [number];
    return {
      host: '127.0.0.1',
      port,
      socketPath: '/v1/ws',
      subprotocol: 'jsp.v1.json',
      pids: [child.pid as number],
      async stop() {
        child.disconnect();
        await once(child, 'exit');
      },
    };
  },
  subscription: (topic) => JSON.stringify({ type: 'subscribe', id: 1, filters: [topic] }),
  isSubscribed: (text) => text.startsWith('{"type":"subscribed"'),
  isDelivery: (text) => text.startsWith('{"type":"message"'),
};

if (process.argv[2] === ROLE) {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  const gateway = await startGateway({ broker, port: 0 });
  process.on('disconnect', () => process.exit());
  process.send?.(gateway.port);
}
