/** A stored message as it is delivered, where that is not as it is stored: less time is left to it, or it was delivered before. [BRK-7] */

import { PublishFlag } from '../../../pubsub/command.ts';
import { findProperty, PropertyType } from '../../../pubsub/properties.ts';
import type { StoredRecord } from '../store-port.ts';

/** A copy that tells how much time is left. Its record has a time to live, which a property says. */
export function withTimeLeft({ command, topicEnd, expiresAt }: StoredRecord, evenMs: number): Uint8Array {
  const copy = Buffer.from(command);
  const at = (copy[1] & PublishFlag.PROPERTIES) === 0 ? -1 : findProperty(copy, topicEnd, PropertyType.TTL);
  if (at >= 0) copy.writeUInt32BE(Math.min(Math.max(0, expiresAt - evenMs), 0xffff_ffff), at);
  return copy;
}

/** A copy with REDELIVERED, and the property that says the how manieth delivery it is. */
export function asRedelivered(command: Uint8Array, topicEnd: number, attempts: number): Uint8Array {
  const attempt = Buffer.of(PropertyType.ATTEMPT, 0, 2, attempts >> 8, attempts);
  const hasProperties = (command[1] & PublishFlag.PROPERTIES) !== 0;
  const others = hasProperties ? withoutAttempt(command, topicEnd) : Buffer.alloc(0);
  const start = hasProperties ? topicEnd + 2 + uint16(command, topicEnd) : topicEnd;
  const length = Buffer.allocUnsafe(2);
  // The largest properties have no room for one more: then it is not told.
  const told = others.length + attempt.length <= PROPERTIES_BYTES_MAX ? attempt : attempt.subarray(0, 0);
  length.writeUInt16BE(others.length + told.length);
  const copy = Buffer.concat([command.subarray(0, topicEnd), length, told, others, command.subarray(start)]);
  copy[1] |= PublishFlag.PROPERTIES | PublishFlag.REDELIVERED;
  return copy;
}

/** The properties without their length, and without one that its publisher has set. */
function withoutAttempt(command: Uint8Array, topicEnd: number): Uint8Array {
  const from = topicEnd + 2;
  const all = command.subarray(from, from + uint16(command, topicEnd));
  const at = findProperty(command, topicEnd, PropertyType.ATTEMPT);
  if (at < 0) return all;
  return Buffer.concat([command.subarray(from, at - 3), command.subarray(at + 2, from + all.length)]);
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

const PROPERTIES_BYTES_MAX = 0xffff;
