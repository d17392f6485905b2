export type { TelemetryApi, TelemetrySpan } from '../pubsub/tracing.ts';
export type { BufferOptions, BufferPolicy } from './backlog.ts';
export type { BreakerOptions, BreakerState } from './breaker.ts';
export {
  type BrokerClient,
  connectClient,
  type WaitOptions,
} from './broker-client.ts';
export type { ClientMetrics, ClientNotice } from './client-events.ts';
export type { BrokerClientOptions } from './client-options.ts';
export type { ClientCloseOptions } from './closing.ts';
export { bytesCodec, type Codec, jsonCodec, textCodec } from './codec.ts';
export type { UnopenedMessage } from './compression.ts';
export type { Credentials, CredentialsSource } from './credentials.ts';
export { DrainError, type DrainOptions, type UnsettledMessage } from './draining.ts';
export type { ClientState, FirstConnect } from './life.ts';
export type { ClientConnection } from './link.ts';
export type {
  Message,
  MessageHandler,
  MessageProperties,
  NackOptions,
  Origin,
  RespondOptions,
} from './message.ts';
export type { UnpublishedMessage } from './outbox.ts';
export type { PublishOptions } from './publish-options.ts';
export type { UndecodableMessage } from './reading.ts';
export type { ReconnectOptions } from './reconnecting.ts';
export { ReplyError, type ReplyHandler, type ReplyOptions } from './replying.ts';
export type { RequestOptions } from './requests.ts';
export type { PublishReceipt } from './sequence.ts';
export type { StartPosition, SubscribeOptions } from './subscribe-options.ts';
export type { Gap, MissedReason, Resumed, Subscription, SubscriptionEvents } from './subscription.ts';
export type { Will } from './will.ts';
