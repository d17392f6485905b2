/**
 * The way of a message through the broker: PUBLISH, FLUSH, which asks whether it is done, and ALIAS, which abbreviates topics. Most messages are handed on as they are
 * ({@link publish}). One that is to be stored, has properties or an alias goes a longer way ({@link publishWhole}):
 *
 *   1. its topic takes the place of its alias;
 *   2. one of QoS 1 that was taken before is not taken again ({@link isRepeated});
 *   3. what its class and its topic say is to be stored is appended to a log ({@link store}), from where readers get it when it is safe;
 *   4. it is offered at once to the subscriptions that read no log;
 *   5. its publisher is told what has become of it when it is safe (`Receipts`).
 *
 * Where its log is kept elsewhere, the last two steps wait until that has it ({@link awaitPlacement}). All of it is one file, for it is one way, read from above to below.
 */

import { NEVER } from '../../../base/time.ts';
import { PublishResult } from '../../../pubsub/acknowledgement.ts';
import {
  COMMAND_BYTES_MAX,
  Command,
  encodePlain,
  HEADER_BYTES,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  topicEndOf,
  uint32,
} from '../../../pubsub/command.ts';
import {
  classOf,
  DeliveryClass,
  encodeProperties,
  findNumber,
  findProperty,
  PropertyType,
  STATUS_NO_RESPONDERS,
  valueLength,
} from '../../../pubsub/properties.ts';
import type { FilterEntry } from '../../../pubsub/router.ts';
import { NoticeCode } from '../../../pubsub/session-commands.ts';
import { decodeName, topicFault } from '../../../pubsub/topic.ts';
import { placeOf } from '../backplane/value-port.ts';
import { type Channel, Role } from '../delivery/client.ts';
import { withTimeLeft } from '../delivery/expiry.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { isReservedName, keyOfMessage } from '../publishing/message-ids.ts';
import { codeOfFault, type Publisher } from '../publishing/publishers.ts';
import { REFUSED, type Receipt } from '../publishing/receipts.ts';
import type { Session } from '../session/session.ts';
import type { BrokerState } from '../state.ts';
import { AppendFault, type LogPort, STORED_FLAGS } from '../store-port.ts';
import {
  answerRepeated,
  awaitLog,
  hasLeft,
  isNamedAlready,
  isRepeated,
  keepAgain,
  publisherOf,
  REASONS,
  refuse,
  unplaced,
} from './answering.ts';
import { administer, denyPublish, isInTime, mayPublish, passes } from './permission.ts';

export function publish(broker: BrokerState, publisher: Channel, message: Uint8Array): void {
  if (publisher.role !== Role.PUBLISHING && !broker.takeRole(publisher, Role.PUBLISHING)) return;
  const { flags, topicEnd } = broker.reader;
  if (
    (flags & ~PublishFlag.COMPRESSED) !== 0 ||
    broker.routing.hasFilters ||
    !broker.placements.isEmpty || // [CLU-30] what waits to be placed goes first
    broker.cluster?.live.isTooLarge(message) === true
  ) {
    publishWhole(broker, publisher, message);
    return;
  }
  const entries = broker.router.route(message, topicEnd);
  if (entries === null) {
    publishToBroker(broker, publisher, message, 0);
    return;
  }
  const { gate } = publisher.client;
  if (gate !== null && !passes(broker, publisher, message, gate)) return; // [BRK-114] it may not, or [BRK-121] not yet
  const { counters, retained } = broker;
  counters.messagesIn++;
  counters.bytesIn += message.length;
  if (retained.replays > 0) retained.onLive(message); // [BRK-106] who gets it needs no last value
  if (broker.topicSketch !== null) broker.topicSketch.count(message, topicEnd);
  if (!broker.groups.isEmpty || broker.cluster !== null) {
    offerLive(broker, publisher, message, entries, NEVER, 0);
    broker.cluster?.live.publish(message, publisher.priority, NEVER, 0, null);
    if (isForNobody(broker)) counters.messagesUnrouted++;
  } else if (entries.length === 0)
    counters.messagesUnrouted++; // [BRK-26] nobody wants it: counted and forgotten
  else broker.fanOut.offer(message, entries, publisher, publisher.priority, NEVER, 0);
}

