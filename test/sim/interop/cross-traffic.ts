import type { Prng } from '../../../src/base/random.ts';
import { SECOND } from '../../../src/base/time.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly bitsPerSecond: number;
  readonly delayMs: number;
  readonly queueBytesMax: number;
  /** How much earlier the other one begins. */
  readonly aheadMs: number;
}

export const crossTraffic: InteropScenario<Plan> = {
  name: 'crosstraffic',
  shows:
    'two connections through one bottleneck both get their messages over, share it without starving each other, and together use most of it [REC-31]',
  met: ['bytes', 'dropped at the bottleneck'],
  planOf: (random: Prng) => ({
    bitsPerSecond: random.between(2, 6) * 1_000_000,
    delayMs: random.between(5, 15),
    queueBytesMax: random.between(40_000, 120_000),
    aheadMs: random.between(0, 200),
  }),
  play: ({ bitsPerSecond, delayMs, queueBytesMax, aheadMs }, seed) => {
    const world = new InteropWorld(seed, { crypto: 'cheap' });
    world.link('client', 'server', { delayMs, bitsPerSecond, queueBytesMax });
    const server = world.server();
    // Both on one host, so that their ways are one link.
    const clients = [world.client(), world.client({ port: 4578 })];
    const connections = clients.map((client) => client.connect(server));
    world.until(() => connections.every(isComplete), 10_000, 'the handshakes');
    const begunAt = world.now;
    const load = { streams: 1, messages: 16, bytes: 10_000, way: 'there' } as const;
    const other = world.transfer(connections[1], load);
    world.run(aheadMs);
    const ownAt = world.now;
    const own = world.transfer(connections[0], load);
    let meanwhile = -1;
    const areDone = (): boolean => {
      if (other.isDone && meanwhile < 0) meanwhile = own.receivedMessages / load.messages;
      return own.isDone && other.isDone;
    };
    world.until(areDone, 60_000, `${own.missing}; ${other.missing}`);
    const bits = 8 * (own.bytesExpected + other.bytesExpected);
    const lastAt = Math.max(own.doneAt, other.doneAt);
    const share = (bits * SECOND) / (lastAt - begunAt) / bitsPerSecond;
    if (share < SHARE_MIN) world.fail(`together they got ${(100 * share).toFixed(0)} % of the bottleneck`);
    // Alone it would take so long; beside another that has as much to send, not many times that.
    const alone = (8 * own.bytesExpected * SECOND) / bitsPerSecond;
    if (own.doneAt - ownAt > SLOWER_MAX * alone)
      world.fail(
        `beside the other the transfer took ${((own.doneAt - ownAt) / alone).toFixed(1)} times as long`,
      );
    world.totals.add('bytes', own.bytesExpected + other.bytesExpected);
    world.totals.add(
      'dropped at the bottleneck',
      world.world.network.link('client', 'server').counters.droppedQueue,
    );
    return world.end();
  },
};

const SHARE_MIN = 0.6;
const SLOWER_MAX = 4;
