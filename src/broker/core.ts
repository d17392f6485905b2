import { assert } from '../base/errors.ts';
import { number, type OptionTable, whole } from '../base/options.ts';
import {
  Command,
  CommandReader,
  encodeLane,
  encodePlain,
  encodeRefused,
  HEADER_BYTES,
  LANE_BYTES,
  type Overflow,
  ReasonCode,
  reasonCodeName,
  Side,
  SubscribeFlag,
} from '../pubsub/command.ts';
import { type FilterEntry, Router } from '../pubsub/router.ts';
import { decodeName } from '../pubsub/topic.ts';
import { Channel, Role } from './channel.ts';
import { DeliveryLanes } from './delivery-lanes.ts';
import { MESSAGE_CHARGE_BYTES, type QueuePolicy } from './delivery-queue.ts';
import type { Link, Peer } from './link.ts';
import { BrokerCounters, type BrokerMetrics } from './metrics.ts';
import { type QueueBudget, Session } from './session.ts';
import { Subscriptions } from './subscriptions.ts';

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
};

/**
 * The broker without I/O. The owner reports what happens to connections and streams ({@link connected}, {@link opened}, {@link received},
 * {@link drained}, {@link ended}, {@link disconnected}, {@link tick}); the core acts on the {@link Link}s and {@link Peer}s it was given.
 *
 * What is thrown while it acts for a client is a fault of the broker that this client alone pays for: its connection fails. [BRK-40]
 */
export class BrokerCore {
  private readonly sessions = new Set<Session>();
  private readonly router: Router<Channel>;
  private readonly reader = new CommandReader(Side.BROKER);
  private readonly counters = new BrokerCounters();
  private readonly subscriptions: Subscriptions;
  private readonly queueBytesPerClientMax: number;
  private readonly budget: QueueBudget;
  private readonly stallMs: number;
  private readonly report: (error: unknown) => void;
  /** Where {@link idle} last found something. */
  private lastBusy: Channel | null = null;
  private messageNumber = 0;
  /** The current message as it is queued: once for all subscribers. */
  private kept: Uint8Array | null = null;
  private shuttingDown = false;

  /** @param report - told of each fault of the broker itself */
  constructor(limits: BrokerLimits = {}, report: (error: unknown) => void = () => {}) {
    this.report = report;
    this.budget = { usedBytes: 0, bytesMax: limits.queueBytesTotalMax ?? 256 * 1024 * 1024 };
    this.stallMs = limits.stallMs ?? 30_000;
    this.queueBytesPerClientMax = limits.queueBytesPerClientMax ?? 16 * 1024 * 1024;
    this.router = new Router(limits.routesMax ?? 8_192);
    this.subscriptions = new Subscriptions(
      this.router,
      limits.queueMessagesMax ?? 16_384,
      limits.queueBytesMax ?? 4 * 1024 * 1024,
      limits.filtersPerClientMax ?? 1_024,
    );
  }

  /** A client has connected. */
  connected(peer: Peer): Session {
    const session = new Session(peer, this.queueBytesPerClientMax, this.budget);
    this.sessions.add(session);
    return session;
  }

  /** The client of `session` has opened a stream. */
  opened(session: Session, link: Link): Channel {
    const channel = new Channel(session, link, this.counters);
    if (session.closed) {
      channel.closed = true;
      return channel;
    }
    // However many streams a client opens, its transport holds little for it that it does not read. [BRK-38]
    for (const { from, bytes } of TRANSPORT_BOUNDS) if (session.channels.size >= from) link.limit(bytes);
    session.channels.add(channel);
    return channel;
  }

  /** `message` has come on `channel`. The core may keep it. */
  received(channel: Channel, message: Uint8Array): void {
    if (channel.closed) return;
    try {
      this.handle(channel, message);
    } catch (error) {
      this.failInternally(channel.session, error);
    }
  }

