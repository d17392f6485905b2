import { MILLISECOND } from '../../../src/base/time.ts';
import { EarlyData } from '../../../src/protocol/endpoint/index.ts';
import { ComingBack, type ComingBackPlan, comingBackPlan, FINDS } from './coming-back.ts';
import type { InteropScenario } from './scenario.ts';

interface Plan extends ComingBackPlan {
  /** Of each early message. */
  readonly bytes: number;
  readonly streams: number;
}

export const zeroRtt: InteropScenario<Plan> = {
  name: 'zerortt',
  shows:
    'what is marked as early data arrives with the first datagrams where the server takes it, and is sent again where it does not; either way once and in order, beside what waits for the handshake [HS-34] [HS-53] [HS-58]',
  met: [
    ...FINDS.map((finds) => `found ${finds}`),
    'early data accepted',
    'early data refused',
    'heard before the handshake was complete',
    'Retries',
    'lost',
  ],
  planOf: (random) => ({
    ...comingBackPlan(random),
    bytes: random.below(2) === 0 ? random.between(1, FITS_BYTES) : random.between(1, 2_000),
    streams: random.between(1, 3),
  }),
  play: (plan, seed) => {
    const back = new ComingBack(plan, seed);
    const { world, found } = back;
    const { streams, bytes, delayMs, jitterMs, loss } = plan;
    const since = world.now;
    const connection = back.connect(true);
    const early = world.transfer(connection, { streams, messages: 3, bytes, way: 'both', isEarly: true });
    const late = world.transfer(connection, { streams: 1, messages: 2, bytes: 1_000, way: 'both' });
    // What needs more than one datagram may overtake the hello, and is lost by that.
    const isWelcome = loss === 0 && plan.finds === 'the same' && !plan.asksToken && bytes <= FITS_BYTES;
    if (isWelcome) {
      // One way, and as long as the application takes to be called.
      world.until(() => early.receivedMessages > 0, delayMs + jitterMs + 2, 'the first early message');
      if (connection.lifecycle.isEstablished) world.fail('the handshake is complete already');
      if (late.receivedMessages > 0) world.fail('what was to wait did not');
      world.totals.add('heard before the handshake was complete', 1);
    }
    back.settle(connection, plan.finds !== 'another');
    world.until(() => early.isDone && late.isDone, 60_000, `${early.missing}; ${late.missing}`);
    const isAccepted = connection.handshake.earlyData === EarlyData.ACCEPTED;
    if (isWelcome && !isAccepted) world.fail('early data was not accepted');
    if (isAccepted && plan.finds !== 'the same') world.fail('early data was accepted by a stranger');
    if (isAccepted !== found.endpoint.counters.earlyDataAccepted > 0) world.fail('the sides do not agree');
    world.totals.add(`early data ${isAccepted ? 'accepted' : 'refused'}`, 1);
    world.totals.add(`found ${plan.finds}`, 1);
    world.totals.add('Retries', found.endpoint.counters.retriesSent);
    world.totals.add('ms to all that was early', (early.doneAt - since) / MILLISECOND);
    return world.end();
  },
};

/** Of a message that fits into a datagram with the hello. */
const FITS_BYTES = 400;
