/** What a publisher is told beside that its message was taken: that it was not, or is the repetition of one that was. */

import { PublishResult } from '../../../pubsub/acknowledgement.ts';
import { PublishFlag, ReasonCode, topicEndOf, uint32 } from '../../../pubsub/command.ts';
import { findNumber, PropertyType } from '../../../pubsub/properties.ts';
import type { LogPlace } from '../backplane/value-port.ts';
import type { Channel } from '../delivery/client.ts';
import { keyOfMessage } from '../publishing/message-ids.ts';
import type { Publisher } from '../publishing/publishers.ts';
import { REFUSED, type Receipt, UNPLACED } from '../publishing/receipts.ts';
import type { Session } from '../session/session.ts';
import type { BrokerState } from '../state.ts';
import { AppendFault, type LogPort } from '../store-port.ts';
import { mayPublish } from './permission.ts';

/** Answers a message whose id was used before. [BRK-53] */
export function isRepeated(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  log: LogPort | null,
): boolean {
  const publisher = publisherOf(broker, channel);
  const { id } = broker.reader;
  if (publisher.isNew(id)) return false;
  if (log !== null && log.elsewhere !== undefined && log.elsewhere.placedTicket < log.elsewhere.lastTicket) {
    awaitFirstCopy(broker, channel, log, message);
    return true;
  }
  const code = refusalOf(broker, channel, message, log);
  if (code === undefined) answerRepeated(broker, publisher, id, log, keepAgain(broker, channel, message));
  else publisher.refuse(id, code);
  return true;
}

/**
 * A message with RETAIN that its log has comes again: its broker, or node, may have ended before the value was kept, which is told as safe now. Where something else was kept since, that was
 * while its publisher had no answer, and the order of the two is free. Returns how many changes of values are to be safe before it is answered. [BRK-104]
 */
export function keepAgain(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  session: Session = broker.sessionOf(channel),
  place: LogPlace | null = null,
): number {
  const { retained, publishers } = broker;
  if ((message[1] & PublishFlag.RETAIN) === 0) return 0;
  if (!retained.isKept(message) && !hasLeft(session, message) && mayPublish(broker, channel, message)) {
    if (retained.hasRoomFor(message)) retained.keep(session, message, channel.priority, place);
    else broker.counters.retainedRefused++;
  }
  return publishers.awaitState(publisherOf(broker, channel));
}

/** Nobody comes back for this value, for whoever was to own it has left. */
export function hasLeft({ client }: Session, message: Uint8Array): boolean {
  return client === null && findNumber(message, topicEndOf(message), PropertyType.OWNED) !== undefined;
}

/** Why a message was refused that comes again; undefined: it was not. */
function refusalOf(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  log: LogPort | null,
): ReasonCode | undefined {
  const publisher = publisherOf(broker, channel);
  return publisher.refusalOf(uint32(message, 4)) ?? forgottenRefusalOf(broker, channel, message, log);
}

/** Of a message that is to be in a log, and is in none: it was refused before the broker started anew, or by another node. [STO-20] [CLU-28] */
function forgottenRefusalOf(
  broker: BrokerState,
  channel: Channel,
  message: Uint8Array,
  log: LogPort | null,
): ReasonCode | undefined {
  const session = broker.sessionOf(channel);
  const [sequence, id] = [channel.priority, uint32(message, 4)];
  const isMissing =
    broker.store.isMissing(session.number, sequence, id) ||
    broker.claimedIds?.isMissing(session, sequence, id) === true;
  if (log === null || !isMissing) return undefined;
  const key = keyOfMessage(message, topicEndOf(message));
  const isNamed = key !== null && broker.messageIds.find(key, broker.wallMs) !== undefined;
  return isNamed ? undefined : ReasonCode.STORE_FAILED; // else one of its name is there
}

/** The first copy may not be safe yet: what is told of it is told when everything is that the log has now. [BRK-80] */
export function answerRepeated(
  broker: BrokerState,
  publisher: Publisher,
  id: number,
  log: LogPort | null,
  written = 0,
): void {
  tellDuplicate(broker, publisher, { id, log, until: log?.head ?? 0, offset: -1, written });
}

/** Answers a message that another one was taken as, by the name that its sender has given both. [BRK-91] */
export function isNamedAlready(broker: BrokerState, publisher: Publisher, id: number, key: string): boolean {
  const named = broker.messageIds.find(key, broker.wallMs);
  if (named === undefined) return false;
  if (named.key !== key) {
    refuse(broker, publisher, id, ReasonCode.CONTRADICTION); // the same name, and another print
    return true;
  }
  const { log, offset } = named;
  publisher.take(id);
  tellDuplicate(broker, publisher, { id, log, until: offset + 1, offset, written: 0 });
  return true;
}

/** A message that another one was taken as, which is safe when all records below `until` are, and so many changes of last values. */
interface Repeated {
  readonly id: number;
  readonly log: LogPort | null;
  readonly until: number;
  readonly offset: number;
  readonly written: number;
}

function tellDuplicate(broker: BrokerState, publisher: Publisher, repeated: Repeated): void {
  const { id, log, until, offset, written } = repeated;
  const result = PublishResult.DUPLICATE;
  broker.counters.duplicates++;
  if (log === null) publisher.receipts.awaitQueues(id, result, written);
  else awaitLog(broker, publisher, { id, log, until, result, offset, bytes: 0, written });
}

/** The first copy of a message is on its way, perhaps: it is told what became of that when it is known. [CLU-30] */
function awaitFirstCopy(broker: BrokerState, channel: Channel, log: LogPort, message: Uint8Array): void {
  const publisher = publisherOf(broker, channel);
  const { id } = broker.reader;
  const receipt = unplaced(id, log, 0);
  publisher.receipts.add(receipt);
  broker.publishers.await(log, publisher);
  broker.placements.await(channel, log, 0, () => {
    const code = channel.closed ? undefined : refusalOf(broker, channel, message, log);
    receipt.until = code === undefined ? log.synced : REFUSED;
    receipt.result = PublishResult.DUPLICATE;
    if (code === undefined) {
      broker.counters.duplicates++;
      if (!channel.closed) receipt.written = keepAgain(broker, channel, message);
    } else publisher.refuse(id, code);
    publisher.receipts.settle();
  });
}

export function refuse(
  broker: BrokerState,
  publisher: Publisher,
  id: number,
  code: ReasonCode,
  reason?: string,
): void {
  broker.counters.publishesRefused++;
  publisher.take(id);
  publisher.refuse(id, code, reason);
}

export function awaitLog(
  broker: BrokerState,
  publisher: Publisher,
  receipt: Receipt & { readonly log: LogPort },
): void {
  publisher.receipts.add(receipt);
  const isSafe = receipt.log.synced >= receipt.until;
  if (!isSafe) broker.publishers.await(receipt.log, publisher);
}

export function unplaced(id: number, log: LogPort | null, bytes: number): Receipt {
  return { id, log, until: UNPLACED, result: PublishResult.STORED, offset: -1, bytes, written: 0 };
}

export function publisherOf(broker: BrokerState, channel: Channel): Publisher {
  return broker.publishers.of(channel, broker.sessionOf(channel).sequences);
}

/** Why a log that is kept elsewhere takes nothing. */
export const REASONS: Partial<Record<number, string>> = {
  [AppendFault.UNREACHABLE]: "The cluster's log cannot be reached.",
  [AppendFault.TOO_LARGE]: "The message is larger than the cluster's log takes.",
};
