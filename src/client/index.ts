export { BrokerClient, type BrokerClientOptions, type ClientConnection } from './broker-client.ts';
export type { Message } from './message.ts';
export type { MessageHandler, SubscribeOptions, Subscription } from './subscription.ts';
