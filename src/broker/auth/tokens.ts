/**
 * Tokens (JWT, RFC 7519) of the issuers that a broker knows. Which keys and which algorithms count, its configuration says, by the issuer that the token names; nothing else that the token says of how it is
 * to be verified has any effect (RFC 8725). [AUT-8, AUT-9]
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  calculateJwkThumbprint,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  exportJWK,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import { JspError } from '../../base/errors.ts';
import { KeySet, type KeySetSurroundings } from './key-set.ts';
import type { JwtOptions } from './options.ts';
import { TokenRefused, TokenUndecided } from './token-refused.ts';

/** A token that is somebody's. */
export interface VerifiedToken {
  readonly issuer: Issuer;
  readonly claims: JWTPayload;
  /** Wall clock, ms. */
  readonly expiresAt: number;
  /** The key that signed it (RFC 7638), or the digest of a secret. */
  readonly key: string;
}

/** Who makes tokens, and how they are verified. */
export class Issuer {
  readonly options: JwtOptions;
  /** Where it stands among the options. */
  readonly where: string;
  readonly keys: KeySet | null;
  private readonly secret: Uint8Array | null;

  private constructor(where: string, options: JwtOptions, keys: KeySet | null, secret: Uint8Array | null) {
    this.where = where;
    this.options = options;
    this.keys = keys;
    this.secret = secret;
  }

  /** @throws {JspError} ERR_JSP_OPTION_INVALID */
  static async open(
    where: string,
    options: JwtOptions,
    around: KeySetSurroundings,
    before: KeySet | undefined,
  ): Promise<Issuer> {
    const { secretFile } = options;
    if (secretFile !== undefined)
      return new Issuer(where, options, null, readSecret(`${where}.secretFile`, secretFile));
    return new Issuer(where, options, await KeySet.open(where, options, around, before), null);
  }

  /** That key, or secret, still counts. */
  trusts(key: string): boolean {
    return this.keys?.has(key) ?? key === this.secretName;
  }

  /**
   * @throws {TokenRefused}
   * @throws {TokenUndecided}
   */
  async verify(token: string, wallMs: number): Promise<VerifiedToken> {
    const { issuer, audience, algorithms, clockToleranceMs = CLOCK_TOLERANCE_MS, maxAgeMs } = this.options;
    const options: JWTVerifyOptions = {
      issuer,
      audience: audience as string | string[],
      algorithms: [...algorithms],
      requiredClaims: ['exp'],
      clockTolerance: clockToleranceMs / 1_000,
      currentDate: new Date(wallMs),
      ...(maxAgeMs === undefined ? {} : { maxTokenAge: Math.ceil(maxAgeMs / 1_000) }),
    };
    try {
      const { payload, key } = await this.verifySignature(token, options);
      // Between clocks that differ a token may begin too early; when it ends is not for them to say.
      const lastsUntil = (payload.exp as number) * 1_000;
      const ageEnds = maxAgeMs === undefined ? lastsUntil : (payload.iat as number) * 1_000 + maxAgeMs;
      const expiresAt = Math.min(lastsUntil, ageEnds);
      if (expiresAt <= wallMs) throw new TokenRefused('The token has expired.', true);
      return { issuer: this, claims: payload, expiresAt, key };
    } catch (error) {
      throw refusalOf(error);
    }
  }

  private get secretName(): string | null {
    return this.secret === null ? null : createHash('sha256').update(this.secret).digest('base64url');
  }

  private async verifySignature(
    token: string,
    options: JWTVerifyOptions,
  ): Promise<{ payload: JWTPayload; key: string }> {
    if (this.secret !== null) {
      const { payload } = await jwtVerify(token, this.secret, options);
      return { payload, key: this.secretName as string };
    }
    const keys = this.keys as KeySet;
    if (keys.find === null && !(await keys.lookAgain())) throw new TokenUndecided();
    try {
      return await verifyWith(token, keys, options);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const since = keys.missedSince(decodeProtectedHeader(token).kid ?? '');
      if (await keys.lookAgain()) return await verifyWith(token, keys, options);
      // It may be a new one, and others have had the keys asked for just before it was there.
      throw keys.hasComeSince(since) ? error : new TokenUndecided();
    }
  }
}

/** Whose token it says it is, unverified; null of what is no token. */
export function issuerNamed(token: string): string | null {
  if (!TOKEN.test(token)) return null;
  try {
    const { typ, crit } = decodeProtectedHeader(token);
    // A token for another purpose, such as to log out, may have the same issuer and audience.
    const isAccess =
      typ === undefined || ACCESS_TYPES.includes(typ.toLowerCase().replace(/^application\//, ''));
    const { iss } = decodeJwt(token);
    return isAccess && crit === undefined && typeof iss === 'string' ? iss : null;
  } catch {
    return null;
  }
}

async function verifyWith(
  token: string,
  keys: KeySet,
  options: JWTVerifyOptions,
): Promise<{ payload: JWTPayload; key: string }> {
  const find = keys.find as JWTVerifyGetKey;
  try {
    const { payload, key } = await jwtVerify(token, find, options);
    return { payload, key: await nameOf(key) };
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    // It names none, and several could be meant.
    let tried = 0;
    for await (const key of error) {
      if (++tried > KEYS_TRIED_MAX) break;
      try {
        const { payload } = await jwtVerify(token, key, options);
        return { payload, key: await nameOf(key) };
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

async function nameOf(key: Parameters<typeof exportJWK>[0]): Promise<string> {
  return await calculateJwkThumbprint(await exportJWK(key));
}

function refusalOf(error: unknown): Error {
  if (error instanceof TokenRefused || error instanceof TokenUndecided) return error;
  if (error instanceof errors.JWTExpired) return new TokenRefused('The token has expired.', true);
  if (error instanceof errors.JWTClaimValidationFailed)
    return new TokenRefused(`The token's claim ${error.claim} is not as it has to be.`);
  if (error instanceof errors.JOSEAlgNotAllowed)
    return new TokenRefused('The token is signed by an algorithm that does not count here.');
  if (error instanceof errors.JWKSNoMatchingKey)
    return new TokenRefused('The token is of a key that is not known here.');
  if (error instanceof errors.JOSEError) return new TokenRefused('The signature of the token is not right.');
  return error as Error;
}

/**
 * The secret in a file, by which tokens are signed and verified.
 *
 * @param where - how the file is called in errors
 * @throws {JspError} ERR_JSP_OPTION_INVALID
 */
export function readSecret(where: string, path: string): Uint8Array {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new JspError('ERR_JSP_OPTION_INVALID', `${where}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  // What ends the line is an editor's.
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  if (end < SECRET_BYTES_MIN)
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `${where}: ${path} has ${end} bytes; a secret has at least ${SECRET_BYTES_MIN}, for shorter ones can be guessed`,
    );
  return new Uint8Array(bytes.subarray(0, end));
}

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const ACCESS_TYPES: readonly string[] = ['jwt', 'at+jwt'];
const CLOCK_TOLERANCE_MS = 5_000;
const SECRET_BYTES_MIN = 32;
const KEYS_TRIED_MAX = 8;
