/** All that a gateway serves by HTTP: a line for each. What takes a socket over is in gateway.ts. */

import type { Route } from '../router.ts';
import { healthRoutes } from './health.ts';
import { topicRoute } from './topics.ts';

export const ROUTES: readonly Route[] = [topicRoute, ...healthRoutes];
