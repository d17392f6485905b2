/** What a client wants to get: SUBSCRIBE, UNSUBSCRIBE, and MARKED, with which it says what it has taken. */

import { NO_BYTES } from '../../../base/bytes.ts';
import { NEVER } from '../../../base/time.ts';
import { encodeSubscribed } from '../../../pubsub/acknowledgement.ts';
import {
  Command,
  encodePlain,
  encodeRefused,
  HEADER_BYTES,
  type Overflow,
  ReasonCode,
  SubscribeFlag,
} from '../../../pubsub/command.ts';
import {
  decodeSubscribeOptions,
  RetainedHandling,
  type SubscribeOptionValues,
  sharedOptions,
} from '../../../pubsub/subscribe-options.ts';
import { decodeName, filterFault, isShared, sharedFilter } from '../../../pubsub/topic.ts';
import { Allowance } from '../access/access.ts';
import { mayTake, type Principal } from '../access/principal.ts';
import { durableClaim } from '../backplane/claim-keys.ts';
import { ownerOfDurable } from '../backplane/claimed-parts.ts';
import { ClaimAnswer, waitForClaim } from '../backplane/claims.ts';
import { type Channel, Role } from '../delivery/client.ts';
import type { QueuePolicy } from '../delivery/delivery-queue.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { clusterNameOf } from '../durable/shared-group.ts';
import type { BrokerState } from '../state.ts';
import { maySubscribe } from './permission.ts';
import { awaitsHead, readLess, readLog } from './read-log.ts';

export function subscribe(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.SUBSCRIBING)) return;
  const { replica } = broker;
  if (replica === null || replica.isComplete) subscribeNow(broker, channel, message);
  else {
    // [CLU-41] What it promises of last values is true when all are here.
    replica.stop(channel, message.length, () =>
      broker.actFor(channel.client, () => {
        broker.reader.read(message);
        subscribeNow(broker, channel, message);
      }),
    );
  }
}

/** @param elsewhere - the node that has the shared group; null: that is not known, or it is this one */
function subscribeNow(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  elsewhere: string | null = null,
): void {
  const { id, topicEnd } = broker.reader;
  const options = decodeOptions(broker, message);
  if (options === null) {
    broker.fail(channel.client, ReasonCode.COMMAND_ENCODING_ERROR); // [BRK-45] options that are not well-formed
    return;
  }
  const filter = decodeName(message, HEADER_BYTES, topicEnd);
  const readsLog = (broker.reader.flags & SubscribeFlag.QOS1) !== 0;
  if (readsLog && filter !== null && isHeldForHead(broker, channel, filter, options.values, message)) return;
  const code = addFilter(broker, channel, filter, options, { message, elsewhere });
  if (code !== ReasonCode.NO_ERROR) settle(broker, channel, id, Command.SUBSCRIBED, code);
}

export function unsubscribe(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.SUBSCRIBING)) return;
  const { id, topicEnd } = broker.reader;
  const filter = decodeName(message, HEADER_BYTES, topicEnd);
  const subscription = broker.subscriptionOf(channel);
  if (subscription === undefined || filter === null || !subscription.filters.delete(filter)) {
    settle(broker, channel, id, Command.UNSUBSCRIBED, ReasonCode.NOT_SUBSCRIBED); // [BRK-15] a filter that it does not have
    return;
  }
  const answer = () => {
    settle(broker, channel, id, Command.UNSUBSCRIBED, ReasonCode.NO_ERROR);
    // Not before: were it subscribed again meanwhile, what comes on new lanes would overtake what is on these.
    if (subscription.filters.size === 0) subscription.finishLanes();
  };
  const consumer = broker.consumers.memberOf(subscription)?.consumer;
  takeBack(broker, channel, subscription, filter);
  if (consumer !== undefined) broker.consumers.keepNow(consumer);
  subscription.whenTaken(() => {
    if (consumer === undefined || consumer.name === null) {
      answer();
      return;
    }
    // [BRK-55] What is over does not come back with the next process. Nothing more is read meanwhile: what waits for the store has a bound.
    channel.hold();
    const settled = () => {
      channel.release();
      if (!channel.closed) broker.actFor(channel.client, answer);
    };
    broker.storedAnswers.whenSafe(settled, settled);
  });
}

