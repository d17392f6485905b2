/** What a broker is told of who may connect to it, and of what they may do: as the option `auth`, or as files. */

import { JspError } from '../../base/errors.ts';
import {
  anObject,
  checkOptions,
  number,
  type OptionCheck,
  type OptionTable,
  text,
  whole,
} from '../../base/options.ts';
import { SESSION_NAME_BYTES_MAX } from '../../pubsub/session-commands.ts';
import { filterFault } from '../../pubsub/topic.ts';
import type { ClientLimits } from '../core/access/principal.ts';

/** What a client can be allowed to do; `*` in a rule stands for all of them but `admin`, which has to be named. */
export const AUTH_ACTIONS = ['publish', 'subscribe', 'share', 'request', 'admin'] as const;
export type AuthAction = (typeof AUTH_ACTIONS)[number];

/** Allows, or denies, some actions on some topics. What no rule allows is denied, and a rule that denies wins over all that allow. [AUT-1] */
export interface AuthRule {
  /** What it allows. A rule has either this or `deny`. */
  readonly allow?: '*' | readonly AuthAction[] | undefined;
  /** What it denies. */
  readonly deny?: '*' | readonly AuthAction[] | undefined;
  /**
   * Filters of topics, in which `${client}` stands for the client's name and `${claim.x}` for the claim `x` of its token. A rule that is about `admin` alone needs none.
   */
  readonly topics?: readonly string[] | undefined;
  /** Where it is written, such as `jsp.toml:12`: `jsp auth explain` tells it. */
  readonly at?: string | undefined;
}

/** What somebody may do, whoever that is. */
export interface AuthGrant {
  /** Names of {@link AuthOptions.roles}, whose rules and limits it has as well. */
  readonly roles?: readonly string[] | undefined;
  /** Its own, beside those of its roles. */
  readonly rules?: readonly AuthRule[] | undefined;
  /** Before those of its roles. */
  readonly limits?: ClientLimits | undefined;
}

/** An API key, with a name, an expiry and a grant of its own. [AUT-7] Its text, `jspk_<id>_<secret>`, is with its owner alone. */
export interface KeyEntry extends AuthGrant {
  /** Up to 32 letters, digits and dashes, which the key's text has in it. */
  readonly id: string;
  /** `sha256:` and the SHA-256 of the key's text in hex. A key is 256 random bits, for which nothing slower is needed. */
  readonly hash: string;
  /** The client's name; default: the id. */
  readonly name?: string | undefined;
  /** From then on it is refused, and connections end: a date, or ms since 1970. Default: never. */
  readonly expires?: string | number | Date | undefined;
  /** The only session name that it may take. Default: any that no other name has. */
  readonly session?: string | undefined;
}

/** The key pair of a client, such as `jsp keygen --client` makes. */
export interface IdentityEntry extends AuthGrant {
  /** Of its public key, 43 characters of base64url. */
  readonly fingerprint: string;
  /** The client's name; default: the fingerprint. */
  readonly name?: string | undefined;
  /** From then on it is refused, and connections end: a date, or ms since 1970. Default: never. */
  readonly expires?: string | number | Date | undefined;
  /** The only session name that it may take. Default: any that no other name has. */
  readonly session?: string | undefined;
}

/** Tokens (JWT) of one issuer. Roles, rules and limits are those of all its tokens. */
export interface JwtOptions extends AuthGrant {
  /** The claim `iss` of its tokens. */
  readonly issuer: string;
  /** What the claim `aud` of its tokens has among others. */
  readonly audience: string | readonly string[];
  /** The only algorithms by which a token may be signed, such as `['ES256']`; what the token says of it counts for nothing else. */
  readonly algorithms: readonly string[];
  /** The issuer's public keys: a JWK set, the name of its file, or its URL (https, or http to this machine). */
  readonly jwks?: string | { readonly keys: readonly object[] } | undefined;
  /** In place of `jwks`, for HS256 and its like: a file with the secret that both sides have, at least 32 bytes. */
  readonly secretFile?: string | undefined;
  /** The claim that names the client. Default `sub`. */
  readonly nameClaim?: string | undefined;
  /** What stands before that name, so that the clients of two issuers are not taken for each other; with several issuers it has to be given. Default: nothing. */
  readonly namePrefix?: string | undefined;
  /** The claim with the names of roles: a list, or a text with blanks in between. Names that are no role of the broker count for nothing. Default `roles`. */
  readonly rolesClaim?: string | undefined;
  /** The claim with the only session name that the token may take. Default `jsp_session`. */
  readonly sessionClaim?: string | undefined;
  /** Clocks may differ by so much, in ms. Default 5,000; 0 to 3,600,000. */
  readonly clockToleranceMs?: number | undefined;
  /** A token counts for so long at most from when it was issued (`iat`), in ms. Default: until it expires. */
  readonly maxAgeMs?: number | undefined;
  /** Keys of a URL are asked for again after so long, in ms. Default 10 min. */
  readonly cacheMs?: number | undefined;
  /** A token of a key that is not known has them asked for no sooner than so long after the last time, in ms. Default 30 s. */
  readonly coolDownMs?: number | undefined;
}

