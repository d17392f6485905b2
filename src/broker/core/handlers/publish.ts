/** The way of a message through the broker: PUBLISH, and FLUSH, which asks whether it is done. */

import { Command, DropReason, encodePlain, PublishFlag, ReasonCode } from '../../../pubsub/command.ts';
import { type Channel, Role } from '../delivery/client.ts';
import { MESSAGE_CHARGE_BYTES } from '../delivery/delivery-queue.ts';
import type { BrokerState } from '../state.ts';

/** Offers the publisher's bytes to everyone who holds a filter that matches. [BRK-7] */
export function publish(broker: BrokerState, publisher: Channel, message: Uint8Array): void {
  if (publisher.role !== Role.PUBLISHING && !broker.takeRole(publisher, Role.PUBLISHING)) return;
  const { flags, topicEnd } = broker.reader;
  if ((flags & ~PublishFlag.COMPRESSED) !== 0) {
    broker.fail(publisher.client, ReasonCode.UNSUPPORTED); // [BRK-8]
    return;
  }
  const entries = broker.router.route(message, topicEnd);
  if (entries === null) {
    broker.fail(publisher.client, ReasonCode.TOPIC_INVALID); // [BRK-12]
    return;
  }
  const { counters } = broker;
  counters.messagesIn++;
  counters.bytesIn += message.length;
  if (entries.length === 0) {
    counters.messagesUnrouted++; // [BRK-26]
    return;
  }
  const number = ++broker.messageNumber;
  const isCompressed = (flags & PublishFlag.COMPRESSED) !== 0;
  /** The message as it is queued: once for all subscribers. */
  let kept: Uint8Array | null = null;
  for (let i = 0; i < entries.length; i++) {
    const { subscribers } = entries[i];
    for (let j = 0; j < subscribers.length; j++) {
      const subscriber = subscribers[j];
      const { main } = subscriber;
      if (subscriber.lastOffered === number || main.closed) continue;
      subscriber.lastOffered = number;
      try {
        if (isCompressed && !subscriber.takesCompressed) {
          main.delivery.skip(DropReason.COMPRESSED);
          continue;
        }
        const path = subscriber.pathOf(publisher.priority, message, topicEnd);
        const { delivery } = path;
        if (!delivery.offer(message)) {
          kept ??= compact(message);
          if (!delivery.enqueue(kept) && !publisher.closed) delivery.stop(publisher, kept);
        }
        if (path !== main) subscriber.onSent(path);
      } catch (error) {
        broker.failInternally(main.client, error);
      }
    }
  }
}

/** Everything that was published before on this stream has been handed to queues, or the stream would not be read. [BRK-25] */
export function flush(broker: BrokerState, channel: Channel): void {
  if (!broker.takeRole(channel, Role.PUBLISHING)) return;
  channel.delivery.answer(encodePlain(Command.FLUSHED, broker.reader.id));
}

/** `message` itself, or a copy when it is a small part of a buffer, a datagram say, that a queue would otherwise keep alive. */
function compact(message: Uint8Array): Uint8Array {
  const charged = message.length + MESSAGE_CHARGE_BYTES;
  return message.buffer.byteLength <= charged * KEPT_SHARE ? message : Buffer.from(message);
}

/** Times its charge that a queued message may keep alive. */
const KEPT_SHARE = 16;
