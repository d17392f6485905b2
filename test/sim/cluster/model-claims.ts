/** What one node has alone, as the server keeps it: who has it, under which revision, and the entries that belong to it. Each step is one write that goes on from the last revision, or fails. */

import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import type { ClaimDemand } from '../../../src/broker/core/backplane/backplane-port.ts';
import type { ModelNats, NatsConnection } from './model-nats.ts';

/** A life of a node: one that was cut off for too long begins another. */
export interface Owner {
  readonly node: string;
  readonly life: number;
}

interface Claim {
  owner: Owner | null;
  /** Its last owner gave it back. */
  /** When its owner came to have it. */
  since: Micros;
  entries: Map<string, Uint8Array>;
}

interface Waiter {
  readonly connection: NatsConnection;
  readonly owner: Owner;
}

/** A claim is somebody's now. */
export interface Grant {
  readonly key: string;
  readonly entries: ReadonlyMap<string, Uint8Array>;
  /** Life of its owner. */
  readonly life: number;
  /** Nobody has asked for it: its owner was gone. */
  readonly isAdopted: boolean;
}

/** What is to be put (bytes) or deleted (null). */
export type ClaimChanges = ReadonlyMap<string, Uint8Array | null>;

export class ModelClaims {
  /** Times that somebody became an owner, by key. */
  readonly handovers = new Map<string, number>();
  private readonly nats: ModelNats;
  private readonly claims = new Map<string, Claim>();
  private readonly waiters = new Map<string, Waiter>();

  constructor(nats: ModelNats) {
    this.nats = nats;
  }

  /** Who has it; null: nobody. */
  ownerOf(key: string): Owner | null {
    return this.claims.get(key)?.owner ?? null;
  }

  /** For how long it has been another's than `owner`'s; 0: it is not. */
  othersSinceMs(key: string, owner: Owner): number {
    const claim = this.claims.get(key);
    if (claim?.owner == null || isSame(claim.owner, owner)) return 0;
    return (this.nats.clock.now() - claim.since) / MILLISECOND;
  }

  /** What belongs to it, whoever has it. */
  entriesOf(key: string): ReadonlyMap<string, Uint8Array> {
    return new Map(this.claims.get(key)?.entries);
  }

  /** @param ageMs - of who asks */
  claim(connection: NatsConnection, key: string, demand: ClaimDemand, by: Owner, ageMs = 0): void {
    this.nats.traffic++;
    const claim = this.claims.get(key);
    const holder = claim?.owner ?? null;
    const isOther = holder !== null && !isSame(holder, by);
    if (isOther && demand === 'ask' && this.nats.isAlive(holder))
      this.ask(connection, key, { by, ageMs }, holder);
    else this.grant(connection, key, by);
  }

  /** False: it is another's. */
  write(key: string, by: Owner, changes: ClaimChanges): boolean {
    this.nats.traffic++;
    const claim = this.claims.get(key);
    if (claim === undefined || !this.has(key, by)) return false;
    for (const [name, value] of changes) {
      if (value === null) claim.entries.delete(name);
      else claim.entries.set(name, value);
    }
    return true;
  }

  /** What was written before is there; one to which nothing belongs is gone. */
  release(key: string, by: Owner): void {
    this.nats.traffic++;
    const claim = this.claims.get(key);
    if (claim === undefined || !this.has(key, by)) return;
    claim.owner = null;
    if (claim.entries.size === 0) this.claims.delete(key);
    const waiter = this.waiters.get(key);
    if (waiter === undefined) return;
    this.waiters.delete(key);
    this.grant(waiter.connection, key, waiter.owner);
  }

  /** It stays with who has it: whoever has asked is told. */
  keep(key: string, by: Owner): void {
    this.nats.traffic++;
    const waiter = this.waiters.get(key);
    if (waiter === undefined || !this.has(key, by)) return;
    this.waiters.delete(key);
    waiter.connection.down((to) => to.claimedByOther(key, by.node, true));
  }

  /** Whoever asked for it does not wait any more. */
  forget(key: string, by: Owner): void {
    const waiter = this.waiters.get(key);
    if (waiter !== undefined && isSame(waiter.owner, by)) this.waiters.delete(key);
  }

  has(key: string, owner: Owner): boolean {
    const holder = this.ownerOf(key);
    return holder !== null && isSame(holder, owner);
  }

  /** What nobody has who is alive goes to one of those who are: in truth they race for it. */
  adopt(): void {
    for (const [key, { owner }] of this.claims) {
      if (this.waiters.has(key) || (owner !== null && this.nats.isAlive(owner))) continue;
      const living = [...this.nats.connections].filter(
        ({ passes, owner }) => passes && this.nats.isAlive(owner),
      );
      if (living.length === 0) return;
      const heir = living[this.nats.random.below(living.length)];
      this.grant(heir, key, heir.owner, true);
    }
  }

  private grant(connection: NatsConnection, key: string, by: Owner, isAdopted = false): void {
    const { nats } = this;
    let claim = this.claims.get(key);
    if (claim === undefined) {
      claim = { owner: null, since: 0, entries: new Map() };
      this.claims.set(key, claim);
    }
    const { owner: before } = claim;
    const isMine = before !== null && isSame(before, by);
    claim.owner = by;
    if (!isMine) {
      claim.since = nats.clock.now();
      this.handovers.set(key, (this.handovers.get(key) ?? 0) + 1);
    }
    if (before !== null && !isMine)
      for (const other of nats.connections)
        if (other.node === before.node) other.down((to) => to.claimTaken(key, before.life));
    const entries = new Map(claim.entries);
    const grant = { key, entries, life: by.life, isAdopted };
    connection.down((to) => to.claimed(grant));
  }

  private ask(
    connection: NatsConnection,
    key: string,
    { by, ageMs }: { by: Owner; ageMs: number },
    holder: Owner,
  ): void {
    const waiter = { connection, owner: by };
    this.waiters.set(key, waiter);
    for (const other of this.nats.connections)
      if (other.node === holder.node) other.down((to) => to.claimAsked(key, by.node, ageMs));
    this.nats.after(ASK_MS, () => {
      if (this.waiters.get(key) !== waiter) return;
      this.waiters.delete(key);
      const now = this.ownerOf(key);
      if (now === null) this.grant(connection, key, by);
      else connection.down((to) => to.claimedByOther(key, now.node, false));
    });
  }
}

function isSame(a: Owner, b: Owner): boolean {
  return a.node === b.node && a.life === b.life;
}

/** So long a holder that is asked has for what it has to do. */
const ASK_MS = 2_000;
