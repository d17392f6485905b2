import type { Prng } from '../../../src/base/random.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly loss: number;
}

export const retry: InteropScenario<Plan> = {
  name: 'retry',
  shows:
    'a server that asks everybody for a token keeps nothing before it has one; its client follows one Retry, over paths that lose, reorder and double, and is spared it the next time [HS-30] [HS-36] [HS-37]',
  met: ['server retriesSent', 'server tokensAccepted', 'lost', 'Retries that came more than once', 'spared'],
  planOf: (random: Prng) => ({
    delayMs: random.between(2, 100),
    jitterMs: random.between(0, 30),
    loss: random.below(3) / 10,
  }),
  play: ({ delayMs, jitterMs, loss }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs, jitterMs, loss, duplicate: 0.1 });
    const config = { handshakeTimeoutMs: 60_000, idleTimeoutMs: 60_000 };
    const server = world.server({ config, accept: { retry: { mode: 'always', epochMs: 0 } } });
    const client = world.client({ config });
    const tokens: Uint8Array[] = [];
    client.onEvent = (event) => {
      if (event.type === 'token') tokens.push(event.token);
    };
    const connection = client.connect(server);
    world.run(1);
    if (server.endpoint.counters.connectionsOpen > 0)
      world.fail('the server keeps something before the token');
    world.until(() => isComplete(connection), 60_000, 'the handshake');
    if (connection.ids.retrySourceId === null) world.fail('there was no Retry');
    if (server.endpoint.counters.retriesSent > 1) world.totals.add('Retries that came more than once', 1);
    const transfer = world.transfer(connection, { streams: 1, messages: 2, bytes: 1_500, way: 'both' });
    world.until(() => transfer.isDone && tokens.length > 0, 60_000, transfer.missing);
    world.totals.add('lost', world.world.network.link('client', 'server').counters.dropped);

    const next = client.connect(server, { token: tokens[0] });
    world.until(() => isComplete(next), 60_000, 'the second handshake');
    // The first of its packets may be lost or overtaken: then another has the token, which is good all the same.
    if (next.ids.retrySourceId === null) world.totals.add('spared', 1);
    return world.end();
  },
};
