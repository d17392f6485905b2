/**
 * What principals use, over all their connections: how many they have, and how fast they publish. Somebody of whom nobody knows the name is counted by its address, with IPv6 by its network, for whoever has one address there
 * has 2^64. [BRK-120]
 *
 * An account outlives the connections for as long as it has something to remember, or a client that comes anew would begin with a full measure each time.
 */

import { addressPrefix } from '../../../base/ip-address.ts';
import type { Client } from '../delivery/client.ts';
import { type Time, Timer } from '../timers.ts';
import type { ClientLimits, Principal } from './principal.ts';
import { Meter, type PublishNow } from './rates.ts';

class Account {
  readonly clients = new Set<Client>();
  /** Null: it may publish as fast as it can. */
  meter: Meter | null = null;
}

export class Accounts {
  /** Publishes a message that had to wait. */
  publishNow: PublishNow = () => {};
  private readonly time: Time;
  private readonly byKey = new Map<string, Account>();
  private readonly timer = new Timer(() => this.sweep());

  constructor(time: Time) {
    this.time = time;
  }

  /** Whether `principal` may have one connection more, `client`, or this one in the place of `leaving`. */
  hasRoomFor(principal: Principal, client: Client, leaving: Client | null): boolean {
    const { connections } = principal.limits;
    if (connections === undefined) return true;
    const clients = this.byKey.get(keyOf(principal, client))?.clients;
    if (clients === undefined || clients.has(client)) return connections > 0;
    const left = leaving !== null && clients.has(leaving) ? 1 : 0;
    return clients.size - left < connections;
  }

  /** The connection is that of `principal`, and counts for it. Returns what measures what it publishes; null: nothing. */
  enter(client: Client, principal: Principal): Meter | null {
    const { limits } = principal;
    if (!isBounded(limits)) return null;
    const key = keyOf(principal, client);
    let account = this.byKey.get(key);
    if (account === undefined) {
      account = new Account();
      this.byKey.set(key, account);
    }
    account.clients.add(client);
    client.account = key;
    if (limits.publishesPerSecond === undefined && limits.bytesPerSecond === undefined) {
      account.meter?.configure(limits);
      account.meter = null;
      return null;
    }
    account.meter ??= new Meter(this.time, (publisher, message) => this.publishNow(publisher, message));
    account.meter.configure(limits);
    return account.meter;
  }

  leave(client: Client): void {
    const { account: key } = client;
    if (key === null) return;
    client.account = null;
    const account = this.byKey.get(key);
    account?.clients.delete(client);
    if (account?.clients.size === 0 && this.timer.heapIndex < 0) this.sweepLater();
  }

  private sweep(): void {
    const { nowMs } = this.time;
    let isLeft = false;
    for (const [key, { clients, meter }] of this.byKey) {
      if (clients.size > 0) continue;
      if (meter === null || meter.isIdle(nowMs)) this.byKey.delete(key);
      else isLeft = true;
    }
    if (isLeft) this.sweepLater();
  }

  private sweepLater(): void {
    this.time.timers.set(this.timer, this.time.nowMs + SWEEP_MS);
  }
}

function isBounded({ connections, publishesPerSecond, bytesPerSecond }: ClientLimits): boolean {
  return connections !== undefined || publishesPerSecond !== undefined || bytesPerSecond !== undefined;
}

function keyOf({ kind, name }: Principal, { peer }: Client): string {
  return kind === 'anonymous' ? `@${addressPrefix(peer.facts?.address ?? '', 32, 64)}` : `=${name}`;
}

const SWEEP_MS = 5_000;
