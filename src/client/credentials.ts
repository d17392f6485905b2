/** How a client says who it is: with each connection, and again when what it said is about to be worth nothing. */

import { JspError } from '../base/errors.ts';
import { AuthMethod } from '../pubsub/session-commands.ts';

/** What proves to a broker who the client is. */
export type Credentials = { readonly apiKey: string } | { readonly jwt: string };

/**
 * Credentials, or a function that is asked for them before each attempt to connect, and in time before those that the broker has expire. `signal` fires when the
 * attempt is given up. What it throws, or rejects with, fails the attempt.
 */
export type CredentialsSource =
  | Credentials
  | ((signal: AbortSignal) => Credentials | null | Promise<Credentials | null>);

/** As a HELLO and a RENEW carry them. */
export interface EncodedCredentials {
  readonly method: AuthMethod;
  readonly credentials: Uint8Array;
}

/** The credentials that count now. */
export async function currentCredentials(
  source: CredentialsSource | undefined,
  signal: AbortSignal,
): Promise<EncodedCredentials> {
  const given = typeof source === 'function' ? await source(signal) : (source ?? null);
  if (given === null) return NONE;
  const [method, text] = 'jwt' in given ? [AuthMethod.JWT, given.jwt] : [AuthMethod.API_KEY, given.apiKey];
  if (typeof text !== 'string' || Buffer.byteLength(text) > CREDENTIALS_BYTES_MAX) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `credentials must be { apiKey } or { jwt }, with a string of at most ${CREDENTIALS_BYTES_MAX} bytes`,
    );
  }
  return { method, credentials: Buffer.from(text) };
}

/** What the option `credentials` may be. */
export function credentialsOption(value: unknown): string | null {
  if (typeof value === 'function') return null;
  const isObject = typeof value === 'object' && value !== null;
  return isObject && ('apiKey' in value || 'jwt' in value)
    ? null
    : '{ apiKey }, { jwt } or a function that answers one of them';
}

const NONE: EncodedCredentials = { method: AuthMethod.NONE, credentials: Buffer.alloc(0) };
const CREDENTIALS_BYTES_MAX = 8_192;
