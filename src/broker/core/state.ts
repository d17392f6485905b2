/** What a broker holds, and how clients and their streams come and go: for the core, which is told what happens, and the handlers of commands. It is one file because all of it is how parts that do the work are put together. */

import { assert } from '../../base/errors.ts';
import { number, type OptionTable, whole } from '../../base/options.ts';
import {
  CommandReader,
  DropReason,
  encodeLane,
  LANE_BYTES,
  LANES_MAX,
  Overflow,
  ReasonCode,
  Side,
  SubscribeFlag,
} from '../../pubsub/command.ts';
import { DeliveryClass } from '../../pubsub/properties.ts';
import { Router } from '../../pubsub/router.ts';
import type { NoticeCode } from '../../pubsub/session-commands.ts';
import { AsPublished, type SubscribeOptionValues } from '../../pubsub/subscribe-options.ts';
import { isShared } from '../../pubsub/topic.ts';
import { Admission } from './access/admission.ts';
import { Audit } from './access/audit.ts';
import { Replies } from './access/replies.ts';
import { Turnstile } from './access/turnstile.ts';
import { Administration } from './administration/administration.ts';
import type { BackplanePort } from './backplane/backplane-port.ts';
import type { ClaimedIds } from './backplane/claimed-ids.ts';
import { Claims } from './backplane/claims.ts';
import { Cluster } from './backplane/cluster.ts';
import { CutOff } from './backplane/cut-off.ts';
import { Neighbours } from './backplane/neighbours.ts';
import { ReplicatedValues } from './backplane/replicated-values.ts';
import { type BrokerOutput, Channel, Client, Role } from './delivery/client.ts';
import { Conflation } from './delivery/conflation.ts';
import type { QueueBudget, QueuePolicy } from './delivery/delivery-queue.ts';
import { Expiry } from './delivery/expiry.ts';
import { FanOut } from './delivery/fan-out.ts';
import { Subscription } from './delivery/subscription.ts';
import { Consumers } from './durable/consumers.ts';
import { clusterNameOf, SharedGroups } from './durable/shared-group.ts';
import { Notices } from './notices.ts';
import { Latencies } from './operations/latencies.ts';
import type { TopicSketch } from './operations/topic-sketch.ts';
import { Action, BrokerCounters, BrokerLevels, type Link, Output, type Peer } from './output.ts';
import { LogRouting } from './publishing/log-routing.ts';
import { MessageIds } from './publishing/message-ids.ts';
import { OwnPublisher } from './publishing/own-publisher.ts';
import { Placements } from './publishing/placements.ts';
import { Publishers } from './publishing/publishers.ts';
import { LateValues } from './retained/late-values.ts';
import { RetainedReplays } from './retained/retained-replay.ts';
import { type RetainedValue, RetainedValues } from './retained/retained-values.ts';
import { StoredValues } from './retained/value-keeper.ts';
import { Session } from './session/session.ts';
import { SessionNotes } from './session/session-notes.ts';
import { SessionTable } from './session/session-table.ts';
import { StoredAnswers } from './session/stored-answers.ts';
import type { StoreEvents, StorePort } from './store-port.ts';
import { Timers } from './timers.ts';
import { type WillCluster, Wills } from './will/wills.ts';

/** The bounds of a broker. */
export interface BrokerLimits {
  /** Most messages in the queue of one subscribing stream. Default 16,384. */
  queueMessagesMax?: number | undefined;
  /** Most charged bytes in the queue of one subscribing stream. Default 4 MiB. */
  queueBytesMax?: number | undefined;
  /** Most charged bytes in all queues of one connection together, whatever each may hold. Default 16 MiB. */
  queueBytesPerClientMax?: number | undefined;
  /** Most charged bytes in all queues of all connections: those that hold the most are full first. Default 256 MiB. */
  queueBytesTotalMax?: number | undefined;
  /** Most filters of one connection. Default 1,024. */
  filtersPerClientMax?: number | undefined;
  /** Most topics whose subscribers are remembered, a power of two. Default 8,192. */
  routesMax?: number | undefined;
  /** Time in ms after which a subscription whose full `block` queue has not moved is given up; 0 = never. Default 30,000. */
  stallMs?: number | undefined;
  /** Most unacknowledged messages of one subscription of QoS 1. Default 16,384; 1 to 1,000,000. */
  unackedMax?: number | undefined;
  /** Most durable subscriptions and shared groups, with or without a subscriber. Default 100,000. */
  durablesMax?: number | undefined;
  /** Most sessions with a name, of clients that are connected or away. Default 250,000. */
  sessionsMax?: number | undefined;
  /** A session outlives a connection for so many ms at most, whatever its client asks; 4,294,967,295: for ever, if it asks that. Default 7 days. */
  sessionExpiryMaxMs?: number | undefined;
  /** Most bytes of all wills together. Default 64 MiB. */
  willBytesMax?: number | undefined;
  /** Most bytes of the last values of all topics together. Default 64 MiB. */
  retainedBytesMax?: number | undefined;
  /** Most connections that are let in a second, all together; 0: as many as come. Default 0. */
  connectRate?: number | undefined;
}

