/**
 * The broker without I/O. The driver reports what happens to connections and streams ({@link BrokerCore.connected}, {@link BrokerCore.opened},
 * {@link BrokerCore.received} and so on), and after each report takes out what is to be done ({@link BrokerCore.poll}) until there is nothing more.
 *
 * What is thrown while the broker acts for a client is a fault of the broker that this client alone pays for: its connection fails. [BRK-40]
 */

import { assert } from '../../base/errors.ts';
import { Command, encodePlain, HEADER_BYTES, ReasonCode } from '../../pubsub/command.ts';
import { NoticeCode } from '../../pubsub/session-commands.ts';
import type { Admission, Review } from './access/admission.ts';
import { reauthorize } from './access/revision.ts';
import type { Administration } from './administration/administration.ts';
import type { BackplanePort } from './backplane/backplane-port.ts';
import { shareByClaims } from './backplane/claimed-parts.ts';
import { Guests } from './backplane/guests.ts';
import { type Channel, type Client, Role } from './delivery/client.ts';
import type { DurableMetrics } from './durable/consumers.ts';
import { ack, nack } from './handlers/ack.ts';
import { hello, leave, renew } from './handlers/hello.ts';
import { alias, flush, offerStored, publish, publishNow } from './handlers/publish.ts';
import { marked, subscribe, unsubscribe } from './handlers/subscribe.ts';
import { will } from './handlers/will.ts';
import { Inspection } from './operations/inspection.ts';
import type { BrokerMetrics, ClusterFigures, Effect, Link, Peer } from './output.ts';
import type { OwedReceipts } from './publishing/receipts.ts';
import { type BrokerLimits, BrokerState, type Handler } from './state.ts';
import { MemoryStore } from './store/memory-store.ts';
import type { LogPort, StoreEvents, StoreFailure, StorePort } from './store-port.ts';
import { Timer } from './timers.ts';

/** Something for the driver to do; it is used again for another as soon as the next is asked for. */
export type BrokerEffect = Effect<Channel, Client>;

/** What becomes of each command of a client. */
const HANDLERS: Readonly<Record<number, Handler | undefined>> = {
  [Command.PUBLISH]: publish,
  [Command.FLUSH]: flush,
  [Command.ALIAS]: alias,
  [Command.SUBSCRIBE]: subscribe,
  [Command.UNSUBSCRIBE]: unsubscribe,
  [Command.MARKED]: marked,
  [Command.HELLO]: hello,
  [Command.RENEW]: renew,
  [Command.LEAVE]: leave,
  [Command.WILL]: will,
  [Command.ACK]: ack,
  [Command.NACK]: nack,
  [Command.PING]: (broker, channel, message) =>
    channel.delivery.answer(encodePlain(Command.PONG, broker.reader.id, message.subarray(HEADER_BYTES))), // [BRK-34] at once
};

export class BrokerCore implements StoreEvents {
  /** For who runs the broker. */
  readonly inspection: Inspection;
  private readonly state: BrokerState;
  /** Members of shared groups that other nodes' clients are; null: this broker is alone. */
  private readonly guests: Guests | null;
  private isRestored = false;
  /** Clients that the tick has not come to yet; null: it has come to all. */
  private untended: Iterator<Client> | null = null;
  private readonly tendLater = new Timer(() => {
    if (this.untended !== null) this.tendSome(this.untended, this.state.nowMs);
  });
  /** Where {@link idle} last found something. */
  private lastBusy: Channel | null = null;

  /**
   * @param report - told of each fault of the broker itself
   * @param store - default: one that forgets everything with the process
   * @param backplane - what connects it with the other nodes of its cluster; default: it is alone
   */
  constructor(
    limits: BrokerLimits = {},
    report: (error: unknown) => void = () => {},
    store: StorePort = new MemoryStore(),
    backplane: BackplanePort | null = null,
  ) {
    const state = new BrokerState(limits, store, report, backplane);
    state.admission.accounts.publishNow = (publisher, message) =>
      publishNow(state, publisher as Channel, message);
    state.consumers.onDeadLetter = (command) => offerStored(state, state.own.channel, command);
    shareByClaims(state);
    this.guests = state.neighbours === null ? null : new Guests(state, state.neighbours.streams);
    this.state = state;
    this.inspection = new Inspection(state);
  }

