/**
 * Finds out who clients are, for the core, which asks and decides nothing of it: whose identity, key or token it is that a HELLO or RENEW brings, and what they may do then. [AUT-1]
 *
 * What it goes by is read when it is made and does not change: one that is told anew is another one, which takes the place of this when all of it is sound. So a broker never stands on half of what it was told. [AUT-2]
 */

import { createHash } from 'node:crypto';
import { ReasonCode } from '../../pubsub/command.ts';
import { decodeToken } from '../../pubsub/credentials.ts';
import type { ConnectionFacts } from '../../pubsub/message-stream.ts';
import { AuthMethod, SESSION_NAME_BYTES_MAX } from '../../pubsub/session-commands.ts';
import { type Clock, systemClock } from '../../udp/clock.ts';
import { Access } from '../core/access/access.ts';
import type {
  AuthDecision,
  AuthRequest,
  Principal,
  PrincipalId,
  PrincipalKind,
} from '../core/access/principal.ts';
import { ApiKeys } from './api-key.ts';
import { type AuthEntries, readEntries } from './files.ts';
import { type FilledRule, type Grantee, Grants } from './grants.ts';
import { type ProvedIdentity, provedIdentity } from './identity-proof.ts';
import { type AuthGrant, type AuthOptions, checkAuthOptions, expiryOf, issuersOf } from './options.ts';
import { TokenCache } from './token-cache.ts';
import { TokenRefused, TokenUndecided } from './token-refused.ts';
import type { Issuer, VerifiedToken } from './tokens.ts';

/** What it needs of the machine; a test has others. */
export interface AuthSurroundings {
  readonly clock?: Clock | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** Time of the wall clock, in ms since 1970. */
  readonly wallMs?: (() => number) | undefined;
}

/** Somebody, and what it was that made him known: enough to ask again whether he still is. */
export interface Known extends Principal {
  /** With everything filled in. */
  readonly rules: readonly FilledRule[];
  /** The hash of a key, or a token; null where the name of the identity is all. */
  readonly proof: string | VerifiedToken | null;
}

/** Whose token it says it is; null of what is no token, and where there are no issuers. */
type IssuerNamed = (token: string) => string | null;

export class Authenticator {
  /** Whom a client is that shows nothing; null: nobody. */
  readonly anonymous: Known | null;
  /** Called when somebody who was known may not be any more: keys of an issuer have changed. */
  onChange: () => void = () => {};
  /** Called when the keys of a URL cannot be had, and when they can again (null). */
  onTrouble: (url: string, reason: string | null) => void = () => {};
  private readonly entries: AuthEntries;
  private readonly grants: Grants;
  private readonly keys: ApiKeys;
  private readonly issuers: ReadonlyMap<string, Issuer>;
  private readonly issuerNamed: IssuerNamed;
  private readonly tokens = new TokenCache<VerifiedToken>();
  private readonly wallMs: () => number;
  /** Of entries and tokens, made when they are first asked for. */
  private readonly principals = new WeakMap<object, Known>();

  private constructor(
    options: AuthOptions,
    entries: AuthEntries,
    grants: Grants,
    issuers: readonly Issuer[],
    issuerNamed: IssuerNamed,
    wallMs: () => number,
  ) {
    this.entries = entries;
    this.grants = grants;
    this.keys = new ApiKeys(entries.keys);
    this.issuers = new Map(issuers.map((issuer) => [issuer.options.issuer, issuer]));
    this.issuerNamed = issuerNamed;
    this.wallMs = wallMs;
    const { anonymous } = options;
    this.anonymous = anonymous === undefined ? null : this.known('anonymous', '', '', anonymous, {});
    for (const issuer of issuers) {
      if (issuer.keys === null) continue;
      issuer.keys.onChange = () => {
        this.tokens.clear();
        this.onChange();
      };
      issuer.keys.onTrouble = (reason) => this.onTrouble(issuer.keys?.source ?? '', reason);
    }
  }

