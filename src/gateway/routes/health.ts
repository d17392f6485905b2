/**
 * `/healthz`, `/readyz` and `/metrics`: for whoever decides whether the process is to be started anew, whether it is to be sent callers, and for whoever keeps its figures. They
 * are answered however much there is to do, and say nothing of who calls or what is published.
 */

import type { Exchange } from '../exchange.ts';
import { Problem } from '../problem.ts';
import type { Route } from '../router.ts';

export const healthRoutes: readonly Route[] = [
  { path: '/healthz', methods: { GET: alive }, isWatch: true },
  { path: '/readyz', methods: { GET: ready }, isWatch: true },
  { path: '/metrics', methods: { GET: metrics }, isWatch: true },
];

/** [GW-5] it answers, so it lives */
function alive(exchange: Exchange): void {
  exchange.json(200, { status: 'alive' });
}

/** [GW-5] it takes callers, or says why not */
async function ready(exchange: Exchange): Promise<void> {
  const { backend, isDraining } = exchange.state;
  if (!isDraining) await backend.probe();
  const reasons = reasonsAgainst(exchange);
  const isReady = reasons.length === 0;
  const recovery = exchange.state.operations?.status().recovery ?? null;
  exchange.json(isReady ? 200 : 503, { status: isReady ? 'ready' : 'notReady', reasons, recovery });
}

/** Figures of the broker and its gateway, as Prometheus takes them. */
async function metrics(exchange: Exchange): Promise<void> {
  const { operations } = exchange.state;
  if (operations === undefined || operations === null) {
    throw new Problem('NOT_FOUND', 'The broker is elsewhere: its own gateway has its figures.');
  }
  const { contentType, text } = await operations.exposition();
  exchange.answer(200, contentType, text);
}

/** Why nobody should be sent here now, a sentence each. */
function reasonsAgainst({ state }: Exchange): readonly string[] {
  const reasons = [...(state.operations?.readiness().reasons ?? [])];
  if (state.isDraining) reasons.push('The gateway is going.');
  if (state.backend.failure !== null) reasons.push(`The broker cannot be reached: ${state.backend.failure}`);
  return reasons;
}
