import { assert } from '../base/assert.ts';
import { BrokerCode, brokerCodeName } from '../pubsub/broker-code.ts';
import { Command, HEADER_BYTES, type Overflow, SubscribeFlag } from '../pubsub/command.ts';
import { CommandReader, Side } from '../pubsub/command-reader.ts';
import { encodePlain, encodeRefused } from '../pubsub/command-writer.ts';
import type { FilterEntry } from '../pubsub/subscription-trie.ts';
import { decodeName } from '../pubsub/topic.ts';
import { Channel, Role } from './channel.ts';
import { MESSAGE_CHARGE_BYTES, type QueuePolicy } from './delivery-queue.ts';
import type { Link, Peer } from './link.ts';
import { BrokerCounters, type BrokerMetrics } from './metrics.ts';
import { Router } from './router.ts';
import { Session } from './session.ts';
import { Subscriptions } from './subscriptions.ts';

/** The bounds of a broker. */
export interface BrokerLimits {
  /** Most messages in the queue of one subscribing stream. Default 16,384. */
  queueMessagesMax?: number | undefined;
  /** Most charged bytes in the queue of one subscribing stream. Default 4 MiB. */
  queueBytesMax?: number | undefined;
  /** Most charged bytes in all queues of one connection together, whatever each may hold. Default 16 MiB. */
  queueBytesPerClientMax?: number | undefined;
  /** Most filters of one connection. Default 1,024. */
  filtersPerClientMax?: number | undefined;
  /** Most topics whose subscribers are remembered, a power of two. Default 8,192. */
  routesMax?: number | undefined;
}

/**
 * The broker without I/O. The owner reports what happens to connections and streams ({@link connected}, {@link opened}, {@link received},
 * {@link drained}, {@link ended}, {@link disconnected}); the core acts on the {@link Link}s and {@link Peer}s it was given.
 */
export class BrokerCore {
  private readonly sessions = new Set<Session>();
  private readonly router: Router<Channel>;
  private readonly reader = new CommandReader(Side.BROKER);
  private readonly counters = new BrokerCounters();
  private readonly subscriptions: Subscriptions;
  private readonly queueBytesPerClientMax: number;
  private messageNumber = 0;
  /** The current message as it is queued: once for all subscribers. */
  private kept: Uint8Array | null = null;
  private shuttingDown = false;

  constructor(limits: BrokerLimits = {}) {
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
    const session = new Session(peer, this.queueBytesPerClientMax);
    this.sessions.add(session);
    return session;
  }

  /** The client of `session` has opened a stream. */
  opened(session: Session, link: Link): Channel {
    const channel = new Channel(session, link, this.counters);
    if (session.closed) channel.closed = true;
    else session.channels.add(channel);
    return channel;
  }

  /** `message` has come on `channel`. The core may keep it. */
  received(channel: Channel, message: Uint8Array): void {
    if (channel.closed) return;
    assert(!channel.held, 'a paused stream was read');
    const reader = this.reader;
    const code = reader.read(message); // [BRK-2]
    if (code !== BrokerCode.NO_ERROR) {
      this.fail(channel.session, code);
    } else if (reader.command === Command.PUBLISH) {
      this.publish(channel, message, reader.topicEnd);
    } else if (reader.command === Command.PING) {
      channel.answer(encodePlain(Command.PONG, reader.id, message.subarray(HEADER_BYTES))); // [BRK-34]
    } else if (reader.command === Command.FLUSH) {
      if (this.takeRole(channel, Role.PUBLISHING)) channel.answer(encodePlain(Command.FLUSHED, reader.id)); // [BRK-25]
    } else if (this.takeRole(channel, Role.SUBSCRIBING)) {
      if (reader.command === Command.SUBSCRIBE) this.subscribe(channel, message);
      else this.unsubscribe(channel, message);
    }
  }

  /** The link of `channel`, whose `send` had answered false, takes messages again. */
  drained(channel: Channel): void {
    if (!channel.closed) channel.drained();
  }

  /** The client has ended or reset the stream. [BRK-5] */
  ended(channel: Channel): void {
    if (channel.closed) return;
    this.close(channel);
    channel.end();
  }

