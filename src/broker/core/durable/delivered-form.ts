/** A stored message as it is delivered again. [BRK-7] */

import { PublishFlag } from '../../../pubsub/command.ts';
import { joinProperties, PropertyType, payloadStartOf, propertiesBut } from '../../../pubsub/properties.ts';

/** A copy with REDELIVERED, and the property that says the how manieth delivery it is, in the place of one that its publisher has set. */
export function asRedelivered(command: Uint8Array, topicEnd: number, attempts: number): Uint8Array {
  const attempt = Buffer.of(PropertyType.ATTEMPT, 0, 2, attempts >> 8, attempts);
  const others = propertiesBut(command, topicEnd, [PropertyType.ATTEMPT]);
  // The largest properties have no room for one more: then it is not told.
  const properties = joinProperties([attempt, ...others]) ?? (joinProperties(others) as Buffer);
  const payload = command.subarray(payloadStartOf(command, topicEnd));
  const copy = Buffer.concat([command.subarray(0, topicEnd), properties, payload]);
  copy[1] |= PublishFlag.PROPERTIES | PublishFlag.REDELIVERED;
  return copy;
}