/** What `subscription` had by this filter, which it does not have any more, it gets no longer. */
function takeBack(broker: BrokerState, channel: Channel, subscription: Subscription, filter: string): void {
  broker.sessionOf(channel).filterCount--;
  broker.levels.subscriptions--;
  broker.leave(filter, subscription);
  readLess(broker, subscription, filter);
  subscription.stopWithholding(filter);
  broker.replays.stop(subscription, filter);
  broker.sessions.forgetFilter(broker.sessionOf(channel), filter);
  subscription.forgetWaiting((waiting) => !broker.isFor(waiting, subscription));
}

/** The client has taken what the broker had marked. [BRK-39] */
export function marked(broker: BrokerState, channel: Channel): void {
  if (channel.role !== Role.SUBSCRIBING && channel.role !== Role.LANE) {
    broker.fail(channel.client, ReasonCode.WRONG_STREAM);
    return;
  }
  channel.delivery.marks.confirm(broker.reader.id);
  broker.subscriptionOf(channel)?.onTaken();
}

/** As long as it is asked where its log ends, the stream is not read; then it begins there. [CLU-33] */
function isHeldForHead(
  broker: BrokerState,
  channel: Channel,
  filter: string,
  options: SubscribeOptionValues,
  message: Uint8Array,
): boolean {
  if (broker.subscriptionOf(channel) !== undefined || filterFault(filter) !== null) return false;
  const isHeld = awaitsHead(broker, filter, options, () => {
    channel.release();
    if (channel.closed) return;
    broker.actFor(channel.client, () => {
      broker.reader.read(message);
      subscribe(broker, channel, message);
    });
  });
  if (isHeld) channel.hold();
  return isHeld;
}

/** A subscription is answered when messages of all nodes of the cluster come, too. [CLU-4] */
function whenStands(broker: BrokerState, channel: Channel, filter: string, answer: () => void): void {
  if (channel.closed) return;
  const { cluster } = broker;
  if (cluster === null) {
    answer();
    return;
  }
  const readsLog = broker.subscriptionOf(channel)?.readsLog === true;
  cluster.interest.whenStands(clusterNameOf(filter, readsLog), () => {
    if (!channel.closed) answer();
  });
}

/** What a SUBSCRIBE asks for beside its filter. */
interface Asked {
  readonly values: SubscribeOptionValues;
  /** As they came: all SUBSCRIBEs of a stream ask for the same. */
  readonly bytes: Uint8Array;
}