/** Everything that was published before on this stream has been handed to queues, or the stream would not be read. [BRK-25] */
export function flush(broker: BrokerState, channel: Channel): void {
  if (!broker.takeRole(channel, Role.PUBLISHING)) return;
  const { id } = broker.reader;
  const answer = () => {
    if (!channel.closed) channel.delivery.answer(encodePlain(Command.FLUSHED, id));
  };
  if (broker.placements.isUnderWay(channel)) broker.placements.await(channel, null, 0, answer);
  else answer();
}

/** A number stands for a topic on this stream from now on. [BRK-30] */
export function alias(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.PUBLISHING)) return;
  const { id, topicEnd } = broker.reader;
  const topic = decodeName(message, HEADER_BYTES, topicEnd);
  const code =
    topic === null || topicFault(topic) !== null
      ? ReasonCode.TOPIC_INVALID
      : publisherOf(broker, channel).aliases.define(id, message, topicEnd);
  if (code !== ReasonCode.NO_ERROR) broker.fail(channel.client, code);
}

/** What a message asks for by its properties. */
interface Terms {
  /** Ms; infinite: it does not say. */
  readonly ttlMs: number;
  /** The most that it may be. */
  readonly deliveryClass: DeliveryClass;
  /** Where the topic for replies begins in the message; negative: there is none. */
  readonly replyAt: number;
}

type Entries = readonly FilterEntry<Subscription>[];

/** A PUBLISH of which all is known that decides what becomes of it. */
interface Publication {
  readonly message: Uint8Array;
  readonly publisher: Publisher;
  /** Of one of QoS 1; else 0. */
  readonly id: number;
  readonly terms: Terms;
  readonly log: LogPort | null;
  /** By which it is known, where it names itself. */
  readonly key: string | null;
  /** Whose last value of its topic it is to be; null: it is not to be kept as one. */
  readonly keeper: Session | null;
  /** From when on its time to live is counted. */
  readonly takenAtMs: number;
}

