/**
 * Who a connection belongs to: its principal, from the moment at which that is known until its credentials are worth nothing any more.
 *
 *     UNKNOWN ── HELLO ──> ASKED ── taken ──> ADMITTED ── RENEW ──> asked again, and ADMITTED meanwhile
 *     ASKED ── not taken, or nobody answers ──> REFUSED, and closed           ADMITTED ── expired, renewed by another ──> closed
 *
 * Where nobody is asked who they are, and where those who say nothing are let in, a connection begins as ADMITTED. What proves identities is outside the core: it
 * is asked, and answers when it can. [BRK-111]
 */

import { DeadlineHeap, type HeapItem } from '../../../base/time.ts';
import { ReasonCode } from '../../../pubsub/command.ts';
import { AuthMethod, NoticeCode } from '../../../pubsub/session-commands.ts';
import type { Client } from '../delivery/client.ts';
import { type Time, Timer } from '../timers.ts';
import { Accounts } from './accounts.ts';
import type { Audit } from './audit.ts';
import { Gate } from './gate.ts';
import {
  type AccessPolicy,
  type AuthDecision,
  type AuthQuestion,
  OPEN,
  type Principal,
} from './principal.ts';

/** What admission needs of the broker. */
export interface AdmissionSurroundings extends Time {
  readonly output: { ask(client: Client, question: AuthQuestion): void };
  readonly audit: Audit;
  readonly notices: { tell(client: Client, code: NoticeCode, value: number, text: string): void };
  fail(client: Client, code: ReasonCode): void;
  failInternally(client: Client, error: unknown): void;
}

/** What a client shows. */
export type Proof = Omit<AuthQuestion, 'number'>;

/** Who a principal is now; the same object where nothing has changed; null: nobody any more. Of somebody who is not connected it is given only name, kind and id. */
export type Review = (principal: Principal) => Principal | null;

/** A client that was asked about. */
interface Asked {
  readonly client: Client;
  /** What was true of principals when it was asked. */
  readonly review: Review;
  readonly decided: (decision: AuthDecision) => void;
  readonly timer: Timer;
}

/** Credentials that are good for some time; `deadline` is when something is to be said or done about them, on the wall clock. */
class Credentials implements HeapItem {
  readonly client: Client;
  readonly expiresAt: number;
  deadline = 0;
  heapIndex = -1;

  constructor(client: Client, expiresAt: number) {
    this.client = client;
    this.expiresAt = expiresAt;
  }
}

export class Admission {
  policy: AccessPolicy = OPEN;
  private latestReview: Review = (principal) => principal;
  readonly accounts: Accounts;
  private readonly broker: AdmissionSurroundings;
  private readonly asked = new Map<number, Asked>();
  private lastNumber = 0;
  /** Of clients that have not said who they are, or were refused: when they are closed. */
  private readonly closing = new Map<Client, Timer>();
  private readonly expiring = new Map<Client, Credentials>();
  private readonly byExpiry = new DeadlineHeap<Credentials>();
  private readonly expiryTimer = new Timer(() => this.lookAtExpiry());

  constructor(broker: AdmissionSurroundings) {
    this.broker = broker;
    this.accounts = new Accounts(broker);
  }

  /** Who principals are by now, for those who are being looked at by what was true before. [BRK-119] */
  set review(review: Review) {
    this.latestReview = review;
  }

  connected(client: Client): void {
    const { anonymous } = this.policy;
    if (anonymous === null) this.awaitHello(client);
    else if (this.accounts.hasRoomFor(anonymous, client, null)) this.admit(client, anonymous);
    else this.awaitHello(client, ReasonCode.LIMITED); // [BRK-120] it may be somebody all the same
  }

  /** Somebody of whom it is not known who it is has to say so before long. */
  awaitHello(client: Client, otherwise: ReasonCode = ReasonCode.NOT_AUTHORIZED): void {
    this.closeLater(client, otherwise, HELLO_MS_MAX);
  }

  disconnected(client: Client): void {
    this.stopClosing(client);
    this.forgetCredentials(client);
    this.accounts.leave(client);
    if (this.asked.size === 0) return;
    for (const [number, { client: of }] of this.asked) if (of === client) this.takeAsked(number);
  }

  /** What is known without asking. Null: {@link ask}, also of whoever shows nothing, but has proved a key in the handshake. [AUT-13] */
  decisionOn(client: Client, { method }: Proof): AuthDecision | null {
    const { authenticates, anonymous } = this.policy;
    const showsNothing = method === AuthMethod.NONE && (client.peer.facts?.identity ?? null) === null;
    if (authenticates && !showsNothing) return null;
    return anonymous === null
      ? { code: ReasonCode.NOT_AUTHORIZED, reason: CREDENTIALS_NEEDED }
      : { principal: anonymous };
  }

  /** Asks whose the credentials are. `decided` is called once, unless the client is gone before. */
  ask(client: Client, proof: Proof, decided: (decision: AuthDecision) => void): void {
    if (this.asked.size >= ASKED_MAX) {
      decided({ code: ReasonCode.BUSY, reason: 'Too many others are being looked at. Try again.' });
      return;
    }
    const { broker } = this;
    const number = ++this.lastNumber;
    const timer = new Timer(() =>
      this.decide(number, { code: ReasonCode.BUSY, reason: 'It could not be found out in time. Try again.' }),
    );
    this.asked.set(number, { client, review: this.latestReview, decided, timer });
    broker.timers.set(timer, broker.nowMs + ASKED_MS_MAX);
    broker.output.ask(client, { number, ...proof });
  }

