/** SUBSCRIBE and UNSUBSCRIBE of a subscription of QoS 1: which log it reads, where it begins or goes on, and who held it before. [BRK-60] [BRK-70] */

import { MISSED_UNKNOWN, type ReaderStart } from '../../../pubsub/acknowledgement.ts';
import { DropReason, ReasonCode } from '../../../pubsub/command.ts';
import { StartKind, type SubscribeOptionValues } from '../../../pubsub/subscribe-options.ts';
import { isShared, isSystem, sharedFilter, topicFault } from '../../../pubsub/topic.ts';
import { mayTake, ownerFor, type Principal } from '../access/principal.ts';
import { durableClaim } from '../backplane/claim-keys.ts';
import type { Channel } from '../delivery/client.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { Consumer } from '../durable/consumer.ts';
import { consumerOptions } from '../durable/consumer-options.ts';
import type { Member } from '../durable/member.ts';
import type { LogFeed } from '../durable/reader.ts';
import { LastPerTopicSearch, LastSearch, TimeSearch } from '../durable/start.ts';
import { logOfFilter } from '../publishing/log-routing.ts';
import { codeOfFault } from '../publishing/publishers.ts';
import type { BrokerState } from '../state.ts';
import type { LogPort } from '../store-port.ts';

export interface ReadRequest {
  /** As the client gives it. */
  readonly filter: string;
  readonly options: SubscribeOptionValues;
  readonly principal: Principal;
  /** Number of the session that asks; 0: it ends with its connection. */
  readonly session: number;
  /** Number of the session whose messages are left out; 0: of none. */
  readonly withoutSession: number;
  /** The stream's subscription, if it has one, and to make it one. */
  readonly held: Subscription | undefined;
  readonly open: () => Subscription;
  /** @param answered - to be called when it is: from then on messages come */
  readonly answer: (start: ReaderStart, answered?: () => void) => void;
  /** What has a name is another node's yet: asks for it, and does all of this again when it is here. */
  readonly claim: (name: string) => void;
  /** Of a shared group, for the member that takes its messages elsewhere: the node that has it; null: that is not known, or it is this one. */
  readonly elsewhere: string | null;
  readonly channel: Channel;
  readonly takesCompressed: boolean;
  /** It comes to nothing, which is known only now; its filter is taken back. */
  readonly refuse: (code: ReasonCode) => void;
}

/** Returns why it is refused, or NO_ERROR; then it is answered, now or when it is known where it begins. */
export function readLog(broker: BrokerState, request: ReadRequest): ReasonCode {
  const { filter, options } = request;
  const { consumers, limits } = broker;
  const inner = isShared(filter) ? sharedFilter(filter) : filter;
  const log = logFor(broker, inner, options);
  if (log === null) return ReasonCode.CONTRADICTION;
  const relay = request.held === undefined ? null : (broker.neighbours?.relays.of(request.held) ?? null);
  if (relay !== null) {
    if (relay.group !== filter) return ReasonCode.CONTRADICTION;
    request.answer(relay.start);
    return ReasonCode.NO_ERROR;
  }
  const member = request.held === undefined ? null : consumers.memberOf(request.held);
  if (member !== null) {
    const { consumer } = member;
    // Offsets of two logs, or cursors of two groups, could not be told apart.
    const isOther = isShared(filter) ? consumer.group !== filter : consumer.isShared;
    if (consumer.feed.log !== log || isOther) return ReasonCode.CONTRADICTION;
    request.open();
    consumer.addFilter(inner);
    whenItStands(broker, request, { consumer, isNew: false }, () =>
      request.answer(consumers.startOf(consumer, 0, member.isRecovered)),
    );
    return ReasonCode.NO_ERROR;
  }
  const group = isShared(filter) ? filter : null;
  if (options.name?.startsWith('$')) return ReasonCode.CONTRADICTION;
  const { deadLetter } = options;
  if (deadLetter !== undefined) {
    if (topicFault(deadLetter) !== null || isSystem(deadLetter)) return ReasonCode.TOPIC_INVALID;
    // What it gives up is published there in its place. [BRK-115]
    if (request.principal.access?.mayPublish(deadLetter) === false) return ReasonCode.NOT_AUTHORIZED;
  }
  const name = group ?? options.name ?? null;
  if (name !== null && broker.claims?.holds(durableClaim(name)) === false) {
    // [CLU-23] in a cluster one node has it
    if (request.elsewhere === null || group === null) request.claim(name);
    else joinElsewhere(broker, request, request.elsewhere, group);
    return ReasonCode.NO_ERROR;
  }
  const asked = consumerOptions(options, limits.unackedMax, options.name !== undefined);
  if (name !== null && group === null && !mayTake(consumers.ownerOf(name), request.principal)) {
    return ReasonCode.NOT_AUTHORIZED; // [BRK-118] it is another principal's
  }
  const known = name === null ? undefined : consumers.find(name);
  if (known !== undefined) {
    if (known.feed.log !== log) return ReasonCode.CONTRADICTION;
    known.options = asked;
    if (group === null) known.principal = ownerFor(request.principal, known.principal);
    consumers.bind(known, boundTo(request));
    goOn(broker, request, name as string, inner);
    return ReasonCode.NO_ERROR;
  }
  if (name !== null && consumers.durableCount >= limits.durablesMax) return ReasonCode.QUOTA;
  const feed = consumers.feedOf(log);
  const { start = StartKind.NEW, startValue = 0, epoch } = options;
  if (start === StartKind.OFFSET && epoch !== undefined && (epoch !== log.epoch || startValue > log.head)) {
    return ReasonCode.EPOCH_MISMATCH; // [BRK-71] the offset is of another log
  }
  const consumer = consumers.create(name, group, feed, asked);
  if (group === null) consumer.principal = ownerFor(request.principal);
  consumers.bind(consumer, boundTo(request));
  consumer.addFilter(inner);
  begin(broker, request, consumer, feed);
  return ReasonCode.NO_ERROR;
}

