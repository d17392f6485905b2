import type { Prng } from '../../../src/base/random.ts';
import { SECOND } from '../../../src/base/time.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  readonly loss: number;
  /** What the path carries from the first packet on, and from the middle of the transfer on. */
  readonly wide: number;
  readonly narrow: number;
  readonly messages: number;
  readonly way: 'there' | 'back' | 'both';
}

export const blackHole: InteropScenario<Plan> = {
  name: 'blackhole',
  shows:
    'a path that drops every packet over 1,100 bytes, or over 512, from the middle of a transfer on is found out within 5 s, and the transfer goes on; one that carries 512 from the first packet on will do [REC-43] [REC-46] [REC-51]',
  met: [
    'paths that became narrow',
    'paths of 512 bytes from the first packet on',
    'sizes given up',
    'sizes found again',
  ],
  planOf: (random: Prng) => {
    const isNarrowFirst = random.between(0, 4) === 0;
    return {
      delayMs: random.between(2, 100),
      loss: random.between(0, 2) / 100,
      wide: isNarrowFirst ? 512 : 1_500,
      narrow: isNarrowFirst ? 512 : random.between(0, 1) === 0 ? 1_100 : random.between(512, 1_190),
      messages: random.between(20, 40),
      way: (['there', 'back', 'both'] as const)[random.between(0, 2)],
    };
  },
  play: ({ delayMs, loss, wide, narrow, messages, way }, seed) => {
    const world = new InteropWorld(seed);
    const link = (mtu: number) => world.link('client', 'server', { delayMs, loss, mtu });
    link(wide);
    const config = { mtuMax: 1_452, heartbeatMisses: 10 };
    const server = world.server({ config });
    const client = world.client({ config: wide === 512 ? { ...config, mtu: 512 } : config });
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 20_000, 'the handshake');
    const transfer = world.transfer(connection, { streams: 2, messages, bytes: 2_000, way });
    const half = transfer.bytesExpected / 4_000;
    world.until(() => transfer.receivedMessages >= half, 60_000, `half of it: ${transfer.missing}`);
    link(narrow);
    world.until(() => transfer.isDone, 60_000, transfer.missing);
    if (transfer.longestGap > RECOVERY) world.fail(`nothing came for ${transfer.longestGap} us`);
    const [other] = server.connections;
    const kind = wide > narrow ? 'paths that became narrow' : 'paths of 512 bytes from the first packet on';
    world.totals.add(kind, 1);
    world.totals.add('sizes given up', connection.metrics().mtuFalls + other.metrics().mtuFalls);
    // Ten minutes later the path is as wide as ever, and what it carries is found again.
    link(1_500);
    world.run((REPROBE_AFTER / SECOND) * 1_000);
    // Losses of this path may look like another black hole: what falls for them is tried again by the next transfer. [REC-47]
    const isFound = () => connection.path.mtu > narrow && other.path.mtu > narrow;
    for (let time = 0; time < TRANSFERS_MAX && (time === 0 || !isFound()); time++) {
      const later = world.transfer(connection, { streams: 1, messages: 15, bytes: 2_000, way: 'both' });
      world.until(() => later.isDone, 60_000, later.missing);
    }
    for (const { path } of [connection, other]) {
      if (path.mtu <= narrow) world.fail(`packets stay at ${path.mtu} bytes on a path that is wide again`);
      world.totals.add('sizes found again', 1);
    }
    return world.end();
  },
};

const RECOVERY = 5 * SECOND;
/** Of 30 KB each way, until both sides have found the size again. */
const TRANSFERS_MAX = 3;
/** When a size that was given up is tried again. [REC-45] */
const REPROBE_AFTER = 610 * SECOND;
