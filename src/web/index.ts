/** The client for browsers. Built into one file, this is what a gateway serves as `/jsp.js`. [WEB-9] */

export { JspError, type JspErrorCode } from '../base/errors.ts';
export type { BufferOptions, BufferPolicy } from '../client/backlog.ts';
export type { BreakerOptions, BreakerState } from '../client/breaker.ts';
export type { ClientNotice } from '../client/client-events.ts';
export { DrainError, type DrainOptions, type UnsettledMessage } from '../client/draining.ts';
export type { ClientState, FirstConnect } from '../client/life.ts';
export type { NackOptions, RespondOptions } from '../client/message.ts';
export type { UnpublishedMessage } from '../client/outbox.ts';
export type { ReconnectOptions } from '../client/reconnecting.ts';
export { ReplyError } from '../client/replying.ts';
export type { PublishReceipt } from '../client/sequence.ts';
export type { Gap, MissedReason, Resumed } from '../client/subscription.ts';
export {
  connectClient,
  type ReplyHandler,
  type ReplyOptions,
  type WaitOptions,
  type WebClient,
  type WebClientEvents,
  type WebClientMetrics,
} from './client.ts';
export type { WebClientOptions } from './client-options.ts';
export type { CloseOptions } from './closing.ts';
export type { Credentials, CredentialsSource } from './dialing.ts';
export type { Message, MessageHandler } from './message.ts';
export { bytesCodec, type Codec, jsonCodec, textCodec } from './payload.ts';
export type { PublishOptions, Will } from './publish-options.ts';
export type { RequestOptions } from './requests.ts';
export type { StartPosition, SubscribeOptions } from './subscribe-options.ts';
export type { Subscription, SubscriptionEvents, UndecodableMessage } from './subscription.ts';
