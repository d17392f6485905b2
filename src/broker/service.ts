/**
 * The broker's driver: carries what happens on connections that someone else accepts to the core, and carries out what the core says. It knows a
 * connection and a stream by their faces in pubsub/, so that it serves any transport that has them.
 */

import { NO_BYTES } from '../base/bytes.ts';
import { MILLISECOND } from '../base/time.ts';
import { ReasonCode, reasonCodeName, STREAM_LABEL } from '../pubsub/command.ts';
import type { ConnectionFacts, MessageConnection, MessageStream } from '../pubsub/message-stream.ts';
import { type Tracing, tracedPublish } from '../pubsub/tracing.ts';
import { type Clock, systemClock, type TimerHandle } from '../udp/clock.ts';
import {
  ClientConnection,
  type CoreDriver,
  carryOut,
  NOWHERE,
  StreamLink,
  UNKNOWN_CONNECTION,
} from './carrying.ts';
import type { Review } from './core/access/admission.ts';
import {
  type AuthDecision,
  type AuthQuestion,
  type AuthRequest,
  OPEN,
  type Principal,
} from './core/access/principal.ts';
import type { BackplanePort } from './core/backplane/backplane-port.ts';
import { BrokerCore } from './core/broker-core.ts';
import type { Channel, Client } from './core/delivery/client.ts';
import type { DurableMetrics } from './core/durable/consumers.ts';
import type { Inspection } from './core/operations/inspection.ts';
import type { AdminRequest, AuditRecord, BrokerMetrics } from './core/output.ts';
import type { BrokerLimits } from './core/state.ts';
import { MemoryStore } from './core/store/memory-store.ts';
import type { StorePort } from './core/store-port.ts';

/** What a {@link BrokerService} needs of its surroundings. */
export interface BrokerSurroundings {
  /** Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** Time of the wall clock, in ms since 1970. Default: the machine's. */
  readonly wallMs?: (() => number) | undefined;
  /** Told of each fault of the broker itself, which has cost one client its connection. */
  readonly onFault?: (error: unknown) => void;
  /** What it stands on; whoever hands it in hears of its news and calls {@link BrokerService.hear}. Default: one in memory. */
  readonly store?: StorePort | undefined;
  /** What connects it with the other nodes of its cluster; as with the store, {@link BrokerService.hear} is called when it has news. Default: it is alone. */
  readonly backplane?: BackplanePort | null | undefined;
  /** Finds out who clients are. Without, nobody is asked. */
  readonly authenticate?: Authenticate | undefined;
  /** Whom a client is taken for that shows no credentials, where others do; default null: nobody gets in so. */
  readonly anonymous?: Principal | null | undefined;
  /** Told of what an operator wants to have a trace of. */
  readonly onAudit?: ((record: AuditRecord) => void) | undefined;
  /** Answers what operators ask. */
  readonly administer?: Administer | undefined;
  /** Another node of the cluster has read anew who may do what. */
  readonly onReadAccess?: (() => void) | undefined;
  /** Makes spans of the messages that have a trace context. */
  readonly tracing?: Tracing | null | undefined;
}

/** What comes of a request of somebody who may make it: 0 and what was asked for, or a status of HTTP and why not. A rejection is a fault. */
export type Administer = (request: AdminRequest) => Promise<{ status: number; payload: Uint8Array }>;

/** Whose credentials these are. It settles within 10 s, or is not waited for; a rejection is a fault, and the client may try again. */
export type Authenticate = (request: AuthRequest) => Promise<AuthDecision>;

