/**
 * `/healthz` and `/readyz`: for whoever decides whether the process is to be started anew, and whether it is to be sent callers. They are answered however much there
 * is to do, and say nothing that a stranger should not know.
 */

import type { Exchange } from '../exchange.ts';
import type { Route } from '../router.ts';

export const healthRoutes: readonly Route[] = [
  { path: '/healthz', methods: { GET: alive }, isWatch: true },
  { path: '/readyz', methods: { GET: ready }, isWatch: true },
];

/** [GW-5] it answers, so it lives */
function alive(exchange: Exchange): void {
  exchange.json(200, { status: 'alive' });
}

/** [GW-5] it takes callers, or says why not */
function ready(exchange: Exchange): void {
  const reasons = reasonsAgainst(exchange);
  const isReady = reasons.length === 0;
  exchange.json(isReady ? 200 : 503, { status: isReady ? 'ready' : 'notReady', reasons });
}

/** Why nobody should be sent here now, a sentence each. */
function reasonsAgainst({ state }: Exchange): string[] {
  const reasons = state.isDraining ? ['The gateway is going.'] : [];
  if (state.backend.failure !== null) reasons.push(`The broker cannot be reached: ${state.backend.failure}`);
  return reasons;
}