const BOUND_MAX = 2 ** 32 - 1;
export const BROKER_LIMITS: OptionTable<BrokerLimits> = {
  queueMessagesMax: whole(1, BOUND_MAX),
  queueBytesMax: whole(1, BOUND_MAX),
  queueBytesPerClientMax: whole(1, Number.MAX_SAFE_INTEGER),
  queueBytesTotalMax: whole(1, Number.MAX_SAFE_INTEGER),
  filtersPerClientMax: whole(0, BOUND_MAX),
  routesMax: powerOfTwo,
  stallMs: number(0, Number.POSITIVE_INFINITY),
  unackedMax: whole(1, 1_000_000),
  durablesMax: whole(0, BOUND_MAX),
  sessionsMax: whole(0, BOUND_MAX),
  sessionExpiryMaxMs: whole(0, BOUND_MAX),
  willBytesMax: whole(0, Number.MAX_SAFE_INTEGER),
  retainedBytesMax: whole(0, Number.MAX_SAFE_INTEGER),
  connectRate: number(0, BOUND_MAX),
};

/** Does what a command asks for; its fields are in {@link BrokerState.reader}. */
export type Handler = (broker: BrokerState, channel: Channel, message: Uint8Array) => void;

export class BrokerState {
  /** As they hold now: {@link changeLimits}. */
  readonly limits: { [K in keyof BrokerLimits]-?: number };
  /** The command at hand. */
  readonly reader = new CommandReader(Side.BROKER);
  readonly router: Router<Subscription>;
  readonly output: BrokerOutput = new Output();
  readonly counters = new BrokerCounters();
  readonly levels = new BrokerLevels();
  readonly latencies: Latencies;
  /** Counts messages by topic; null as long as nobody asks. */
  topicSketch: TopicSketch | null = null;
  /** Who is connected, each with its session. */
  readonly clients = new Map<Client, Session>();
  readonly sessions: SessionTable;
  readonly wills: Wills;
  /** What doors remember of sessions. */
  readonly notes: SessionNotes;
  /** What the broker itself publishes, in the place of clients that are gone. */
  readonly own: OwnPublisher;
  readonly retained: RetainedValues;
  readonly replays: RetainedReplays;
  readonly store: StorePort;
  /** Subscriptions of QoS 1. */
  readonly consumers: Consumers;
  /** Shared subscriptions, as those who get messages at once. */
  readonly groups: SharedGroups;
  readonly storedAnswers: StoredAnswers;
  /** Parts that hear what the store tells, each what it wants to know. */
  readonly storeListeners: Partial<StoreEvents>[] = [];
  /** The cluster that this broker is a node of; null: it is alone. [CLU-1] */
  readonly cluster: Cluster | null;
  /** Its last values, which all of that have; null as well. */
  readonly replica: ReplicatedValues | null;
  private readonly late: LateValues | null;
  /** What is to be done at a time; and the time: monotonic, and of the wall clock, in ms. The driver tells it. */
  readonly timers = new Timers();
  nowMs = 0;
  wallMs = 0;
  /** What the wall clock read at the monotonic 0, when the broker began. */
  begunAtMs = 0;
  /** Messages that wait and do not live for ever. */
  readonly expiry = new Expiry(this.timers, this);
  readonly fanOut = new FanOut(this);
  readonly routing: LogRouting;
  readonly publishers: Publishers;
  readonly messageIds = new MessageIds();
  readonly placements = new Placements(this);
  readonly notices = new Notices(this);
  readonly audit = new Audit(this);
  readonly admission = new Admission(this);
  readonly turnstile: Turnstile;
  readonly replies = new Replies(this);
  readonly administration = new Administration(this);
  /** What this node of a cluster has alone; null: the broker is alone, and has everything. */
  readonly claims: Claims | null;
  readonly cutOff: CutOff | null;
  /** What it has to do with other nodes; null as well. */
  readonly neighbours: Neighbours | null;
  /** Which ids of sessions were taken, in a cluster. */
  claimedIds: ClaimedIds | null = null;
  shuttingDown = false;
  private lastClientId = 0;
  /** By each of their streams. */
  private readonly subscriptions = new Map<Channel, Subscription>();
  /** What waits in all queues. */
  readonly budget: QueueBudget;
  private readonly report: (error: unknown) => void;
  private readonly openLane = (subscription: Subscription, priority: number) =>
    this.addLane(subscription, priority);

