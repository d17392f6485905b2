/**
 * Refuses requests that come when there is too much to do: first of all, before anything is made of them or known of who asks. What a refusal costs is not there for those who
 * are served, so that it is one write of what was made long before. [GW-7]
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { EXCESSES, type Excess } from './load.ts';
import { Problem } from './problem.ts';
import type { RouteTable } from './router.ts';
import type { GatewayState } from './state.ts';

/** Refuses it, if there is too much to do. False: it is to be served, which can still refuse it. */
export function refuseEarly(
  state: GatewayState,
  routes: RouteTable,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const { load } = state;
  const excess = load.excess();
  if (excess === null || state.isDraining || request.method === 'OPTIONS') return false;
  // A page cannot read an answer that does not allow it, which is for those who look closer to say.
  if (routes.isWatch(request.url ?? '/') || hasOrigin(request)) return false;
  const seconds = load.refuse(excess);
  state.counters.answered(503);
  response.writeHead(503, headersOf(excess, seconds));
  response.end(BODIES[excess], 'latin1');
  return true;
}

function hasOrigin({ rawHeaders }: IncomingMessage): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name.length === ORIGIN.length && name.toLowerCase() === ORIGIN) return true;
  }
  return false;
}

function headersOf(excess: Excess, seconds: number): string[] {
  return [
    'content-type',
    'application/problem+json',
    'content-length',
    LENGTHS[excess],
    'cache-control',
    'no-store',
    'retry-after',
    `${seconds}`,
  ];
}

const ORIGIN = 'origin';
/** ASCII, so that it goes out with its header as it is. */
const BODIES = Object.fromEntries(
  Object.entries(EXCESSES).map(([excess, why]) => [excess, JSON.stringify(new Problem('OVERLOADED', why))]),
) as Readonly<Record<Excess, string>>;
const LENGTHS = Object.fromEntries(
  Object.entries(BODIES).map(([excess, body]) => [excess, `${body.length}`]),
) as Readonly<Record<Excess, string>>;
