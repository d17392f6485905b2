/** Whether a client may do what it asks: publish a message, ask and answer, subscribe; and what becomes of what it may not. [BRK-114] */

import {
  encodeRefused,
  HEADER_BYTES,
  PublishFlag,
  ReasonCode,
  topicEndOf,
  topicOf,
} from '../../../pubsub/command.ts';
import { findProperty, PropertyType, payloadStartOf, valueLength } from '../../../pubsub/properties.ts';
import { NoticeCode } from '../../../pubsub/session-commands.ts';
import {
  asksForInbox,
  decodeName,
  inboxOf,
  isAdministration,
  isInbox,
  topicFault,
} from '../../../pubsub/topic.ts';
import { type Access, Allowance } from '../access/access.ts';
import type { Gate } from '../access/gate.ts';
import type { Asked } from '../administration/administration.ts';
import type { Channel } from '../delivery/client.ts';
import type { BrokerState } from '../state.ts';

/** A PUBLISH with its topic in it, or one that is to come. */
export function mayPublish(broker: BrokerState, channel: Channel, message: Uint8Array): boolean {
  const { gate } = channel.client;
  if (gate === null || gate.access === null) return true;
  const replyTopic = replyTopicOf(message);
  if (replyTopic !== null) return mayRequest(broker, channel, gate.access, message, replyTopic);
  const topicEnd = topicEndOf(message);
  return gate.mayPublish(message, topicEnd) || mayReply(broker, message, gate);
}

/** Whether a PUBLISH with nothing but topic and payload goes on now; else it waits, or was dropped and that is told. */
export function passes(broker: BrokerState, channel: Channel, message: Uint8Array, gate: Gate): boolean {
  if (!isInTime(broker, channel, message, message.length - HEADER_BYTES, gate, false)) return false;
  if (gate.mayPublish(message, broker.reader.topicEnd) || mayReply(broker, message, gate)) return true;
  denyPublish(broker, channel, message, false);
  return false;
}

/**
 * Whether a message comes no sooner than the rates of its client allow. Else it waits until they do, or for a client that cannot be made to wait it is dropped, and that is told. [BRK-121]
 *
 * @param bytes - of its topic, also where an alias stands for that, and of what is behind
 * @param isAsked - it has QoS 1: what becomes of it is told by its id, which is not used by that
 */
export function isInTime(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  bytes: number,
  { meter }: Gate,
  isAsked: boolean,
): boolean {
  const waitMs = meter?.take(bytes) ?? 0;
  if (waitMs === 0 || meter === null) return true;
  const { client } = channel;
  broker.counters.publishesLimited++;
  broker.audit.tellSeldom('limited', client, 'publish', `again in ${Math.ceil(waitMs)} ms`);
  if (client.peer.facts?.overLimit !== 'refuse') meter.wait(channel, message, bytes);
  else if (isAsked) {
    const reason = `Too fast: again in ${Math.ceil(waitMs)} ms.`;
    channel.delivery.answer(
      encodeRefused(broker.reader.id, ReasonCode.LIMITED, reason, channel.link.messageBytesMax),
    );
  } else broker.notices.tell(client, NoticeCode.LIMITED, 1, 'publish rate');
  return false;
}

/** A message of QoS 0 that its publisher may not publish is dropped, and a request among them answered; one of QoS 1 its handler refuses. */
export function denyPublish(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  isTold: boolean,
): void {
  const { client } = channel;
  const topic = topicOf(message);
  broker.counters.publishesDenied++;
  broker.audit.tellSeldom('denied', client, 'publish', topic);
  if (isTold) return;
  broker.notices.tell(client, NoticeCode.NOT_AUTHORIZED, 1, topic);
  const to = askedBy(broker, channel, message);
  if (to !== null) broker.administration.tellDenied(topic, to);
}

/** @param filter - without `$share` and group, if it is `shared` */
export function maySubscribe(
  broker: BrokerState,
  channel: Channel,
  filter: string,
  shared: boolean,
): Allowance {
  const { client } = channel;
  if (asksForInbox(filter)) return isOwnInbox(broker, channel, filter) ? Allowance.ALLOWED : Allowance.DENIED; // [BRK-12] inboxes are their session's alone
  const allowance = client.gate?.maySubscribe(filter, shared) ?? Allowance.ALLOWED;
  if (allowance === Allowance.DENIED) {
    broker.audit.tellSeldom('denied', client, shared ? 'share' : 'subscribe', filter);
  }
  return allowance;
}