  private handle(channel: Channel, message: Uint8Array): void {
    assert(!channel.held, 'a paused stream was read');
    const reader = this.reader;
    const code = reader.read(message); // [BRK-2]
    if (code !== ReasonCode.NO_ERROR) {
      this.fail(channel.session, code);
    } else if (reader.command === Command.PUBLISH) {
      this.publish(channel, message, reader.topicEnd);
    } else if (reader.command === Command.PING) {
      channel.answer(encodePlain(Command.PONG, reader.id, message.subarray(HEADER_BYTES))); // [BRK-34]
    } else if (reader.command === Command.FLUSH) {
      if (this.takeRole(channel, Role.PUBLISHING)) channel.answer(encodePlain(Command.FLUSHED, reader.id)); // [BRK-25]
    } else if (reader.command === Command.MARKED) {
      this.taken(channel, reader.id);
    } else if (this.takeRole(channel, Role.SUBSCRIBING)) {
      if (reader.command === Command.SUBSCRIBE) this.subscribe(channel, message);
      else this.unsubscribe(channel, message);
    }
  }

  /** The link of `channel`, whose `send` had answered false, takes messages again. */
  drained(channel: Channel): void {
    if (channel.closed) return;
    try {
      channel.drained();
      channel.main?.lanes?.onSent(channel);
    } catch (error) {
      this.failInternally(channel.session, error);
    }
  }

  /** The client has ended or reset the stream. [BRK-5] */
  ended(channel: Channel): void {
    if (channel.closed) return;
    this.close(channel);
    channel.end();
  }

  /**
   * Time has passed: gives up subscriptions that have not moved for too long [BRK-23]. To be called several times in each
   * `stallMs`, and at least once a second.
   *
   * @param nowMs - monotonic
   */
  tick(nowMs: number): void {
    for (const session of this.sessions) {
      try {
        for (const channel of session.channels) this.tend(channel, nowMs);
      } catch (error) {
        this.failInternally(session, error);
      }
    }
  }

  /** The connection is gone. */
  disconnected(session: Session): void {
    session.closed = true;
    this.sessions.delete(session);
    for (const channel of session.channels) {
      try {
        this.close(channel);
      } catch (error) {
        this.reportFault(error);
      }
    }
    session.channels.clear();
  }

  /** Reads no more publishing streams; what is queued still goes out. [BRK-35] */
  shutDown(): void {
    if (this.shuttingDown) return;
    this.shuttingDown = true;
    for (const session of this.sessions) {
      for (const channel of session.channels) if (channel.role === Role.PUBLISHING) channel.hold();
    }
  }

  /** True when no message and no answer waits in a queue, or to enter one. */
  get idle(): boolean {
    if (this.lastBusy !== null && !this.lastBusy.closed && !this.lastBusy.idle) return false;
    for (const session of this.sessions) {
      for (const channel of session.channels) {
        if (channel.idle) continue;
        this.lastBusy = channel;
        return false;
      }
    }
    this.lastBusy = null;
    return true;
  }

  /** Counters since the start, and what is held now, found by a walk over all streams. */
  metrics(): BrokerMetrics {
    const metrics: BrokerMetrics = {
      ...this.counters,
      clients: this.sessions.size,
      streams: 0,
      subscriptions: 0,
      filters: this.router.filterCount,
      publishersStopped: 0,
      queuedMessages: 0,
      queuedBytes: 0,
      queuedBytesMax: this.budget.bytesMax,
      transportBytes: 0,
      lanes: 0,
    };
    for (const session of this.sessions) {
      metrics.streams += session.channels.size - session.laneCount;
      metrics.lanes += session.laneCount;
      metrics.subscriptions += session.filterCount;
      metrics.queuedBytes += session.queuedBytes;
      for (const channel of session.channels) {
        if (channel.stopped) metrics.publishersStopped++;
        metrics.queuedMessages += channel.queue.messageCount;
        metrics.transportBytes += channel.link.queuedBytes;
      }
    }
    return metrics;
  }

  private publish(publisher: Channel, message: Uint8Array, topicEnd: number): void {
    if (publisher.role !== Role.PUBLISHING && !this.takeRole(publisher, Role.PUBLISHING)) return;
    const entries = this.router.route(message, topicEnd);
    if (entries === null) {
      this.fail(publisher.session, ReasonCode.TOPIC_INVALID);
      return;
    }
    this.counters.messagesIn++;
    this.counters.bytesIn += message.length;
    if (entries.length === 0) {
      this.counters.messagesUnrouted++; // [BRK-26]
      return;
    }
    this.messageNumber++;
    this.kept = null;
    for (let i = 0; i < entries.length; i++) this.fanOut(publisher, entries[i], message, topicEnd);
  }

