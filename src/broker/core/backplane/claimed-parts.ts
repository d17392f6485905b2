/** What of a broker belongs to claims of its cluster, and so goes with them from node to node: sessions with their wills and notes, durable subscriptions and groups, and wills of clients without a name. [CLU-20] */

import { ReasonCode } from '../../../pubsub/command.ts';
import { isShared } from '../../../pubsub/topic.ts';
import { DURABLE_KEYS, decodeDurable } from '../durable/durable-record.ts';
import { NOTE_KEYS } from '../session/session-notes.ts';
import { decodeSessionRecord, SESSION_KEYS } from '../session/session-record.ts';
import type { BrokerState } from '../state.ts';
import { WILL_KEYS } from '../will/wills.ts';
import type { ClaimEntries } from './backplane-port.ts';
import { durableClaim, sessionClaim, willClaim } from './claim-keys.ts';
import { ClaimedIds, IDS_KEYS } from './claimed-ids.ts';
import type { ClaimedPart } from './claims.ts';

/** To be called once; without effect for a broker that is alone. */
export function shareByClaims(broker: BrokerState): void {
  const { claims, cluster, sessions, consumers } = broker;
  if (claims === null || cluster === null) return;
  const ids = new ClaimedIds(broker);
  broker.claimedIds = ids;
  broker.storeListeners.push(ids);
  sessions.parts.push(ids);
  claims.add('s', new ClaimedSessions(broker, ids));
  claims.add('d', new ClaimedDurables(broker));
  claims.add('w', new ClaimedWills(broker));
  sessions.parts.push({
    onAway: () => {},
    onBack: () => {},
    onOver: ({ name }) => {
      if (name !== null) claims.review(sessionClaim(name));
    },
  });
  consumers.onOver = (name) => claims.review(durableClaim(name));
  cluster.listeners.push(claims);
}

/** Sessions with a name, with their wills and notes. [CLU-22] */
class ClaimedSessions implements ClaimedPart {
  private readonly broker: BrokerState;
  private readonly ids: ClaimedIds;

  constructor(broker: BrokerState, ids: ClaimedIds) {
    this.broker = broker;
    this.ids = ids;
  }

  takeUp(name: string, entries: ClaimEntries): void {
    const { sessions, wills, notes } = this.broker;
    const absence = sessions.takeUp(name, entries.get(SESSION_KEYS + name));
    if (absence !== null) {
      notes.takeUp(name);
      this.ids.takeUp(absence.session, entries.get(IDS_KEYS + name));
    }
    takeUpWills(this.broker, entries, (key, value) => wills.takeUp(key, value, absence));
    if (absence !== null) return;
    // Its time is over, and what else there was of it with it.
    for (const prefix of [NOTE_KEYS, IDS_KEYS]) this.broker.store.state.delete(prefix + name);
  }

  giveUp(name: string): void {
    const { broker } = this;
    const { sessions } = broker;
    const holder = sessions.find(name)?.client ?? null;
    if (holder !== null) {
      broker.counters.sessionsTaken++;
      broker.audit.tell('takeover', holder, name);
      broker.dismiss(holder, ReasonCode.SESSION_TAKEN); // [BRK-52] its session may be over with that
    }
  }

  /** A will that was due is published by then. */
  letGo(name: string): void {
    const { sessions, wills } = this.broker;
    const session = sessions.find(name);
    if (session !== undefined) {
      this.ids.settle(session);
      sessions.letGo(session);
    }
    wills.letOrphansGo(sessionClaim(name));
  }

  drop(name: string): void {
    const { sessions, wills } = this.broker;
    const holder = sessions.find(name)?.client ?? null;
    if (holder !== null) this.broker.dismiss(holder, ReasonCode.MOVED);
    const session = sessions.find(name);
    if (session !== undefined) sessions.letGo(session);
    wills.letOrphansGo(sessionClaim(name));
  }

  isUsed(name: string): boolean {
    return this.broker.sessions.find(name) !== undefined || this.broker.wills.hasOrphanOf(sessionClaim(name));
  }

  stays(): boolean {
    return false;
  }
}

/** Wills of sessions without a name: their claims are made with them, and gone when they are published. */
class ClaimedWills implements ClaimedPart {
  private readonly broker: BrokerState;

  constructor(broker: BrokerState) {
    this.broker = broker;
  }

  takeUp(_number: string, entries: ClaimEntries): void {
    const { wills } = this.broker;
    takeUpWills(this.broker, entries, (key, value) => wills.takeUp(key, value, null));
  }

  giveUp(): void {} // it stays

  letGo(number: string): void {
    this.drop(number);
  }

  drop(number: string): void {
    this.broker.wills.letOrphansGo(willClaim(number));
  }

  isUsed(number: string): boolean {
    return this.broker.wills.hasOrphanOf(willClaim(number));
  }

  stays(): boolean {
    return true;
  }
}

function takeUpWills(
  broker: BrokerState,
  entries: ClaimEntries,
  takeUp: (key: string, value: Uint8Array) => void,
): void {
  for (const [key, value] of entries) {
    if (!key.startsWith(WILL_KEYS)) continue;
    try {
      takeUp(key, value);
    } catch (error) {
      broker.reportFault(error);
    }
  }
}

/** Whose a session is, as what belongs to its claim says; null: nobody's in particular. */
export function ownerOfSession(name: string, entries: ClaimEntries) {
  const bytes = entries.get(SESSION_KEYS + name);
  return bytes === undefined ? null : (decodeSessionRecord(bytes)?.owner ?? null);
}

/** Durable subscriptions and shared groups: cursor, what is not settled, and dead letters that are still to be stored. [CLU-23] */
class ClaimedDurables implements ClaimedPart {
  private readonly broker: BrokerState;

  constructor(broker: BrokerState) {
    this.broker = broker;
  }

  takeUp(name: string): void {
    this.broker.consumers.takeUpClaimed(name);
  }

  giveUp(name: string): void {
    const { broker } = this;
    const { consumers } = broker;
    for (const subscription of consumers.subscriptionsOf(name)) {
      broker.counters.durablesTaken++;
      broker.giveUp(subscription, ReasonCode.TAKEN);
    }
  }

  letGo(name: string): void {
    this.broker.consumers.letGo(name);
  }

  /** Whoever holds it does not know where else it is: it comes back, and asks for it there. */
  drop(name: string): void {
    const { consumers } = this.broker;
    for (const { main } of consumers.subscriptionsOf(name)) {
      if (!main.client.closed) this.broker.dismiss(main.client, ReasonCode.MOVED);
    }
    consumers.letGo(name);
  }

  isUsed(name: string): boolean {
    return this.broker.consumers.has(name);
  }

  /** A group is where most of it is; for one member it does not move. */
  stays(name: string): boolean {
    return isShared(name) && this.broker.consumers.subscriptionsOf(name).length > 0;
  }
}

/** Whose a durable subscription is, as what belongs to its claim says; null: nobody's in particular. */
export function ownerOfDurable(name: string, entries: ClaimEntries) {
  const bytes = entries.get(DURABLE_KEYS + name);
  return bytes === undefined ? null : (decodeDurable(bytes)?.owner ?? null);
}
