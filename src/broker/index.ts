export type { BrokerLimits } from './core.ts';
export type { BrokerMetrics } from './metrics.ts';
export { Broker, type BrokerCloseOptions, type BrokerOptions } from './server.ts';
