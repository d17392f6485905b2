import type { JspError } from '../../../src/base/errors.ts';
import type { Prng } from '../../../src/base/random.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  /** The server speaks the client's version after all. */
  readonly isSpoken: boolean;
  /** First datagrams of the client that seem to be of a version to come. */
  readonly strange: number;
}

export const versionNegotiation: InteropScenario<Plan> = {
  name: 'versionnegotiation',
  shows:
    'a server names its versions to who comes with another one; a client takes no notice where its own is among them, and where it is not gives up soon and says why [INV-5] [INV-6] [INV-7]',
  met: ['server versionPacketsSent', 'server droppedVersion', 'went on', 'gave up'],
  planOf: (random: Prng) => ({
    delayMs: random.between(2, 100),
    isSpoken: random.chance(0.5),
    strange: random.between(1, 3),
  }),
  play: ({ delayMs, isSpoken, strange }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs });
    const config = { handshakeTimeoutMs: 30_000, idleTimeoutMs: 60_000 };
    const server = world.server({ config });
    const client = world.client({ config });
    let sent = 0;
    client.filter = (data) => [!isSpoken || sent++ < strange ? withVersion(data, 1, 0x4a53_5039) : data];
    server.filter = (data) => [isSpoken ? data : withVersionsOf(data, 0x4a53_5039)];
    const connection = client.connect(server);
    if (isSpoken) {
      world.until(() => isComplete(connection), 30_000, 'the handshake');
      const transfer = world.transfer(connection, { streams: 1, messages: 1, bytes: 1_500, way: 'both' });
      world.until(() => transfer.isDone, 60_000, transfer.missing);
      world.totals.add('went on', 1);
      return world.end();
    }
    client.expects = ({ cause }) => (cause as JspError | undefined)?.code === 'ERR_JSP_VERSION_UNSUPPORTED';
    world.until(() => !connection.lifecycle.isOpen, 1_000 + 3 * delayMs, 'the end');
    world.totals.add('gave up', 1);
    return world.end();
  },
};

/** A long packet with another version. */
function withVersion(data: Uint8Array, at: number, version: number): Uint8Array {
  const changed = data.slice();
  new DataView(changed.buffer).setUint32(at, version);
  return changed;
}

/** A version packet that names this version in the place of each. */
function withVersionsOf(data: Uint8Array, version: number): Uint8Array {
  const isVersions = data[1] === 0 && data[2] === 0 && data[3] === 0 && data[4] === 0;
  if ((data[0] & 0x80) === 0 || !isVersions) return data;
  return withVersion(withVersion(data, data.length - 4, version), data.length - 8, version);
}
