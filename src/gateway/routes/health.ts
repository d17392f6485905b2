/** `/healthz` and `/readyz`: for whoever decides whether the process is to be restarted, and whether it is to be sent callers. */

import type { Exchange } from '../exchange.ts';
import type { Route } from '../router.ts';

export const healthRoutes: readonly Route[] = [
  { path: '/healthz', methods: { GET: alive } },
  { path: '/readyz', methods: { GET: ready } },
];

/** [GW-5] it answers, so it lives */
function alive(exchange: Exchange): void {
  exchange.json(200, { status: 'alive' });
}

/** [GW-5] it takes callers, or it is going */
function ready(exchange: Exchange): void {
  const { isDraining } = exchange.state;
  exchange.json(isDraining ? 503 : 200, { status: isDraining ? 'draining' : 'ready' });
}