  /**
   * It is later now. To be called before anything that is reported, and at {@link nextTimeoutMs}.
   *
   * @param nowMs - monotonic
   * @param wallMs - since 1970, which may be set back
   */
  advance(nowMs: number, wallMs: number): void {
    const { state } = this;
    state.nowMs = nowMs;
    state.wallMs = wallMs;
    if (!this.isRestored) {
      this.isRestored = true;
      state.begunAtMs = wallMs - nowMs;
      state.restore();
    }
    if (state.timers.nextMs <= nowMs) this.runTimers();
  }

  private runTimers(): void {
    const { state } = this;
    const { nowMs } = state;
    for (let timer = state.timers.takeDue(nowMs); timer !== null; timer = state.timers.takeDue(nowMs)) {
      try {
        timer.run();
      } catch (error) {
        state.reportFault(error);
      }
    }
    // What the broker publishes itself comes before what clients publish later in this turn.
    while (state.own.hasNext(state.messageIds.isComplete)) this.publishOwn();
  }

  /** When {@link advance} is to be called again, whatever happens: monotonic, ms. */
  get nextTimeoutMs(): number {
    return this.state.timers.nextMs;
  }

  /** A client has connected. */
  connected(peer: Peer): Client {
    return this.state.connect(peer);
  }

  /** Who clients are, and what they may do. */
  get admission(): Admission {
    return this.state.admission;
  }

  /** It has changed who may do what: everybody is looked at anew, and loses at once what it may not have any more. [BRK-119] */
  reauthorize(review: Review): void {
    reauthorize(this.state, review);
  }

  /** What operators ask, and are told. */
  get administration(): Administration {
    return this.state.administration;
  }

  /** A client has opened a stream. */
  opened(client: Client, link: Link): Channel {
    return this.state.open(client, link);
  }

  /** The transport has opened the stream that it was asked for. */
  laneOpened(lane: Channel, link: Link): void {
    lane.link = link;
    lane.client.lanesOpening--;
  }

  /** `message` has come on `channel`. The core may keep it. */
  received(channel: Channel, message: Uint8Array): void {
    if (channel.closed) return;
    const { state } = this;
    channel.commandsIn++;
    try {
      assert(!channel.held, 'a paused stream was read');
      const code = state.reader.read(message); // [BRK-2] a message is one command
      const handler = HANDLERS[state.reader.command];
      if (code !== ReasonCode.NO_ERROR) state.fail(channel.client, code);
      else if (handler === undefined)
        state.fail(channel.client, ReasonCode.UNSUPPORTED); // [BRK-8] a command that it does not know
      else handler(state, channel, message);
    } catch (error) {
      state.failInternally(channel.client, error);
    }
  }

  /** What the transport has answered to a message: whether the stream takes another one. To be told when it does not, or when the message was large. */
  sent(channel: Channel, writable: boolean): void {
    if (!channel.closed) channel.delivery.sent(writable);
  }

  /** The stream, which had taken enough, takes messages again. */
  drained(channel: Channel): void {
    if (channel.closed) return;
    try {
      channel.delivery.drained();
    } catch (error) {
      this.state.failInternally(channel.client, error);
    }
  }

  /** The client has ended or reset the stream. [BRK-5] */
  ended(channel: Channel): void {
    if (channel.closed) return;
    channel.end();
    try {
      this.state.close(channel);
    } catch (error) {
      this.state.failInternally(channel.client, error);
    }
  }

  /** The connection is gone. */
  disconnected(client: Client): void {
    this.state.disconnect(client);
  }

  /** Something failed while the driver acted for this client. [BRK-40] */
  failed(client: Client, error: unknown): void {
    this.state.failInternally(client, error);
  }