/** A broker for connections that someone else accepts. */
export class BrokerService {
  private readonly core: BrokerCore;
  private readonly store: StorePort;
  private readonly clock: Clock;
  private readonly wallMs: () => number;
  private tickMs: number;
  private connections = 0;
  private ticking = false;
  private drained: Promise<void> | null = null;
  private whenIdle: (() => void) | null = null;
  private draining = false;
  private inTurn = false;
  /** The core has been told the time, and nothing that takes time has happened since. */
  private onTime = false;
  /** Messages until one is timed; one of so many is. [OPS-6] */
  private untilTimed = 1;
  private timedOneOf = 1;
  private readonly timeGoesOn = () => {
    this.settle();
    this.onTime = false;
    this.armTimer();
  };
  /** The timer of what the core wants to do next, and when that is. */
  private timer: TimerHandle | null = null;
  private timerMs = Number.POSITIVE_INFINITY;
  /** The core wants to go on as soon as others have had their turn. */
  private goesOnSoon = false;
  private authenticate: Authenticate | undefined;
  private readonly onFault: (error: unknown) => void;
  private readonly onAudit: (record: AuditRecord) => void;
  private readonly administer: Administer;
  private readonly onReadAccess: () => void;
  private readonly tracing: Tracing | null;
  private readonly driver: CoreDriver = {
    authenticate: (client, question) => void this.findOut(client, question),
    audit: (record) => this.onAudit(record),
    administer: (request) => void this.answer(request),
    readAccess: () => this.onReadAccess(),
  };

  constructor(
    limits: BrokerLimits = {},
    {
      clock = systemClock,
      wallMs = Date.now,
      onFault = ignore,
      store = new MemoryStore(),
      backplane = null,
      authenticate,
      anonymous = null,
      onAudit = ignore,
      administer = knowsNothing,
      onReadAccess = ignore,
      tracing = null,
    }: BrokerSurroundings = {},
  ) {
    this.core = new BrokerCore(limits, onFault, store, backplane);
    this.onFault = onFault;
    this.onAudit = onAudit;
    this.administer = administer;
    this.onReadAccess = onReadAccess;
    this.tracing = tracing;
    this.setAccess(authenticate, anonymous);
    this.store = store;
    this.clock = clock;
    this.wallMs = wallMs;
    this.core.owed.isLater = clock === systemClock;
    this.advance();
    this.tickMs = tickMsOf(limits);
  }

  /** Takes `connection` over, until it closes. */
  serve(
    connection: MessageConnection,
    facts: ConnectionFacts = connection.facts ?? UNKNOWN_CONNECTION,
  ): void {
    if (this.draining) {
      connection.destroy(ReasonCode.SHUTTING_DOWN, reasonCodeName(ReasonCode.SHUTTING_DOWN));
      return;
    }
    const { core } = this;
    this.advance();
    const client = core.connected(
      new ClientConnection(connection, facts, (lane, stream) => this.attach(lane, stream)),
    );
    this.connections++;
    this.tickLater();
    connection.on('stream', (stream) => {
      if (stream.label !== STREAM_LABEL || !stream.ordered || stream.delivery !== 'reliable') {
        stream.on('error', ignore);
        stream.reset(ReasonCode.UNKNOWN_PROTOCOL); // [BRK-1]
        return;
      }
      this.advance();
      this.carry(core.opened(client, new StreamLink(stream)), stream);
      this.turn();
    });
    connection.on('close', () => {
      this.connections--;
      this.advance();
      core.disconnected(client);
      this.turn();
    });
    this.turn(); // it may be one too many
  }

  /** Who is asked from now on who clients are, and whom those are taken for who show nothing. Without `authenticate` nobody is asked. */
  setAccess(authenticate: Authenticate | undefined, anonymous: Principal | null): void {
    this.authenticate = authenticate;
    this.core.admission.policy = authenticate === undefined ? OPEN : { authenticates: true, anonymous };
  }

  /** Other bounds hold from now on, where they are given. [CFG-5] */
  changeLimits(limits: BrokerLimits): void {
    this.core.changeLimits(limits);
    if (limits.stallMs !== undefined) this.tickMs = tickMsOf(limits);
  }

  /** Looks at what the core has, or does something there, for who runs the broker. */
  inspect<T>(look: (inspection: Inspection) => T): T {
    this.advance();
    const result = look(this.core.inspection);
    this.turn();
    return result;
  }

  /** @param oneOf - of so many messages one is timed from now on */
  timeMessages(oneOf: number): void {
    this.timedOneOf = oneOf;
    this.untilTimed = Math.min(this.untilTimed, oneOf);
  }

  /** Looks at everybody anew, also at those who are away: `review` says who they are now, if they still are somebody. [BRK-119] */
  reauthorize(review: Review): void {
    this.advance();
    this.core.reauthorize(review);
    this.turn();
  }

