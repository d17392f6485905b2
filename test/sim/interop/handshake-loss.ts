import type { Prng } from '../../../src/base/random.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  readonly loss: number;
}

export const handshakeLoss: InteropScenario<Plan> = {
  name: 'handshakeloss',
  shows:
    'a handshake completes, and what is sent behind it arrives, over a path that loses three datagrams of ten [CON-36] [REC-5]',
  met: ['client datagramsSent', 'ptoCount', 'lost of the first flights', 'handshakes after a probe'],
  planOf: (random: Prng) => ({ delayMs: random.between(2, 100), loss: 0.3 }),
  play: ({ delayMs, loss }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs, loss });
    // A path that loses a third needs patience.
    const config = { handshakeTimeoutMs: 180_000, idleTimeoutMs: 180_000, heartbeatMisses: 100 };
    const server = world.server({ config });
    const client = world.client({ config });
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 180_000, 'the handshake');
    world.totals.add(
      'lost of the first flights',
      world.world.network.link('client', 'server').counters.dropped,
    );
    if (connection.counters.ptoCount > 0) world.totals.add('handshakes after a probe', 1);
    const transfer = world.transfer(connection, { streams: 1, messages: 1, bytes: 1_024, way: 'both' });
    world.until(() => transfer.isDone, 180_000, transfer.missing);
    return world.end();
  },
};