  /** The connection is gone. */
  disconnected(session: Session): void {
    session.closed = true;
    this.sessions.delete(session);
    for (const channel of session.channels) this.close(channel);
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
    for (const session of this.sessions) {
      for (const channel of session.channels) if (!channel.idle) return false;
    }
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
    };
    for (const session of this.sessions) {
      metrics.streams += session.channels.size;
      metrics.subscriptions += session.filterCount;
      metrics.queuedBytes += session.queuedBytes;
      for (const channel of session.channels) {
        if (channel.stopped) metrics.publishersStopped++;
        metrics.queuedMessages += channel.queue.messageCount;
      }
    }
    return metrics;
  }

  private publish(publisher: Channel, message: Uint8Array, topicEnd: number): void {
    if (publisher.role !== Role.PUBLISHING && !this.takeRole(publisher, Role.PUBLISHING)) return;
    const entries = this.router.route(message, topicEnd);
    if (entries === null) {
      this.fail(publisher.session, BrokerCode.TOPIC_INVALID);
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
    for (let i = 0; i < entries.length; i++) this.fanOut(publisher, entries[i], message);
  }

  /** Offers the same bytes to everyone who holds a filter. [BRK-7] */
  private fanOut(publisher: Channel, entry: FilterEntry<Channel>, message: Uint8Array): void {
    const subscribers = entry.subscribers;
    const number = this.messageNumber;
    for (let i = 0; i < subscribers.length; i++) {
      const subscriber = subscribers[i];
      if (subscriber.lastOffered === number || subscriber.closed) continue;
      subscriber.lastOffered = number;
      if (subscriber.ready) {
        subscriber.send(message);
      } else {
        this.kept ??= compact(message);
        if (!subscriber.enqueue(this.kept)) subscriber.stop(publisher, this.kept);
      }
    }
  }

  private subscribe(channel: Channel, message: Uint8Array): void {
    const { id, flags, topicEnd, bodyLength } = this.reader;
    const planned = (flags & ~SubscribeFlag.OVERFLOW) !== 0;
    const wanted: QueuePolicy = {
      overflow: (flags & SubscribeFlag.OVERFLOW) as Overflow,
      messages: bodyLength === 0 ? 0 : uint32(message, topicEnd),
      bytes: bodyLength === 0 ? 0 : uint32(message, topicEnd + 4),
    };
    const filter = decodeName(message, HEADER_BYTES, topicEnd);
    const code = planned ? BrokerCode.UNSUPPORTED : this.subscriptions.add(channel, filter, wanted); // [BRK-8]
    this.settle(channel, id, Command.SUBSCRIBED, code);
  }

  private unsubscribe(channel: Channel, message: Uint8Array): void {
    const { id, topicEnd } = this.reader;
    const code = this.subscriptions.remove(channel, decodeName(message, HEADER_BYTES, topicEnd));
    this.settle(channel, id, Command.UNSUBSCRIBED, code);
  }

  /** Answers a request with `answer`, or with REFUSED. */
  private settle(channel: Channel, id: number, answer: Command, code: BrokerCode): void {
    if (code === BrokerCode.NO_ERROR) {
      channel.answer(encodePlain(answer, id));
      return;
    }
    this.counters.requestsRefused++;
    channel.answer(encodeRefused(id, code, REASONS[code] ?? ''));
  }

  /** Gives an undecided channel its role; a channel with the other role fails. [BRK-3] */
  private takeRole(channel: Channel, role: Role): boolean {
    if (channel.role === role) return true;
    if (channel.role !== Role.UNDECIDED) {
      this.fail(channel.session, BrokerCode.WRONG_STREAM);
      return false;
    }
    channel.role = role;
    if (this.shuttingDown && role === Role.PUBLISHING) channel.hold();
    return true;
  }

  /** Closes a connection for what its client did. */
  private fail(session: Session, code: BrokerCode): void {
    this.counters.clientsFailed++;
    session.peer.close(code, brokerCodeName(code));
    this.disconnected(session);
  }

  private close(channel: Channel): void {
    this.subscriptions.removeAll(channel);
    channel.session.channels.delete(channel);
    channel.close();
  }
}

/** `message` itself, or a copy when it is a small part of a buffer, a datagram say, that a queue would otherwise keep alive. */
function compact(message: Uint8Array): Uint8Array {
  const charged = message.length + MESSAGE_CHARGE_BYTES;
  return message.buffer.byteLength <= charged * KEPT_SHARE ? message : Buffer.from(message);
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

const REASONS: Partial<Record<BrokerCode, string>> = {
  [BrokerCode.FILTER_INVALID]: 'This is not a filter.',
  [BrokerCode.UNSUPPORTED]: 'This broker cannot do that yet.',
  [BrokerCode.TOO_MANY_SUBSCRIPTIONS]: 'The connection holds as many filters as the broker allows.',
  [BrokerCode.POLICY_MISMATCH]: 'The stream has another queue policy or other bounds.',
  [BrokerCode.NOT_SUBSCRIBED]: 'The stream does not hold this filter.',
};

/** Times its charge that a queued message may keep alive. */
const KEPT_SHARE = 16;