  /**
   * @param report - told of each fault of the broker itself
   * @param backplane - null: this broker is alone
   */
  constructor(
    limits: BrokerLimits,
    store: StorePort,
    report: (error: unknown) => void,
    backplane: BackplanePort | null = null,
  ) {
    this.limits = {
      queueMessagesMax: limits.queueMessagesMax ?? 16_384,
      queueBytesMax: limits.queueBytesMax ?? 4 * 1024 * 1024,
      queueBytesPerClientMax: limits.queueBytesPerClientMax ?? 16 * 1024 * 1024,
      queueBytesTotalMax: limits.queueBytesTotalMax ?? 256 * 1024 * 1024,
      filtersPerClientMax: limits.filtersPerClientMax ?? 1_024,
      routesMax: limits.routesMax ?? 8_192,
      stallMs: limits.stallMs ?? 30_000,
      unackedMax: limits.unackedMax ?? 16_384,
      durablesMax: limits.durablesMax ?? 100_000,
      sessionsMax: limits.sessionsMax ?? 250_000,
      sessionExpiryMaxMs: limits.sessionExpiryMaxMs ?? 7 * 24 * 60 * 60 * 1_000,
      willBytesMax: limits.willBytesMax ?? 64 * 1024 * 1024,
      retainedBytesMax: limits.retainedBytesMax ?? 64 * 1024 * 1024,
      connectRate: limits.connectRate ?? 0,
    };
    this.turnstile = new Turnstile(this, this.limits);
    this.store = store;
    this.latencies = new Latencies(store.logs);
    this.routing = new LogRouting(store.logs);
    this.report = report;
    this.replica = backplane === null ? null : new ReplicatedValues(backplane, this);
    const keeper = this.replica ?? new StoredValues(store.state);
    this.publishers = new Publishers(keeper);
    this.publishers.onFree = (channel) => this.placements.freed(channel);
    this.storeListeners.push(this.placements, this.publishers, this.messageIds);
    this.budget = { usedBytes: 0, messages: 0, bytesMax: this.limits.queueBytesTotalMax };
    this.router = new Router(this.limits.routesMax);
    this.own = new OwnPublisher(this, this.limits.queueBytesPerClientMax);
    this.sessions = new SessionTable(store, this, this.limits, backplane);
    this.claims = backplane === null ? null : new Claims(backplane, this);
    this.neighbours = backplane === null ? null : new Neighbours(this, backplane);
    this.storedAnswers = new StoredAnswers(store);
    const publish = (message: Uint8Array) => this.own.push(message);
    this.wills = new Wills(store.state, this, this.limits, {
      publish,
      newNumber: () => this.sessions.newNumber(),
      cluster: this.claims === null ? null : this.willsOf(this.claims),
    });
    this.retained = new RetainedValues(keeper, this, this.limits, publish);
    this.replays = new RetainedReplays(this.retained, this);
    this.late =
      backplane === null ? null : new LateValues(this.retained, this.replays, this, backplane.values);
    this.notes = new SessionNotes(store.state);
    this.sessions.parts.push(this.wills, this.retained.presence, this.notes);
    this.consumers = new Consumers(this);
    this.sessions.parts.push(this.consumers.bound);
    this.groups = new SharedGroups(this.limits.routesMax);
    this.storeListeners.push(this.sessions, this.storedAnswers, this.consumers);
    this.cluster =
      backplane === null ? null : new Cluster(backplane, this, (error) => this.reportFault(error));
    if (this.replica !== null) this.cluster?.listeners.push(this.replica);
    if (this.neighbours !== null) this.cluster?.listeners.push(this.neighbours);
    this.cutOff = backplane === null ? null : new CutOff(this);
    if (this.cutOff !== null) this.cluster?.listeners.push(this.cutOff);
  }

