import type { Prng } from '../../../src/base/random.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  readonly corrupt: number;
}

export const handshakeCorruption: InteropScenario<Plan> = {
  name: 'handshakecorruption',
  shows:
    'a handshake completes, and what is sent behind it arrives unchanged, over a path that damages three datagrams of ten: they are dropped, and nothing else comes of them [HS-20] [PKT-15]',
  met: ['damaged', 'packetsUnopened', 'server droppedUnopened', 'server droppedMalformed'],
  planOf: (random: Prng) => ({ delayMs: random.between(2, 100), corrupt: 0.3 }),
  play: ({ delayMs, corrupt }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs, corrupt });
    // A path that loses a third needs patience.
    const config = { handshakeTimeoutMs: 180_000, idleTimeoutMs: 180_000, heartbeatMisses: 100 };
    const server = world.server({ config });
    const client = world.client({ config });
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 180_000, 'the handshake');
    const transfer = world.transfer(connection, { streams: 2, messages: 2, bytes: 2_000, way: 'both' });
    world.until(() => transfer.isDone, 180_000, transfer.missing);
    world.totals.add('damaged', world.world.network.link('client', 'server').counters.corrupted);
    return world.end();
  },
};