  /** Offers the same bytes to everyone who holds a filter. [BRK-7] */
  private fanOut(
    publisher: Channel,
    entry: FilterEntry<Channel>,
    message: Uint8Array,
    topicEnd: number,
  ): void {
    const subscribers = entry.subscribers;
    const number = this.messageNumber;
    for (let i = 0; i < subscribers.length; i++) {
      const subscriber = subscribers[i];
      if (subscriber.lastOffered === number || subscriber.closed) continue;
      subscriber.lastOffered = number;
      try {
        this.deliver(publisher, subscriber, message, topicEnd);
      } catch (error) {
        this.failInternally(subscriber.session, error);
      }
    }
  }

  private deliver(publisher: Channel, subscriber: Channel, message: Uint8Array, topicEnd: number): void {
    const { lanes } = subscriber;
    const path = lanes === null ? subscriber : lanes.choose(publisher.link.priority, message, topicEnd);
    if (!path.offer(message)) {
      this.kept ??= compact(message);
      if (!path.enqueue(this.kept) && !publisher.closed) path.stop(publisher, this.kept);
    }
    if (path !== subscriber) lanes?.onSent(path);
  }

  /** Opens a stream that carries deliveries of `main`. Null when there may be no more. [BRK-39] */
  private openLane(main: Channel, priority: number): Channel | null {
    const { session } = main;
    if (session.laneCount >= LANES_MAX) return null;
    let lane: Channel | null = null;
    session.peer.open(priority, (link) => {
      lane = this.opened(session, link);
      return lane;
    });
    return lane === null ? null : this.attachLane(main, lane);
  }

  private attachLane(main: Channel, lane: Channel): Channel {
    lane.role = Role.LANE;
    lane.main = main;
    lane.policy = main.policy;
    lane.queue.configureAs(main.queue);
    main.session.laneCount++;
    lane.answer(encodeLane(main.link.id));
    return lane;
  }

  /** The client has taken what the broker had marked. */
  private taken(channel: Channel, mark: number): void {
    if (channel.role !== Role.SUBSCRIBING && channel.role !== Role.LANE) {
      this.fail(channel.session, ReasonCode.WRONG_STREAM);
      return;
    }
    channel.markTaken(mark);
    (channel.main ?? channel).lanes?.onTaken();
  }

  private tend(channel: Channel, nowMs: number): void {
    if (channel.closed || channel.role === Role.PUBLISHING) return;
    if (channel.isStalled(nowMs, this.stallMs) && this.stallMs > 0) this.stall(channel.main ?? channel);
    else if (!channel.idle) this.goOnSending(channel);
    else if (channel.main !== null && channel.isUnused(nowMs, LANE_UNUSED_MS)) {
      channel.main.lanes?.retire(channel);
    }
  }

  private goOnSending(channel: Channel): void {
    channel.goOnSending();
    channel.main?.lanes?.onSent(channel);
  }

  /** Gives a subscription up: nobody reads it, and others wait for it. [BRK-23] */
  private stall(main: Channel): void {
    this.counters.subscriptionsStalled++;
    const streams = [main, ...(main.lanes ?? [])];
    this.close(main);
    for (const { link } of streams) link.reset(ReasonCode.STALLED);
  }

  private subscribe(channel: Channel, message: Uint8Array): void {
    const { id, flags, topicEnd, queueMessages, queueBytes } = this.reader;
    const planned = (flags & ~(SubscribeFlag.OVERFLOW | SubscribeFlag.LANES)) !== 0;
    const isFirst = channel.policy === null;
    const wanted: QueuePolicy = {
      overflow: (flags & SubscribeFlag.OVERFLOW) as Overflow,
      messages: queueMessages,
      bytes: queueBytes,
    };
    const filter = decodeName(message, HEADER_BYTES, topicEnd);
    const code = planned ? ReasonCode.UNSUPPORTED : this.subscriptions.add(channel, filter, wanted); // [BRK-8]
    const takesLanes = (flags & SubscribeFlag.LANES) !== 0 && channel.link.messageBytesMax >= LANE_BYTES;
    if (isFirst && code === ReasonCode.NO_ERROR && takesLanes) {
      channel.lanes = new DeliveryLanes(channel, (main, priority) => this.openLane(main, priority));
    }
    this.settle(channel, id, Command.SUBSCRIBED, code);
  }

