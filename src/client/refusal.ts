/** The errors of an application whose request the broker refused, or whose connection it closed: each reason that calls for something else has a code of its own. */

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
  if (error.applicationCode !== ReasonCode.SESSION_TAKEN || error.code !== 'ERR_JSP_CLOSED_BY_PEER')
    return error;
  return new JspError(
    'ERR_JSP_SESSION_TAKEN',
    'another client has connected with the name of this session, and has it now: give each client a session name of its own',
    { applicationCode: error.applicationCode, reason: error.reason, cause: error },
  );
}

const REFUSALS: Readonly<Record<number, readonly [JspErrorCode, string]>> = {
  [ReasonCode.NOT_AUTHORIZED]: [
    'ERR_JSP_NOT_AUTHORIZED',
    'check the credentials, and what they allow this client',
  ],
  [ReasonCode.STORE_FULL]: ['ERR_JSP_STORE_FULL', 'publish it later, or raise the bounds of the log'],
  [ReasonCode.STORE_FAILED]: ['ERR_JSP_STORE_FAILED', 'look at the log of the broker'],
  [ReasonCode.QUOTA]: ['ERR_JSP_QUOTA', 'hold less, or raise the bound at the broker'],
  [ReasonCode.TOO_LARGE]: ['ERR_JSP_MESSAGE_TOO_LARGE', 'split it, or raise the limit at the broker'],
  [ReasonCode.LIMITED]: ['ERR_JSP_LIMITED', 'try again later, or raise the limit at the broker'],
};
