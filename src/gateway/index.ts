export { type Gateway, type GatewayCloseOptions, type GatewayMetrics, startGateway } from './gateway.ts';
export { type MqttCloseOptions, type MqttDoor, type MqttMetrics, startMqtt } from './mqtt/door.ts';
export type { MqttBroker, MqttLimitOptions, MqttOptions } from './mqtt/options.ts';
export type { GatewayLimits, GatewayOptions, GatewayTls } from './options.ts';