/** Adds `filter` to those of the stream; null stands for one that is not text. Returns NO_ERROR, and it is answered, at once or later; or why it is refused. */
function addFilter(
  broker: BrokerState,
  channel: Channel,
  filter: string | null,
  asked: Asked,
  { message, elsewhere }: { message: Uint8Array; elsewhere: string | null },
): ReasonCode {
  const { flags, id, queueMessages, queueBytes } = broker.reader;
  const overflow = (flags & SubscribeFlag.OVERFLOW) as Overflow;
  if (filter === null || filterFault(filter) !== null) return ReasonCode.FILTER_INVALID; // [BRK-12] an invalid filter is refused
  const inner = isShared(filter) ? sharedFilter(filter) : filter;
  const allowance = maySubscribe(broker, channel, inner, inner !== filter);
  if (allowance === Allowance.DENIED) return ReasonCode.NOT_AUTHORIZED; // [BRK-115] rules do not allow the filter
  const readsLog = (flags & SubscribeFlag.QOS1) !== 0;
  const policy: QueuePolicy = { overflow, messages: queueMessages, bytes: queueBytes };
  const held = broker.subscriptionOf(channel);
  const differs = held !== undefined && !samePolicy(held.policy, policy);
  if (differs || (held !== undefined && !held.hasOptions(readsLog, asked.bytes))) {
    return ReasonCode.POLICY_MISMATCH; // [BRK-17] a stream has one policy
  }
  const isHeld = held?.filters.has(filter) === true;
  const confirm = () => settle(broker, channel, id, Command.SUBSCRIBED, ReasonCode.NO_ERROR);
  const isUnwanted = (flags & SubscribeFlag.NO_RETAINED) !== 0;
  const handling = isUnwanted ? RetainedHandling.NONE : (asked.values.retained ?? RetainedHandling.SEND);
  if (isHeld && !readsLog) {
    // [BRK-14] it gets these already
    whenStands(broker, channel, filter, () => {
      confirm();
      if (handling === RetainedHandling.AGAIN) replayRetained(broker, held, filter, handling);
    });
    return ReasonCode.NO_ERROR;
  }
  const session = broker.sessionOf(channel);
  const principal = channel.client.principal as Principal;
  const filtersMax = Math.min(broker.limits.filtersPerClientMax, principal.limits.subscriptions ?? NEVER);
  if (!isHeld && session.filterCount >= filtersMax) {
    return ReasonCode.TOO_MANY_SUBSCRIPTIONS; // [BRK-16] as many as a connection may have
  }
  const open = () => {
    const subscription = held ?? broker.subscribe(channel, policy, flags, asked.values);
    subscription.setOptions(readsLog, asked.bytes);
    if (!isHeld) {
      session.filterCount++;
      broker.enter(filter, subscription, asked.values.keyOrder === true);
      if (allowance === Allowance.PARTLY) subscription.withhold(filter);
    }
    return subscription;
  };
  if (!readsLog) {
    const subscription = open();
    whenStands(broker, channel, filter, () => {
      confirm();
      if (subscription.filters.has(filter)) replayRetained(broker, subscription, filter, handling);
    });
    return ReasonCode.NO_ERROR;
  }
  return readLog(broker, {
    filter,
    options: asked.values,
    principal,
    session: session.number,
    withoutSession: (flags & SubscribeFlag.NO_LOCAL) === 0 ? 0 : session.number,
    held,
    open,
    channel,
    elsewhere,
    takesCompressed: (flags & SubscribeFlag.COMPRESSED) !== 0,
    refuse: (code) => {
      if (channel.closed) return;
      const subscription = broker.subscriptionOf(channel);
      if (!isHeld && subscription?.filters.delete(filter)) takeBack(broker, channel, subscription, filter);
      settle(broker, channel, id, Command.SUBSCRIBED, code);
    },
    claim: (name) => claimFirst(broker, channel, id, name, message),
    // When it is known where it begins.
    answer: (start, answered) =>
      whenStands(broker, channel, filter, () => {
        channel.delivery.answer(encodeSubscribed(id, start));
        const subscription = broker.subscriptionOf(channel);
        const isNews = !isHeld || handling === RetainedHandling.AGAIN;
        if (isNews && subscription?.filters.has(filter)) {
          replayRetained(broker, subscription, filter, handling);
        }
        answered?.();
      }),
  });
}

/** In a cluster what has a name is one node's, wherever it was read before: it comes here first, and until then the stream is not read. [CLU-23] */
function claimFirst(
  broker: BrokerState,
  channel: Channel,
  id: number,
  name: string,
  message: Uint8Array,
): void {
  const principal = channel.client.principal as Principal;
  const { claims } = broker;
  if (claims === null) return;
  channel.hold();
  waitForClaim(claims, channel, durableClaim(name), {
    sinceMs: broker.nowMs,
    mayTake: (entries) => isShared(name) || mayTake(ownerOfDurable(name, entries), principal),
    settled: (answer, node) => {
      channel.release();
      if (channel.closed) return;
      const isRelayed = answer === ClaimAnswer.ELSEWHERE && isShared(name);
      if (answer !== ClaimAnswer.HELD && !isRelayed) {
        const code = answer === ClaimAnswer.DENIED ? ReasonCode.NOT_AUTHORIZED : ReasonCode.BUSY;
        settle(broker, channel, id, Command.SUBSCRIBED, code);
        return;
      }
      broker.actFor(channel.client, () => {
        broker.reader.read(message);
        if (isRelayed) subscribeNow(broker, channel, message, node);
        else subscribe(broker, channel, message);
      });
    },
  });
}

