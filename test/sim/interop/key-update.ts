import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  /** Of each direction. */
  readonly loss: number;
  /** So much later a packet may come than one that was sent after it. */
  readonly jitterMs: number;
  /** Packets under one key; 0 leaves updates to the other side. */
  readonly clientPackets: number;
  readonly serverPackets: number;
  readonly messages: number;
}

export const keyUpdate: InteropScenario<Plan> = {
  name: 'keyupdate',
  shows:
    'keys that are updated every 100 packets, by either side or both, on a path that loses a fifth of the packets and changes their order, lose and double nothing [PKT-18] [PKT-27]',
  met: ['key updates', 'worlds in which both sides update', 'packets that came late'],
  planOf: (random: Prng) => {
    const who = random.between(0, 3);
    return {
      delayMs: random.between(2, 60),
      loss: 0.2,
      jitterMs: random.between(5, 60),
      clientPackets: who === 1 ? 0 : PACKETS,
      serverPackets: who === 0 ? 0 : PACKETS,
      messages: random.between(45, 75),
    };
  },
  play: ({ delayMs, loss, jitterMs, clientPackets, serverPackets, messages }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', {
      delayMs,
      loss,
      jitterMs,
      jitterReorders: true,
      reorder: 0.1,
      reorderHoldMs: jitterMs,
    });
    const patience = { handshakeTimeoutMs: 60_000, idleTimeoutMs: 120_000, heartbeatMisses: 10 };
    const updating = (packets: number) => ({
      ...patience,
      keyUpdate: { packets: packets || NEVER_PACKETS, ageMs: NEVER_MS },
    });
    const server = world.server({ config: updating(serverPackets) });
    const client = world.client({ config: updating(clientPackets) });
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 60_000, 'the handshake');
    const transfer = world.transfer(connection, { streams: 2, messages, bytes: 1_000, way: 'both' });
    world.until(() => transfer.isDone, 600_000, transfer.missing);
    const [other] = server.connections;
    for (const { counters, role } of [connection, other]) {
      const { keyUpdates, packetsSent, packetsUnopened } = counters;
      const isByWill = (role === 'client' ? clientPackets : serverPackets) > 0;
      // Of the packets between two updates some more go out before the first of them is acknowledged.
      if (isByWill && keyUpdates < packetsSent / (4 * PACKETS) - 1)
        world.fail(`the ${role} updated its keys ${keyUpdates} times in ${packetsSent} packets`);
      world.totals.add('key updates', keyUpdates);
      world.totals.add('packets too old for any key', packetsUnopened);
    }
    if (Math.abs(connection.counters.keyUpdates - other.counters.keyUpdates) > 1)
      world.fail('the sides are more than one generation apart');
    world.totals.add('worlds in which both sides update', clientPackets * serverPackets > 0 ? 1 : 0);
    const late = connection.counters.packetsReordered + other.counters.packetsReordered;
    world.totals.add('packets that came late', late);
    if (world.now > 600_000 * MILLISECOND) world.fail('it took too long');
    return world.end();
  },
};

const PACKETS = 100;
const NEVER_PACKETS = 2 ** 40;
const NEVER_MS = 2 ** 30;
