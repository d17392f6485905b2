export { type Gateway, type GatewayCloseOptions, type GatewayMetrics, startGateway } from './gateway.ts';
export type { GatewayLimits, GatewayOptions, GatewayTls } from './options.ts';
