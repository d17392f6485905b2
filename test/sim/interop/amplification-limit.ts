import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly delayMs: number;
  readonly mtu: number;
  /** So long all is lost but the client's first flight: the server's answers, and what the client asks again. */
  readonly silentMs: number;
}

export const amplificationLimit: InteropScenario<Plan> = {
  name: 'amplificationlimit',
  shows:
    'a server whose answers are lost sends a client that it does not know three times what came from there and no more, and goes on when more comes [CON-4] [REC-16]',
  met: ['limits reached', 'server datagramsSent'],
  planOf: (random: Prng) => ({
    delayMs: random.between(2, 150),
    mtu: random.between(512, 1_200),
    silentMs: random.between(5_000, 60_000),
  }),
  play: ({ delayMs, mtu, silentMs }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs });
    const config = { handshakeTimeoutMs: 120_000, idleTimeoutMs: 120_000 };
    const server = world.server({ config });
    const client = world.client({ config: { ...config, mtu } });
    const begunAt = world.now;
    const isSilent = (): boolean => world.now < begunAt + silentMs * MILLISECOND;
    server.filter = (data) => (isSilent() ? [] : [data]);
    client.filter = (data) => (isSilent() && world.now > begunAt ? [] : [data]);
    const connection = client.connect(server);
    world.until(() => isComplete(connection), 120_000, 'the handshake');
    world.totals.add('limits reached', world.watch.reached);
    const transfer = world.transfer(connection, { streams: 1, messages: 4, bytes: 500, way: 'back' });
    world.until(() => transfer.isDone, 60_000, transfer.missing);
    return world.end();
  },
};