/** The number of the session with which it is over; 0: it outlives that. [BRK-133] */
function boundTo({ options, session, filter }: ReadRequest): number {
  return options.ofSession === true && !isShared(filter) ? session : 0;
}

/** The log that is read; null: there is none for all of that. */
function logFor({ store }: BrokerState, inner: string, { log: name }: SubscribeOptionValues): LogPort | null {
  if (name === undefined) return logOfFilter(store.logs, inner);
  return store.logs.find((log) => log.name === name) ?? null; // [BRK-132] who names a log reads what of his filter is there
}

/**
 * Asks where a log that is kept elsewhere ends; `act` follows when that may be known, and the claim of what has a name stays here until then. False: nothing is asked, for the end is known, or
 * another node reads the log. [CLU-33]
 */
export function awaitsHead(
  broker: BrokerState,
  filter: string,
  options: SubscribeOptionValues,
  act: () => void,
): boolean {
  const { claims, consumers } = broker;
  const log = logFor(broker, isShared(filter) ? sharedFilter(filter) : filter, options);
  if (log?.elsewhere === undefined) return false;
  const name = isShared(filter) ? filter : options.name;
  const key = name === undefined || claims === null ? null : durableClaim(name);
  if (key !== null && claims?.holds(key) === false) return false;
  const isAwaited = consumers.feedOf(log).awaitHead(() => {
    try {
      act();
    } finally {
      if (key !== null) claims?.unreserve(key);
    }
  });
  if (isAwaited && key !== null) claims?.reserve(key);
  return isAwaited;
}

/** A filter of a stream that reads a log is gone; with its last one the stream takes nothing any more, and what has a name is forgotten. */
export function readLess(broker: BrokerState, subscription: Subscription, filter: string): void {
  const { consumers } = broker;
  const member = consumers.memberOf(subscription);
  if (member === null) {
    broker.neighbours?.relays.release(subscription, true);
    return;
  }
  const { consumer } = member;
  consumer.removeFilter(filter);
  if (consumer.filters.size === 0 || consumer.isShared) consumers.unsubscribe(subscription);
}

/** Another node has the group, and the member of this one joins it there, until it is this node's. [CLU-51] */
function joinElsewhere(broker: BrokerState, request: ReadRequest, node: string, group: string): void {
  const { channel, options, principal, withoutSession, takesCompressed, open, answer, refuse } = request;
  const { messageBytesMax } = channel.link;
  const here = { ...request, elsewhere: null };
  broker.neighbours?.relays.join(node, {
    request: { group, options, withoutSession, takesCompressed, messageBytesMax, owner: ownerFor(principal) },
    ...{ channel, open, answer, refuse },
    awaits: (act) => !broker.consumers.has(group) && awaitsHead(broker, group, options, act),
    stay: (subscription, now) =>
      subscription === null
        ? readLog(broker, here)
        : readLog(broker, {
            ...here,
            options: now.options,
            open: () => subscription,
            answer: ({ missed }, answered) => {
              answered?.(); // its SUBSCRIBED was long ago
              // [BRK-71] and cannot say any more what is missing
              if (missed === MISSED_UNKNOWN) broker.dismiss(channel.client, ReasonCode.MOVED);
              else if (missed > 0)
                broker.consumers.memberOf(subscription)?.drop(DropReason.RETENTION, missed);
            },
          }),
  });
}

