/**
 * What a thin sender probes for [REC-58]: the packets that are looked at are few, and so are their frames. Messages may be in several packets
 * under way; the last message of a packet stands for all that it has, for what comes before it was there to be said again.
 */

import { type Micros, NEVER } from '../../base/time.ts';
import { FrameType } from '../wire/frame-type.ts';
import { OPEN_MASK, PacketState, type SentPackets } from './sent-packets.ts';

/** The oldest packet in flight with something of which nothing is known yet, or -1. */
export function oldestToMend(sent: SentPackets): number {
  for (let number = sent.loss.cursor; number <= sent.largestSent; number++) {
    if (isOpen(sent, number) && !isMended(sent, number)) return number;
  }
  return -1;
}

/** The newest packet in flight that carries something and was sent no later than `until`, or -1. */
export function newestInFlight(sent: SentPackets, until: Micros = NEVER): number {
  for (let number = sent.largestSent; number >= sent.loss.cursor; number--) {
    if (isOpen(sent, number) && sent.ring.sentTime[number & sent.ring.mask] <= until) return number;
  }
  return -1;
}

/** The newest packet in flight that carries the last message of this one; the packet itself without another. */
export function newestCopyOf(sent: SentPackets, number: number): number {
  const position = lastMessageOf(sent, number);
  if (position < 0) return number;
  let later = sent.largestSent;
  while (later > number && !(isOpen(sent, later) && carries(sent, later, position))) later--;
  return later;
}

/** Whether the packet carries messages, or parts of them. */
export function carriesMessages(sent: SentPackets, number: number): boolean {
  for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
    if (sent.frames.read(i).type >= FrameType.MESSAGE) return true; // the largest types, with MESSAGES
  }
  return false;
}

/** Its last message is known to have arrived in another packet. */
function isMended(sent: SentPackets, number: number): boolean {
  const position = lastMessageOf(sent, number);
  if (position < 0) return false;
  const { base, mask, state } = sent.ring;
  const from = Math.max(base, number - REACH);
  const to = Math.min(sent.largestSent, number + REACH);
  for (let other = from; other <= to; other++) {
    if ((state[other & mask] & PacketState.ACKED) !== 0 && carries(sent, other, position)) return true;
  }
  return false;
}

/** It is in flight, and carries something. */
export function isOpen({ ring }: SentPackets, number: number): boolean {
  const i = number & ring.mask;
  return (ring.state[i] & OPEN_MASK) === PacketState.IN_FLIGHT && ring.frameCount[i] > 0;
}

/** Position of the frame with the last message that the packet has whole; -1 when it has none. */
function lastMessageOf(sent: SentPackets, number: number): number {
  const start = sent.framesStart(number);
  for (let i = sent.framesEnd(number) - 1; i >= start; i--)
    if (sent.frames.read(i).lastMessage >= 0) return i;
  return -1;
}

/** Whether the packet has the last message of the frame at a position. */
function carries(sent: SentPackets, number: number, position: number): boolean {
  const { frames } = sent;
  const { isBestEffort, lastMessage, stream } = frames.read(position);
  for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
    const frame = frames.read(i);
    const isOfSpace = frame.stream === stream && frame.isBestEffort === isBestEffort;
    if (isOfSpace && frame.sequence <= lastMessage && lastMessage <= frame.lastMessage) return true;
  }
  return false;
}

/** Copies of a message are no further from each other: a thin sender has no more packets in flight. */
const REACH = 8;