  /**
   * @param before - the one that is in use, whose keys from URLs are good until they come again
   * @throws {JspError} ERR_JSP_OPTION_INVALID
   */
  static async open(
    options: AuthOptions,
    surroundings: AuthSurroundings = {},
    before?: Authenticator | undefined,
  ): Promise<Authenticator> {
    checkAuthOptions(options);
    const entries = readEntries(options);
    const grants = new Grants(options.roles, options.limits);
    for (const [i, grant] of issuersOf(options).entries()) grants.checkRoles(`auth.jwt[${i}]`, grant);
    if (options.anonymous !== undefined) grants.checkRoles('auth.anonymous', options.anonymous);
    for (const [id, grant] of entries.keys) grants.checkRoles(`the key ${id}`, grant);
    for (const [fingerprint, grant] of entries.identities)
      grants.checkRoles(`the identity ${fingerprint}`, grant);
    const { wallMs = Date.now } = surroundings;
    const around = { clock: surroundings.clock ?? systemClock, fetch: surroundings.fetch ?? fetch };
    const issuers: Issuer[] = [];
    let issuerNamed: IssuerNamed = () => null;
    try {
      for (const [i, issuer] of issuersOf(options).entries()) {
        // Loaded when there are any: with its library it takes as long to load as a tenth of the broker.
        const tokens = await import('./tokens.ts');
        issuerNamed = tokens.issuerNamed;
        const old = [...(before?.issuers.values() ?? [])].find(
          ({ keys }) => keys !== null && keys.source === issuer.jwks,
        );
        issuers.push(await tokens.Issuer.open(`auth.jwt[${i}]`, issuer, around, old?.keys ?? undefined));
      }
    } catch (error) {
      for (const { keys } of issuers) keys?.close();
      throw error;
    }
    return new Authenticator(options, entries, grants, issuers, issuerNamed, wallMs);
  }

  /** URLs whose keys cannot be had now, and why. */
  get troubles(): [url: string, reason: string][] {
    return [...this.issuers.values()].flatMap(({ keys }) =>
      keys?.source != null && keys.trouble !== null ? [[keys.source, keys.trouble]] : [],
    );
  }

  /** Whose the credentials are. */
  async authenticate({ method, credentials, facts }: AuthRequest): Promise<AuthDecision> {
    switch (method) {
      case AuthMethod.NONE:
        return this.byConnection(facts);
      case AuthMethod.IDENTITY:
        return this.byIdentity(await provedIdentity(credentials, facts), facts.door === 'native');
      case AuthMethod.API_KEY:
        return this.byKey(Buffer.from(credentials).toString('latin1'));
      case AuthMethod.JWT: {
        const { token, proof } = decodeToken(credentials);
        return await this.byToken(token, proof === null ? null : await provedIdentity(proof, facts));
      }
    }
  }

  /**
   * Whom somebody is now who was known before, also to one that was told otherwise; null: nobody any more. [AUT-14]
   *
   * @param principal - or what is remembered of one who is away: it is by its name that it comes back, with another key perhaps
   */
  again(principal: Principal | PrincipalId): Principal | null {
    const isHere = 'proof' in principal;
    return (
      this.still(principal, isHere ? (principal as Known).proof : null) ??
      (isHere ? null : this.otherOf(principal))
    );
  }

  /** By the same key, identity or token. */
  private still(principal: Principal | PrincipalId, proof: Known['proof']): Principal | null {
    const { kind, id, name } = principal;
    if (this.isRevoked(id, name)) return null;
    switch (kind) {
      case 'anonymous':
        return this.anonymous;
      case 'identity':
        return this.ofIdentity(id);
      case 'apiKey': {
        const entry = this.entries.keys.get(id);
        // A key of the same id is another one when its text is another.
        return entry === undefined || (proof !== null && proof !== entry.hash) ? null : this.ofKey(id);
      }
      case 'jwt': {
        // Of one who is away nothing is known but the name: it shows a token when it comes back.
        if (proof === null || typeof proof === 'string')
          return this.issuers.size > 0 ? absent(principal) : null;
        const issuer = this.issuers.get(proof.issuer.options.issuer);
        if (!issuer?.trusts(proof.key)) return null;
        return issuer === proof.issuer ? (principal as Known) : this.stillOf({ ...proof, issuer });
      }
    }
  }

  /** Everything that is said of a key, an identity, or the anonymous: for explanations. Null: there is no such one. */
  byName(name: string): Known | null {
    for (const [id, { name: of = id }] of this.entries.keys) if (of === name) return this.ofKey(id);
    for (const [id, { name: of = id }] of this.entries.identities)
      if (of === name) return this.ofIdentity(id);
    return name === '' ? this.anonymous : null;
  }

