/** What somebody may do, from what the broker was told of it: rules of their own and of their roles, with the name and the claims of this one filled in. [AUT-3] */

import { JspError } from '../../base/errors.ts';
import { filterFault } from '../../pubsub/topic.ts';
import type { AccessRule } from '../core/access/access.ts';
import type { ClientLimits } from '../core/access/principal.ts';
import {
  AUTH_ACTIONS,
  type AuthAction,
  type AuthGrant,
  type AuthRole,
  type AuthRule,
  CLIENT_LIMITS,
  PLACEHOLDER,
} from './options.ts';

/** Whom something is granted to. */
export interface Grantee {
  readonly name: string;
  /** Those of its token; empty where it has none. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** A rule with everything filled in, and where it comes from. */
export interface FilledRule extends AccessRule {
  /** Such as `role "sensor"`. */
  readonly from: string;
  /** Where it is written, where that is known. */
  readonly at: string | undefined;
}

export class Grants {
  private readonly roles: ReadonlyMap<string, AuthRole>;
  private readonly limits: ClientLimits;

  /** @param limits - of whoever has none of its own */
  constructor(roles: Readonly<Record<string, AuthRole>> = {}, limits: ClientLimits = {}) {
    this.roles = new Map(Object.entries(roles));
    this.limits = limits;
  }

  hasRole(name: string): boolean {
    return this.roles.has(name);
  }

  /**
   * Refuses roles that are not there. [AUT-2]
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID
   */
  checkRoles(where: string, { roles = [] }: AuthGrant): void {
    const unknown = roles.find((name) => !this.roles.has(name));
    if (unknown === undefined) return;
    const known = [...this.roles.keys()].map((name) => JSON.stringify(name)).join(', ');
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `${where}: there is no role ${JSON.stringify(unknown)}; ${known === '' ? 'there are none' : `there are ${known}`}`,
    );
  }

  /**
   * Everything that `grant` says of `grantee`, its own rules first.
   *
   * @param roles - others than those it names
   */
  rulesOf(grant: AuthGrant, grantee: Grantee, from: string, roles: readonly string[] = []): FilledRule[] {
    const filled = (grant.rules ?? []).map((rule) => fill(rule, grantee, from));
    for (const name of new Set([...(grant.roles ?? []), ...roles])) {
      const rules = this.roles.get(name)?.rules ?? [];
      filled.push(...rules.map((rule) => fill(rule, grantee, `role ${JSON.stringify(name)}`)));
    }
    return filled;
  }

  /** Its own limits, else the widest of its roles, else those of everybody. */
  limitsOf(grant: AuthGrant, roles: readonly string[] = []): ClientLimits {
    const ofRoles = [...new Set([...(grant.roles ?? []), ...roles])].map(
      (name) => this.roles.get(name)?.limits,
    );
    const limits: { -readonly [K in keyof ClientLimits]: number } = {};
    for (const name of LIMIT_NAMES) {
      const widest = ofRoles.map((each) => each?.[name]).filter((each) => each !== undefined);
      const limit = grant.limits?.[name] ?? (widest.length > 0 ? Math.max(...widest) : this.limits[name]);
      if (limit !== undefined) limits[name] = limit;
    }
    return limits;
  }
}

function fill(
  { allow, deny, topics = EVERY_TOPIC, at }: AuthRule,
  grantee: Grantee,
  from: string,
): FilledRule {
  const effect = allow === undefined ? 'deny' : 'allow';
  const actions = allow ?? deny ?? [];
  return {
    effect,
    actions: actions === '*' ? ALL_BUT_ADMIN : actions,
    filters: topics.flatMap((filter) => filledFilters(filter, grantee, effect)),
    from,
    at,
  };
}

/**
 * The filters that a filter with placeholders stands for: one for each value of a claim that is a list. A value that would mean something in a filter, or is not there, fills nothing in: what is allowed
 * by that is nothing, and what is denied is whatever could have stood there. [AUT-3]
 */
function filledFilters(filter: string, grantee: Grantee, effect: 'allow' | 'deny'): string[] {
  let filled = [''];
  let isExact = true;
  let end = 0;
  for (const match of filter.matchAll(PLACEHOLDER)) {
    const values = valuesOf(match[1], grantee);
    const sound = values.filter(isSound);
    isExact &&= sound.length === values.length && values.length > 0;
    const before = filter.slice(end, match.index);
    filled = filled.flatMap((start) => sound.map((value) => `${start}${before}${value}`));
    end = match.index + match[0].length;
    if (filled.length > FILTERS_MAX) {
      filled = [];
      isExact = false;
    }
  }
  const filters = filled.map((start) => start + filter.slice(end));
  const valid = filters.filter((each) => filterFault(each) === null);
  return effect === 'deny' && (!isExact || valid.length < filters.length)
    ? [...valid, widened(filter)]
    : valid;
}

/** With `+` in the place of each level that has a placeholder. */
function widened(filter: string): string {
  return filter
    .split('/')
    .map((level) => (level.includes('${') ? '+' : level))
    .join('/');
}

function valuesOf(placeholder: string, { name, claims }: Grantee): readonly unknown[] {
  if (placeholder === 'client') return [name];
  const claim = placeholder.slice(CLAIM.length);
  const value = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** A value that is a level of a topic, or a part of one, and means nothing else. */
function isSound(value: unknown): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return typeof value === 'string' && value !== '' && !MEANINGFUL.test(value);
}

const LIMIT_NAMES = Object.keys(CLIENT_LIMITS) as (keyof ClientLimits)[];
const ALL_BUT_ADMIN: readonly AuthAction[] = AUTH_ACTIONS.filter((action) => action !== 'admin');
const EVERY_TOPIC: readonly string[] = ['#'];
const CLAIM = 'claim.';
/** Of one rule, by claims that are lists. */
const FILTERS_MAX = 1_000;
/** Wildcards, what parts levels, what begins topics of the broker, and what is in no topic. */
const MEANINGFUL = /[+#/$\p{Cc}]/u;
