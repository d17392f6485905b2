import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { InteropWorld, isComplete } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan {
  readonly rttMs: number;
  readonly bytes: number;
}

export const longRtt: InteropScenario<Plan> = {
  name: 'longrtt',
  shows:
    'a handshake over a long way takes one round trip, though it takes longer than a first probe timeout, and nothing that only was late counts as lost [REC-13]',
  met: ['hellos sent again'],
  planOf: (random: Prng) => ({ rttMs: random.between(1_200, 2_400), bytes: random.between(1_000, 20_000) }),
  play: ({ rttMs, bytes }, seed) => {
    const world = new InteropWorld(seed);
    world.link('client', 'server', { delayMs: rttMs / 2 });
    const server = world.server();
    const client = world.client();
    const connection = client.connect(server);
    world.until(() => isComplete(connection), rttMs + 10, 'the handshake, in one round trip,');
    // The hello once, and as often as probe timeouts of a second, doubled each time, pass before the answer.
    const flights = 1 + Math.ceil(Math.log2(rttMs / FIRST_PROBE_MS + 1));
    if (client.datagramsSent > flights * HELLO_DATAGRAMS)
      world.fail(`the client sent ${client.datagramsSent} datagrams before it had an answer`);
    world.totals.add('hellos sent again', client.datagramsSent - HELLO_DATAGRAMS);
    const begunAt = world.now;
    const transfer = world.transfer(connection, { streams: 1, messages: 1, bytes, way: 'both' });
    world.until(() => transfer.isDone, 60_000, transfer.missing);
    const trips = (transfer.doneAt - begunAt) / (rttMs * MILLISECOND);
    // There and back, and a round trip more each way for what does not fit the first window.
    if (trips > 4.1) world.fail(`${bytes} bytes there and back took ${trips} round trips`);
    for (const { counters } of [...client.connections, ...server.connections]) {
      const lost = counters.packetsLost - counters.packetsSpuriouslyLost;
      if (lost > 0) world.fail(`${lost} packets were declared lost on a path that loses none`);
    }
    return world.end();
  },
};

const FIRST_PROBE_MS = 1_000;
const HELLO_DATAGRAMS = 2;