function publishWhole(broker: BrokerState, channel: Channel, received: Uint8Array): void {
  const { reader, counters } = broker;
  const { flags, id } = reader;
  const publisher = publisherOf(broker, channel);
  const hasAlias = (flags & PublishFlag.ALIAS) !== 0;
  const message = hasAlias ? publisher.aliases.restore(received, reader.alias) : received;
  if (message === null) {
    broker.fail(channel.client, ReasonCode.TOPIC_INVALID); // [BRK-30] an alias that was not defined
    return;
  }
  const entries = broker.router.route(message, topicEndOf(message));
  if (entries === null) {
    publishToBroker(broker, channel, message, id);
    return;
  }
  const isAsked = (flags & PublishFlag.QOS) !== 0;
  const key = isAsked ? keyOfMessage(message, topicEndOf(message)) : null;
  if (key !== null && !broker.messageIds.isComplete) {
    waitForIds(broker, channel, received);
    return;
  }
  const { gate } = channel.client;
  const bytes = message.length - HEADER_BYTES;
  if (gate !== null && !isInTime(broker, channel, received, bytes, gate, isAsked)) return; // [BRK-121] too fast: it waits
  counters.messagesIn++;
  counters.bytesIn += message.length;
  broker.topicSketch?.count(message, topicEndOf(message));
  const terms = termsOf(message);
  const log = logOf(broker, message, isAsked, terms);
  if (isAsked && isRepeated(broker, channel, message, log)) return;
  if (gate !== null && !mayPublish(broker, channel, message)) {
    denyPublish(broker, channel, message, isAsked); // [BRK-114] what is not allowed nobody gets
    if (isAsked) refuse(broker, publisher, id, ReasonCode.NOT_AUTHORIZED);
    return;
  }
  if (key !== null && isReservedName(key) && broker.own.sessionOf(channel) === null) {
    refuse(broker, publisher, id, ReasonCode.NOT_AUTHORIZED);
    return;
  }
  if (key !== null && isNamedAlready(broker, publisher, id, key)) return;
  const isTooLarge = log === null && broker.cluster?.live.isTooLarge(message) === true;
  if (message.length > COMMAND_BYTES_MAX || (isAsked && isTooLarge)) {
    // It is only with its topic in the place of the alias; or for the engine of its cluster [CLU-5].
    counters.droppedTooLarge++;
    if (isAsked) refuse(broker, publisher, id, ReasonCode.TOO_LARGE);
    else broker.notices.tell(channel.client, NoticeCode.LIMITED, 1, 'message bytes');
    return;
  }
  if (isTooLarge) broker.notices.tell(channel.client, NoticeCode.LIMITED, 1, 'message bytes of the cluster');
  let isRetained = (flags & PublishFlag.RETAIN) !== 0;
  if (isRetained && !broker.retained.hasRoomFor(message)) {
    // What its publisher waits for is done whole or not at all; other messages are handed on and not kept. [BRK-105]
    counters.retainedRefused++;
    if (isAsked) {
      refuse(broker, publisher, id, ReasonCode.QUOTA);
      return;
    }
    broker.notices.tell(channel.client, NoticeCode.LIMITED, 1, 'retained bytes');
    isRetained = false;
  }
  const keeper = isRetained ? broker.sessionOf(channel) : null;
  const takenAtMs = broker.nowMs;
  const publication: Publication = { message, publisher, id, terms, log, key, keeper, takenAtMs };
  const offset = log === null ? -1 : store(broker, channel, log, message, terms);
  const isBehind = log === null && broker.placements.isUnderWay(channel);
  if (isBehind || offset === AppendFault.PENDING) awaitPlacement(broker, channel, publication);
  else if (!isAsked || log === null || offset >= 0) goOut(broker, channel, publication, offset, entries);
  else if (offset === AppendFault.DUPLICATE)
    answerRepeated(
      broker,
      publisher,
      id,
      log,
      keeper === null ? 0 : keepAgain(broker, channel, message, keeper),
    );
  else refuse(broker, publisher, id, codeOfFault(offset as AppendFault), REASONS[offset]); // [BRK-83] nobody gets what its publisher is told was not taken
}

/** A message goes to those who get it at once, and its publisher is owed an answer. Its log, where it has one, has it at `offset`. */
function goOut(
  broker: BrokerState,
  channel: Channel,
  publication: Publication,
  offset: number,
  entries: Entries,
): void {
  const { publisher, id, log, terms } = publication;
  const refused = offer(broker, channel, publication, entries, 0);
  if (id === 0) return;
  publisher.take(id);
  const written = publication.keeper !== null ? broker.publishers.awaitState(publisher) : 0;
  if (publication.key !== null && refused === 0)
    broker.messageIds.add({ key: publication.key, log, offset, atMs: broker.wallMs });
  if (log !== null) {
    const result = resultOf(log, isForNobody(broker), terms);
    const bytes = publication.message.length;
    awaitLog(broker, publisher, { id, log, until: offset + 1, result, offset, bytes, written });
  } else if (refused > 0) {
    refuse(broker, publisher, id, ReasonCode.QUOTA); // [BRK-80] not every queue took it
  } else {
    publisher.receipts.awaitQueues(id, resultOf(log, isForNobody(broker), terms), written);
  }
}