  metrics(): BrokerMetrics {
    return this.core.metrics();
  }

  /** Durable subscriptions and shared groups, whether anybody holds them or not. */
  durables(): DurableMetrics[] {
    return this.core.durables();
  }

  /**
   * Reads no more publishers, and resolves when everything queued is in the hands of the transport. [BRK-35]
   *
   * @param drainMs - resolves after so long at the latest; a later call can only shorten that
   * @param urls - of other brokers, which clients are told to go to [CFG-6]
   */
  drain(drainMs: number, urls: readonly string[] = []): Promise<void> {
    this.draining = true;
    this.advance();
    this.core.shutDown(drainMs, urls);
    this.drained ??= new Promise<void>((resolve) => {
      this.whenIdle = resolve;
    });
    const timer = this.clock.setTimer(this.clock.now() + drainMs * MILLISECOND, () => this.endDrain());
    void this.drained.then(() => this.clock.clearTimer(timer));
    this.turn();
    return this.drained;
  }

  /** The store or the backplane has something to tell. */
  hear(): void {
    this.advance();
    this.turn();
  }

  private async findOut(client: Client, question: AuthQuestion): Promise<void> {
    let decision: AuthDecision = { code: ReasonCode.BUSY, reason: 'It cannot be found out now. Try again.' };
    try {
      const facts = client.peer.facts ?? UNKNOWN_CONNECTION;
      const { authenticate } = this;
      const { method, credentials, session, renews } = question;
      if (authenticate !== undefined)
        decision = await authenticate({ method, credentials, session, renews, facts });
    } catch (error) {
      this.onFault(error);
    }
    this.advance();
    this.core.admission.decide(question.number, decision);
    this.turn();
  }

  private async answer(request: AdminRequest): Promise<void> {
    let answer: Awaited<ReturnType<Administer>> = { status: 500, payload: NO_BYTES };
    try {
      answer = await this.administer(request);
    } catch (error) {
      this.onFault(error);
    }
    this.advance();
    this.core.administration.answer(request.number, answer.status, answer.payload);
    this.turn();
  }

  /** Nothing waits to be stored: publishers are told of everything that they published. */
  private get isStored(): boolean {
    return this.store.logs.every(({ head, synced, elsewhere }) =>
      elsewhere === undefined ? head === synced : elsewhere.lastTicket === elsewhere.placedTicket,
    );
  }

  /** Does what the core says, after whatever it was told. What it is told meanwhile, by what this does, has its turn in the same one. */
  private turn(): void {
    if (this.inTurn) return;
    this.inTurn = true;
    try {
      carryOut(this.core, this.driver);
    } finally {
      this.inTurn = false;
    }
    // Where the time stands still until the promises have run, once is enough, and then.
    if (!this.onTime) this.armTimer();
    if (this.whenIdle !== null && this.core.idle && this.isStored) this.endDrain();
  }

  /** Publishers are told at once of all that came at the same time. [BRK-81] */
  private settle(): void {
    const { owed } = this.core;
    if (owed.isEmpty) return;
    owed.settle();
    this.turn();
  }

  /** Tells the core the time. That of the machine is taken to stand still until what is running now has run with all promises that it settles. */
  private advance(): void {
    if (this.onTime) return;
    if (this.clock === systemClock) {
      this.onTime = true;
      void SETTLED.then(this.timeGoesOn); // costs a fraction of what queueMicrotask does
    }
    this.core.advance(this.clock.now() / MILLISECOND, this.wallMs());
  }

  /** One that is set for earlier is left as it is, for to wake up once too early costs less than to move it. */
  private armTimer(): void {
    const nextMs = this.core.nextTimeoutMs;
    if (nextMs <= this.clock.now() / MILLISECOND) {
      this.goOnSoon(); // a timer would come a millisecond later
      return;
    }
    const isOver = nextMs === Number.POSITIVE_INFINITY && this.timer !== null;
    if (nextMs < this.timerMs || isOver) this.setTimer();
  }

  private goOnSoon(): void {
    if (this.goesOnSoon) return;
    this.goesOnSoon = true;
    this.clock.soon(() => {
      this.goesOnSoon = false;
      this.goOn();
    });
  }

