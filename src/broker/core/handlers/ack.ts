/** What a subscriber has done with the messages of a log that it was given: ACK, or NACK. [BRK-28] */

import { decodeNack, NACK_BACKOFF, NACK_NEVER, visitAckRanges } from '../../../pubsub/acknowledgement.ts';
import { ACK_RANGE_BYTES, AckFlag, HEADER_BYTES, ReasonCode } from '../../../pubsub/command.ts';
import { type Channel, Role } from '../delivery/client.ts';
import type { Consumer } from '../durable/consumer.ts';
import type { Member } from '../durable/member.ts';
import type { BrokerState } from '../state.ts';

/** It is done with them, or needs more time, or gives them up. [BRK-64] */
export function ack(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  const member = memberOf(broker, channel, message);
  if (member === null) return;
  const { consumer } = member;
  const { flags, id } = broker.reader;
  if (flags === AckFlag.ALL) consumer.ackAll(member, id);
  else if (flags === AckFlag.PROGRESS) {
    visitRanges(consumer, message, (first, count) => consumer.progress(member, first, count));
  } else if (flags === AckFlag.TERMINATE) {
    visitRanges(consumer, message, (first, count) => consumer.terminate(member, first, count));
  } else visitRanges(consumer, message, (first, count) => consumer.ack(member, first, count));
}

/** Visits each message once, however often the ranges of an ACK name it: or a small command could cost the broker a walk over a large window for each of them. */
function visitRanges(
  consumer: Consumer,
  message: Uint8Array,
  visit: (first: number, count: number) => void,
): void {
  if (message.length <= HEADER_BYTES + ACK_RANGE_BYTES) {
    visitAckRanges(message, visit);
    return;
  }
  const ranges: { from: number; until: number }[] = [];
  visitAckRanges(message, (first, count) => {
    const from = consumer.offsetOf(first);
    ranges.push({ from, until: Math.min(from + count, consumer.position) });
  });
  ranges.sort((a, b) => a.from - b.from);
  let visited = 0;
  for (const { from, until } of ranges) {
    const start = Math.max(from, visited);
    if (start >= until) continue;
    visit(start % 2 ** 32, until - start);
    visited = until;
  }
}

/** It could not do one of them. [BRK-65] */
export function nack(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  const member = memberOf(broker, channel, message);
  if (member === null) return;
  const { delayMs, reason } = decodeNack(message);
  const { consumer } = member;
  const { id } = broker.reader;
  if (delayMs === NACK_NEVER) consumer.terminate(member, id, 1, reason);
  else consumer.nack(member, id, delayMs === NACK_BACKOFF ? null : delayMs, reason);
}

/** Who takes messages of a log on this stream; null: nobody, or nobody any more, or one whose log another node reads, which is told. [CLU-51] */
function memberOf(broker: BrokerState, channel: Channel, message: Uint8Array): Member | null {
  if (channel.role !== Role.SUBSCRIBING) {
    broker.fail(channel.client, ReasonCode.WRONG_STREAM);
    return null;
  }
  const subscription = broker.subscriptionOf(channel);
  if (subscription === undefined) return null;
  const member = broker.consumers.memberOf(subscription);
  if (member === null) broker.neighbours?.relays.of(subscription)?.forward(message);
  return member;
}