  /** Somebody with a token of such claims, if there were one: for explanations. Null: there is no such issuer, or it names nobody. */
  withToken(
    issuer: string | undefined,
    name: string,
    claims: Readonly<Record<string, unknown>>,
  ): Known | null {
    const of = issuer === undefined ? [...this.issuers.values()][0] : this.issuers.get(issuer);
    if (of === undefined) return null;
    const { nameClaim = 'sub' } = of.options;
    const named = { ...claims, [nameClaim]: name };
    return this.stillOf({ issuer: of, claims: named, expiresAt: 0, key: '' });
  }

  close(): void {
    for (const { keys } of this.issuers.values()) keys?.close();
  }

  /** Who shows nothing here: the identity that the handshake proved, where that is known, else nobody in particular. [AUT-13] */
  private byConnection({ identity = null }: ConnectionFacts): AuthDecision {
    const principal = identity === null ? null : this.ofIdentity(identity);
    if (principal !== null) return this.decide(principal, `The identity ${identity} is not known here.`);
    return this.anonymous === null
      ? refused('This broker asks for credentials.')
      : { principal: this.anonymous };
  }

  private byIdentity(proved: ProvedIdentity | null, isNative: boolean): AuthDecision {
    if (proved === null) {
      return refused(
        isNative
          ? 'The proof of identity is not right.'
          : 'An identity can only be proved on a connection of JetStreamProto itself: use an API key or a token here.',
      );
    }
    return this.decide(
      this.ofIdentity(proved.fingerprint),
      `The identity ${proved.fingerprint} is not known here.`,
    );
  }

  private byKey(text: string): AuthDecision {
    const entry = this.keys.find(text);
    return this.decide(entry === null ? null : this.ofKey(entry.id), 'The API key is not valid here.');
  }

  private async byToken(token: string, proved: ProvedIdentity | null): Promise<AuthDecision> {
    const named = this.issuerNamed(token);
    const issuer = named === null ? undefined : this.issuers.get(named);
    if (issuer === undefined) return refused('The token is of no issuer that is known here.');
    try {
      const name = createHash('sha256').update(token).digest('base64url');
      const wallMs = this.wallMs();
      const verified = await this.tokens.get(name, wallMs, () => issuer.verify(token, wallMs));
      assertBound(verified, proved);
      return this.decide(this.ofToken(verified), 'The token has been revoked.');
    } catch (error) {
      if (error instanceof TokenUndecided)
        return { code: ReasonCode.BUSY, reason: 'The keys of the issuer are not there yet. Try again.' };
      if (!(error instanceof TokenRefused)) throw error;
      return {
        code: error.hasExpired ? ReasonCode.TOKEN_EXPIRED : ReasonCode.NOT_AUTHORIZED,
        reason: error.message,
      };
    }
  }

  private decide(principal: Known | null, otherwise: string): AuthDecision {
    if (principal === null || this.isRevoked(principal.id, principal.name)) return refused(otherwise);
    const { expiresAt } = principal;
    return expiresAt !== 0 && expiresAt <= this.wallMs()
      ? { code: ReasonCode.TOKEN_EXPIRED, reason: 'The credentials have expired.' }
      : { principal };
  }

  /** By another key, identity or token of its name. */
  private otherOf({ kind, id, name }: PrincipalId): Principal | null {
    const { keys, identities, revoked } = this.entries;
    if (kind === 'anonymous' || revoked.has(name)) return null;
    for (const [key, { name: of = key }] of keys)
      if (of === name && !revoked.has(key)) return this.ofKey(key);
    for (const [fingerprint, { name: of = fingerprint }] of identities)
      if (of === name && !revoked.has(fingerprint)) return this.ofIdentity(fingerprint);
    return kind === 'jwt' && id !== name && this.issuers.size > 0 ? absent({ kind, id: '', name }) : null;
  }

  private isRevoked(id: string, name: string): boolean {
    const { revoked } = this.entries;
    return (id !== '' && revoked.has(id)) || (name !== '' && revoked.has(name));
  }

  private ofKey(id: string): Known | null {
    const entry = this.entries.keys.get(id);
    return entry === undefined
      ? null
      : this.once(entry, () => this.known('apiKey', id, entry.name ?? id, entry, { proof: entry.hash }));
  }

  private ofIdentity(fingerprint: string): Known | null {
    const entry = this.entries.identities.get(fingerprint);
    if (entry === undefined) return null;
    return this.once(entry, () => this.known('identity', fingerprint, entry.name ?? fingerprint, entry, {}));
  }

