/** Tokens as issuers make them, and as others try to. */

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type JWK, type JWTPayload, SignJWT } from 'jose';

export const ISSUER = 'https://id.example';
export const AUDIENCE = 'broker';

export interface SigningKey {
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The public half. */
  readonly jwk: JWK;
}

export function signingKey(alg: 'ES256' | 'RS256' | 'EdDSA', kid: string): SigningKey {
  const { privateKey, publicKey } =
    alg === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2_048 })
      : alg === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('ed25519');
  return {
    alg,
    privateKey,
    publicKey,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } as JWK,
  };
}

/** A token that is as it should be, but for what is said. */
export async function mint(
  key: { readonly alg: string; readonly privateKey: KeyObject | Uint8Array; readonly jwk?: JWK },
  claims: { readonly [claim: string]: unknown } = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return await new SignJWT({
    iss: ISSUER,
    aud: AUDIENCE,
    sub: 'bob',
    iat: now,
    exp: now + 600,
    ...claims,
  } as JWTPayload)
    .setProtectedHeader({
      alg: key.alg,
      ...(key.jwk?.kid === undefined ? {} : { kid: key.jwk.kid }),
      ...header,
    })
    .sign(key.privateKey);
}

/** A token put together from its parts, with whatever signature. */
export function forge(header: object, claims: object, signature: string | Uint8Array = ''): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part(header)}.${part(claims)}.${typeof signature === 'string' ? signature : Buffer.from(signature).toString('base64url')}`;
}

export function claimsNow(claims: object = {}): object {
  const now = Math.floor(Date.now() / 1_000);
  return {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: 'mallory',
    roles: ['admin'],
    iat: now,
    exp: now + 600,
    ...claims,
  };
}
