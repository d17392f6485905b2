/**
 * What this node of a cluster has alone: sessions with a name (`s/<name>`), durable subscriptions and shared groups (`d/<name>`), and wills of clients without a name
 * (`w/<number>`). Whoever acts for one of them here asks for it first:
 *
 *     (none) ── ask ──> ASKED ── claimed ──> HELD ── another node asks ──> LEAVING: it is settled here and written ── release ──> (none)
 *     ASKED ── it is another client's, or stays where it is, or nobody answers ──> (none)
 *     ASKED ── who has asked is gone ──> (none): of what comes all the same, nobody is told
 *     HELD, LEAVING ── another node has it, or this one is cut off for too long ──> (none), and whoever used it is closed at once
 *     HELD ── nothing of it is here any more ── release ──> (none)
 *
 * What is taken up, handed over or dropped, the parts know ({@link ClaimedPart}); here is the order of it. [CLU-20]
 */

import type { ClusterFigures } from '../output.ts';
import type { StoredAnswers } from '../session/stored-answers.ts';
import { type Time, Timer } from '../timers.ts';
import type { BackplaneEvents, BackplanePort, ClaimDemand, ClaimEntries } from './backplane-port.ts';
import { isGroupClaim, nameOfClaim } from './claim-keys.ts';

/** What comes of asking for a claim: it is here; it is not this client's to have; it stays with another node; or that cannot be known now. */
export const ClaimAnswer = { HELD: 0, DENIED: 1, ELSEWHERE: 2, BUSY: 3 } as const;
export type ClaimAnswer = (typeof ClaimAnswer)[keyof typeof ClaimAnswer];

/** Who waits for a claim. */
export interface ClaimWaiter {
  /** When it came, as the core counts. Of two clients it belongs to the one that came later. */
  readonly sinceMs: number;
  /** Whether it may have what belongs to the claim. */
  mayTake(entries: ClaimEntries): boolean;
  /** @param node - which has it, where that is {@link ClaimAnswer.ELSEWHERE} */
  settled(answer: ClaimAnswer, node: string): void;
}

/** What belongs to claims of one kind. A `name` is what a claim's key has behind its kind. */
export interface ClaimedPart {
  /** It is this node's now: what the state has of it is taken up. */
  takeUp(name: string, entries: ClaimEntries): void;
  /** Another node is to have it: whoever uses it here is told, and {@link letGo} follows when what that has left is stored. */
  giveUp(name: string): void;
  /** It goes: the state has all of it, and nothing of it is here any more. */
  letGo(name: string): void;
  /** It is another node's: nothing of it is here any more, and nothing is written. */
  drop(name: string): void;
  /** Something of it is here. */
  isUsed(name: string): boolean;
  /** It stays although another node asks for it. */
  stays(name: string): boolean;
}

/** What {@link Claims} needs of the broker. */
export interface ClaimsSurroundings extends Time {
  readonly shuttingDown: boolean;
  readonly storedAnswers: Pick<StoredAnswers, 'whenSafe'>;
  reportFault(error: unknown): void;
}

interface Asked {
  readonly waiters: ClaimWaiter[];
  readonly timer: Timer;
  isForced: boolean;
}

export class Claims implements Partial<BackplaneEvents> {
  private handedOver = 0;
  private lost = 0;
  private readonly port: BackplanePort;
  private readonly broker: ClaimsSurroundings;
  /** By the first letter of keys. */
  private readonly parts = new Map<string, ClaimedPart>();
  /** When whoever uses them came. */
  private readonly held = new Map<string, number>();
  /** Each with the handover that it leaves by. */
  private readonly leaving = new Map<string, object>();
  private readonly asked = new Map<string, Asked>();
  private waiting = 0;
  /** Of which nothing may be here any more. */
  private readonly unused = new Set<string>();
  /** By how many. */
  private readonly reserved = new Map<string, number>();

  constructor(port: BackplanePort, broker: ClaimsSurroundings) {
    this.port = port;
    this.broker = broker;
  }

  /** @param kind - first letter of the keys of its claims */
  add(kind: string, part: ClaimedPart): void {
    this.parts.set(kind, part);
  }