/** Offers a message to those who read no log, and keeps it where it is a last value. Returns how many queues did not take it; `fanOut` has counted the others. @param offset - in the log of a cluster; 0: in none */
function offer(
  broker: BrokerState,
  channel: Channel,
  { message, id, terms, log, keeper, takenAtMs }: Publication,
  entries: Entries,
  offset: number,
): number {
  const { counters, fanOut } = broker;
  if (broker.retained.replays > 0) broker.retained.onLive(message);
  if (keeper !== null) broker.retained.keep(keeper, message, channel.priority, placeOf(log, offset)); // [BRK-29]
  const deadlineMs = takenAtMs + terms.ttlMs;
  const hasWaited = takenAtMs < broker.nowMs;
  if (hasWaited && deadlineMs <= broker.nowMs) {
    counters.droppedExpired++; // [BRK-86] while it was on its way to its log
    fanOut.offered = 0;
    fanOut.refused = 0;
    return 0;
  }
  const { cluster } = broker;
  // A copy that nobody gets is not made.
  const isCopied = entries.length > 0 || !broker.groups.isEmpty || cluster !== null;
  const timely = hasWaited ? withTimeLeft(message, deadlineMs - broker.nowMs) : message;
  const live = isCopied ? asLive(timely) : timely;
  const marks = (log === null ? 0 : PublishFlag.QOS1) | (message[1] & PublishFlag.RETAIN);
  offerLive(broker, channel, live, entries, deadlineMs, marks);
  const { offered, refused } = fanOut;
  const isUnanswered = offered === 0 && log === null && terms.replyAt >= 0;
  const tell = isUnanswered ? () => tellNoResponders(broker, channel, message, terms.replyAt) : null;
  cluster?.live.publish(live, channel.priority, deadlineMs, marks, tell);
  if (log === null && isForNobody(broker)) {
    counters.messagesUnrouted++;
    if (id === 0) tell?.();
  }
  return refused;
}

/** A message is on its way to its log, or behind one that is: its publisher's answer keeps its place in line, and the rest is done when it is known what has become of it. [CLU-30] */
function awaitPlacement(broker: BrokerState, channel: Channel, publication: Publication): void {
  const { message, publisher, id, log, key, keeper, takenAtMs } = publication;
  const receipt = unplaced(id, log, message.length);
  if (id !== 0) {
    publisher.take(id);
    publisher.receipts.add(receipt);
    if (log !== null) broker.publishers.await(log, publisher);
  }
  broker.placements.await(channel, log, message.length, (offset, isDuplicate) => {
    if (log === null && channel.closed) return; // it is discarded where it waits [BRK-18]
    if (offset > 0) broker.latencies.placed(log as LogPort, broker.nowMs - takenAtMs, broker.wallMs);
    if (isDuplicate) {
      broker.counters.duplicates++;
      receipt.result = PublishResult.DUPLICATE;
      receipt.offset = offset;
      receipt.until = offset + 1;
      // Under a name of its own another one may have published it, and its value be long gone.
      if (keeper !== null && key === null)
        receipt.written = keepAgain(broker, channel, message, keeper, placeOf(log, offset));
    } else onPlaced(broker, channel, publication, receipt, offset);
    publisher.receipts.settle();
  });
}

/** @param offset - where it is; or the fault for which it is in no log; 0: it was to be in none */
function onPlaced(
  broker: BrokerState,
  channel: Channel,
  publication: Publication,
  receipt: Receipt,
  offset: number,
): void {
  const { message, publisher, id, log, terms, key, keeper } = publication;
  const refusePlaced = (code: ReasonCode, reason?: string) => {
    broker.counters.publishesRefused++;
    receipt.until = REFUSED;
    publisher.refuse(id, code, reason);
  };
  if (offset < 0 && id !== 0) {
    refusePlaced(codeOfFault(offset as AppendFault), REASONS[offset]);
    return;
  }
  if (offset > 0) broker.counters.messagesStored++;
  const entries = broker.router.route(message, topicEndOf(message)) ?? [];
  const taken = keeper !== null && hasLeft(keeper, message) ? { ...publication, keeper: null } : publication;
  const refused = offer(broker, channel, taken, entries, offset);
  if (id === 0) return;
  if (keeper !== null) receipt.written = broker.publishers.awaitState(publisher);
  if (log === null && refused > 0) {
    refusePlaced(ReasonCode.QUOTA);
    return;
  }
  if (log === null && key !== null) broker.messageIds.add({ key, log, offset: -1, atMs: broker.wallMs });
  receipt.result = resultOf(log, isForNobody(broker), terms);
  receipt.until = offset + 1;
  receipt.offset = offset > 0 ? offset : -1;
}

