/**
 * Packets that went another way than packets go now: to an address that was only tried, or on a path that was left. What they carried is
 * acknowledged or lost as ever; what becomes of them says nothing of the path in use. [CON-88]
 */

import { NEVER } from '../../base/time.ts';
import { PacketList, PacketState, type SentPackets } from './sent-packets.ts';

/** The packet went another way. */
export function markOffPath({ ring }: SentPackets, number: number): void {
  ring.state[number & ring.mask] |= PacketState.OFF_PATH;
}

export function isOffPath({ ring }: SentPackets, number: number): boolean {
  return (ring.state[number & ring.mask] & PacketState.OFF_PATH) !== 0;
}

/** Those of a list that went the way packets go. */
export function onPath(sent: SentPackets, list: PacketList): PacketList {
  let count = 0;
  for (let k = 0; k < list.count; k++) if (!isOffPath(sent, list.numbers[k])) count++;
  if (count === list.count) return list;
  const rest = new PacketList();
  for (let k = 0; k < list.count; k++) if (!isOffPath(sent, list.numbers[k])) rest.push(list.numbers[k]);
  return rest;
}

/** Packets go another way from now on than those that were sent. A probe for a larger size was one of the old path. */
export function leaveBehind({ largestSent, loss, ring }: SentPackets): void {
  for (let number = ring.base; number <= largestSent; number++) {
    const i = number & ring.mask;
    ring.state[i] = (ring.state[i] | PacketState.OFF_PATH) & ~PacketState.SIZE_PROBE;
  }
  loss.runStart = NEVER;
}
