/**
 * Packets that did not come, but whose symbols the receiver made from repairs: what their sender takes from an ACK frame that tells them
 * ({@link recover}), and what a receiver has to tell ({@link RecoveredNumbers}).
 */

import { CloseCode } from '../wire/close-code.ts';
import { isAheadOfSymbol } from '../wire/frames/index.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import type { PacketFates } from './loss-detection.ts';
import { PacketState, type SentPackets } from './sent-packets.ts';

/**
 * Takes the numbers that an ACK frame tells as recovered: what these packets carried is there, though the path did not carry them. They stay
 * in flight and are declared lost like any other, with all that this means to congestion control (RFC 9265). Apply it behind
 * `acknowledge`, behind the frame's ranges. [FRM-17] [FEC-46] [FEC-47] [FEC-48]
 *
 * @returns 0, or the code to close the connection with
 */
export function recover(sent: SentPackets, numbers: Float64Array, count: number, fates: PacketFates): number {
  if (fates.space !== PacketSpace.APPLICATION) return CloseCode.PROTOCOL_VIOLATION; // [FEC-46] no other packet has a symbol
  const { ring, largestSent } = sent;
  for (let k = 0; k < count; k++) {
    const number = numbers[k];
    if (number > largestSent) return CloseCode.PROTOCOL_VIOLATION;
    if (number < ring.base) continue;
    const i = number & ring.mask;
    const known = ring.state[i];
    if ((known & PacketState.SENT) === 0) return CloseCode.PROTOCOL_VIOLATION; // [PKT-23] it was left out on purpose
    if ((known & (PacketState.ACKED | PacketState.RECOVERED)) !== 0) continue;
    ring.state[i] = known | PacketState.RECOVERED;
    fates.recovered.push(number);
  }
  return 0;
}

/** [FEC-47] The peer has the packet's symbol, which was settled: of what it carried, only what lies before that is open. */
export function isRecovered({ ring }: SentPackets, number: number): boolean {
  return (ring.state[number & ring.mask] & PacketState.RECOVERED) !== 0;
}

/** A lost packet's frames wait for its repair: its record is kept until {@link letGo}, however long that takes. [FEC-50] */
export function hold({ ring }: SentPackets, number: number): void {
  ring.state[number & ring.mask] |= PacketState.HELD;
}

/** The twin of {@link hold}, which may come after the packet was acknowledged and its record freed. */
export function letGo({ ring }: SentPackets, number: number): void {
  if (number >= ring.base) ring.state[number & ring.mask] &= ~PacketState.HELD;
}

/** Position of the first frame of a packet's symbol among its records: behind those that go ahead of it, all of which are recorded. [FEC-42] */
export function symbolStart(sent: SentPackets, number: number): number {
  const end = sent.framesEnd(number);
  let i = sent.framesStart(number);
  while (i < end && isAheadOfSymbol(sent.frames.read(i).type)) i++;
  return i;
}

/** Numbers of packets that were recovered from repairs, which the sender is told until it is known to have heard. [FEC-46] */
export class RecoveredNumbers {
  /** The numbers, oldest recovery first; with each the first ACK frame that told it, or -1. */
  private numbers: number[] = NONE;
  private toldIn: number[] = NONE;

  get size(): number {
    return this.numbers.length;
  }

  /** A packet was recovered. Beyond {@link RECOVERED_MAX} the oldest is not told any more: its sender sends its frames again. */
  add(number: number): void {
    if (this.numbers.includes(number)) return;
    if (this.numbers === NONE) {
      this.numbers = [];
      this.toldIn = [];
    }
    this.numbers.push(number);
    this.toldIn.push(-1);
    if (this.numbers.length > RECOVERED_MAX) this.remove(0);
  }

  /** The packet came after all, and is acknowledged. */
  onArrived(number: number): void {
    const i = this.numbers.indexOf(number);
    if (i >= 0) this.remove(i);
  }

  /** What an ACK frame with this largest number can tell. */
  toTell(largest: number): readonly number[] {
    return this.numbers.filter((number) => number <= largest);
  }

  /** An ACK frame went out that told them. @param frame - its number among our ACKs */
  onTold(frame: number, largest: number): void {
    for (let i = 0; i < this.numbers.length; i++) {
      if (this.toldIn[i] < 0 && this.numbers[i] <= largest) this.toldIn[i] = frame;
    }
  }

  /** The peer has an ACK frame that told recovered numbers: those that it told need not be told again. */
  onFrameAcked(frame: number, largest: number): void {
    for (let i = this.numbers.length - 1; i >= 0; i--) {
      const told = this.toldIn[i];
      if (told >= 0 && told <= frame && this.numbers[i] <= largest) this.remove(i);
    }
  }

  private remove(i: number): void {
    this.numbers.splice(i, 1);
    this.toldIn.splice(i, 1);
  }
}

/** What all have of which nothing was recovered: never written to. */
const NONE: number[] = [];
/** As many as repairs can span. */
export const RECOVERED_MAX = 64;
