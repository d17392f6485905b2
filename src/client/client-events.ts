/** What a client tells its application: events, what the broker has to say, and figures. */

import type { JspError } from '../base/errors.ts';
import { type Notice, NoticeCode } from '../pubsub/session-commands.ts';
import type { Connection } from '../transport/connection.ts';
import type { BreakerState } from './breaker.ts';
import type { ClientState } from './life.ts';
import type { UnpublishedMessage } from './outbox.ts';
import type { ClientSubscriptionEvents } from './subscriptions.ts';

/** What a broker tells a client without having been asked. */
export interface ClientNotice {
  /** What it is about. */
  readonly about:
    | 'shuttingDown'
    | 'credentialsExpire'
    | 'revoked'
    | 'limited'
    | 'storeReadOnly'
    | 'notAuthorized';
  /** `shuttingDown` and `credentialsExpire`: in so many ms. `limited` and `notAuthorized`: so many messages. */
  readonly value: number;
  /** A filter, a topic, or the name of a limit: text of the broker. */
  readonly text: string;
}

/** Figures of a client. */
export interface ClientMetrics {
  readonly state: ClientState;
  /** Null: it has none. */
  readonly breaker: BreakerState | null;
  /** How often it was connected, and how often an attempt failed. */
  readonly connects: number;
  readonly failedAttempts: number;
  /** Published messages that the broker has not confirmed, wherever they are. */
  readonly unconfirmed: number;
  /** Bytes of them that were handed to the connection and have not left. */
  readonly queuedBytes: number;
  /** What it holds for the broker, of which `waiting` for a connection or room, and what it has dropped there. */
  readonly buffered: {
    readonly messages: number;
    readonly bytes: number;
    readonly waiting: number;
    readonly dropped: number;
    readonly expired: number;
  };
  /** Messages with QoS 1 that are stored, and that are not and will not be. */
  readonly acknowledged: number;
  readonly refused: number;
  /** Messages with QoS 0 of which nobody knows whether the broker has them: their connection ended. */
  readonly lost: number;
  readonly subscriptions: number;
  /** Requests that wait for their answer, and answers that came when nobody waited for them any more. */
  readonly requests: number;
  readonly lateAnswers: number;
  /** Those of the connection; null without one. */
  readonly connection: ReturnType<Connection['metrics']> | null;
}

export interface BrokerClientEvents extends ClientSubscriptionEvents {
  /** What is with the connection has changed, with the reason where there is one: why it is offline, or closed. */
  state: [state: ClientState, reason: JspError | null];
  /** The broker tells something that concerns the whole client, such as that it is about to go. */
  notice: [notice: ClientNotice];
  /** The broker did not take the will that it was told anew, on a later connection. */
  willRefused: [error: Error];
  /** After a publish that answered false: go on. */
  drain: [];
  /** The circuit breaker has opened, for this reason, tries whether it may close, or has closed. */
  breaker: [state: BreakerState, reason: JspError | null];
  /** A message that was taken did not get to the broker, for one with QoS 1 whoever awaits it or not. */
  unpublished: [message: UnpublishedMessage, error: JspError];
  /**
   * The client is over and does not come back; `error` is null when this side closed it, else a {@link JspError} with the `applicationCode` and `reason` of
   * a broker that closed it. `unconfirmed` is how many published messages the broker may not have.
   */
  close: [error: JspError | null, unconfirmed: number];
}

/** What a NOTICE means to the application; null for one that this client does not know. [BRK-47] */
export function clientNotice({ code, value, text }: Notice): ClientNotice | null {
  const about = NOTICES[code];
  return about === undefined ? null : { about, value, text };
}

const NOTICES: Readonly<Record<number, ClientNotice['about']>> = {
  [NoticeCode.SHUTTING_DOWN]: 'shuttingDown',
  [NoticeCode.CREDENTIALS_EXPIRE]: 'credentialsExpire',
  [NoticeCode.REVOKED]: 'revoked',
  [NoticeCode.LIMITED]: 'limited',
  [NoticeCode.STORE_READ_ONLY]: 'storeReadOnly',
  [NoticeCode.NOT_AUTHORIZED]: 'notAuthorized',
};