/** The last values of the topics that a new filter matches come behind its SUBSCRIBED. [BRK-29] [BRK-109] */
function replayRetained(
  broker: BrokerState,
  subscription: Subscription,
  filter: string,
  handling: RetainedHandling,
): void {
  if (isShared(filter)) return;
  const session = broker.sessionOf(subscription.main);
  const isKnown = handling === RetainedHandling.IF_NEW && !broker.sessions.isNewFilter(session, filter);
  if (isKnown) return; // the subscriber has the values
  if (handling !== RetainedHandling.NONE) {
    broker.replays.start(subscription, filter, handling === RetainedHandling.AGAIN);
    return;
  }
  subscription.withoutRetained ??= new Set();
  subscription.withoutRetained.add(filter);
}

/** Null: they are malformed. */
function decodeOptions({ reader }: BrokerState, message: Uint8Array): Asked | null {
  if ((reader.flags & SubscribeFlag.OPTIONS) === 0) return { values: {}, bytes: NO_BYTES };
  const start = reader.topicEnd + QUEUE_BOUNDS_BYTES;
  const values = decodeSubscribeOptions(message, start);
  return values === null ? null : { values, bytes: sharedOptions(message.subarray(start)) };
}

/** Answers a request with `answer`, or with REFUSED. */
function settle(broker: BrokerState, channel: Channel, id: number, answer: Command, code: ReasonCode): void {
  if (code === ReasonCode.NO_ERROR) {
    channel.delivery.answer(encodePlain(answer, id));
    return;
  }
  broker.counters.requestsRefused++;
  channel.delivery.answer(encodeRefused(id, code, REASONS[code] ?? '', channel.link.messageBytesMax));
}

function samePolicy(a: QueuePolicy, b: QueuePolicy): boolean {
  return a.overflow === b.overflow && a.messages === b.messages && a.bytes === b.bytes;
}

const QUEUE_BOUNDS_BYTES = 8;
const REASONS: Partial<Record<ReasonCode, string>> = {
  [ReasonCode.FILTER_INVALID]: 'This is not a filter.',
  [ReasonCode.NOT_AUTHORIZED]:
    'The client may not read this, or not have its dead letters there, or it belongs to another client.',
  [ReasonCode.UNSUPPORTED]: 'This broker cannot do that yet.',
  [ReasonCode.TOO_MANY_SUBSCRIPTIONS]: 'The connection holds as many filters as the broker allows.',
  [ReasonCode.POLICY_MISMATCH]: 'The stream has another queue policy, other bounds or other options.',
  [ReasonCode.TOPIC_INVALID]: 'This is not a topic for dead letters.',
  [ReasonCode.STORE_FULL]: 'The store has no room for it.',
  [ReasonCode.STORE_FAILED]: 'The store keeps nothing any more.',
  [ReasonCode.QUOTA]: 'The broker holds as many durable subscriptions as it may.',
  [ReasonCode.CONTRADICTION]:
    'It would read more than one log, another log than before, or has a name that belongs to the broker.',
  [ReasonCode.BUSY]: 'It cannot be had from the other brokers of the cluster now. Try again.',
  [ReasonCode.EPOCH_MISMATCH]: 'The log was begun anew since: the offset means another message, or none.',
  [ReasonCode.NOT_SUBSCRIBED]: 'The stream does not hold this filter.',
};