/** A list of entries, or the file that has them: TOML, or JSON where its name ends so. */
export type Listed<T> = readonly T[] | { readonly file: string };

/**
 * Who may connect, and what they may do. A broker that has it lets nobody do anything that no rule allows. [AUT-1]
 */
export interface AuthOptions {
  /** Clients that say nothing of who they are. Default: they are refused. */
  readonly anonymous?: AuthGrant | undefined;
  /** API keys; of a file its tables `[[key]]`. */
  readonly keys?: Listed<KeyEntry> | undefined;
  /** Key pairs of clients; of a file its tables `[[identity]]`. */
  readonly identities?: Listed<IdentityEntry> | undefined;
  /** Tokens, by whom they may be issued. */
  readonly jwt?: JwtOptions | readonly JwtOptions[] | undefined;
  /** Rules and limits by name, for all of the above. */
  readonly roles?: Readonly<Record<string, AuthRole>> | undefined;
  /** Of whoever has none of its own. */
  readonly limits?: ClientLimits | undefined;
  /** Refused whatever else is said: ids of keys, fingerprints, ids of tokens (`jti`), names of clients; of a file its list `revoked`. */
  readonly revoked?: Listed<string> | undefined;
}

export type AuthRole = Omit<AuthGrant, 'roles'>;

/** Algorithms of tokens that are known; those of `HS` stand on a secret, the others on public keys. */
export const SECRET_ALGORITHMS: readonly string[] = ['HS256', 'HS384', 'HS512'];
export const KEY_ALGORITHMS: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

const AUTH_OPTIONS: OptionTable<AuthOptions> = {
  anonymous: anObject,
  keys: listed,
  identities: listed,
  jwt: anObject,
  roles: anObject,
  limits: anObject,
  revoked: listed,
};

export const CLIENT_LIMITS: OptionTable<ClientLimits> = {
  connections: whole(0, Number.MAX_SAFE_INTEGER),
  subscriptions: whole(0, Number.MAX_SAFE_INTEGER),
  publishesPerSecond: aRate,
  publishesBurst: number(1, Number.MAX_SAFE_INTEGER),
  bytesPerSecond: aRate,
  bytesBurst: number(1, Number.MAX_SAFE_INTEGER),
};

const AUTH_RULE: OptionTable<AuthRule> = {
  allow: actions,
  deny: actions,
  topics: listOf(aFilter, 'a list of filters'),
  at: text,
};

const AUTH_ROLE: OptionTable<AuthRole> = { rules: anObject, limits: anObject };

const AUTH_GRANT: OptionTable<AuthGrant> = {
  roles: listOf((each) => typeof each === 'string', 'a list of names of roles'),
  ...AUTH_ROLE,
};

const KEY_ENTRY: OptionTable<KeyEntry> = {
  ...AUTH_GRANT,
  id: matching(/^[A-Za-z0-9-]{1,32}$/, 'up to 32 letters, digits and dashes'),
  hash: matching(
    /^sha256:[0-9a-f]{64}$/,
    '"sha256:" and 64 digits of lower-case hex, as "jsp auth key" writes it',
  ),
  name: aName,
  expires: aTime,
  session: aName,
};

const IDENTITY_ENTRY: OptionTable<IdentityEntry> = {
  ...AUTH_GRANT,
  fingerprint: matching(
    /^[A-Za-z0-9_-]{43}$/,
    'a fingerprint of 43 characters, as "jsp keygen --client" prints it',
  ),
  name: aName,
  expires: aTime,
  session: aName,
};

