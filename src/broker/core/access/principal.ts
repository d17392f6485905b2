/** Who a client is to the broker, and what it may do: decided outside the core, by whatever proves identities there, and kept by it. [BRK-110] */

import type { ReasonCode } from '../../../pubsub/command.ts';
import type { ConnectionFacts } from '../../../pubsub/message-stream.ts';
import type { AuthMethod } from '../../../pubsub/session-commands.ts';
import type { Access } from './access.ts';

/** How somebody was recognized. */
export type PrincipalKind = 'anonymous' | 'identity' | 'apiKey' | 'jwt';

/** What is remembered of somebody who is not connected: whose a session or a durable subscription is. */
export interface PrincipalId {
  /** What `${client}` stands for; shown and audited. Empty: nobody in particular. */
  readonly name: string;
  readonly kind: PrincipalKind;
  /** The fingerprint, the id of the key, `jti` or `sub` of the token: what a revocation names. */
  readonly id: string;
}

export interface Principal extends PrincipalId {
  /** Null: everything, for where no authentication is configured. */
  readonly access: Access | null;
  readonly limits: ClientLimits;
  /** Wall clock, ms, when its credentials are worth nothing any more; 0: never. */
  readonly expiresAt: number;
  /** The only session name that it may take; null: any. */
  readonly session: string | null;
}

/**
 * What a client may cost the broker, over all connections of its name; where nobody is named, over all those of one address. Undefined: what `AuthOptions.limits` says, else no
 * bound but the broker's. [BRK-120]
 */
export interface ClientLimits {
  /** Connections at a time, of all that have the same name. */
  readonly connections?: number | undefined;
  /** Subscriptions at a time, of each connection. */
  readonly subscriptions?: number | undefined;
  /** Messages a second that it may publish, and how many at once. A burst that is not given is one second's worth. */
  readonly publishesPerSecond?: number | undefined;
  readonly publishesBurst?: number | undefined;
  /** Bytes of those a second, topics and payloads, and how many at once. */
  readonly bytesPerSecond?: number | undefined;
  readonly bytesBurst?: number | undefined;
}

/** What a broker asks of those who connect. */
export interface AccessPolicy {
  /** Credentials are looked at. */
  readonly authenticates: boolean;
  /** Whom somebody is taken for who gives none; null: nobody gets in so. */
  readonly anonymous: Principal | null;
}

/** What the core asks about a client that shows credentials. */
export interface AuthQuestion {
  /** By which the answer names it. */
  readonly number: number;
  readonly method: AuthMethod;
  readonly credentials: Uint8Array;
  /** The session that it asks for; empty: none. */
  readonly session: string;
  /** Whom the connection belongs to that renews its credentials; null where it begins. */
  readonly renews: Principal | null;
}

/** The same as whoever authenticates gets it, with what is known of the connection. */
export interface AuthRequest extends Omit<AuthQuestion, 'number'> {
  readonly facts: ConnectionFacts;
}

export type AuthDecision =
  | { readonly principal: Principal }
  | { readonly code: ReasonCode; readonly reason: string };

/** Whoever connects where no authentication is configured. */
export const EVERYONE: Principal = {
  name: '',
  kind: 'anonymous',
  id: '',
  access: null,
  limits: {},
  expiresAt: 0,
  session: null,
};

/** A broker that asks nobody who they are. */
export const OPEN: AccessPolicy = { authenticates: false, anonymous: EVERYONE };

/** Two ways to recognize somebody may lead to the same principal: its name tells. */
export function isSame(a: PrincipalId, b: PrincipalId): boolean {
  return a.name === b.name && (a.kind === 'anonymous') === (b.kind === 'anonymous');
}

/** Whether what is `owner`'s is for `principal`. What was there before anybody was asked who they are is nobody's (null), and then whose who takes it first. [BRK-118] */
export function mayTake(owner: PrincipalId | null, principal: Principal): boolean {
  return owner === null || isEveryone(principal) || isSame(owner, principal);
}

/** Whose something is that this principal begins, or takes. */
export function ownerFor(principal: Principal, before: PrincipalId | null = null): PrincipalId | null {
  if (isEveryone(principal)) return before;
  const { name, kind, id } = principal;
  return { name, kind, id };
}

/** Nobody was asked who they are. */
function isEveryone({ access, kind }: Principal): boolean {
  return access === null && kind === 'anonymous';
}