  private goOn(): void {
    this.onTime = false;
    this.advance();
    this.turn();
  }

  private setTimer(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timerMs = this.core.nextTimeoutMs;
    this.timer =
      this.timerMs === Number.POSITIVE_INFINITY
        ? null
        : this.clock.setTimer(Math.ceil(this.timerMs * MILLISECOND), () => {
            this.timer = null;
            this.timerMs = Number.POSITIVE_INFINITY;
            this.goOn();
          });
  }

  /** Tells the core what happens on a stream. */
  private carry(channel: Channel, stream: MessageStream): void {
    const { core } = this;
    const ended = () => {
      this.advance();
      this.settle();
      core.ended(channel); // [BRK-5]
      this.turn();
    };
    stream.on('drain', () => {
      this.advance();
      core.drained(channel);
      this.turn();
    });
    stream.on('end', ended);
    stream.on('close', ended);
    stream.on('error', ended);
    stream.on('message', (message) => {
      if (!stream.hasReceivedBestEffort) {
        if (!this.onTime) this.advance();
        if (this.tracing !== null) this.trace(channel, message, this.tracing);
        else if (--this.untilTimed === 0) this.timeTurn(channel, message);
        else {
          core.received(channel, message);
          this.turn();
        }
      } else if (!channel.closed) {
        stream.reset(ReasonCode.UNKNOWN_PROTOCOL); // [BRK-1]
        ended();
      }
    });
  }

  /** A stream was opened that the core had asked for; null: the connection closes, and cannot open any. */
  private attach(lane: Channel, stream: MessageStream | null): void {
    this.core.laneOpened(lane, stream === null ? NOWHERE : new StreamLink(stream));
    if (stream !== null) this.carry(lane, stream);
  }

  /** Lets time pass in the core as long as there are connections. */
  private tickLater(): void {
    if (this.ticking || this.connections === 0) return;
    this.ticking = true;
    const now = this.clock.now();
    this.clock.setTimer(now + this.tickMs * MILLISECOND, () => {
      this.ticking = false;
      this.onTime = false;
      this.advance();
      if (this.store instanceof MemoryStore) this.store.trim(this.wallMs());
      this.core.tick(this.clock.now() / MILLISECOND);
      this.turn();
      this.tickLater();
    });
  }

  /** As a span of the trace that the publisher has begun, if it has. */
  private trace(channel: Channel, message: Uint8Array, tracing: Tracing): void {
    const { core } = this;
    const take = () => {
      const before = core.inspection.messagesOut;
      core.received(channel, message);
      this.turn();
      return core.inspection.messagesOut - before;
    };
    const traced = tracedPublish(message);
    if (traced === null) take();
    else tracing.routing(traced.topic, traced.traceparent, traced.bytes, take);
  }

  /** How long it takes until a message has gone out to all that take it at once. */
  private timeTurn(channel: Channel, message: Uint8Array): void {
    const { core, clock, inTurn } = this;
    this.untilTimed = this.timedOneOf;
    const sentBefore = core.inspection.messagesOut;
    const since = clock.now();
    core.received(channel, message);
    this.turn();
    if (inTurn || core.inspection.messagesOut === sentBefore) return;
    core.inspection.turned((clock.now() - since) / MILLISECOND);
  }

  private endDrain(): void {
    this.whenIdle?.();
    this.whenIdle = null;
  }
}

/** Who stands still is looked for some times in the time after which he is given up. */
function tickMsOf({ stallMs = 0 }: BrokerLimits): number {
  return stallMs > 0 ? Math.min(TICK_MS_MAX, Math.max(1, stallMs / 8)) : TICK_MS_MAX;
}

function ignore(): void {}

function knowsNothing({ verb }: AdminRequest): ReturnType<Administer> {
  const payload = Buffer.from(
    JSON.stringify({ code: 'UNKNOWN_VERB', detail: `Nobody here knows "${verb}".` }),
  );
  return Promise.resolve({ status: 404, payload });
}

const TICK_MS_MAX = 1_000;
const SETTLED = Promise.resolve();
