/** `/v1/topics/{topic}`: one message, published. */

import { topicFault } from '../../pubsub/topic.ts';
import type { Exchange } from '../exchange.ts';
import { Problem } from '../problem.ts';
import { outcomeOf, publishCommand, termsOfRequest } from '../publish-request.ts';
import type { Route } from '../router.ts';

export const topicRoute: Route = { path: '/v1/topics/', methods: { POST: publish, PUT: publish } };

/** Publishes the body as it is. [GW-20] */
async function publish(exchange: Exchange): Promise<void> {
  const { rest: topic, state } = exchange;
  const fault = topicFault(topic);
  if (fault !== null) throw new Problem('TOPIC_INVALID', `The topic ${fault}.`);
  const terms = termsOfRequest(exchange);
  const payload = await exchange.body(state.limits.payloadBytesMax);
  const command = publishCommand(topic, terms, payload);
  const session = await exchange.session();
  const outcome = await new Promise<ReturnType<typeof outcomeOf>>((resolve) => {
    session.publish(command, (publish) => resolve(outcomeOf(publish, terms, session)), terms.priority);
  });
  if (outcome instanceof Problem) throw outcome;
  state.counters.published++;
  exchange.json(outcome.status, outcome.body);
}
