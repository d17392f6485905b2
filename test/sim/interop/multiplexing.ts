import type { Prng } from '../../../src/base/random.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly streams: number;
  readonly streamsMax: number;
  readonly bytes: number;
  readonly loss: number;
}

export const multiplexing: InteropScenario<Plan> = {
  name: 'multiplexing',
  shows:
    'dozens of short streams, of which only some may be open at once, all come to their end [STR-5] [FRM-13]',
  met: ['streams', 'worlds whose streams waited', 'packetsLost'],
  planOf: (random: Prng) => ({
    streams: random.between(20, 70),
    streamsMax: random.between(1, 25),
    bytes: random.between(0, 600),
    loss: random.chance(0.5) ? 0 : 0.02,
  }),
  play: ({ streams, streamsMax, bytes, loss }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs: 10, loss });
    const server = world.server({ config: { streamsMax } });
    const client = world.client();
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 20_000, 'the handshake');
    const transfer = world.transfer(connection, { streams, messages: 1, bytes, way: 'both' });
    let openMost = 0;
    const noteOpen = (): boolean => {
      for (const { streams: open } of server.connections) openMost = Math.max(openMost, open.size);
      return transfer.isDone;
    };
    world.until(noteOpen, 120_000, transfer.missing);
    if (openMost > streamsMax) world.fail(`${openMost} streams were open, where ${streamsMax} may be`);
    world.totals.add('streams', streams);
    if (openMost === streamsMax) world.totals.add('worlds whose streams waited', 1);
    return world.end();
  },
};
