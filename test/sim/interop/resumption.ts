import { ComingBack, type ComingBackPlan, comingBackPlan, FINDS } from './coming-back.ts';
import type { InteropScenario } from './scenario.ts';

export const resumption: InteropScenario<ComingBackPlan> = {
  name: 'resumption',
  shows:
    'a client with a ticket is resumed by the server that gave it and by those that share its keys, each time with the ticket of the time before, and by another as if it had none [HS-33] [HS-55] [HS-58]',
  met: [...FINDS.map((finds) => `found ${finds}`), 'tickets taken', 'Retries', 'lost'],
  planOf: comingBackPlan,
  play: (plan, seed) => {
    const back = new ComingBack(plan, seed);
    const { world, found } = back;
    for (let time = 0; time < TIMES; time++) {
      const connection = back.connect(false);
      const transfer = world.transfer(connection, { streams: 2, messages: 2, bytes: 1_500, way: 'both' });
      // Who was resumed by another server has a ticket of that one then.
      back.settle(connection, time > 0 || plan.finds !== 'another');
      world.until(() => transfer.isDone, 60_000, transfer.missing);
      back.leave(connection);
    }
    const { ticketsAccepted, ticketsRefused } = found.endpoint.counters;
    if (ticketsAccepted + ticketsRefused < TIMES) world.fail('a ticket was not looked at');
    world.totals.add(`found ${plan.finds}`, 1);
    world.totals.add('tickets taken', ticketsAccepted);
    world.totals.add('Retries', found.endpoint.counters.retriesSent);
    return world.end();
  },
};

/** Each with the ticket that came the time before. */
const TIMES = 2;
