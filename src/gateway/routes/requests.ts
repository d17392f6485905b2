/** `/v1/requests/{topic}`: a question, and the answer of whoever is subscribed. [GW-29] */

import { DeliveryClass } from '../../pubsub/properties.ts';
import { contentTypeOf, type Delivered, headersOf } from '../delivered.ts';
import type { Exchange } from '../exchange.ts';
import { withProperties } from '../item.ts';
import { once } from '../once.ts';
import { Problem } from '../problem.ts';
import { durationMs, termsOfRequest } from '../publish-request.ts';
import type { Route } from '../router.ts';
import { AS_DATA, itemOfRequest } from './topics.ts';

export const requestRoute: Route = { path: '/v1/requests/', methods: { POST: ask } };

async function ask(exchange: Exchange): Promise<void> {
  const timeoutMs = durationMs('timeout', exchange.term('timeout') ?? '5s');
  if (timeoutMs > TIMEOUT_MS_MAX) throw new Problem('REQUEST_INVALID', 'timeout must be at most 60s.');
  const { body, item } = await itemOfRequest(exchange, termsOfRequest(exchange, ['timeout']));
  // Acknowledged, so that it is known at once when nobody is there, or it is not allowed; and in no log, for who asked will not wait so long.
  const properties = { deliveryClass: DeliveryClass.RELIABLE, ...item.properties };
  await once(exchange, body, async () => {
    const asking = await exchange.state.sessions.askingOf(exchange.proof, exchange.address);
    // Who has a key may come back for the answer.
    const isForLater = exchange.header('idempotency-key') !== undefined;
    const whenGone = isForLater ? undefined : (cancel: () => void) => exchange.onClose(cancel);
    reply(exchange, await asking.ask(withProperties(item, properties), timeoutMs, whenGone));
  });
}

function reply(exchange: Exchange, answer: Delivered): void {
  const { status = 0 } = answer.properties;
  if (status >= FAILURE) {
    const detail = answer.payload.toString('utf8', 0, DETAIL_BYTES_MAX);
    throw new Problem('RESPONDER_FAILED', detail, { members: { responderStatus: status } });
  }
  exchange.answer(200, contentTypeOf(answer), answer.payload, { ...headersOf(answer), ...AS_DATA });
}

const TIMEOUT_MS_MAX = 60_000;
/** A status from here on is a failure; below it is what the responder means by it. */
const FAILURE = 400;
const DETAIL_BYTES_MAX = 4_096;
