/** The errors of an application whose request the broker refused, whose connection it closed, or whose subscription it gave up: each reason that calls for something else has a code of its own. */

import { JspError, type JspErrorCode } from '../base/errors.ts';
import { ReasonCode, reasonCodeName } from '../pubsub/command.ts';

/** The broker has answered REFUSED. */
export function refusedError(code: number, reason: string): JspError {
  const known = REFUSALS[code];
  const why = `The broker refused: ${reason} (${reasonCodeName(code)})`;
  return known === undefined
    ? new JspError('ERR_JSP_BROKER', why, { applicationCode: code, reason })
    : new JspError(known[0], `${why}: ${known[1]}`, { applicationCode: code, reason });
}

/** What the end of a connection means to the client of a broker. */
export function endError(error: JspError): JspError {
  const { applicationCode, reason } = error;
  const known = error.code === 'ERR_JSP_CLOSED_BY_PEER' ? ENDS[applicationCode ?? 0] : undefined;
  return known === undefined
    ? error
    : new JspError(known[0], known[1], { applicationCode, reason, cause: error });
}

/** What the broker refused a request for; null for any other error. */
export function refusalCode(error: unknown): number | null {
  const { code, applicationCode = null } = error as JspError;
  return code === 'ERR_JSP_STREAM_RESET' || code === 'ERR_JSP_CLOSED_BY_PEER' ? null : applicationCode;
}

/** What a reset of its stream means to a subscription. */
export function resetError(error: Error): Error {
  const { applicationCode = 0 } = error as JspError;
  const why =
    RESETS[applicationCode] ?? `The broker gave the subscription up (${reasonCodeName(applicationCode)})`;
  const code = applicationCode === ReasonCode.NOT_AUTHORIZED ? 'ERR_JSP_NOT_AUTHORIZED' : 'ERR_JSP_BROKER';
  return new JspError(code, why, { applicationCode, cause: error });
}

const ENDS: Readonly<Record<number, readonly [JspErrorCode, string]>> = {
  [ReasonCode.SESSION_TAKEN]: [
    'ERR_JSP_SESSION_TAKEN',
    'another client has connected with the name of this session, and has it now: give each client a session name of its own',
  ],
  [ReasonCode.NOT_AUTHORIZED]: [
    'ERR_JSP_NOT_AUTHORIZED',
    'the broker does not take this client, or does not any more: check the credentials, and what they allow',
  ],
  [ReasonCode.TOKEN_EXPIRED]: [
    'ERR_JSP_TOKEN_EXPIRED',
    'the credentials have expired: give credentials as a function, which is asked for new ones in time',
  ],
  [ReasonCode.KICKED]: ['ERR_JSP_KICKED', 'an operator of the broker has closed the connection'],
};
const REFUSALS: Readonly<Record<number, readonly [JspErrorCode, string]>> = {
  [ReasonCode.NOT_AUTHORIZED]: [
    'ERR_JSP_NOT_AUTHORIZED',
    'check the credentials, and what they allow this client',
  ],
  [ReasonCode.TOKEN_EXPIRED]: ['ERR_JSP_TOKEN_EXPIRED', 'get new ones'],
  [ReasonCode.STORE_FULL]: ['ERR_JSP_STORE_FULL', 'publish it later, or raise the bounds of the log'],
  [ReasonCode.STORE_FAILED]: ['ERR_JSP_STORE_FAILED', 'look at the log of the broker'],
  [ReasonCode.QUOTA]: ['ERR_JSP_QUOTA', 'hold less, or raise the bound at the broker'],
  [ReasonCode.TOO_LARGE]: ['ERR_JSP_MESSAGE_TOO_LARGE', 'split it, or raise the limit at the broker'],
  [ReasonCode.LIMITED]: ['ERR_JSP_LIMITED', 'try again later, or raise the limit at the broker'],
};
const RESETS: Partial<Record<number, string>> = {
  [ReasonCode.NOT_AUTHORIZED]:
    'The subscription is not allowed any more (NOT_AUTHORIZED): what this client may read was changed at the broker.',
  [ReasonCode.STALLED]:
    'The broker gave the subscription up: its messages were not read for so long that others waited for it (STALLED). Read on, choose a drop policy, or subscribe again.',
  [ReasonCode.TAKEN]:
    'Another subscriber has taken the durable name over (TAKEN): it has the messages from now on. Give each subscriber a name of its own, or let them share a group.',
};