  get figures(): Pick<ClusterFigures, 'claims' | 'handedOver' | 'lost'> {
    return { claims: this.held.size, handedOver: this.handedOver, lost: this.lost };
  }

  holds(key: string): boolean {
    return this.held.has(key);
  }

  /** Whoever uses this claim from now on came then. */
  use(key: string, sinceMs: number): void {
    const before = this.held.get(key);
    if (before !== undefined && before < sinceMs) this.held.set(key, sinceMs);
  }

  /** Asks for a claim that this node does not hold; `waiter` is told once what comes of it, later, unless it is {@link forget forgotten} before. */
  ask(key: string, waiter: ClaimWaiter): void {
    let asked = this.asked.get(key);
    if (this.waiting >= WAITERS_MAX) {
      waiter.settled(ClaimAnswer.BUSY, '');
      return;
    }
    this.waiting++;
    if (asked !== undefined) {
      asked.waiters.push(waiter);
      return;
    }
    asked = {
      waiters: [waiter],
      timer: new Timer(() => this.giveUpAsking(key)),
      isForced: false,
    };
    this.asked.set(key, asked);
    this.broker.timers.set(asked.timer, this.broker.nowMs + ASK_MS_MAX);
    // What leaves has to be gone before it can be had back.
    if (!this.leaving.has(key)) this.begin(key, waiter);
  }

  /** It does not wait any more. What nobody waits for is not asked for: it would disturb who has it. */
  forget(key: string, waiter: ClaimWaiter): void {
    const asked = this.asked.get(key);
    const at = asked?.waiters.indexOf(waiter) ?? -1;
    if (asked === undefined || at < 0) return;
    asked.waiters.splice(at, 1);
    this.waiting--;
    const [next] = asked.waiters;
    if (next === undefined) this.takeAsked(key);
    if (this.leaving.has(key)) return;
    if (next === undefined) this.port.release(key);
    else if (at === 0) this.begin(key, next);
  }

  /** Nothing of a claim may be here any more: it is given back, unless that turns out otherwise by the end of the turn. */
  review(key: string): void {
    if (this.held.has(key)) this.unused.add(key);
  }

  /** Somebody is about to use a claim that this node holds, and has to wait for something else first: it is not given back meanwhile, unless another node asks for it. */
  reserve(key: string): void {
    this.reserved.set(key, (this.reserved.get(key) ?? 0) + 1);
  }

  /** It is used now, or not any more. */
  unreserve(key: string): void {
    const count = (this.reserved.get(key) ?? 1) - 1;
    if (count > 0) this.reserved.set(key, count);
    else this.reserved.delete(key);
    this.review(key);
  }

  /** There is something for {@link settle}. */
  get hasUnused(): boolean {
    return this.unused.size > 0;
  }

  /** Gives back what nobody here needs. */
  settle(): void {
    const keys = [...this.unused];
    this.unused.clear();
    for (const key of keys) {
      if (!this.held.has(key) || this.reserved.has(key) || this.partOf(key)?.isUsed(nameOfClaim(key)))
        continue;
      this.held.delete(key);
      this.port.release(key);
    }
  }

  // ---- what the backplane tells ----

  claimed(key: string, entries: ClaimEntries): void {
    const part = this.partOf(key);
    this.leaving.delete(key);
    this.held.set(key, Number.NEGATIVE_INFINITY);
    this.unused.add(key); // unless somebody takes it now
    part?.takeUp(nameOfClaim(key), entries);
    for (const waiter of this.takeAsked(key)) {
      this.use(key, waiter.sinceMs);
      this.tell(waiter, ClaimAnswer.HELD);
    }
  }

  claimDenied(key: string): void {
    this.turnFirstAway(key, ClaimAnswer.DENIED, '');
  }

  /** It was asked for kindly. A group stays where it is, and all else with a client that came later than who asks; else its holder had its time. */
  claimedByOther(key: string, node: string, stays: boolean): void {
    const asked = this.asked.get(key);
    if (asked === undefined) return;
    if (isGroupClaim(key) || (asked.isForced && !stays)) {
      for (const waiter of this.takeAsked(key)) this.tell(waiter, ClaimAnswer.ELSEWHERE, node);
    } else if (stays) this.turnFirstAway(key, ClaimAnswer.ELSEWHERE, node);
    else {
      asked.isForced = true;
      this.claim(key, 'force', asked.waiters[0]);
    }
  }

