/** `/v1/topics/{topic}`: one message, published. */

import { MILLISECOND } from '../../base/time.ts';
import { topicFault } from '../../pubsub/topic.ts';
import type { Exchange } from '../exchange.ts';
import { Problem } from '../problem.ts';
import {
  type Outcome,
  outcomeOf,
  type PublishTerms,
  publishCommand,
  termsOfRequest,
} from '../publish-request.ts';
import type { PendingPublish } from '../publishing.ts';
import type { Route } from '../router.ts';
import type { Session } from '../session.ts';

export const topicRoute: Route = { path: '/v1/topics/', methods: { POST: publish, PUT: publish } };

/** Publishes the body as it is. [GW-20] */
async function publish(exchange: Exchange): Promise<void> {
  const { rest: topic, state } = exchange;
  const fault = topicFault(topic);
  if (fault !== null) throw new Problem('TOPIC_INVALID', `The topic ${fault}.`);
  const terms = termsOfRequest(exchange);
  const payload = await exchange.body(state.limits.payloadBytesMax);
  const session = await exchange.session();
  const outcome = await published(exchange, session, publishCommand(topic, terms, payload), terms);
  if (outcome instanceof Problem) throw outcome;
  state.counters.published++;
  exchange.json(outcome.status, outcome.body);
}

/** Resolves with what has become of the message, at the latest when its time is over. */
function published(
  { state: { clock, limits } }: Exchange,
  session: Session,
  command: Buffer,
  terms: PublishTerms,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const onSettled = (settled: PendingPublish) => {
      clock.clearTimer(timer);
      resolve(outcomeOf(settled, terms, session));
    };
    const timer = clock.setTimer(clock.now() + limits.answerMs * MILLISECOND, () => {
      if (sent.withdraw()) return;
      resolve(new Problem('RESPONSE_TIMEOUT', 'The broker has not answered: it may have been published.'));
    });
    const sent = session.publish(command, onSettled, terms.priority);
  });
}
