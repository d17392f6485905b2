/** `/v1/topics/{topic}`: one message, published; and the last value of a topic. */

import { hash } from 'node:crypto';
import { eventOfRequest } from '../cloud-events.ts';
import { contentTypeOf, headersOf } from '../delivered.ts';
import type { Exchange } from '../exchange.ts';
import { assertTopic, itemOfTerms, type PublishItem, type PublishTerms } from '../item.ts';
import { named, once } from '../once.ts';
import { Problem } from '../problem.ts';
import { termsOfRequest } from '../publish-request.ts';
import type { Route } from '../router.ts';
import { published } from '../sending.ts';

export const topicRoute: Route = {
  path: '/v1/topics/',
  methods: { GET: last, POST: publish, PUT: publish, DELETE: remove },
};

/** Publishes the body as it is. [GW-20] */
async function publish(exchange: Exchange): Promise<void> {
  const terms = termsOfRequest(exchange);
  const { body, item } = await itemOfRequest(exchange, terms);
  return once(exchange, body, async (name) => {
    const [outcome] = await published(exchange, [named(item, name, 0)]);
    if (outcome instanceof Problem) throw outcome;
    exchange.answer(outcome.status, JSON_TYPE, `{${outcome.members}}`);
  });
}

/** Publishes the empty message that takes the last value away. [GW-28] */
async function remove(exchange: Exchange): Promise<void> {
  const { rest: topic } = exchange;
  assertTopic(topic);
  const { qos, priority, properties } = termsOfRequest(exchange);
  const removal: PublishItem = { topic, payload: '', qos, retain: true, priority, properties };
  const [outcome] = await published(exchange, [removal]);
  if (outcome instanceof Problem) throw outcome;
  exchange.answer(outcome.status, JSON_TYPE, `{${outcome.members}}`);
}

/** The last value of the topic. [GW-28] */
async function last(exchange: Exchange): Promise<void> {
  const { rest: topic, state } = exchange;
  assertTopic(topic);
  const values = await state.sessions.lastValuesOf(exchange.proof, exchange.address);
  const value = await values.of(topic);
  if (value === null)
    throw new Problem('NO_VALUE', 'Nothing was published to it with retain, or that is gone.');
  const contentType = contentTypeOf(value);
  const etag = `"${hash('sha256', Buffer.concat([Buffer.from(contentType), value.payload]), 'base64url').slice(0, 22)}"`;
  const headers = { ...headersOf(value), ...AS_DATA, etag, 'cache-control': 'no-cache' };
  if (isSame(exchange.header('if-none-match'), etag)) exchange.empty(304, headers);
  else exchange.answer(200, contentType, value.payload, headers);
}

/** The message that a request with a topic in its path is, and the body that it came in. */
export async function itemOfRequest(
  exchange: Exchange,
  terms: PublishTerms,
): Promise<{ body: Buffer; item: PublishItem }> {
  const { rest: topic, state } = exchange;
  assertTopic(topic);
  exchange.assertPlainBody();
  const body = await exchange.body(state.limits.payloadBytesMax);
  return { body, item: eventOfRequest(exchange.request.headers, itemOfTerms(terms, topic, body)) };
}

/** One of the tags that a caller has is that of the value. */
function isSame(known: string | undefined, etag: string): boolean {
  if (known === undefined) return false;
  return known.trim() === '*' || known.split(',').some((each) => each.trim().replace(/^W\//, '') === etag);
}

const JSON_TYPE = 'application/json';
/** What others have written is no page of ours, whatever they say that it is. */
export const AS_DATA = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; sandbox",
};