  /** More of the last values that were kept here are stored in the cluster. */
  valuesStored(): void {
    this.publishers.stateStored();
  }

  /** Another node has kept a last value. */
  valueArrived(value: RetainedValue): void {
    this.late?.arrived(value);
  }

  private willsOf(claims: Claims): WillCluster {
    return {
      whenStillOwn: (act) => this.storedAnswers.whenSafe(act, () => {}),
      orphansGone: (claim) => claims.review(claim),
    };
  }

  /** The wall clock as it would be had nobody set it since the broker began: by it times to live end. [BRK-86] */
  get evenMs(): number {
    return this.begunAtMs + this.nowMs;
  }

  /** Takes up what the store has kept, when the time is known. [BRK-54] */
  restore(): void {
    const sessions = this.sessions.restore();
    this.notes.restore((name) => this.sessions.find(name) !== undefined);
    this.wills.restore(sessions);
    this.consumers.restore();
    this.retained.restore(sessions);
    this.messageIds.restore(this.store.logs, this.wallMs);
  }

  /** From now on these hold, where they are given, but for the number of routes. Who has more keeps it: a subscription its bounds, a client those of its connection. [CFG-5] */
  changeLimits(limits: BrokerLimits): void {
    for (const name in limits) {
      const value = limits[name as keyof BrokerLimits];
      if (value !== undefined && name !== 'routesMax') this.limits[name as keyof BrokerLimits] = value;
    }
    this.budget.bytesMax = this.limits.queueBytesTotalMax;
  }

  connect(peer: Peer): Client {
    const client = new Client(peer, this.limits.queueBytesPerClientMax, this.budget);
    client.id = ++this.lastClientId;
    client.connectedAt = this.wallMs;
    this.clients.set(client, new Session(client));
    if (this.turnstile.enter(client)) this.admission.connected(client);
    else this.fail(client, ReasonCode.LIMITED); // [BRK-122] too many wait for their turn
    return client;
  }

  /** The connection is gone, or is closed by the broker: so is everything on it. */
  disconnect(client: Client): void {
    client.closed = true;
    this.admission.disconnected(client);
    this.cutOff?.disconnect(client);
    this.turnstile.leave(client);
    this.audit.forget(client);
    for (const channel of client.channels) {
      try {
        this.close(channel);
      } catch (error) {
        this.reportFault(error);
      }
    }
    // What could not be closed is gone all the same.
    for (const { role } of client.channels) if (role !== Role.LANE) this.levels.streams--;
    client.channels.clear();
    this.levels.lanes -= client.laneCount;
    client.laneCount = 0;
    this.levels.transportBytes -= client.transportBytes;
    client.transportBytes = 0;
    client.queued.close();
    const session = this.clients.get(client);
    this.clients.delete(client);
    if (session === undefined) return;
    try {
      this.sessions.leave(session);
    } catch (error) {
      this.reportFault(error);
    }
  }

  /** Tells all who have said HELLO. [BRK-95] */
  notify(code: NoticeCode, value: number, text: string): void {
    for (const client of this.clients.keys()) this.notices.tell(client, code, value, text);
  }

  /** Closes a connection for what its client did. */
  fail(client: Client, code: ReasonCode): void {
    if (client.closed) return;
    this.counters.clientsFailed++;
    this.dismiss(client, code);
  }

  /** Closes a connection, as if it were gone. */
  dismiss(client: Client, code: ReasonCode): void {
    this.output.close(client, code);
    this.disconnect(client);
  }

  /** A fault of the broker while it acted for this client, whose connection fails. The others notice nothing. [BRK-40] */
  failInternally(client: Client, error: unknown): void {
    this.reportFault(error);
    if (client.closed) return;
    this.dismiss(client, ReasonCode.INTERNAL_ERROR);
  }

