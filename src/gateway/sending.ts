/** Messages on their way to the broker, for callers who wait for what becomes of them. */

import { MILLISECOND } from '../base/time.ts';
import type { Exchange } from './exchange.ts';
import { type PublishItem, publishCommand } from './item.ts';
import { Problem } from './problem.ts';
import { type Outcome, outcomeOf } from './publish-request.ts';
import type { PendingPublish } from './publishing.ts';

/**
 * Publishes what a request has brought, in its caller's name. Resolves with what became of each, when that is known of all, or when the time for it is over. [GW-22]
 *
 * @throws {Problem} what the caller is refused for
 */
export async function published(exchange: Exchange, items: readonly PublishItem[]): Promise<Outcome[]> {
  const { clock, limits, counters } = exchange.state;
  const commands = items.map(commandOrProblem);
  const found = exchange.session();
  const session = found instanceof Promise ? await found : found;
  return await new Promise((resolve) => {
    const outcomes: Outcome[] = new Array(items.length);
    const sent: (PendingPublish | undefined)[] = new Array(items.length);
    let left = items.length;
    const finish = (): void => {
      clock.clearTimer(timer);
      counters.published += outcomes.reduce((sum, each) => sum + (each instanceof Problem ? 0 : 1), 0);
      resolve(outcomes);
    };
    const timer = clock.setTimer(clock.now() + limits.answerMs * MILLISECOND, () => {
      for (const [i, publish] of sent.entries()) {
        if (publish === undefined || publish.withdraw() || outcomes[i] !== undefined) continue;
        outcomes[i] = new Problem(
          'RESPONSE_TIMEOUT',
          'The broker has not answered: it may have been published.',
        );
        if (--left === 0) finish();
      }
    });
    for (let i = 0; i < items.length; i++) {
      const { qos, priority } = items[i];
      const command = commands[i];
      if (command instanceof Problem) {
        outcomes[i] = command;
        if (--left === 0) finish();
        continue;
      }
      sent[i] = session.publish(
        command,
        (publish) => {
          if (outcomes[i] !== undefined) return; // its time was over
          outcomes[i] = outcomeOf(publish, qos, session);
          if (--left === 0) finish();
        },
        priority,
      );
    }
    if (items.length === 0) finish();
  });
}

/** What is wrong with one message is told of that one. */
function commandOrProblem(item: PublishItem): Buffer | Problem {
  try {
    return publishCommand(item);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}