  private unsubscribe(channel: Channel, message: Uint8Array): void {
    const { id, topicEnd } = this.reader;
    const code = this.subscriptions.remove(channel, decodeName(message, HEADER_BYTES, topicEnd));
    const { lanes } = channel;
    if (lanes === null || code !== ReasonCode.NO_ERROR) {
      this.settle(channel, id, Command.UNSUBSCRIBED, code);
      return;
    }
    lanes.whenTaken(() => this.settle(channel, id, Command.UNSUBSCRIBED, code));
    if (channel.filters.size === 0) lanes.finish();
  }

  /** Answers a request with `answer`, or with REFUSED. */
  private settle(channel: Channel, id: number, answer: Command, code: ReasonCode): void {
    if (code === ReasonCode.NO_ERROR) {
      channel.answer(encodePlain(answer, id));
      return;
    }
    this.counters.requestsRefused++;
    channel.answer(encodeRefused(id, code, REASONS[code] ?? '', channel.link.messageBytesMax));
  }

  /** Gives an undecided channel its role; a channel with the other role fails. [BRK-3] */
  private takeRole(channel: Channel, role: Role): boolean {
    if (channel.role === role) return true;
    if (channel.role !== Role.UNDECIDED) {
      this.fail(channel.session, ReasonCode.WRONG_STREAM);
      return false;
    }
    channel.role = role;
    if (this.shuttingDown && role === Role.PUBLISHING) channel.hold();
    return true;
  }

  /** Closes a connection for what its client did. */
  private fail(session: Session, code: ReasonCode): void {
    this.counters.clientsFailed++;
    session.peer.close(code, reasonCodeName(code));
    this.disconnected(session);
  }

  /** A fault of the broker while it acted for this client, whose connection fails. The others notice nothing. [BRK-40] */
  private failInternally(session: Session, error: unknown): void {
    this.reportFault(error);
    if (session.closed) return;
    const code = ReasonCode.INTERNAL_ERROR;
    try {
      session.peer.close(code, reasonCodeName(code));
    } catch (second) {
      this.reportFault(second);
    }
    this.disconnected(session);
  }

  private reportFault(error: unknown): void {
    this.counters.internalErrors++;
    this.report(error);
  }

  private close(channel: Channel): void {
    const { session, main, lanes } = channel;
    channel.closed = true; // first: whatever fails below, nothing is delivered to it any more
    session.channels.delete(channel);
    try {
      this.subscriptions.removeAll(channel);
    } finally {
      channel.close();
    }
    if (main !== null) {
      session.laneCount--;
      main.lanes?.forget(channel);
    }
    if (lanes === null) return;
    for (const lane of lanes) {
      this.close(lane);
      lane.end();
    }
  }
}

/** Unsent bytes that the transport takes for a stream of a client that has so many. */
const TRANSPORT_BOUNDS = [
  { from: 16, bytes: 65_536 },
  { from: 128, bytes: 8_192 },
] as const;
/** Streams that the broker opens to one client at once: within what a client of the transport allows by default. [BRK-39] */
const LANES_MAX = 64;
/** A lane that carries nothing for so long is ended. */
const LANE_UNUSED_MS = 10_000;

/** `message` itself, or a copy when it is a small part of a buffer, a datagram say, that a queue would otherwise keep alive. */
function compact(message: Uint8Array): Uint8Array {
  const charged = message.length + MESSAGE_CHARGE_BYTES;
  return message.buffer.byteLength <= charged * KEPT_SHARE ? message : Buffer.from(message);
}

const REASONS: Partial<Record<ReasonCode, string>> = {
  [ReasonCode.FILTER_INVALID]: 'This is not a filter.',
  [ReasonCode.UNSUPPORTED]: 'This broker cannot do that yet.',
  [ReasonCode.TOO_MANY_SUBSCRIPTIONS]: 'The connection holds as many filters as the broker allows.',
  [ReasonCode.POLICY_MISMATCH]: 'The stream has another queue policy or other bounds.',
  [ReasonCode.NOT_SUBSCRIBED]: 'The stream does not hold this filter.',
};

function powerOfTwo(value: unknown): string | null {
  const bits = Math.log2(value as number);
  return Number.isInteger(bits) && bits >= 3 && bits <= 24 ? null : 'a power of two from 8 to 16,777,216';
}

/** Times its charge that a queued message may keep alive. */
const KEPT_SHARE = 16;
