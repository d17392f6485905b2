/**
 * The life of a client, which outlives its connections (spec/client.md):
 *
 *     connecting -> online <-> offline -> closed
 *
 * `draining` lies over these: a client that finishes what it has begun, and comes back for that where it has to. What needs a connection is told
 * of each ({@link LinkUser}). [CLT-1, CLT-2]
 */

import { JspError } from '../base/errors.ts';
import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import { ReasonCode } from '../pubsub/command.ts';
import { abortError, onAbort } from '../transport/abort.ts';
import type { Backoff } from '../transport/backoff.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import { textOfThrown } from './codec.ts';
import { closedError } from './command-stream.ts';
import type { Link, LinkUser } from './link.ts';
import { endError } from './refusal.ts';

/** `connecting` is before the first connection, `offline` between two. */
export type ClientState = 'connecting' | 'online' | 'offline' | 'draining' | 'closed';

/** A connection, as far as a life depends on it. */
export interface Lifeline {
  readonly isOver: boolean;
  /** What it is over by. */
  readonly failure: Error | null;
  /** Closes the connection when everything sent has arrived, or nothing has got on for `stallMs`. */
  leave(stallMs: number): Promise<void>;
  readonly connection: { destroy(): unknown; ref?(): unknown; unref?(): unknown };
}

/** Makes one connection after the other. */
export interface Dialer<L extends Lifeline = Link> {
  /** How many ways to the broker it tries in turn. */
  readonly ways: number;
  /**
   * Connects to the broker, and resolves when it has welcomed the client.
   *
   * @param onEnded - told once the connection is over
   * @param signal - gives the attempt up
   */
  dial(onEnded: (link: L, error: Error | null) => void, signal: AbortSignal): Promise<L>;
  /** No attempt after this failure can succeed. */
  isFinal(error: JspError): boolean;
  /** The broker goes, and names others, one a line. */
  suggest(urls: string): void;
}

/** Whose life it is. */
export interface LifeOwner {
  /** Told each time that the state has changed, when all else is in order. */
  onState(state: ClientState, reason: JspError | null): void;
  /** What the end of a connection has cost, said with its reason. */
  withCost(reason: JspError): JspError;
}

/** What a first attempt that fails means. */
export const FIRST_CONNECT = ['reject', 'wait', 'background'] as const;
export type FirstConnect = (typeof FIRST_CONNECT)[number];

export class Life<L extends Lifeline = Link> {
  /** The connection, as long as the broker welcomes this client on it. */
  link: L | null = null;
  /** What has ended this life; null as long as it goes on. */
  failure: JspError | null = null;
  /** How often the broker was connected to, and tried in vain. */
  connects = 0;
  failedAttempts = 0;
  /** When an attempt failed last: a node of a cluster may go on with it for a while. */
  private failedAt: Micros = Number.NEGATIVE_INFINITY;
  private phase: Exclude<ClientState, 'draining'> = 'connecting';
  private isDraining = false;
  /** The end of the connection is what this side wants. */
  private isLeaving = false;
  private readonly dialer: Dialer<L>;
  private readonly backoff: Backoff | null;
  private readonly clock: Clock;
  private readonly owner: LifeOwner;
  private readonly users: LinkUser<L>[] = [];
  /** Told when the others are ready. */
  private readonly lastUsers: LinkUser<L>[] = [];
  /** Ends the attempt that is under way. */
  private attempt: AbortController | null = null;
  private retryTimer: TimerHandle | null = null;
  private stableTimer: TimerHandle | null = null;
  private firstConnect: FirstConnect = 'reject';
  private settleFirst: ((error: JspError | null) => void) | null = null;
  private isReferenced = true;
  /** Keeps the process alive while there is no socket that does. */
  private keptAlive: NodeJS.Timeout | undefined;

  /** @param backoff - null: the end of the first connection is that of the client */
  constructor(dialer: Dialer<L>, backoff: Backoff | null, clock: Clock, owner: LifeOwner) {
    this.dialer = dialer;
    this.backoff = backoff;
    this.clock = clock;
    this.owner = owner;
  }

  get state(): ClientState {
    return this.isDraining && this.phase !== 'closed' ? 'draining' : this.phase;
  }

  /** Tells `user` of the connections to come, and of the present one. */
  use(user: LinkUser<L>): void {
    this.users.push(user);
    if (this.link !== null) void user.online(this.link);
  }

  /** Tells `user` of each connection when the others have done with it what they do at first: what it publishes is for their subscriptions, too. */
  useLast(user: LinkUser<L>): void {
    this.lastUsers.push(user);
  }

  /** `user` is told nothing more. */
  forget(user: LinkUser<L>): void {
    const index = this.users.indexOf(user);
    if (index >= 0) this.users.splice(index, 1);
  }