  /**
   * Time has passed: gives up subscriptions that have not moved for too long [BRK-23]. To be called several times in each
   * `stallMs`, and at least once a second.
   *
   * @param nowMs - monotonic
   */
  tick(nowMs: number): void {
    this.untended ??= this.state.clients.keys();
    this.tendSome(this.untended, nowMs);
  }

  /** Looks after a few thousand clients. The others have their turn when messages had theirs: however many are idle, nobody waits for them. */
  private tendSome(clients: Iterator<Client>, nowMs: number): void {
    for (let i = 0; i < CLIENTS_TENDED_MAX; i++) {
      const next = clients.next();
      if (next.done) {
        this.untended = null;
        return;
      }
      const client = next.value;
      try {
        for (const channel of client.channels) this.tend(channel, nowMs);
      } catch (error) {
        this.state.failInternally(client, error);
      }
    }
    this.state.timers.set(this.tendLater, this.state.nowMs + 1);
  }

  /** Other bounds hold from now on, where they are given. [CFG-5] */
  changeLimits(limits: BrokerLimits): void {
    this.state.changeLimits(limits);
  }

  /**
   * Reads no more publishing streams; what is queued still goes out. [BRK-35]
   *
   * @param windowMs - when it closes at the latest, which clients are told
   * @param urls - where they are to go, which they are told as well
   */
  shutDown(windowMs = 0, urls: readonly string[] = []): void {
    if (this.state.shuttingDown) return;
    this.state.shuttingDown = true;
    this.state.consumers.flush();
    this.state.notify(NoticeCode.SHUTTING_DOWN, windowMs, urls.join('\n'));
    this.state.wills.close();
    this.guests?.close();
    for (const client of this.state.clients.keys()) {
      for (const channel of client.channels) if (channel.role === Role.PUBLISHING) channel.hold();
    }
  }

  /** What is to be done next, or null when there is nothing more until something happens. */
  poll(): BrokerEffect | null {
    const { output, cluster, claims } = this.state;
    for (;;) {
      const effect = output.poll();
      if (effect !== null) return effect;
      const channel = output.firstWoken;
      if (channel !== undefined) {
        if (!this.goOnSending(channel)) output.dropFirstWoken();
      } else if (this.state.consumers.deadLetters.hasNews) this.bury();
      else if (this.state.store.hasNews) this.state.store.tell(this);
      else if (this.state.own.hasNext(this.state.messageIds.isComplete)) this.publishOwn();
      else if (cluster?.port.hasNews) cluster.port.tell(cluster);
      else if (this.state.placements.hasReady) this.state.placements.goOnReady();
      else if (claims?.hasUnused) claims.settle();
      else return null;
    }
  }

  // ---- what the store tells ----

  stored(log: LogPort): void {
    this.hear((listener) => listener.stored?.(log));
  }

  placed(log: LogPort, ticket: number, offset: number, isDuplicate: boolean): void {
    this.hear((listener) => listener.placed?.(log, ticket, offset, isDuplicate));
  }

  stateStored(): void {
    this.hear((listener) => listener.stateStored?.());
  }

  loaded(log: LogPort): void {
    this.hear((listener) => listener.loaded?.(log));
  }

  trimmed(log: LogPort): void {
    this.hear((listener) => listener.trimmed?.(log));
  }

  begunAnew(log: LogPort): void {
    this.hear((listener) => listener.begunAnew?.(log));
    // Where they were means nothing any more: they come back, and are told so. [BRK-71]
    for (const client of this.state.consumers.readersOf(log)) this.state.dismiss(client, ReasonCode.MOVED);
  }

  storeFailed(log: LogPort | null, failure: StoreFailure): void {
    this.hear((listener) => listener.storeFailed?.(log, failure));
    this.state.notify(NoticeCode.STORE_READ_ONLY, 0, log?.name ?? '');
  }

  private bury(): void {
    try {
      this.state.consumers.deadLetters.goOn();
    } catch (error) {
      this.state.reportFault(error);
    }
  }