  /** Whoever was asked knows; without effect when it is too late. */
  decide(number: number, decision: AuthDecision): void {
    const asked = this.takeAsked(number);
    if (asked === undefined) return;
    try {
      asked.decided(this.asOfNow(decision, asked));
    } catch (error) {
      this.broker.failInternally(asked.client, error);
    }
  }

  /** The connection is `principal`'s from now on. */
  admit(client: Client, principal: Principal): void {
    const { timers, nowMs, wallMs } = this.broker;
    this.stopClosing(client);
    this.forgetCredentials(client);
    client.principal = principal;
    this.accounts.leave(client);
    const meter = this.accounts.enter(client, principal);
    const { access } = principal;
    client.gate = access === null && meter === null ? null : new Gate(access, meter);
    const { expiresAt } = principal;
    if (expiresAt === 0) return;
    const credentials = new Credentials(client, expiresAt);
    this.expiring.set(client, credentials);
    this.byExpiry.set(credentials, expiresAt - Math.min(NOTICE_MS_MAX, (expiresAt - wallMs) * NOTICE_SHARE));
    timers.set(this.expiryTimer, nowMs);
  }

  /** It is somebody else, as HELLO says, than whom it was taken for; until that is known nothing is done for it. */
  suspend(client: Client): void {
    client.principal = null;
    this.accounts.leave(client);
    this.stopClosing(client);
  }

  /** Is told why, and then closed: what it is told would be lost if it were closed at once. */
  turnAway(client: Client, code: ReasonCode): void {
    client.principal = null;
    this.accounts.leave(client);
    this.closeLater(client, code, REFUSED_MS);
  }

  /** How long its credentials are good for, in ms; 0: without end. */
  msLeft({ expiresAt }: Principal): number {
    return expiresAt === 0 ? 0 : Math.min(MS_MAX, Math.max(1, Math.ceil(expiresAt - this.broker.wallMs)));
  }

  private asOfNow(decision: AuthDecision, { review }: Asked): AuthDecision {
    if (!('principal' in decision)) return decision;
    const { latestReview } = this;
    const principal = review === latestReview ? decision.principal : latestReview(decision.principal);
    if (principal === null) return REVOKED;
    const { expiresAt } = principal;
    return expiresAt !== 0 && expiresAt <= this.broker.wallMs ? EXPIRED : { principal };
  }

  private takeAsked(number: number): Asked | undefined {
    const asked = this.asked.get(number);
    if (asked === undefined) return undefined;
    this.asked.delete(number);
    this.broker.timers.clear(asked.timer);
    return asked;
  }

  private closeLater(client: Client, code: ReasonCode, inMs: number): void {
    this.stopClosing(client);
    const timer = new Timer(() => this.broker.fail(client, code));
    this.closing.set(client, timer);
    this.broker.timers.set(timer, this.broker.nowMs + inMs);
  }

  private stopClosing(client: Client): void {
    const timer = this.closing.get(client);
    if (timer === undefined) return;
    this.closing.delete(client);
    this.broker.timers.clear(timer);
  }

  private forgetCredentials(client: Client): void {
    const credentials = this.expiring.get(client);
    if (credentials === undefined) return;
    this.expiring.delete(client);
    this.byExpiry.remove(credentials);
  }

  /** Tells those whose time is nearly over, and closes those whose is. [BRK-112] */
  private lookAtExpiry(): void {
    const { broker, byExpiry } = this;
    const { nowMs, wallMs } = broker;
    for (let next = byExpiry.peek(); next !== undefined && next.deadline <= wallMs; next = byExpiry.peek()) {
      const { client, expiresAt } = next;
      if (expiresAt <= wallMs) {
        this.forgetCredentials(client);
        broker.audit.tell('expired', client, '');
        broker.fail(client, ReasonCode.TOKEN_EXPIRED);
      } else {
        byExpiry.set(next, expiresAt);
        broker.notices.tell(client, NoticeCode.CREDENTIALS_EXPIRE, expiresAt - wallMs, '');
      }
    }
    const first = byExpiry.peek();
    if (first === undefined) return;
    // The wall clock may be set meanwhile, so it is looked at again before long.
    broker.timers.set(this.expiryTimer, nowMs + Math.min(LOOK_MS, first.deadline - wallMs));
  }
}

const CREDENTIALS_NEEDED = 'This broker asks for credentials.';
const REVOKED: AuthDecision = {
  code: ReasonCode.NOT_AUTHORIZED,
  reason: 'The credentials are not good any more.',
};
const EXPIRED: AuthDecision = { code: ReasonCode.TOKEN_EXPIRED, reason: 'The credentials have expired.' };
/** Clients that are being asked about at once, and for how long. */
const ASKED_MAX = 1_024;
const ASKED_MS_MAX = 10_000;
/** A connection says who it is within so long. */
const HELLO_MS_MAX = 10_000;
const REFUSED_MS = 1_000;
/** A client is told so long before its credentials expire: a share of the time that they are good for. */
const NOTICE_MS_MAX = 60_000;
const NOTICE_SHARE = 0.2;
const LOOK_MS = 10_000;
const MS_MAX = 0xffff_ffff;