/** Takes up what is there. */
function goOn(broker: BrokerState, request: ReadRequest, name: string, inner: string): void {
  const { consumers } = broker;
  const before = consumers.find(name) as Consumer;
  if (!before.isShared) {
    for (const { subscription } of before.members.values()) {
      broker.counters.durablesTaken++;
      broker.giveUp(subscription, ReasonCode.TAKEN);
    }
  }
  const consumer = consumers.find(name) as Consumer;
  const isFirst = consumer.members.size === 0;
  const { isLost } = consumer;
  const missed = isLost ? MISSED_UNKNOWN : isFirst ? consumer.forgetMissed() : 0;
  if (isLost) consumer.beginAnew();
  const member = consumers.hold(consumer, request.open(), request.withoutSession);
  member.isRecovered = !isLost;
  if (!consumer.isShared) consumer.reviewFilters();
  consumer.addFilter(inner);
  answer(broker, request, member, { missed, isNew: false });
}

function begin(broker: BrokerState, request: ReadRequest, consumer: Consumer, feed: LogFeed): void {
  const { consumers } = broker;
  const { log } = feed;
  const { start = StartKind.NEW, startValue = 0, epoch } = request.options;
  const member = consumers.hold(consumer, request.open(), request.withoutSession);
  let missed = 0;
  switch (start) {
    case StartKind.EARLIEST:
      consumer.reader.moveTo(log.earliest);
      break;
    case StartKind.OFFSET:
      missed = Math.max(0, log.earliest - Math.max(1, startValue));
      consumer.reader.moveTo(Math.min(log.head, Math.max(log.earliest, startValue)));
      member.isRecovered = epoch !== undefined;
      break;
    case StartKind.TIME:
      consumer.beginning.lookFor(new TimeSearch(feed, consumer.reader, startValue));
      break;
    case StartKind.LAST:
      consumer.beginning.lookFor(new LastSearch(feed, consumer.reader));
      break;
    case StartKind.LAST_PER_TOPIC:
      consumer.beginning.lookFor(new LastPerTopicSearch(feed, consumer.reader, member.account));
      break;
  }
  answer(broker, request, member, { missed, isNew: true });
}

/** Says where it begins, when that is known; then messages come. */
function answer(
  broker: BrokerState,
  request: ReadRequest,
  member: Member,
  { missed, isNew }: { missed: number; isNew: boolean },
): void {
  const { consumer } = member;
  const { consumers } = broker;
  member.isAwaited = true;
  whenItStands(broker, request, { consumer, isNew }, () =>
    request.answer(consumers.startOf(consumer, missed, member.isRecovered), () => {
      member.isAwaited = false;
      member.wake();
    }),
  );
  consumer.wake();
}

/**
 * Calls `act` when it is known where `consumer` begins, and what has a name is safely in the store: nothing that is stored from SUBSCRIBED on is missed by whoever has it next, after a crash or at
 * another node of a cluster. [BRK-55]
 *
 * @param isNew - where it cannot be stored it is refused; what was there before goes on all the same, as long as the process does
 */
function whenItStands(
  broker: BrokerState,
  { channel, refuse }: ReadRequest,
  { consumer, isNew }: { consumer: Consumer; isNew: boolean },
  act: () => void,
): void {
  const { consumers, storedAnswers } = broker;
  consumer.beginning.whenFound(() => {
    if (!consumers.keepNow(consumer) || storedAnswers.keepsNothing) {
      act();
      return;
    }
    // Nothing more is read meanwhile: what waits for the store has a bound.
    channel.hold();
    const settle = (answer: () => void) => {
      channel.release();
      if (!channel.closed) broker.actFor(channel.client, answer);
    };
    storedAnswers.whenSafe(
      () => settle(act),
      (fault) => settle(isNew ? () => refuse(codeOfFault(fault)) : act),
    );
  });
}
