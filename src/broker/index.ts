export type { BrokerLimits } from './core.ts';
export type { BrokerMetrics } from './metrics.ts';
export { type Broker, type BrokerCloseOptions, type BrokerOptions, startBroker } from './server.ts';