/**
 * A PUBLISH to a topic on which nobody but the broker speaks. Null: it is no request to the broker, for which its client is to be closed; else whether it was one that the
 * client may make. [BRK-117]
 */
export function administer(broker: BrokerState, channel: Channel, message: Uint8Array): boolean | null {
  const topicEnd = topicEndOf(message);
  const topic = decodeName(message, HEADER_BYTES, topicEnd);
  if (topic === null || topicFault(topic) !== null || !isAdministration(topic)) return null;
  const { client } = channel;
  const { administration } = broker;
  const to = askedBy(broker, channel, message);
  if (to === null || client.gate?.access?.mayAdminister(topic) === false) {
    administration.deny(client, topic, to);
    return false;
  }
  administration.ask(client, topic, message.subarray(payloadStartOf(message, topicEnd)), to);
  return true;
}

function mayRequest(
  broker: BrokerState,
  channel: Channel,
  access: Access,
  message: Uint8Array,
  replyTopic: string,
): boolean {
  const topic = topicOf(message);
  if (!access.mayRequest(topic) || !mayBeAnswered(broker, channel, replyTopic)) return false;
  broker.replies.await(replyTopic, topic);
  return true;
}

/** Where the answer to a request goes; null: it is none, or asks for answers where its client may have none. */
function askedBy(broker: BrokerState, channel: Channel, message: Uint8Array): Asked | null {
  const replyTopic = replyTopicOf(message);
  return replyTopic !== null && mayBeAnswered(broker, channel, replyTopic)
    ? { replyTopic, correlation: correlationOf(message) }
    : null;
}

/** Answers go to the client's own inbox, or where it may publish itself: it cannot have others publish for it. [BRK-116] */
function mayBeAnswered(broker: BrokerState, channel: Channel, replyTopic: string): boolean {
  const access = channel.client.gate?.access ?? null;
  if (access === null) return topicFault(replyTopic) === null;
  if (isInbox(replyTopic) && isOwnInbox(broker, channel, replyTopic)) return true;
  return topicFault(replyTopic) === null && !isAdministration(replyTopic) && access.mayPublish(replyTopic);
}

function mayReply({ replies }: BrokerState, message: Uint8Array, { access }: Gate): boolean {
  return message[HEADER_BYTES] === DOLLAR && access !== null && replies.mayCome(topicOf(message), access);
}

function isOwnInbox(broker: BrokerState, channel: Channel, name: string): boolean {
  const session = broker.sessionOf(channel).name;
  return session !== null && name.startsWith(inboxOf(session));
}

/**
 * Whether a will, which was allowed once, still is: as any message, by `publish`, or with a reply topic by `request` and by what that is. [BRK-114] [BRK-119]
 *
 * @param session - whose it is; null: that is gone, and an inbox, of which nobody else could have had one, was its own
 */
export function mayStillPublish(access: Access, will: Uint8Array, session: string | null): boolean {
  const topic = topicOf(will);
  const replyTopic = replyTopicOf(will);
  if (replyTopic === null) return access.mayPublish(topic);
  const isOwn = isInbox(replyTopic) && (session === null || replyTopic.startsWith(inboxOf(session)));
  return access.mayRequest(topic) && (isOwn || access.mayPublish(replyTopic));
}

function replyTopicOf(message: Uint8Array): string | null {
  const at = propertyOf(message, PropertyType.REPLY_TOPIC);
  return at < 0 ? null : decodeName(message, at, at + valueLength(message, at));
}

function correlationOf(message: Uint8Array): Uint8Array | undefined {
  const at = propertyOf(message, PropertyType.CORRELATION);
  return at < 0 ? undefined : Uint8Array.from(message.subarray(at, at + valueLength(message, at)));
}

function propertyOf(message: Uint8Array, type: number): number {
  return (message[1] & PublishFlag.PROPERTIES) === 0 ? -1 : findProperty(message, topicEndOf(message), type);
}

const DOLLAR = 0x24;
