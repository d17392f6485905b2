/** What a client and a gateway say to each other over WebSocket: texts of JSON (spec/gateway.md, GW-50). Members that somebody else chose are looked at before they are used. */

import { JspError, type JspErrorCode } from '../base/errors.ts';
import { refusedError } from '../client/refusal.ts';
import { ReasonCode } from '../pubsub/command.ts';

/** The subprotocol. */
export const PROTOCOL = 'jsp.v1.json';

/** A text of the gateway, parsed: an object with a `type`. */
export interface Frame {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** What is to be said, without its `id`. */
export interface Saying {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** Null: it is none, and the two do not speak the same protocol. */
export function frameOf(data: unknown): Frame | null {
  if (typeof data !== 'string') return null;
  try {
    const frame = JSON.parse(data) as Frame | null;
    return typeof frame === 'object' && frame !== null && typeof frame.type === 'string' ? frame : null;
  } catch {
    return null;
  }
}

export function textIn(frame: Frame, member: string): string {
  const value = frame[member];
  return typeof value === 'string' ? value : '';
}

/** A count, an offset, a time; null where there is none. */
export function countIn(frame: Frame, member: string): number | null {
  const value = frame[member];
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null;
}

/** What an `error`, `ended` or `goodbye` says, as an error of the application: with the number of its code as `applicationCode`, where it is one of the broker's. */
export function errorOf(frame: Frame): JspError {
  const name = textIn(frame, 'code');
  const reason = textIn(frame, 'message');
  const own = OWN_CODES[name];
  const code = (ReasonCode as Partial<Record<string, number>>)[name];
  if (own !== undefined) return new JspError(own, reason || name, { applicationCode: code, reason });
  if (code !== undefined) return refusedError(code, reason || name);
  return new JspError('ERR_JSP_BROKER', `The gateway refused: ${reason} (${name})`, { reason });
}

/** What the end of a connection means, that came with `goodbye`, or without one. */
export function endOf(goodbye: Frame | null, code: number, reason: string, wasOpen: boolean): JspError {
  if (goodbye !== null) return errorOf(goodbye);
  const name = CLOSES[code];
  if (name !== undefined) return errorOf({ type: 'goodbye', code: name, message: reason });
  if (wasOpen) {
    return new JspError(
      'ERR_JSP_CLOSED',
      `The connection to the gateway was lost (${reason || code}); the client comes back.`,
    );
  }
  return new JspError(
    'ERR_JSP_CONNECTION_REFUSED',
    'There is no connection to the gateway: is it there, and is this page of an origin that it allows?',
  );
}

/** Codes of answers that stand for something that the application tells apart. */
const OWN_CODES: Readonly<Record<string, JspErrorCode>> = {
  TIMEOUT: 'ERR_JSP_TIMEOUT',
  NO_RESPONDERS: 'ERR_JSP_NO_RESPONDERS',
  TOPIC_INVALID: 'ERR_JSP_TOPIC_INVALID',
  FILTER_INVALID: 'ERR_JSP_FILTER_INVALID',
  SESSION_TAKEN: 'ERR_JSP_SESSION_TAKEN',
  BAD_REQUEST: 'ERR_JSP_PROTOCOL',
};

/** Codes of close frames whose goodbye did not come. */
const CLOSES: Readonly<Record<number, string>> = {
  1003: 'BAD_REQUEST',
  1007: 'BAD_REQUEST',
  1009: 'TOO_LARGE',
  1012: 'SHUTTING_DOWN',
  4001: 'NOT_AUTHORIZED',
  4003: 'NOT_AUTHORIZED',
  4008: 'STALLED',
  4009: 'SESSION_TAKEN',
  4010: 'TOKEN_EXPIRED',
};
