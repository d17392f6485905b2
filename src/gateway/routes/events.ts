/** `GET /v1/events`: a subscription as server-sent events. [GW-60] */

import { OVERFLOW_NAMES } from '../../pubsub/command.ts';
import type { Exchange } from '../exchange.ts';
import { type Members, optionalOneOf, optionalWhole, RequestFault } from '../members.ts';
import { Problem } from '../problem.ts';
import type { Route } from '../router.ts';
import { EventStream } from '../sse.ts';
import {
  FILTERS_MAX,
  parsePosition,
  RESETS,
  RETAINED,
  type SubscriptionRequest,
  subscriptionRequest,
} from '../subscription-request.ts';

export const eventsRoute: Route = { path: '/v1/events', methods: { GET: events }, isLong: true };

async function events(exchange: Exchange): Promise<void> {
  const { request, isLost } = subscriptionOf(exchange);
  if (exchange.method === 'HEAD') {
    exchange.answer(200, 'text/event-stream', '');
    return;
  }
  await EventStream.open(exchange, request, isLost);
}

/** @returns `isLost`: it was to go on behind something that is no position */
function subscriptionOf(exchange: Exchange): { request: SubscriptionRequest; isLost: boolean } {
  const { query } = exchange;
  const filters = [...new Set([...query.getAll('filter'), ...query.getAll('filters')])];
  if (filters.length === 0 || filters.length > FILTERS_MAX) {
    throw new Problem(
      'REQUEST_INVALID',
      `Say what to subscribe to: filter=…, once or up to ${FILTERS_MAX} times.`,
    );
  }
  for (const name of query.keys()) {
    if (!PARAMETERS.includes(name)) {
      throw new Problem(
        'REQUEST_INVALID',
        `There is no parameter ${name}: those there are ${PARAMETERS.join(', ')}.`,
      );
    }
  }
  const last = exchange.header('last-event-id') || query.get('last_event_id') || null;
  // [GW-62] what this gateway has not said cannot be gone on behind
  const isLost = last !== null && parsePosition(last) === null;
  const said: Members = Object.fromEntries(PARAMETERS.map((name) => [name, saidIn(query, name)]));
  try {
    const qos = optionalWhole(said, 'qos', 0, 1);
    const request = subscriptionRequest({
      filters,
      qos,
      since: qos === 0 ? undefined : isLost ? undefined : (last ?? query.get('since') ?? undefined),
      reset: optionalOneOf(said, 'reset', RESETS),
      retained: optionalOneOf(said, 'retained', RETAINED),
      overflow: optionalOneOf(said, 'overflow', OVERFLOW_NAMES),
      maxRate: optionalWhole(said, 'maxRate', 1, 0xffff_ffff),
      ack: qos === 0 ? undefined : 'none',
    });
    return { request, isLost: isLost && qos !== 0 };
  } catch (error) {
    if (error instanceof RequestFault) {
      const code = error.code === 'FILTER_INVALID' ? error.code : 'REQUEST_INVALID';
      throw new Problem(code, `${error.message}.`);
    }
    throw error;
  }
}

/** As JSON would say it. */
function saidIn(query: URLSearchParams, name: string): string | number | null {
  const text = query.get(name);
  return text !== null && NUMBERS.has(name) && /^\d{1,10}$/.test(text) ? Number(text) : text;
}

const NUMBERS: ReadonlySet<string> = new Set(['qos', 'maxRate']);
const PARAMETERS = [
  'filter',
  'filters',
  'since',
  'last_event_id',
  'reset',
  'qos',
  'retained',
  'overflow',
  'maxRate',
];
