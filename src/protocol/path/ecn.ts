/**
 * Explicit congestion notification (RFC 3168) on a path, for sockets that can set and read the ECN bits of the IP header: whether outgoing
 * datagrams say that they may be marked instead of dropped, and what the marks that the peer counted mean. Networks and peers get these bits
 * wrong in many ways, and a sender that trusts them then sees no congestion at all, so they are tried first and believed only as long as the
 * counts add up (RFC 9000 section 13.4.2):
 *
 *   TESTING    the first packets say ECT(0)
 *   UNKNOWN    enough of them are under way: no packet says so until their fate is known
 *   CAPABLE    an acknowledgement counted them as it should: all packets say so
 *   FAILED     the counts were wrong, or packets that said so did not arrive: none does any more
 */

import { NEVER } from '../../base/time.ts';
import { EcnCodepoint, type EcnCounts } from '../wire/frames/ack.ts';
import { PACKET_SPACES, type PacketSpace } from '../wire/packet-header.ts';

export const EcnState = { TESTING: 0, UNKNOWN: 1, CAPABLE: 2, FAILED: 3 } as const;
export type EcnState = (typeof EcnState)[keyof typeof EcnState];

export class PathEcn {
  private current: EcnState = EcnState.TESTING;
  /** Null of a space that nothing was sent in yet, or will be any more. */
  private readonly spaces: (MarkedPackets | null)[] = new Array(PACKET_SPACES).fill(null);
  /** Packets that were sent to test the path, and of them those that are lost. */
  private tested = 0;
  private testsLost = 0;
  /** Packets that arrived with a congestion mark, as far as the peer was believed. */
  marks = 0;

  /** Another path, which is to be tested as the first one was. What the peer counted goes on. */
  startAnew(): void {
    this.current = EcnState.TESTING;
    this.tested = 0;
    this.testsLost = 0;
    for (const packets of this.spaces) packets?.startAnew();
  }

  get state(): EcnState {
    return this.current;
  }

  /** A packet goes out, in a datagram for which {@link onDatagramSent} is called next. */
  onPacketSent(space: PacketSpace, number: number): void {
    const packets = this.packetsOf(space);
    if (this.current === EcnState.TESTING) {
      this.tested++;
      if (packets.testedUpTo < 0) packets.testedFrom = number;
      packets.testedUpTo = number;
    } else if (this.current === EcnState.CAPABLE) {
      if (packets.resumedAt === NEVER) packets.resumedAt = number;
    } else {
      return;
    }
    packets.sent++;
  }

  /** The datagram with these packets is complete. Returns the codepoint that it is to be sent with. [REC-81] */
  onDatagramSent(): EcnCodepoint {
    const { current } = this;
    if (current === EcnState.TESTING && this.tested >= TEST_PACKETS) this.current = EcnState.UNKNOWN;
    return current === EcnState.TESTING || current === EcnState.CAPABLE
      ? EcnCodepoint.ECT0
      : EcnCodepoint.NOT_ECT;
  }

  /**
   * An ACK frame that newly acknowledged these packets, and a larger number than any before: counts that do not add up end it. [REC-82]
   *
   * @param counts - what the peer counted in the space since the connection began; null when the frame does not say
   * @returns how many more packets arrived with a congestion mark
   */
  onAck(space: PacketSpace, acked: PacketNumbers, counts: EcnCounts | null): number {
    if (this.current === EcnState.FAILED) return 0;
    const packets = this.packetsOf(space);
    const marked = packets.countOf(acked);
    if (counts === null) {
      if (marked > 0) this.current = EcnState.FAILED; // it does not see the bits, or somebody clears them
      return 0;
    }
    const marks = packets.update(counts, marked);
    if (marks < 0) {
      this.current = EcnState.FAILED;
      return 0;
    }
    if (marked > 0) this.current = EcnState.CAPABLE;
    this.marks += marks;
    return marks;
  }

  /** These packets are lost: when all that tested the path are, it drops what says ECT(0). [REC-83] */
  onLost(space: PacketSpace, lost: PacketNumbers): void {
    const { current } = this;
    if (current !== EcnState.TESTING && current !== EcnState.UNKNOWN) return;
    this.testsLost += this.packetsOf(space).countOf(lost);
    if (current === EcnState.UNKNOWN && this.testsLost >= this.tested) this.current = EcnState.FAILED;
  }

  /** The keys of the space are gone. */
  discardSpace(space: PacketSpace): void {
    this.spaces[space] = null;
  }

  private packetsOf(space: PacketSpace): MarkedPackets {
    let packets = this.spaces[space];
    if (packets === null) {
      packets = new MarkedPackets();
      this.spaces[space] = packets;
    }
    return packets;
  }

  /** The path fell silent for so many probe timeouts in a row: perhaps because of the bits. [REC-83] */
  onProbeTimeout(consecutive: number): void {
    const most = this.current === EcnState.CAPABLE ? CAPABLE_TIMEOUTS : UNPROVED_TIMEOUTS;
    if (consecutive >= most) this.current = EcnState.FAILED;
  }
}

/** Packet numbers, the first `count` of a list. */
interface PacketNumbers {
  readonly count: number;
  readonly numbers: ArrayLike<number>;
}

/** Which packets of a number space said ECT(0), and what the peer counted of them. */
class MarkedPackets {
  sent = 0;
  /** Those up to this number did from {@link testedFrom} on, to test the path, and those from {@link resumedAt} on. */
  testedUpTo = -1;
  testedFrom = 0;
  resumedAt: number = NEVER;
  private ect0 = 0;
  private ce = 0;

  startAnew(): void {
    this.testedUpTo = -1;
    this.resumedAt = NEVER;
  }

  countOf({ count, numbers }: PacketNumbers): number {
    const { resumedAt, testedFrom, testedUpTo } = this;
    let marked = 0;
    for (let k = 0; k < count; k++)
      if ((numbers[k] >= testedFrom && numbers[k] <= testedUpTo) || numbers[k] >= resumedAt) marked++;
    return marked;
  }

  /**
   * Takes the peer's counts; `acked` of our packets are newly acknowledged. Returns by how much that of congestion marks grew; -1 when they
   * do not add up.
   */
  update({ ect0, ect1, ce }: EcnCounts, acked: number): number {
    const marks = ce - this.ce;
    const arrived = ect0 - this.ect0 + marks;
    const isRight =
      ect1 === 0 && ect0 >= this.ect0 && marks >= 0 && arrived >= acked && ect0 + ce <= this.sent;
    if (!isRight) return -1;
    this.ect0 = ect0;
    this.ce = ce;
    return marks;
  }
}

const TEST_PACKETS = 10;
/** With one timeout more than a lost packet explains, what is not proved yet is given up. */
const UNPROVED_TIMEOUTS = 2;
/** What worked is given up later: most paths that fall silent are just gone for a while. */
const CAPABLE_TIMEOUTS = 4;