/** A message to a topic that nobody may publish to, or one for the broker itself. @param id - of one of QoS 1; else 0 */
function publishToBroker(broker: BrokerState, channel: Channel, message: Uint8Array, id: number): void {
  const publisher = id === 0 ? null : publisherOf(broker, channel);
  const { gate } = channel.client;
  const bytes = message.length - HEADER_BYTES;
  if (gate !== null && !isInTime(broker, channel, message, bytes, gate, id !== 0)) return;
  if (publisher !== null && isRepeated(broker, channel, message, null)) return;
  const isTaken = administer(broker, channel, message);
  if (isTaken === null)
    broker.fail(channel.client, ReasonCode.TOPIC_INVALID); // [BRK-12] an invalid topic closes the connection
  else if (publisher !== null && isTaken) {
    publisher.take(id);
    publisher.receipts.awaitQueues(id, PublishResult.IN_MEMORY);
  } else if (publisher !== null) refuse(broker, publisher, id, ReasonCode.NOT_AUTHORIZED);
}

/** A message that had to wait until its client might publish again. [BRK-121] */
export function publishNow(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  broker.actFor(channel.client, () => {
    broker.reader.read(message);
    publish(broker, channel, message);
  });
}

/** Offers a message that a log has taken to all who read no log. */
export function offerStored(broker: BrokerState, channel: Channel, command: Uint8Array): void {
  const entries = broker.router.route(command, topicEndOf(command));
  if (entries === null) return;
  const live = asLive(command);
  offerLive(broker, channel, live, entries, NEVER, PublishFlag.QOS1);
  broker.cluster?.live.publish(live, channel.priority, NEVER, PublishFlag.QOS1, null);
}

/** Nobody here was offered the latest message, and no other node may want it. */
function isForNobody({ fanOut, cluster }: BrokerState): boolean {
  return fanOut.offered === 0 && cluster?.port.isConnected !== true;
}

/** Offers a message to all who get it at once; `fanOut` has counted them. */
function offerLive(
  { fanOut, groups, cluster }: BrokerState,
  channel: Channel,
  message: Uint8Array,
  entries: Entries,
  deadlineMs: number,
  marks: number,
): void {
  const areServed = groups.isEmpty || cluster?.live.servesGroups === true;
  const all = areServed ? entries : [...entries, groups.chosenFor(message)];
  fanOut.offer(message, all, channel, channel.priority, deadlineMs, marks);
}

/** The broker has just started, and does not know yet which messages its logs have: the stream waits, with this one first. */
function waitForIds(broker: BrokerState, channel: Channel, received: Uint8Array): void {
  broker.messageIds.stop(channel, received.length, () =>
    broker.actFor(channel.client, () => {
      broker.reader.read(received);
      publishWhole(broker, channel, received);
    }),
  );
}

/** The log that a message goes to; null: none. [BRK-82] [BRK-87] */
function logOf(broker: BrokerState, message: Uint8Array, isAsked: boolean, terms: Terms): LogPort | null {
  const { routing } = broker;
  if (terms.deliveryClass !== DeliveryClass.DURABLE || message[HEADER_BYTES] === DOLLAR) return null;
  if (!isAsked && !routing.hasFilters) return null;
  const log = routing.of(message, HEADER_BYTES, topicEndOf(message));
  return isAsked || log !== routing.defaultLog ? log : null;
}