  /**
   * Connects for the first time. Resolves when the client is online, for `background` at once.
   *
   * @param signal - gives it up, with all that this life may have begun
   * @throws the error of the attempt, for `reject`; a final one
   */
  async begin(first: FirstConnect, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw abortError(signal);
    this.firstConnect = first;
    const forget = onAbort(signal, () => this.end(abortError(signal as AbortSignal)));
    const settled = new Promise<JspError | null>((resolve) => {
      this.settleFirst = resolve;
    });
    void settled.then(forget);
    void this.connect();
    if (first === 'background') return;
    const error = await settled;
    if (error !== null) throw error;
  }

  /** From now on it finishes what was begun. */
  beginDraining(): void {
    if (this.isDraining || this.phase === 'closed') return;
    this.isDraining = true;
    this.owner.onState('draining', null);
  }

  /** There is reason to think that an attempt would succeed now: the one that waits is made at once. */
  hurry(): void {
    if (this.retryTimer === null) return;
    this.clock.clearTimer(this.retryTimer);
    this.retryTimer = null;
    void this.connect();
  }

  /** The broker goes, and asks its clients to spread their return over so long, to these URLs, one a line. [CLT-5] */
  onShuttingDown(windowMs: number, urls: string): void {
    this.backoff?.spreadOver(windowMs);
    this.dialer.suggest(urls);
  }

  /**
   * Closes the connection, and ends with it, when everything sent has arrived or nothing has got on for `stallMs`; without a connection at once.
   *
   * @throws what the close of the connection does
   */
  async leave(stallMs: number): Promise<void> {
    this.isLeaving = true;
    const { link } = this;
    if (link === null) return this.end(null);
    await link.leave(stallMs);
  }

  /** Ends it, with what it holds, and closes the connection at once. */
  end(reason: JspError | null): void {
    if (this.phase === 'closed') return;
    const { link } = this;
    this.link = null;
    this.phase = 'closed';
    this.failure = reason ?? closedError();
    this.attempt?.abort();
    this.stopTimers();
    clearInterval(this.keptAlive);
    link?.connection.destroy();
    for (const user of [...this.users, ...this.lastUsers]) user.closed(reason);
    this.settle(reason ?? this.failure);
    this.owner.onState('closed', reason);
  }

  /** Whether a client without a connection keeps the process alive. */
  setReferenced(isReferenced: boolean): void {
    this.isReferenced = isReferenced;
    this.keepAlive();
    if (isReferenced) this.link?.connection.ref?.();
    else this.link?.connection.unref?.();
  }

  private async connect(): Promise<void> {
    const attempt = new AbortController();
    this.attempt = attempt;
    try {
      const link = await this.dialer.dial((which, error) => this.onEnded(which, error), attempt.signal);
      if (attempt.signal.aborted)
        link.connection.destroy(); // [CLT-6] an attempt that was given up leaves nothing behind
      else this.goOnline(link);
    } catch (error) {
      if (attempt.signal.aborted) return; // it is over, and told
      this.onFailed(asJspError(error));
    } finally {
      if (this.attempt === attempt) this.attempt = null;
    }
  }

  private goOnline(link: L): void {
    if (link.isOver) return this.onFailed(link.failure === null ? lost(null) : asJspError(link.failure));
    this.connects++;
    this.link = link;
    this.phase = 'online';
    this.keepAlive();
    if (!this.isReferenced) link.connection.unref?.();
    const { backoff } = this;
    if (backoff !== null) this.stableTimer = this.after(backoff.stableMs, () => backoff.succeeded());
    this.tellUsers(link);
    this.settle(null);
    if (this.link === link) this.owner.onState(this.state, null);
  }

  private tellUsers(link: L): void {
    const begun: Promise<void>[] = [];
    for (const user of [...this.users]) {
      const beginning = user.online(link);
      if (beginning !== undefined) begun.push(beginning);
    }
    const tellLast = (): void => {
      if (this.link !== link || timer === null) return;
      this.clock.clearTimer(timer);
      timer = null;
      for (const user of this.lastUsers) void user.online(link);
    };
    let timer: TimerHandle | null = this.after(BEGIN_MS_MAX, tellLast);
    if (begun.length === 0) tellLast();
    else void Promise.allSettled(begun).then(tellLast);
  }

  private onFailed(error: JspError): void {
    this.failedAttempts++;
    const isFirst = this.connects === 0;
    const goesOn = isFirst ? this.firstConnect !== 'reject' || this.failedAttempts < this.dialer.ways : true;
    if (!goesOn || this.isFinal(error)) return this.end(error);
    if (error.code !== 'ERR_JSP_SESSION_TAKEN') this.failedAt = this.clock.now();
    this.retryLater();
  }

  /** [CLT-4] Who has its session now may be an attempt of its own that has failed: then it is worth another, once. */
  private isFinal(error: JspError): boolean {
    const { clock, failedAt } = this;
    if (error.code !== 'ERR_JSP_SESSION_TAKEN' || clock.now() - failedAt >= OWN_ATTEMPT_TIME)
      return this.dialer.isFinal(error);
    this.failedAt = Number.NEGATIVE_INFINITY;
    return false;
  }