  /** @throws {TokenRefused} when it names nobody */
  private ofToken(token: VerifiedToken): Known {
    return this.once(token, () => {
      const { claims, expiresAt, issuer } = token;
      const {
        nameClaim = 'sub',
        namePrefix = '',
        rolesClaim = 'roles',
        sessionClaim = 'jsp_session',
      } = issuer.options;
      const name = `${namePrefix}${nameIn(claims, nameClaim)}`;
      const roles = namesIn(claims[rolesClaim]).filter((role) => this.grants.hasRole(role));
      const session = claims[sessionClaim];
      if (session !== undefined && typeof session !== 'string')
        throw new TokenRefused(`The token's claim ${sessionClaim} is not as it has to be.`);
      const id = typeof claims.jti === 'string' && claims.jti !== '' ? claims.jti : name;
      const more = { claims, roles, expiresAt, session, proof: token };
      return this.known('jwt', id, name, issuer.options, more);
    });
  }

  private stillOf(token: VerifiedToken): Known | null {
    try {
      return this.ofToken(token);
    } catch (error) {
      if (error instanceof TokenRefused) return null; // its claims do not name anybody any more
      throw error;
    }
  }

  private once(of: object, make: () => Known): Known {
    let known = this.principals.get(of);
    if (known === undefined) {
      known = make();
      this.principals.set(of, known);
    }
    return known;
  }

  private known(
    kind: PrincipalKind,
    id: string,
    name: string,
    grant: AuthGrant & {
      readonly expires?: string | number | Date | undefined;
      readonly session?: string | undefined;
    },
    more: More,
  ): Known {
    const { claims = {}, roles, proof = null, expiresAt = expiryOf(grant), session = grant.session } = more;
    const grantee: Grantee = { name, claims };
    const from =
      kind === 'anonymous'
        ? 'anonymous'
        : kind === 'jwt'
          ? `tokens of ${(proof as VerifiedToken).issuer.options.issuer}`
          : `${KINDS[kind]} ${id}`;
    const rules = this.grants.rulesOf(grant, grantee, from, roles);
    return {
      name,
      kind,
      id,
      access: new Access(rules),
      limits: this.grants.limitsOf(grant, roles),
      expiresAt,
      session: session ?? null,
      rules,
      proof,
    };
  }
}

interface More {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly roles?: readonly string[];
  readonly proof?: Known['proof'];
  readonly expiresAt?: number;
  readonly session?: string | undefined;
}

function refused(reason: string): AuthDecision {
  return { code: ReasonCode.NOT_AUTHORIZED, reason };
}

/** One who is away: what he may do his token says when he is back, and until then nothing is taken from him. */
function absent({ kind, id, name }: PrincipalId): Principal {
  return { kind, id, name, access: null, limits: {}, expiresAt: 0, session: null };
}

/**
 * A token that is bound to a key is good only together with that. What else it may be bound to cannot be proved here, and is not passed over. [AUT-12]
 *
 * @throws {TokenRefused}
 */
function assertBound({ claims }: VerifiedToken, proved: ProvedIdentity | null): void {
  const { cnf } = claims as { readonly cnf?: unknown };
  if (cnf === undefined) return;
  const { jkt, ...others } = typeof cnf === 'object' && cnf !== null ? (cnf as Record<string, unknown>) : {};
  if (typeof jkt !== 'string' || Object.keys(others).length > 0)
    throw new TokenRefused('The token is bound to something that cannot be proved here.');
  if (proved?.thumbprint !== jkt)
    throw new TokenRefused('The token is bound to a key that the client has not proved to have.');
}

/** @throws {TokenRefused} */
function nameIn(claims: Readonly<Record<string, unknown>>, claim: string): string {
  const name = claims[claim];
  const bytes = typeof name === 'string' ? Buffer.byteLength(name) : 0;
  if (bytes === 0 || bytes > SESSION_NAME_BYTES_MAX || /[\p{Cc}\p{Cs}]/u.test(name as string))
    throw new TokenRefused(`The token's claim ${claim} names nobody.`);
  return name as string;
}

/** A list of texts, or a text with blanks in between, as the claim `scope` has them (RFC 8693). */
function namesIn(claim: unknown): readonly string[] {
  if (typeof claim === 'string') return claim.split(' ');
  return Array.isArray(claim) ? claim.filter((each): each is string => typeof each === 'string') : [];
}

const KINDS: Readonly<Record<'identity' | 'apiKey', string>> = { identity: 'identity', apiKey: 'key' };