  /** Publishes the next of the broker's own messages, as one of a client. */
  private publishOwn(): void {
    const { state } = this;
    const { own } = state;
    try {
      const message = own.next();
      const code = state.reader.read(message);
      assert(code === ReasonCode.NO_ERROR, 'a message of the broker itself that is none');
      publish(state, own.channel, message);
    } catch (error) {
      state.reportFault(error);
    }
  }

  private hear(tell: (listener: Partial<StoreEvents>) => void): void {
    for (const listener of this.state.storeListeners) {
      try {
        tell(listener);
      } catch (error) {
        this.state.reportFault(error);
      }
    }
  }

  /** What publishers are to be told: together, where whoever runs this says when. [BRK-81] */
  get owed(): OwedReceipts {
    return this.state.publishers.owed;
  }

  /** True when no message and no answer waits in a queue, or to enter one. */
  get idle(): boolean {
    if (!this.owed.isEmpty) return false;
    if (this.lastBusy !== null && !this.lastBusy.closed && !this.lastBusy.delivery.idle) return false;
    for (const client of this.state.clients.keys()) {
      for (const channel of client.channels) {
        if (channel.delivery.idle) continue;
        this.lastBusy = channel;
        return false;
      }
    }
    this.lastBusy = null;
    return true;
  }

  /** What has a name and reads a log: how far it is, and what of that is not settled. */
  durables(): DurableMetrics[] {
    return [...this.state.consumers.metrics()];
  }

  /** Counters since the start, and what is held now: at no cost that depends on how much that is. */
  metrics(): BrokerMetrics {
    const { state } = this;
    return {
      clients: state.clients.size,
      sessions: state.sessions.size,
      sessionsAway: state.sessions.awayCount,
      sessionsExpired: state.sessions.expired,
      retainedMessages: state.retained.count,
      retainedBytes: state.retained.bytes,
      willsPublished: state.wills.published,
      filters: state.router.filterCount,
      queuedMessages: state.budget.messages,
      queuedBytes: state.budget.usedBytes,
      queuedBytesMax: state.budget.bytesMax,
      durables: state.consumers.durableCount,
      unsettledMessages: state.consumers.unsettledCount,
      cluster: this.clusterFigures(),
      // Behind the others: an object that begins with one that is spread costs fifty times as much.
      ...state.counters,
      ...state.levels,
    };
  }

  private clusterFigures(): ClusterFigures | null {
    const { cluster, claims, neighbours } = this.state;
    if (cluster === null || claims === null || neighbours === null) return null;
    const { invalid, ...others } = cluster.figures;
    return { ...others, invalid: invalid + neighbours.invalid, ...claims.figures };
  }

  /** Lets a stream send what may go out now. False when that is all. */
  private goOnSending(channel: Channel): boolean {
    if (channel.closed) return false;
    try {
      if (channel.delivery.goOn()) return true;
      this.state.subscriptionOf(channel)?.onSent(channel);
    } catch (error) {
      this.state.failInternally(channel.client, error);
    }
    return false;
  }

  private tend(channel: Channel, nowMs: number): void {
    const subscription = this.state.subscriptionOf(channel);
    if (channel.closed) return;
    const { stallMs } = this.state.limits;
    const { delivery } = channel;
    // Asked of all streams, for this is also when their transport is asked what has left, which makes room for large messages. [BRK-38]
    const isStalled = delivery.isStalled(nowMs, stallMs);
    if (channel.role === Role.PUBLISHING) return;
    if (isStalled && stallMs > 0 && subscription !== undefined) {
      this.state.counters.subscriptionsStalled++;
      this.state.giveUp(subscription, ReasonCode.STALLED); // [BRK-23] nobody reads it, and others wait for it
    } else if (delivery.waitsForRoom) delivery.wake();
    else if (channel.role === Role.LANE && delivery.isUnused(nowMs, LANE_UNUSED_MS))
      subscription?.retire(channel);
  }
}

const CLIENTS_TENDED_MAX = 4_096;
/** A lane that carries nothing for so long is ended. */
const LANE_UNUSED_MS = 10_000;
