import type { BrokerCore } from '../../../src/broker/core/broker-core.ts';
import { Role } from '../../../src/broker/core/delivery/client.ts';
import type { Consumer } from '../../../src/broker/core/durable/consumer.ts';
import type { IdleDurables } from '../../../src/broker/core/durable/idle-durables.ts';
import type { BrokerState } from '../../../src/broker/core/state.ts';

/** What a core holds now, found the slow way: by a walk over all clients and their streams. */
export function walkedLevels(core: BrokerCore) {
  const { clients, consumers } = (core as unknown as { state: BrokerState }).state;
  const { held, idle } = consumers as unknown as { held: Set<Consumer>; idle: IdleDurables };
  const levels = {
    streams: 0,
    lanes: 0,
    subscriptions: 0,
    publishersStopped: 0,
    queuedMessages: 0,
    queuedBytes: 0,
    unsettledMessages: 0,
  };
  for (const [client, session] of clients) {
    levels.subscriptions += session.filterCount;
    levels.queuedBytes += client.queued.bytes;
    for (const channel of client.channels) {
      if (channel.role === Role.LANE) levels.lanes++;
      else levels.streams++;
      if (channel.stopped) levels.publishersStopped++;
      levels.queuedMessages += channel.delivery.queue.messageCount;
    }
  }
  for (const { inFlight } of held) levels.unsettledMessages += inFlight.count;
  for (const { unsettled } of idle.all()) levels.unsettledMessages += unsettled;
  return levels;
}
