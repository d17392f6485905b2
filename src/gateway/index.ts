export { type Gateway, type GatewayCloseOptions, type GatewayMetrics, startGateway } from './gateway.ts';
export type { PreparedCertificate } from './listener.ts';
export { type MqttCloseOptions, type MqttDoor, type MqttMetrics, startMqtt } from './mqtt/door.ts';
export type { MqttLimitOptions } from './mqtt/limits.ts';
export type { MqttBroker, MqttOptions } from './mqtt/options.ts';
export type { GatewayLimits, GatewayOptions, GatewayTls } from './options.ts';
