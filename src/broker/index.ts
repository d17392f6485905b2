export type { BrokerMetrics } from './output.ts';
export { type Broker, type BrokerCloseOptions, type BrokerOptions, startBroker } from './server.ts';
export type { BrokerLimits } from './state.ts';
