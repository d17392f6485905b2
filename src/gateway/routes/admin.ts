/** `/v1/admin/{verb}`: what an operator asks the broker, in his own name; the broker decides whether he may. [GW-30] */

import type { AdminFault } from '../../broker/operations/snapshot.ts';
import type { Exchange } from '../exchange.ts';
import type { PublishItem } from '../item.ts';
import { Problem, type ProblemCode } from '../problem.ts';
import type { Route } from '../router.ts';

export const adminRoute: Route = { path: '/v1/admin/', methods: { GET: look, POST: act, DELETE: kick } };

/** Verbs that change nothing, with the query as their request. */
async function look(exchange: Exchange): Promise<void> {
  if (ACTIONS.has(exchange.rest)) {
    throw new Problem('METHOD_NOT_ALLOWED', 'This changes something: POST it.', {
      headers: { allow: 'POST' },
    });
  }
  const request: Record<string, string | number> = {};
  for (const [name, value] of exchange.query) {
    request[name] = NUMBERS.has(name) && /^\d{1,15}$/.test(value) ? Number(value) : value;
  }
  await administer(exchange, exchange.rest, JSON.stringify(request));
}

async function act(exchange: Exchange): Promise<void> {
  const body = await exchange.body(BODY_BYTES_MAX);
  await administer(exchange, exchange.rest, body.length === 0 ? '{}' : body);
}

/** `clients/{id}`, `sessions/{name}` */
async function kick(exchange: Exchange): Promise<void> {
  const [, list, name] = /^(clients|sessions)\/(.+)$/s.exec(exchange.rest) ?? [];
  if (list === undefined) throw new Problem('NOT_FOUND', 'What can go is clients/{id} and sessions/{name}.');
  if (list === 'clients' && !ID.test(name)) {
    throw new Problem(
      'REQUEST_INVALID',
      'A client is named by its id, a whole number; sessions/{name} goes by the name.',
    );
  }
  const request = list === 'clients' ? { client: Number(name) } : { session: name };
  await administer(exchange, 'kick', JSON.stringify(request));
}

async function administer(exchange: Exchange, verb: string, payload: Uint8Array | string): Promise<void> {
  if (!VERB.test(verb)) throw new Problem('NOT_FOUND', 'There is no such verb.');
  const asking = await exchange.state.sessions.askingOf(exchange.proof, exchange.address);
  const item: PublishItem = {
    ...{ topic: `$sys/admin/${verb}`, payload, qos: 1, retain: false, priority: 'system' },
    properties: { contentType: 'application/json' },
  };
  const { properties, payload: answer } = await asking.ask(item, ANSWER_MS_MAX);
  const { status = 200 } = properties;
  if (status < 400) {
    exchange.answer(status === 0 ? 200 : status, 'application/json', answer);
    return;
  }
  const { code, detail } = faultIn(answer);
  throw new Problem(CODES[code] ?? 'REQUEST_INVALID', detail, { members: { reason: code } });
}

function faultIn(answer: Buffer): AdminFault {
  try {
    return JSON.parse(answer.toString()) as AdminFault;
  } catch {
    return { code: 'BAD_REQUEST', detail: 'The broker refuses this.' };
  }
}

/** What `Number` reads beside it, such as 0x10 and 1e3, is the id of another. */
const ID = /^[1-9]\d{0,15}$/;
const VERB = /^[a-z][a-z-]{0,31}$/;
const ACTIONS: ReadonlySet<string> = new Set(['kick', 'redrive']);
/** Members of requests that are numbers. */
const NUMBERS: ReadonlySet<string> = new Set(['offset', 'limit', 'after', 'before', 'seconds', 'client']);
const CODES: Readonly<Record<string, ProblemCode>> = {
  NOT_FOUND: 'NOT_FOUND',
  UNKNOWN_VERB: 'NOT_FOUND',
  BAD_REQUEST: 'REQUEST_INVALID',
  NOT_AUTHORIZED: 'NOT_AUTHORIZED',
  BUSY: 'OVERLOADED',
};
const BODY_BYTES_MAX = 256 * 1024;
const ANSWER_MS_MAX = 15_000;
