/** Why a caller is let go, as he is told it: a code, the close code of a WebSocket, and whether coming back is of use. [GW-59] */

import type { JspError } from '../base/errors.ts';
import { ReasonCode, reasonCodeName } from '../pubsub/command.ts';

export interface Goodbye {
  readonly code: string;
  readonly message: string;
  /** Null: coming back is of no use. */
  readonly retryAfterMs: number | null;
  readonly closeCode: number;
}

/** Close codes of RFC 6455 and, from 4000 on, of spec/gateway.md. */
export const CloseCode = {
  UNSUPPORTED_DATA: 1003,
  INVALID_DATA: 1007,
  TOO_LARGE: 1009,
  INTERNAL_ERROR: 1011,
  RESTART: 1012,
  TRY_AGAIN: 1013,
  NOT_AUTHENTICATED: 4001,
  DENIED: 4003,
  STALLED: 4008,
  SESSION_TAKEN: 4009,
  EXPIRED: 4010,
} as const;

/**
 * What the end of a connection to the broker, or its refusal of a HELLO, means to the caller.
 *
 * @param isAboutCredentials - they were being looked at: what is wrong is them, not what they allow
 */
export function goodbyeOf(error: Error | null, isAboutCredentials: boolean): Goodbye {
  const { applicationCode, reason, message, code } = (error ?? {}) as Partial<JspError>;
  if (applicationCode === undefined) {
    // The broker is not there, or has gone without a word.
    const isOurs = code === undefined && error !== null;
    return isOurs
      ? goodbye(
          'INTERNAL_ERROR',
          'The gateway has failed at this; its log says more.',
          RETRY_MS,
          CloseCode.INTERNAL_ERROR,
        )
      : goodbye('BROKER_UNREACHABLE', message ?? 'The broker has gone.', RETRY_MS, CloseCode.RESTART);
  }
  const name = reasonCodeName(applicationCode);
  const why = reason === undefined || reason === '' || reason === name ? SENTENCES[applicationCode] : reason;
  const text = why ?? `The broker has closed: ${name}`;
  switch (applicationCode) {
    case ReasonCode.NOT_AUTHORIZED:
      return goodbye(name, text, null, isAboutCredentials ? CloseCode.NOT_AUTHENTICATED : CloseCode.DENIED);
    case ReasonCode.TOKEN_EXPIRED:
      return goodbye(name, text, 0, CloseCode.EXPIRED);
    case ReasonCode.SESSION_TAKEN:
      return goodbye(name, text, null, CloseCode.SESSION_TAKEN);
    case ReasonCode.SHUTTING_DOWN:
      return goodbye(name, text, RETRY_MS, CloseCode.RESTART);
    case ReasonCode.INTERNAL_ERROR:
      return goodbye(name, text, RETRY_MS, CloseCode.INTERNAL_ERROR);
    case ReasonCode.NO_ERROR:
      return goodbye('BROKER_UNREACHABLE', 'The broker has gone.', RETRY_MS, CloseCode.RESTART);
    default:
      return goodbye(name, text, RETRY_LATER_MS, CloseCode.TRY_AGAIN);
  }
}

export function goodbye(
  code: string,
  message: string,
  retryAfterMs: number | null,
  closeCode: number,
): Goodbye {
  return { code, message, retryAfterMs, closeCode };
}

/** The gateway goes. [GW-6] */
export function goodbyeOfGateway(): Goodbye {
  return goodbye('SHUTTING_DOWN', 'The gateway is going; come back in a while.', RETRY_MS, CloseCode.RESTART);
}

const SENTENCES: Readonly<Record<number, string>> = {
  [ReasonCode.NOT_AUTHORIZED]: 'The broker does not accept the credentials, or they do not allow this.',
  [ReasonCode.TOKEN_EXPIRED]: 'The credentials have expired; come back with new ones.',
  [ReasonCode.SESSION_TAKEN]: 'Another client has connected with the name of this session, and has it now.',
  [ReasonCode.SHUTTING_DOWN]: 'The broker is going; come back in a while.',
  [ReasonCode.INTERNAL_ERROR]: 'The broker has failed at this.',
  [ReasonCode.KICKED]: 'Whoever runs the broker has closed this connection; come back in a while.',
  [ReasonCode.MOVED]: 'The session is at another broker of the cluster now; come back.',
  [ReasonCode.LIMITED]: 'A bound of the broker for callers like this one is reached.',
};
/** Whose connection goes finds something else at its address soon: a request waits for longer where the broker drains (problem.ts). */
const RETRY_MS = 1_000;
const RETRY_LATER_MS = 5_000;