const JWT_OPTIONS: OptionTable<JwtOptions> = {
  ...AUTH_GRANT,
  issuer: notEmpty,
  audience: (value) =>
    notEmpty(value) === null ||
    (Array.isArray(value) && value.length > 0 && value.every((each) => notEmpty(each) === null))
      ? null
      : 'a text, or a list of them',
  algorithms: (value) =>
    Array.isArray(value) && value.length > 0 && value.every(isAlgorithm)
      ? null
      : `a list of some of ${[...KEY_ALGORITHMS, ...SECRET_ALGORITHMS].join(', ')}`,
  jwks: (value) =>
    typeof value === 'string' || isKeySet(value) ? null : 'a file, a URL, or { keys: [...] }',
  secretFile: text,
  nameClaim: notEmpty,
  namePrefix: text,
  rolesClaim: notEmpty,
  sessionClaim: notEmpty,
  clockToleranceMs: number(0, 3_600_000),
  maxAgeMs: number(1, Number.MAX_SAFE_INTEGER),
  cacheMs: number(1_000, Number.MAX_SAFE_INTEGER),
  coolDownMs: number(1_000, Number.MAX_SAFE_INTEGER),
};

/**
 * Refuses what `auth` cannot be, with the place where it stands. [AUT-2] What stands in its files is looked at when they are read.
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID
 */
