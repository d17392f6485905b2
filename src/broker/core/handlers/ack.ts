/** What a subscriber has done with the messages of a log that it was given: ACK, or NACK. [BRK-28] */

import { decodeNack, NACK_BACKOFF, NACK_NEVER, visitAckRanges } from '../../../pubsub/acknowledgement.ts';
import { AckFlag, ReasonCode } from '../../../pubsub/command.ts';
import { type Channel, Role } from '../delivery/client.ts';
import type { Member } from '../durable/member.ts';
import type { BrokerState } from '../state.ts';

/** It is done with them, or needs more time, or gives them up. [BRK-64] */
export function ack(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  const member = memberOf(broker, channel);
  if (member === null) return;
  const { consumer } = member;
  const { flags, id } = broker.reader;
  if (flags === AckFlag.ALL) consumer.ackAll(member, id);
  else if (flags === AckFlag.PROGRESS) {
    visitAckRanges(message, (first, count) => consumer.progress(member, first, count));
  } else if (flags === AckFlag.TERMINATE) {
    visitAckRanges(message, (first, count) => consumer.terminate(member, first, count));
  } else visitAckRanges(message, (first, count) => consumer.ack(member, first, count));
}

/** It could not do one of them. [BRK-65] */
export function nack(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  const member = memberOf(broker, channel);
  if (member === null) return;
  const { delayMs, reason } = decodeNack(message);
  const { consumer } = member;
  const { id } = broker.reader;
  if (delayMs === NACK_NEVER) consumer.terminate(member, id, 1, reason);
  else consumer.nack(member, id, delayMs === NACK_BACKOFF ? null : delayMs, reason);
}

/** Who takes messages of a log on this stream; null: nobody, or nobody any more. */
function memberOf(broker: BrokerState, channel: Channel): Member | null {
  if (channel.role === Role.SUBSCRIBING) {
    const subscription = broker.subscriptionOf(channel);
    return subscription === undefined ? null : broker.consumers.memberOf(subscription);
  }
  broker.fail(channel.client, ReasonCode.WRONG_STREAM);
  return null;
}
