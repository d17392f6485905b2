export {
  type BrokerClient,
  type BrokerClientOptions,
  type ClientCloseOptions,
  type ClientConnection,
  connectClient,
  type WaitOptions,
} from './broker-client.ts';
export type { UnopenedMessage } from './compression.ts';
export type { PublishOptions } from './publishing.ts';
export type {
  Message,
  MessageHandler,
  MissedReason,
  SubscribeOptions,
  Subscription,
} from './subscription.ts';
