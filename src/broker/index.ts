export type { BrokerLimits } from './core.ts';
export type { BrokerMetrics } from './metrics.ts';
export { Broker, type BrokerOptions } from './server.ts';
