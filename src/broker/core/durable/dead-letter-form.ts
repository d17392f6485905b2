/** A message as a dead letter, and a dead letter as the message that it was: the payload stays, and the properties, but for those that are about a delivery. [BRK-68] [OPS-8] */

import { PublishFlag, publishPrefix } from '../../../pubsub/command.ts';
import {
  encodeProperties,
  joinProperties,
  type Origin,
  PropertyType,
  payloadStartOf,
  propertiesBut,
} from '../../../pubsub/properties.ts';
import type { StoredRecord } from '../store-port.ts';

/** The message under the topic of dead letters, with where it was and why it is there. */
export function asDeadLetter(record: StoredRecord, topic: string, origin: Origin): Buffer {
  const said = encodeProperties({ origin });
  // Properties that leave no room for the origin give way to it.
  return underTopic(record, topic, joinProperties([said.subarray(2), ...keptOf(record)]) ?? said);
}

/** The message as it was before it died. */
export function asBefore(record: StoredRecord, topic: string): Buffer {
  const kept = keptOf(record);
  return underTopic(record, topic, kept.length === 0 ? null : joinProperties(kept));
}

function keptOf({ command, topicEnd }: StoredRecord): readonly Uint8Array[] {
  return propertiesBut(command, topicEnd, OF_DELIVERY);
}

function underTopic(
  { command, topicEnd }: StoredRecord,
  topic: string,
  properties: Uint8Array | null,
): Buffer {
  const flags =
    (command[1] & PublishFlag.COMPRESSED) |
    PublishFlag.QOS1 |
    (properties === null ? 0 : PublishFlag.PROPERTIES);
  const payload = command.subarray(payloadStartOf(command, topicEnd));
  return Buffer.concat([publishPrefix(topic, flags), ...(properties === null ? [] : [properties]), payload]);
}

const OF_DELIVERY: readonly number[] = [
  PropertyType.TTL,
  PropertyType.OWNED,
  PropertyType.ATTEMPT,
  PropertyType.ORIGIN,
];
