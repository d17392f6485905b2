/** What settles messages of a log: each by its offset, next to each other as ranges. [BRK-64] */

import { encodeAck, encodeAckRanges } from '../pubsub/acknowledgement.ts';
import { ACK_RANGES_MAX } from '../pubsub/command.ts';

/**
 * The ACKs of these messages.
 *
 * @param offsets - at least one; they are put in order
 * @param flags - of each ACK
 */
export function acksOf(offsets: number[], flags: number): Uint8Array[] {
  if (offsets.length === 1) return [encodeAck(offsets[0] % 2 ** 32, flags)];
  const acks: Uint8Array[] = [];
  offsets.sort((a, b) => a - b);
  let ranges: [first: number, count: number][] = [];
  for (const offset of offsets) {
    const id = offset % 2 ** 32;
    const last = ranges.at(-1);
    if (last !== undefined && last[0] + last[1] === id) last[1]++;
    else {
      if (ranges.length === ACK_RANGES_MAX) {
        acks.push(encodeAckRanges(ranges, flags));
        ranges = [];
      }
      ranges.push([id, 1]);
    }
  }
  acks.push(encodeAckRanges(ranges, flags));
  return acks;
}