export function checkAuthOptions(options: AuthOptions): void {
  checkOptions('auth', options, AUTH_OPTIONS);
  const { anonymous, keys, identities, roles, limits, jwt, revoked } = options;
  if (anonymous !== undefined) {
    checkOptions('auth.anonymous', anonymous, AUTH_GRANT);
    checkGrant('auth.anonymous', anonymous);
  }
  for (const [name, role] of Object.entries(roles ?? {})) checkRole(`auth.roles.${name}`, role);
  if (limits !== undefined) checkOptions('auth.limits', limits, CLIENT_LIMITS);
  if (isList(keys)) for (const [i, entry] of keys.entries()) checkKeyEntry(`auth.keys[${i}]`, entry);
  if (isList(identities))
    for (const [i, entry] of identities.entries()) checkIdentityEntry(`auth.identities[${i}]`, entry);
  const wrong = isList(revoked) ? revoked.findIndex((each) => typeof each !== 'string') : -1;
  if (wrong >= 0) throw invalid(`auth.revoked[${wrong}] must be a text`); // it would revoke nobody
  const issuers = issuersOf(options);
  for (const [i, issuer] of issuers.entries())
    checkIssuer(isList(jwt) ? `auth.jwt[${i}]` : 'auth.jwt', issuer);
  if (issuers.length > 1 && issuers.some(({ namePrefix }) => namePrefix === undefined))
    throw invalid(
      'each of auth.jwt must have a namePrefix, for their clients could have the same names ("" where they are the same clients)',
    );
  if (new Set(issuers.map(({ issuer }) => issuer)).size < issuers.length)
    throw invalid('auth.jwt has an issuer twice');
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
function checkRole(where: string, role: AuthRole): void {
  checkOptions(where, role, AUTH_ROLE);
  checkGrant(where, role);
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkKeyEntry(where: string, entry: KeyEntry): void {
  checkOptions(where, entry, KEY_ENTRY);
  if (entry.id === undefined || entry.hash === undefined)
    throw invalid(`${where} must have an id and a hash`);
  checkGrant(where, entry);
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkIdentityEntry(where: string, entry: IdentityEntry): void {
  checkOptions(where, entry, IDENTITY_ENTRY);
  if (entry.fingerprint === undefined) throw invalid(`${where} must have a fingerprint`);
  checkGrant(where, entry);
}

/** The issuers of tokens, one or several. */
export function issuersOf({ jwt }: AuthOptions): readonly JwtOptions[] {
  if (jwt === undefined) return [];
  return isList(jwt) ? jwt : [jwt];
}

/** When an entry expires, in ms since 1970; 0: never. */
export function expiryOf({ expires }: { readonly expires?: string | number | Date | undefined }): number {
  return expires === undefined ? 0 : new Date(expires).getTime();
}

export function isList<T>(
  value: T | readonly T[] | { readonly file: string } | undefined,
): value is readonly T[] {
  return Array.isArray(value);
}

function checkIssuer(where: string, issuer: JwtOptions): void {
  checkOptions(where, issuer, JWT_OPTIONS);
  const { algorithms, jwks, secretFile } = issuer;
  if (issuer.issuer === undefined || issuer.audience === undefined || algorithms === undefined)
    throw invalid(
      `${where} must have issuer, audience and algorithms: a token of anybody, for anybody, proves nothing`,
    );
  if ((jwks === undefined) === (secretFile === undefined))
    throw invalid(`${where} must have either jwks or secretFile`);
  // Else a public key could be taken for a secret: whoever has it could sign.
  const fitting = jwks === undefined ? SECRET_ALGORITHMS : KEY_ALGORITHMS;
  const wrong = algorithms.find((each) => !fitting.includes(each));
  if (wrong !== undefined)
    throw invalid(`${where}: ${wrong} does not go with ${jwks === undefined ? 'secretFile' : 'jwks'}`);
  checkGrant(where, issuer);
}

function checkGrant(where: string, { rules, limits }: AuthGrant): void {
  if (limits !== undefined) checkOptions(`${where}.limits`, limits, CLIENT_LIMITS);
  if (rules === undefined) return;
  if (!Array.isArray(rules)) throw invalid(`${where}.rules must be a list`);
  for (const [i, rule] of rules.entries()) checkRule(`${where}.rules[${i}]`, rule);
}

function checkRule(where: string, rule: AuthRule): void {
  checkOptions(where, rule, AUTH_RULE);
  const { allow, deny, topics } = rule;
  if ((allow === undefined) === (deny === undefined))
    throw invalid(`${where} must have either allow or deny`);
  const named = allow ?? deny;
  const isAdminAlone = named !== '*' && named?.every((each) => each === 'admin');
  if (topics === undefined && !isAdminAlone) throw invalid(`${where} must have topics: ["#"] stands for all`);
}

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', message);
}

// ---- what values must be ----

function listed(value: unknown): string | null {
  if (Array.isArray(value)) return null;
  const isFile =
    typeof value === 'object' && value !== null && typeof (value as { file?: unknown }).file === 'string';
  return isFile && Object.keys(value).length === 1 ? null : 'a list, or { file }';
}

function actions(value: unknown): string | null {
  const isKnown = (each: unknown) => AUTH_ACTIONS.includes(each as AuthAction);
  const isRight = value === '*' || (Array.isArray(value) && value.length > 0 && value.every(isKnown));
  return isRight ? null : `"*", or a list of some of ${AUTH_ACTIONS.join(', ')}`;
}

function listOf(isRight: (each: unknown) => boolean, must: string): OptionCheck {
  return (value) => (Array.isArray(value) && value.every(isRight) ? null : must);
}

/** A filter of topics, in which placeholders may stand. A shared one is judged by the filter in it, and has no rules of its own. */
function aFilter(value: unknown): boolean {
  if (typeof value !== 'string' || value.startsWith('$share/')) return false;
  const filled = value.replace(PLACEHOLDER, 'x');
  return !filled.includes('${') && filterFault(filled) === null;
}

function matching(form: RegExp, must: string): OptionCheck {
  return (value) => (typeof value === 'string' && form.test(value) ? null : must);
}

/** At a rate of 0 what is published would wait for ever. */
function aRate(value: unknown): string | null {
  const isRate = typeof value === 'number' && value > 0 && value <= Number.MAX_SAFE_INTEGER;
  return isRate ? null : 'a number above 0: a rule that denies "publish" lets nobody publish';
}

function notEmpty(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? null : 'a text that is not empty';
}

function aName(value: unknown): string | null {
  const bytes = typeof value === 'string' ? Buffer.byteLength(value) : 0;
  const isName = bytes > 0 && bytes <= SESSION_NAME_BYTES_MAX && !/[\p{Cc}\p{Cs}]/u.test(value as string);
  return isName
    ? null
    : `1 to ${SESSION_NAME_BYTES_MAX} bytes of well-formed text without control characters`;
}

function aTime(value: unknown): string | null {
  const isTime = typeof value === 'string' || typeof value === 'number' || value instanceof Date;
  return isTime && Number.isFinite(new Date(value).getTime())
    ? null
    : 'a date, such as 2027-01-31, or ms since 1970';
}

function isAlgorithm(value: unknown): boolean {
  return KEY_ALGORITHMS.includes(value as string) || SECRET_ALGORITHMS.includes(value as string);
}

function isKeySet(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Array.isArray((value as { keys?: unknown }).keys);
}

/** What stands in a filter for something of the client. */
export const PLACEHOLDER = /\$\{(client|claim\.[^{}/+#$]+)\}/g;
