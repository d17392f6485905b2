/** What a client wants to get: SUBSCRIBE, UNSUBSCRIBE, and MARKED, with which it says what it has taken. */

import {
  Command,
  encodePlain,
  encodeRefused,
  HEADER_BYTES,
  type Overflow,
  ReasonCode,
  SubscribeFlag,
} from '../../../pubsub/command.ts';
import { asksForInbox, decodeName, filterFault, inboxOf, isShared } from '../../../pubsub/topic.ts';
import { type Channel, Role } from '../delivery/client.ts';
import type { QueuePolicy } from '../delivery/delivery-queue.ts';
import type { BrokerState } from '../state.ts';

export function subscribe(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.SUBSCRIBING)) return;
  const { id, topicEnd } = broker.reader;
  const filter = decodeName(message, HEADER_BYTES, topicEnd);
  settle(broker, channel, id, Command.SUBSCRIBED, addFilter(broker, channel, filter));
}

export function unsubscribe(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.SUBSCRIBING)) return;
  const { id, topicEnd } = broker.reader;
  const filter = decodeName(message, HEADER_BYTES, topicEnd);
  const subscription = broker.subscriptionOf(channel);
  if (subscription === undefined || filter === null || !subscription.filters.delete(filter)) {
    settle(broker, channel, id, Command.UNSUBSCRIBED, ReasonCode.NOT_SUBSCRIBED); // [BRK-15]
    return;
  }
  broker.sessionOf(channel).filterCount--;
  broker.router.remove(filter, subscription);
  subscription.forgetWaiting((waiting) => !broker.router.reaches(waiting, subscription));
  subscription.whenTaken(() => {
    settle(broker, channel, id, Command.UNSUBSCRIBED, ReasonCode.NO_ERROR);
    // Not before: were it subscribed again meanwhile, what comes on new lanes would overtake what is on these.
    if (subscription.filters.size === 0) subscription.finishLanes();
  });
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

/** Adds `filter` to those of the stream; null stands for one that is not text. Returns NO_ERROR, or why it is refused. */
function addFilter(broker: BrokerState, channel: Channel, filter: string | null): ReasonCode {
  const { flags, queueMessages, queueBytes } = broker.reader;
  const overflow = (flags & SubscribeFlag.OVERFLOW) as Overflow;
  if ((flags & ~BUILT_FLAGS) !== 0) return ReasonCode.UNSUPPORTED; // [BRK-8]
  if (filter === null || filterFault(filter) !== null) return ReasonCode.FILTER_INVALID; // [BRK-12]
  if (asksForInbox(filter) && !isOwnInbox(broker, channel, filter)) return ReasonCode.NOT_AUTHORIZED; // [BRK-12]
  if (isShared(filter)) return ReasonCode.UNSUPPORTED; // [BRK-13]
  const policy: QueuePolicy = { overflow, messages: queueMessages, bytes: queueBytes };
  const held = broker.subscriptionOf(channel);
  if (held !== undefined && !samePolicy(held.policy, policy)) return ReasonCode.POLICY_MISMATCH; // [BRK-17]
  if (held?.filters.has(filter)) return ReasonCode.NO_ERROR; // [BRK-14]
  const session = broker.sessionOf(channel);
  if (session.filterCount >= broker.limits.filtersPerClientMax) return ReasonCode.TOO_MANY_SUBSCRIPTIONS; // [BRK-16]
  const subscription = held ?? broker.subscribe(channel, policy, flags);
  session.filterCount++;
  subscription.filters.add(filter);
  broker.router.add(filter, subscription);
  return ReasonCode.NO_ERROR;
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

function isOwnInbox(broker: BrokerState, channel: Channel, filter: string): boolean {
  const { name } = broker.sessionOf(channel);
  return name !== null && filter.startsWith(inboxOf(name));
}

function samePolicy(a: QueuePolicy, b: QueuePolicy): boolean {
  return a.overflow === b.overflow && a.messages === b.messages && a.bytes === b.bytes;
}

const BUILT_FLAGS =
  SubscribeFlag.OVERFLOW | SubscribeFlag.COMPRESSED | SubscribeFlag.LANES | SubscribeFlag.NO_LOCAL;
const REASONS: Partial<Record<ReasonCode, string>> = {
  [ReasonCode.FILTER_INVALID]: 'This is not a filter.',
  [ReasonCode.NOT_AUTHORIZED]: 'An inbox is for its own session.',
  [ReasonCode.UNSUPPORTED]: 'This broker cannot do that yet.',
  [ReasonCode.TOO_MANY_SUBSCRIPTIONS]: 'The connection holds as many filters as the broker allows.',
  [ReasonCode.POLICY_MISMATCH]: 'The stream has another queue policy or other bounds.',
  [ReasonCode.NOT_SUBSCRIBED]: 'The stream does not hold this filter.',
};
