import type { Prng } from '../../../src/base/random.ts';
import { SECOND } from '../../../src/base/time.ts';
import type { CongestionName } from '../../../src/protocol/congestion/controller.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly bitsPerSecond: number;
  readonly delayMs: number;
  readonly queueBytesMax: number;
  readonly congestion: CongestionName;
}

const CONTROLLERS: readonly CongestionName[] = ['cubic', 'newreno', 'bbr'];

export const goodput: InteropScenario<Plan> = {
  name: 'goodput',
  shows: 'a long transfer gets most of what its bottleneck carries, with each of the controllers [REC-31]',
  met: ['bytes', ...CONTROLLERS.map((name) => `worlds, ${name}`)],
  planOf: (random: Prng) => ({
    bitsPerSecond: random.between(2, 6) * 1_000_000,
    delayMs: random.between(5, 15),
    // One to three times what is under way in a round trip of the largest.
    queueBytesMax: random.between(75_000, 225_000),
    congestion: CONTROLLERS[random.below(3)],
  }),
  play: ({ bitsPerSecond, delayMs, queueBytesMax, congestion }, seed) => {
    const world = new InteropWorld(seed, { crypto: 'cheap' });
    world.link('client', 'server', { delayMs, bitsPerSecond, queueBytesMax });
    const server = world.server({ config: { congestion } });
    const client = world.client({ config: { congestion } });
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 10_000, 'the handshake');
    const begunAt = world.now;
    const way = seed % 2 === 0 ? 'there' : 'back';
    const transfer = world.transfer(connection, { streams: 1, messages: 26, bytes: 10_000, way });
    world.until(() => transfer.isDone, 60_000, transfer.missing);
    const share = (8 * transfer.bytesExpected * SECOND) / (transfer.doneAt - begunAt) / bitsPerSecond;
    if (share < SHARE_MIN)
      world.fail(`the transfer got ${(100 * share).toFixed(0)} % of what its bottleneck carries`);
    world.totals.add('bytes', transfer.bytesExpected);
    world.totals.add(`worlds, ${congestion}`, 1);
    return world.end();
  },
};

const SHARE_MIN = 0.7;
