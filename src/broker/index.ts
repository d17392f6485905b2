export type { BrokerMetrics } from './core/output.ts';
export type { BrokerLimits } from './core/state.ts';
export { type Broker, type BrokerCloseOptions, type BrokerOptions, startBroker } from './server.ts';