  claimAsked(key: string, _by: string, ageMs: number): void {
    const part = this.partOf(key);
    const sinceMs = this.held.get(key);
    if (sinceMs === undefined || part === undefined) return;
    const name = nameOfClaim(key);
    // Who asks may have been given up for the one that is here: it would take from its own client what that has. [CLU-60]
    if (part.stays(name) || sinceMs > this.broker.nowMs - ageMs) {
      this.port.keep(key);
      return;
    }
    const handover = {};
    this.held.delete(key);
    this.leaving.set(key, handover);
    this.handedOver++;
    part.giveUp(name);
    // What was published last is stored, or refused, and no cursor is ahead of what its log has safely. [CLU-22] [BRK-69]
    const finish = () => {
      // It was taken meanwhile: what is here of it now has come back since, and stays. [CLU-20]
      if (this.leaving.get(key) !== handover) return;
      part.letGo(name);
      this.leaving.delete(key);
      this.port.release(key);
      const next = this.asked.get(key)?.waiters[0];
      if (next !== undefined) this.begin(key, next);
    };
    this.broker.storedAnswers.whenSafe(finish, finish);
  }

  claimLost(key: string): void {
    this.held.delete(key);
    const isLeaving = this.leaving.delete(key);
    this.lost++;
    this.partOf(key)?.drop(nameOfClaim(key));
    const next = this.asked.get(key)?.waiters[0];
    if (next !== undefined && isLeaving) this.begin(key, next);
  }

  private begin(key: string, waiter: ClaimWaiter): void {
    const asked = this.asked.get(key);
    if (asked !== undefined) asked.isForced = false;
    this.claim(key, 'ask', waiter);
  }

  private claim(key: string, demand: ClaimDemand, waiter: ClaimWaiter): void {
    const { broker } = this;
    this.port.claim(key, demand, {
      mayTake: (entries) => waiter.mayTake(entries),
      get ageMs() {
        return broker.nowMs - waiter.sinceMs;
      },
    });
  }

  /** Who has asked first does not get it; others may, who have other rights, or came later. */
  private turnFirstAway(key: string, answer: ClaimAnswer, node: string): void {
    const asked = this.asked.get(key);
    const waiter = asked?.waiters.shift();
    if (asked === undefined || waiter === undefined) return;
    this.waiting--;
    const [next] = asked.waiters;
    if (next === undefined) this.takeAsked(key);
    else this.begin(key, next);
    this.tell(waiter, answer, node);
  }

  private giveUpAsking(key: string): void {
    if (!this.leaving.has(key)) this.port.release(key); // it is not waited for any more
    for (const waiter of this.takeAsked(key)) this.tell(waiter, ClaimAnswer.BUSY);
  }

  private takeAsked(key: string): readonly ClaimWaiter[] {
    const asked = this.asked.get(key);
    if (asked === undefined) return [];
    this.asked.delete(key);
    this.broker.timers.clear(asked.timer);
    this.waiting -= asked.waiters.length;
    return asked.waiters;
  }

  private tell(waiter: ClaimWaiter, answer: ClaimAnswer, node = ''): void {
    try {
      waiter.settled(answer, node);
    } catch (error) {
      this.broker.reportFault(error);
    }
  }

  private partOf(key: string): ClaimedPart | undefined {
    return this.parts.get(key[0]);
  }
}

/** Asks on behalf of a stream: with it goes its waiter. [CLU-22] */
export function waitForClaim(
  claims: Claims,
  channel: { onClosed: (() => void) | null },
  key: string,
  waiter: ClaimWaiter,
): void {
  const waiting: ClaimWaiter = {
    sinceMs: waiter.sinceMs,
    mayTake: (entries) => waiter.mayTake(entries),
    settled: (answer, node) => {
      channel.onClosed = null;
      waiter.settled(answer, node);
    },
  };
  channel.onClosed = () => claims.forget(key, waiting);
  claims.ask(key, waiting);
}

/** For so long somebody waits for a claim: its holder has 2 s of that to answer. */
const ASK_MS_MAX = 6_000;
const WAITERS_MAX = 8_192;