/** Appends a message. Returns its offset, or the fault of its log. */
function store(
  broker: BrokerState,
  channel: Channel,
  log: LogPort,
  message: Uint8Array,
  terms: Terms,
): number {
  const { wallMs, evenMs, counters } = broker;
  const command = keptCopy(message);
  command[1] = (message[1] & STORED_FLAGS) | PublishFlag.QOS1;
  const id = uint32(message, 4);
  const offset = log.append({
    command,
    topicEnd: topicEndOf(message),
    session: id === 0 ? 0 : broker.sessionOf(channel).number,
    sequence: channel.priority,
    id,
    expiresAt: Number.isFinite(terms.ttlMs) ? evenMs + terms.ttlMs : 0,
    publishedAt: wallMs,
  });
  if (offset >= 0) {
    counters.messagesStored++;
    broker.latencies.appended(log, offset, broker.nowMs);
  }
  return offset;
}

/** A copy that is kept for long: a larger one has memory of its own, for out of Node's pool it would keep what others there have left. */
function keptCopy(message: Uint8Array): Buffer {
  if (message.length < POOLED_BYTES_MAX) return Buffer.from(message);
  const copy = Buffer.allocUnsafeSlow(message.length);
  copy.set(message);
  return copy;
}

/** A message as those get it who read no log: QoS 0, whatever it was. [BRK-85] */
function asLive(message: Uint8Array): Uint8Array {
  if ((message[1] & ~KEPT_FLAGS) === 0) return message;
  const live = Buffer.from(message);
  live[1] &= KEPT_FLAGS;
  live.writeUInt32BE(0, 4);
  return live;
}

function termsOf(message: Uint8Array): Terms {
  const topicEnd = topicEndOf(message);
  if ((message[1] & PublishFlag.PROPERTIES) === 0) return NO_TERMS;
  return {
    ttlMs: findNumber(message, topicEnd, PropertyType.TTL) ?? NEVER,
    deliveryClass: classOf(message, topicEnd),
    replyAt: findProperty(message, topicEnd, PropertyType.REPLY_TOPIC),
  };
}

/** Nobody is subscribed to the topic of a request: the broker says so in the place of a reply. [BRK-93] */
function tellNoResponders(broker: BrokerState, channel: Channel, request: Uint8Array, replyAt: number): void {
  const topic = decodeName(request, replyAt, replyAt + valueLength(request, replyAt));
  const correlationAt = findProperty(request, topicEndOf(request), PropertyType.CORRELATION);
  const properties = encodeProperties({
    status: STATUS_NO_RESPONDERS,
    correlation:
      correlationAt < 0
        ? undefined
        : request.subarray(correlationAt, correlationAt + valueLength(request, correlationAt)),
  });
  const reply = Buffer.concat([publishPrefix(topic ?? '', PublishFlag.PROPERTIES), properties]);
  const entries = broker.router.route(reply, topicEndOf(reply));
  broker.counters.requestsUnanswered++;
  if (entries !== null) broker.fanOut.offer(reply, entries, channel, channel.priority, NEVER, 0);
}

/** What a publisher is told of a message that is in `log`, or in none. */
function resultOf(log: LogPort | null, isUnwanted: boolean, terms: Terms): PublishResult {
  if (isUnwanted && (log === null || terms.replyAt >= 0)) return PublishResult.NO_SUBSCRIBER;
  return log?.isDurable ? PublishResult.STORED : PublishResult.IN_MEMORY;
}

const NO_TERMS: Terms = { ttlMs: NEVER, deliveryClass: DeliveryClass.DURABLE, replyAt: -1 };
/** What a message keeps of its flags. */
const KEPT_FLAGS = PublishFlag.PROPERTIES | PublishFlag.COMPRESSED;
const POOLED_BYTES_MAX = 1_024;
const DOLLAR = 0x24;