  /** Does something for a client that was put off until now; where that fails, this client alone pays for it. [BRK-40] */
  actFor(client: Client, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.failInternally(client, error);
    }
  }

  /** A stream has come to be; or is to, where the broker itself opens a lane. */
  open(client: Client, link: Link, role: Role = Role.UNDECIDED): Channel {
    const channel = new Channel(client, link, this);
    if (client.closed) {
      channel.close();
      return channel;
    }
    channel.role = role;
    if (!client.hasTurn) channel.hold();
    if (role === Role.LANE) this.output.act(Action.OPEN, channel);
    // However many streams a client opens, its transport holds little for it that it does not read. [BRK-38]
    const bound = TRANSPORT_BOUNDS.find(({ from }) => client.channels.size >= from);
    if (bound !== undefined) this.output.act(Action.LIMIT, channel, bound.bytes);
    client.channels.add(channel);
    if (role !== Role.LANE) this.levels.streams++;
    return channel;
  }

  /** The stream is gone, and with it its subscription, and the lanes of that. */
  close(channel: Channel): void {
    const subscription = this.subscriptions.get(channel);
    this.subscriptions.delete(channel);
    if (channel.role === Role.PUBLISHING) this.publishers.close(channel);
    if (subscription === undefined) {
      channel.close();
    } else if (subscription.main !== channel) {
      channel.close();
      channel.client.laneCount--;
      this.levels.lanes--;
      subscription.forget(channel);
    } else {
      this.end(subscription);
    }
  }

  /** Gives a subscription up, with all its streams. */
  giveUp(subscription: Subscription, code: ReasonCode): void {
    const streams = [subscription.main, ...subscription.lanes()];
    this.close(subscription.main);
    for (const channel of streams) channel.reset(code);
  }

  /** Gives an undecided stream its role; one that has the other role fails. [BRK-3] */
  takeRole(channel: Channel, role: Role): boolean {
    if (channel.role === role) return true;
    if (channel.role !== Role.UNDECIDED) {
      this.fail(channel.client, ReasonCode.WRONG_STREAM);
      return false;
    }
    if (role !== Role.CONTROL && channel.client.principal === null) {
      this.fail(channel.client, ReasonCode.NOT_AUTHORIZED); // [BRK-111] nothing is done for somebody who is not known
      return false;
    }
    channel.role = role;
    if (role === Role.CONTROL) channel.client.control ??= channel;
    else channel.client.hasActed = true;
    if (role === Role.PUBLISHING) {
      if (this.shuttingDown) channel.hold();
      if (!channel.client.beginPublishing(channel)) {
        this.fail(channel.client, ReasonCode.LIMITED); // [BRK-38] too much of its client waits
        return false;
      }
    }
    return true;
  }

  sessionOf(channel: Channel): Session {
    const session = this.clients.get(channel.client) ?? this.own.sessionOf(channel);
    assert(session !== null, 'a client without a session');
    return session;
  }

  subscriptionOf(channel: Channel): Subscription | undefined {
    return this.subscriptions.get(channel);
  }

  /** Makes `channel` a subscription, which has no filters yet. */
  subscribe(
    channel: Channel,
    policy: QueuePolicy,
    flags: number,
    { rateMax = 0, deliveryClass, asPublished = 0 }: SubscribeOptionValues,
  ): Subscription {
    const { limits } = this;
    const takesLanes = (flags & SubscribeFlag.LANES) !== 0 && channel.link.messageBytesMax >= LANE_BYTES;
    const takesCompressed = (flags & SubscribeFlag.COMPRESSED) !== 0;
    const subscription = new Subscription(
      channel,
      policy,
      takesCompressed,
      takesLanes ? this.openLane : null,
    );
    subscription.noLocal = (flags & SubscribeFlag.NO_LOCAL) !== 0;
    subscription.tellsRetain = (asPublished & AsPublished.RETAIN) !== 0;
    subscription.tellsQoS = (asPublished & AsPublished.QOS) !== 0;
    // The subscriber's bounds as far as it gives them, the broker's above all. [BRK-17]
    const messagesMax = Math.min(policy.messages || limits.queueMessagesMax, limits.queueMessagesMax);
    const bytesMax = Math.min(policy.bytes || limits.queueBytesMax, limits.queueBytesMax);
    const isLatest = deliveryClass === DeliveryClass.LATEST;
    channel.delivery.queue.configure(isLatest ? Overflow.LATEST : policy.overflow, messagesMax, bytesMax);
    channel.delivery.isUnreliable = deliveryClass === DeliveryClass.UNRELIABLE;
    if (rateMax > 0) subscription.conflation = this.conflationOf(subscription, rateMax);
    this.subscriptions.set(channel, subscription);
    return subscription;
  }

  /** A subscription gets what its filter matches from now on: alone, or as one of a group. */
  enter(filter: string, subscription: Subscription, keyOrder: boolean): void {
    subscription.filters.add(filter);
    this.levels.subscriptions++;
    // [BRK-61] For one that reads a log: of what is in none.
    const isFirst = isShared(filter)
      ? this.groups.join(filter, subscription, keyOrder)
      : this.router.add(filter, subscription);
    if (isFirst) this.cluster?.interest.add(clusterNameOf(filter, subscription.readsLog));
  }

  /** And does not any more. */
  leave(filter: string, subscription: Subscription): void {
    const wasLast = isShared(filter)
      ? this.groups.leave(filter, subscription)
      : this.router.remove(filter, subscription);
    if (wasLast) this.cluster?.interest.remove(clusterNameOf(filter, subscription.readsLog));
  }

  /** True when a message is for a subscription, whose filters have changed meanwhile. */
  isFor(message: Uint8Array, subscription: Subscription): boolean {
    return this.router.reaches(message, subscription) || this.groups.reaches(message, subscription);
  }

  reportFault(error: unknown): void {
    this.counters.internalErrors++;
    this.report(error);
  }

  private conflationOf(subscription: Subscription, rateMax: number): Conflation {
    const { main } = subscription;
    return new Conflation(rateMax, main.client.queued, this.expiry, {
      release: (held) => {
        try {
          return this.fanOut.release(subscription, held, held.deadlineMs - this.nowMs);
        } catch (error) {
          this.failInternally(main.client, error);
          return true;
        }
      },
      superseded: () => this.counters.superseded++,
      expired: () => {
        this.counters.droppedExpired++;
        main.delivery.skip(DropReason.EXPIRED);
      },
    });
  }

  /** A subscription is over, because its stream is. */
  private end(subscription: Subscription): void {
    const { main } = subscription;
    try {
      main.close();
    } finally {
      this.leaveAll(subscription); // or whatever failed there would be offered messages for ever
    }
    this.consumers.release(subscription);
    this.neighbours?.relays.release(subscription);
    subscription.end();
    this.replays.forget(subscription);
    for (const lane of subscription.lanes()) {
      lane.end();
      this.close(lane);
    }
  }

  private leaveAll(subscription: Subscription): void {
    const { main, filters } = subscription;
    const session = this.clients.get(main.client);
    if (session !== undefined) session.filterCount -= filters.size;
    this.levels.subscriptions -= filters.size;
    for (const filter of filters) this.leave(filter, subscription);
    filters.clear();
  }

  /** Opens a stream that carries deliveries of a subscription. Null when there may be no more. [BRK-39] */
  private addLane(subscription: Subscription, priority: number): Channel | null {
    const { client, link, delivery } = subscription.main;
    // What waits for the client to allow it would wait for ever.
    if (client.laneCount >= LANES_MAX || client.peer.openableStreams <= client.lanesOpening) return null;
    const { messageBytesMax } = link;
    const lane = this.open(
      client,
      { id: UNOPENED, priority, messageBytesMax, queuedBytes: 0, roomBytes: 0 },
      Role.LANE,
    );
    if (lane.closed) return null;
    lane.delivery.queue.configureAs(delivery.queue);
    lane.delivery.isUnreliable = delivery.isUnreliable;
    client.laneCount++;
    this.levels.lanes++;
    client.lanesOpening++;
    this.subscriptions.set(lane, subscription);
    lane.delivery.answer(encodeLane(link.id));
    return lane;
  }
}

function powerOfTwo(value: unknown): string | null {
  const bits = Math.log2(value as number);
  return Number.isInteger(bits) && bits >= 3 && bits <= 24 ? null : 'a power of two from 8 to 16,777,216';
}

/** Unsent bytes that the transport takes for a stream of a client that has so many; the most first. */
const TRANSPORT_BOUNDS = [
  { from: 128, bytes: 8_192 },
  { from: 16, bytes: 65_536 },
] as const;
/** The number of a stream that has none yet. */
const UNOPENED = -1;
