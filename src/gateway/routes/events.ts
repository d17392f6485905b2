/** `GET /v1/events`: a subscription as server-sent events. [GW-60] */

import { OVERFLOW_NAMES } from '../../pubsub/command.ts';
import type { Exchange } from '../exchange.ts';
import { Problem } from '../problem.ts';
import type { Route } from '../router.ts';
import { EventStream } from '../sse.ts';
import {
  FILTERS_MAX,
  parsePosition,
  RequestFault,
  type SubscriptionRequest,
  subscriptionRequest,
} from '../ws-protocol.ts';

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
  const qos = whole('qos', query.get('qos'), 0, 1);
  try {
    const request = subscriptionRequest({
      filters,
      qos,
      since: qos === 0 ? undefined : isLost ? undefined : (last ?? query.get('since') ?? undefined),
      reset: oneOf('reset', query.get('reset'), ['new', 'earliest']),
      retained: oneOf('retained', query.get('retained'), ['send', 'ifNew', 'none']),
      overflow: oneOf('overflow', query.get('overflow'), OVERFLOW_NAMES),
      maxRate: whole('maxRate', query.get('maxRate'), 1, 0xffff_ffff),
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

function whole(name: string, text: string | null, low: number, high: number): number | undefined {
  if (text === null) return undefined;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (value < low || value > high) {
    throw new Problem('REQUEST_INVALID', `${name} must be a whole number from ${low} to ${high}.`);
  }
  return value;
}

function oneOf<const T extends string>(
  name: string,
  text: string | null,
  known: readonly T[],
): T | undefined {
  if (text === null) return undefined;
  const found = known.find((each) => each === text);
  if (found === undefined)
    throw new Problem('REQUEST_INVALID', `${name} must be one of ${known.join(', ')}.`);
  return found;
}

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
