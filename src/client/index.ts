export {
  type BrokerClient,
  type BrokerClientOptions,
  type ClientCloseOptions,
  type ClientNotice,
  connectClient,
  type WaitOptions,
} from './broker-client.ts';
export type { UnopenedMessage } from './compression.ts';
export type { Credentials, CredentialsSource } from './credentials.ts';
export type { ClientState, FirstConnect } from './life.ts';
export type { ClientConnection } from './link.ts';
export type { PublishOptions } from './publishing.ts';
export type { ReconnectOptions } from './reconnecting.ts';
export type {
  Message,
  MessageHandler,
  MissedReason,
  SubscribeOptions,
  Subscription,
} from './subscription.ts';
