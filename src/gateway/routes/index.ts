/** All that a gateway serves by HTTP: a line for each. */

import { mqttUpgrade } from '../mqtt/websockets.ts';
import type { Route, Upgrade } from '../router.ts';
import { adminRoute } from './admin.ts';
import { bulkRoute } from './bulk.ts';
import { eventsRoute } from './events.ts';
import { healthRoutes } from './health.ts';
import { requestRoute } from './requests.ts';
import { topicRoute } from './topics.ts';
import { webSocketUpgrade } from './websocket.ts';

export const ROUTES: readonly Route[] = [
  topicRoute,
  bulkRoute,
  requestRoute,
  eventsRoute,
  adminRoute,
  ...healthRoutes,
];

/** What takes connections over, by path. */
export const UPGRADES: Readonly<Record<string, Upgrade>> = {
  '/v1/ws': webSocketUpgrade,
  '/mqtt': mqttUpgrade,
};
