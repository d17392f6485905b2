import { copyOf } from '../../base/bytes.ts';
import type { Micros } from '../../base/time.ts';

/** A packet that waits. Lifetimes in it count from its arrival. */
export interface WaitingPacket {
  readonly packet: Uint8Array;
  readonly arrivedAt: Micros;
}

/** Packets whose key is not there yet. [PKT-17] */
export class WaitingPackets {
  private packets: WaitingPacket[] = [];
  /** Their bytes together. */
  bytes = 0;

  get length(): number {
    return this.packets.length;
  }

  /** Keeps a copy of a packet; when they are too many or too large, the oldest go. Returns how many went. */
  keep(packet: Uint8Array, arrivedAt: Micros): number {
    this.packets.push({ packet: copyOf(packet), arrivedAt });
    this.bytes += packet.length;
    let gone = 0;
    while (this.packets.length - gone > PACKETS_MAX || this.bytes > BYTES_MAX) {
      this.bytes -= this.packets[gone++].packet.length;
    }
    this.packets.splice(0, gone);
    return gone;
  }

  /** All of them, oldest first; none is left. */
  take(): readonly WaitingPacket[] {
    const { packets } = this;
    this.packets = [];
    this.bytes = 0;
    return packets;
  }
}

const PACKETS_MAX = 10;
const BYTES_MAX = 65_536;
