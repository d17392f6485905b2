import { copyOf } from '../../base/bytes.ts';
import type { Overhead } from '../../base/memory-budget.ts';
import type { RandomSource } from '../../base/random.ts';
import { MILLISECOND, type Micros } from '../../base/time.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import { ReplayWindow } from '../crypto/packet-protection.ts';
import { IncomingFlight, OutgoingFlight } from '../handshake/crypto-flight.ts';
import { AckTracker } from '../recovery/ack-tracker.ts';
import type { EcnCodepoint } from '../wire/frames/ack.ts';
import { PacketSpace } from '../wire/packet-header.ts';

/** What a connection keeps for one packet number space (RFC 9000 section 12.3): keys, numbers, what to acknowledge, handshake messages. */
export class PacketNumberSpace {
  readonly space: PacketSpace;
  /** Those of the connection. */
  readonly keys: KeyRing;
  /** Number of the next packet to send. [PKT-7] */
  nextNumber = 0;
  readonly replay = new ReplayWindow();
  readonly acks: AckTracker;
  /** The handshake messages of the space; null in the application space. */
  readonly outgoing: OutgoingFlight | null;
  readonly incoming: IncomingFlight | null;
  private readonly ackDelayMaxMs: number;

  constructor(space: PacketSpace, keys: KeyRing, ackDelayMaxMs: number) {
    const isHandshake = space !== PacketSpace.APPLICATION;
    this.space = space;
    this.keys = keys;
    this.acks = new AckTracker({ isHandshake, maxDelay: ackDelayMaxMs * MILLISECOND });
    this.outgoing = isHandshake ? new OutgoingFlight() : null;
    this.incoming = isHandshake ? new IncomingFlight() : null;
    this.ackDelayMaxMs = ackDelayMaxMs;
  }

  /** The same space toward a peer that knows nothing of what was said in it, but for numbers, which never restart. [HS-58] */
  restarted(): PacketNumberSpace {
    const fresh = new PacketNumberSpace(this.space, this.keys, this.ackDelayMaxMs);
    fresh.nextNumber = this.nextNumber;
    return fresh;
  }
}

/** The three spaces of a connection, by {@link PacketSpace}; null when its keys are gone. */
export type PacketNumberSpaces = [
  PacketNumberSpace | null,
  PacketNumberSpace | null,
  PacketNumberSpace | null,
];

/**
 * Which packet numbers are left out. A peer that acknowledges packets before they have arrived, to make its sender go faster than the
 * path allows, cannot know them and gives itself away (RFC 9000 section 21.4). The distances are random; they grow, because a peer that
 * cheats does so from the start, and each number left out costs an honest peer an acknowledgement. [PKT-23]
 */
export class NumberSkips {
  private readonly random: RandomSource;
  private distanceMean = DISTANCE_MEAN_FIRST;
  private next: number;

  constructor(random: RandomSource) {
    this.random = random;
    this.next = this.distance();
  }

  /** True when the number is not to be used; asked for every number, in ascending order. */
  skips(number: number): boolean {
    if (number < this.next) return false;
    this.distanceMean = Math.min(2 * this.distanceMean, DISTANCE_MEAN_LAST);
    this.next = number + this.distance();
    return true;
  }

  /** From 2 to twice the mean, so that two numbers in a row are never left out. */
  private distance(): number {
    this.random.fill(DRAWN);
    return 2 + ((DRAWN[0] * 256 + DRAWN[1]) % (2 * this.distanceMean - 1));
  }
}

/** A packet whose key is not there yet. Lifetimes in it count from its arrival. */
export interface UndecryptablePacket {
  readonly packet: Uint8Array;
  readonly arrivedAt: Micros;
  /** The ECN codepoint that it came with. */
  readonly ecn: EcnCodepoint;
}

/** Packets that cannot be decrypted yet, because the handshake has not come to their key (RFC 9001 section 5.7). [PKT-17] */
export class UndecryptablePackets {
  private packets: UndecryptablePacket[] = NONE;
  /** Their bytes together. */
  bytes = 0;
  private readonly overhead: Overhead;

  /** @param overhead - which they count in */
  constructor(overhead: Overhead) {
    this.overhead = overhead;
  }

  get length(): number {
    return this.packets.length;
  }

  /** Keeps a copy of a packet, if there is memory for it [CON-53]; when they are too many or too large, the oldest go. Returns how many went. */
  keep(packet: Uint8Array, arrivedAt: Micros, ecn: EcnCodepoint): number {
    if (!this.overhead.admits(packet.length, false)) return 1;
    if (this.packets === NONE) this.packets = [];
    this.packets.push({ packet: copyOf(packet), arrivedAt, ecn });
    this.bytes += packet.length;
    this.overhead.add(packet.length);
    let gone = 0;
    while (this.packets.length - gone > PACKETS_MAX || this.bytes > BYTES_MAX) {
      const { length } = this.packets[gone++].packet;
      this.bytes -= length;
      this.overhead.drop(length);
    }
    this.packets.splice(0, gone);
    return gone;
  }

  /** All of them, oldest first; none is left. */
  take(): readonly UndecryptablePacket[] {
    const { packets } = this;
    this.packets = [];
    this.overhead.drop(this.bytes);
    this.bytes = 0;
    return packets;
  }
}

const DISTANCE_MEAN_FIRST = 32;
const DISTANCE_MEAN_LAST = 1_024;
/** What all have that had nothing to wait for: nothing is ever put in. */
const NONE: UndecryptablePacket[] = [];
const DRAWN = new Uint8Array(2);
const PACKETS_MAX = 10;
const BYTES_MAX = 65_536;