  private onEnded(link: L, error: Error | null): void {
    if (this.link !== link) return; // of an attempt, which fails by it, or ended by this side
    this.link = null;
    const reason = error === null ? null : this.owner.withCost(asJspError(error));
    const isFinal = this.backoff === null || this.isLeaving;
    if (isFinal || (reason !== null && this.isFinal(reason))) return this.end(reason);
    this.stopTimers();
    this.phase = 'offline';
    this.retryLater();
    const why = lost(reason);
    for (const user of [...this.users, ...this.lastUsers]) user.offline(why);
    if (this.phase === 'offline') this.owner.onState(this.state, why);
  }

  private retryLater(): void {
    this.keepAlive();
    const waitMs = this.backoff?.nextMs() ?? 0;
    this.retryTimer = this.after(waitMs, () => {
      this.retryTimer = null;
      void this.connect();
    });
  }

  private after(ms: number, callback: () => void): TimerHandle {
    return this.clock.setTimer(this.clock.now() + ms * MILLISECOND, callback);
  }

  private stopTimers(): void {
    for (const timer of [this.retryTimer, this.stableTimer]) if (timer !== null) this.clock.clearTimer(timer);
    this.retryTimer = null;
    this.stableTimer = null;
  }

  /** A client without a connection has no socket that keeps the process alive, and the clock's timers do not. [CLT-16] */
  private keepAlive(): void {
    clearInterval(this.keptAlive);
    const isAway = this.phase === 'connecting' || this.phase === 'offline';
    this.keptAlive = isAway && this.isReferenced ? setInterval(() => {}, LONG_MS) : undefined;
  }

  private settle(error: JspError | null): void {
    const { settleFirst } = this;
    this.settleFirst = null;
    settleFirst?.(error);
  }
}

/** True for an end after which no further attempt can succeed: the client and the broker do not understand each other, or another has its session. [CLT-4] */
export function isFinalEnd({ code, applicationCode }: JspError): boolean {
  // [HS-44] The transport did not let it in: no broker was asked, so there is no code of one.
  if (code === 'ERR_JSP_NOT_AUTHORIZED' && applicationCode === undefined) return true;
  return FINAL_CODES.has(code) || (isOfBroker(code) && FINAL_REASONS.has(applicationCode ?? -1));
}

/** The broker does not take the credentials. */
export function isDenial(error: JspError): boolean {
  return isExpiry(error) || (isOfBroker(error.code) && error.applicationCode === ReasonCode.NOT_AUTHORIZED);
}

/** It does not take them any more. */
export function isExpiry({ code, applicationCode }: JspError): boolean {
  return isOfBroker(code) && applicationCode === ReasonCode.TOKEN_EXPIRED;
}

function isOfBroker(code: string): boolean {
  return BROKER_CODES.has(code);
}

/** A connection of somebody else's may tell of its end in its own way. */
function asJspError(error: unknown): JspError {
  if (error instanceof JspError) return endError(error);
  return new JspError('ERR_JSP_CLOSED', textOfThrown(error), { cause: error });
}

function lost(reason: JspError | null): JspError {
  return reason ?? new JspError('ERR_JSP_CLOSED', 'The broker closed the connection; the client comes back.');
}

const FINAL_REASONS: ReadonlySet<number> = new Set([
  ReasonCode.COMMAND_ENCODING_ERROR,
  ReasonCode.UNKNOWN_COMMAND,
  ReasonCode.TOPIC_INVALID,
  ReasonCode.WRONG_STREAM,
  ReasonCode.UNSUPPORTED,
  ReasonCode.UNKNOWN_PROTOCOL,
]);
/** Of what the broker refuses, or closes with. */
const BROKER_CODES: ReadonlySet<string> = new Set([
  'ERR_JSP_CLOSED_BY_PEER',
  'ERR_JSP_BROKER',
  'ERR_JSP_NOT_AUTHORIZED',
  'ERR_JSP_TOKEN_EXPIRED',
]);
const FINAL_CODES: ReadonlySet<string> = new Set([
  'ERR_JSP_IDENTITY_MISMATCH',
  'ERR_JSP_URL_INVALID',
  'ERR_JSP_PIN_MISSING',
  'ERR_JSP_OPTION_INVALID',
  'ERR_JSP_AEAD_UNAVAILABLE',
  'ERR_JSP_LZ4_UNAVAILABLE',
  'ERR_JSP_MESSAGE_TOO_LARGE', // HELLO: of what else is too large its owner is told [CLT-42]
  'ERR_JSP_SESSION_TAKEN',
]);
/** Longer than a broker waits for the session of a client that has gone. */
const OWN_ATTEMPT_TIME: Micros = 10 * SECOND;
/** What is published does not wait longer for subscriptions to be there again. */
const BEGIN_MS_MAX = 5_000;
/** A timer that only keeps the process alive. */
const LONG_MS = 2 ** 30;
