import type { PacketKeys } from './packet-keys.ts';
import { sealPacket } from './packet-protection.ts';

/**
 * Packets that are packed into an arena and wait for their seal, over any number of connections: packing and sealing are separate
 * passes, so that a native sealer can take the whole list in one call.
 */
export class SealBatch {
  count = 0;
  private readonly keys: (PacketKeys | null)[] = [];
  private readonly headerStart: number[] = [];
  private readonly numberStart: number[] = [];
  private readonly numberBytes: number[] = [];
  private readonly payloadEnd: number[] = [];
  private readonly number: number[] = [];

  /** Adds a packed packet; see {@link sealPacket} for what the positions mean. */
  push(
    keys: PacketKeys,
    headerStart: number,
    numberStart: number,
    numberBytes: number,
    payloadEnd: number,
    number: number,
  ): void {
    const i = this.count++;
    this.keys[i] = keys;
    this.headerStart[i] = headerStart;
    this.numberStart[i] = numberStart;
    this.numberBytes[i] = numberBytes;
    this.payloadEnd[i] = payloadEnd;
    this.number[i] = number;
  }

  /** Seals every packet of the list in place, and empties it. */
  seal(arena: Uint8Array): void {
    for (let i = 0; i < this.count; i++) {
      sealPacket(
        this.keys[i] as PacketKeys,
        arena,
        this.headerStart[i],
        this.numberStart[i],
        this.numberBytes[i],
        this.payloadEnd[i],
        this.number[i],
      );
      this.keys[i] = null;
    }
    this.count = 0;
  }
}
