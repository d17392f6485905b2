/** `/v1/topics/{topic}`: one message, published; and the last value of a topic. */

import { eventOfRequest } from '../cloud-events.ts';
import type { Exchange } from '../exchange.ts';
import { assertTopic, type PublishItem } from '../item.ts';
import { Problem } from '../problem.ts';
import { termsOfRequest } from '../publish-request.ts';
import type { Route } from '../router.ts';
import { published } from '../sending.ts';

export const topicRoute: Route = {
  path: '/v1/topics/',
  methods: { POST: publish, PUT: publish, DELETE: remove },
};

/** Publishes the body as it is. [GW-20] */
async function publish(exchange: Exchange): Promise<void> {
  const item = await itemOfRequest(exchange);
  const [outcome] = await published(exchange, [item]);
  if (outcome instanceof Problem) throw outcome;
  exchange.json(outcome.status, outcome.body);
}

/** Publishes the empty message that takes the last value away. [GW-28] */
async function remove(exchange: Exchange): Promise<void> {
  const { rest: topic } = exchange;
  assertTopic(topic);
  const [outcome] = await published(exchange, [
    { ...termsOfRequest(exchange), topic, payload: '', retain: true },
  ]);
  if (outcome instanceof Problem) throw outcome;
  exchange.json(outcome.status, outcome.body);
}

/** The message that a request with a topic in its path is. */
export async function itemOfRequest(exchange: Exchange): Promise<PublishItem> {
  const { rest: topic, state } = exchange;
  assertTopic(topic);
  exchange.assertPlainBody();
  const terms = termsOfRequest(exchange);
  const payload = await exchange.body(state.limits.payloadBytesMax);
  return eventOfRequest(exchange.request.headers, { ...terms, topic, payload });
}
