/** How a client says who it is: with each connection, and again when what it said is about to be worth nothing. */

import { JspError } from '../base/errors.ts';
import type { Identity } from '../protocol/crypto/index.ts';
import {
  CREDENTIALS_BYTES_MAX,
  encodeIdentityProof,
  encodeToken,
  IDENTITY_PROOF,
} from '../pubsub/credentials.ts';
import { AuthMethod } from '../pubsub/session-commands.ts';

/**
 * What proves to a broker who the client is: a key pair, of which the broker is shown that the client has it, on this connection; an API key; or a token, with the key pair
 * to which it is bound where it is. Keys and tokens go within the encrypted connection.
 */
export type Credentials =
  | { readonly identity: Identity }
  | { readonly apiKey: string }
  | { readonly jwt: string; readonly identity?: Identity | undefined };

/** A secret of the connection on which they are shown, as `Connection.exportKeyingMaterial` gives it; null where it has none. */
export type Exporter = (length: number, name: string, context: Uint8Array) => Uint8Array | null;

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

/** The credentials that count now, for the connection whose `exporter` that is. */
export async function currentCredentials(
  source: CredentialsSource | undefined,
  exporter: Exporter,
  signal: AbortSignal,
): Promise<EncodedCredentials> {
  const given = typeof source === 'function' ? await source(signal) : (source ?? null);
  if (given === null) return NONE;
  const fault = credentialsFault(given);
  if (fault !== null) throw new JspError('ERR_JSP_OPTION_INVALID', `credentials must be ${fault}`);
  if ('apiKey' in given) return { method: AuthMethod.API_KEY, credentials: Buffer.from(given.apiKey) };
  const proof = given.identity === undefined ? null : proofOf(given.identity, exporter);
  return 'jwt' in given
    ? { method: AuthMethod.JWT, credentials: encodeToken(given.jwt, proof) }
    : { method: AuthMethod.IDENTITY, credentials: proof as Uint8Array };
}

/** The identity that such credentials prove, where that is known before there is a connection: a transport that asks for one is shown it, too. */
export function identityOf(source: CredentialsSource | undefined): Identity | undefined {
  return typeof source === 'object' && 'identity' in source ? source.identity : undefined;
}

/** What the option `credentials` may be. */
export function credentialsOption(value: unknown): string | null {
  if (typeof value === 'function' || credentialsFault(value) === null) return null;
  return `${credentialsFault(value)}, or a function that answers one of them`;
}

/** It signs what only this connection has: nobody can show it on another one. [AUT-4] */
function proofOf(identity: Identity, exporter: Exporter): Uint8Array {
  const { publicKey } = identity;
  const exported = exporter(IDENTITY_PROOF.length, IDENTITY_PROOF.name, publicKey);
  if (exported === null) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      'an identity can only be proved on a connection of JetStreamProto: use an API key or a token here',
    );
  }
  return encodeIdentityProof({ publicKey, signature: identity.sign('broker client', exported) });
}

function credentialsFault(value: unknown): string | null {
  const { apiKey, jwt, identity } = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  const text = jwt ?? apiKey;
  const hasText = typeof text === 'string' && Buffer.byteLength(text) <= CREDENTIALS_BYTES_MAX;
  const hasIdentity = typeof (identity as Partial<Identity> | undefined)?.sign === 'function';
  const isOne = jwt === undefined || apiKey === undefined;
  const isRight =
    text === undefined
      ? hasIdentity
      : hasText && isOne && (identity === undefined || (hasIdentity && apiKey === undefined));
  return isRight
    ? null
    : `{ identity }, { apiKey } or { jwt }, with a text of at most ${CREDENTIALS_BYTES_MAX} bytes`;
}

const NONE: EncodedCredentials = { method: AuthMethod.NONE, credentials: Buffer.alloc(0) };
