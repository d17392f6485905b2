import { type PacketKeys, sealPacket } from './packet-protection.ts';

/**
 * Packets that are packed into an arena and wait for their seal, over any number of connections: packing and sealing are separate
 * passes, so that a native sealer can take the whole list in one call.
 */
export class SealBatch<Owner = null> {
  count = 0;
  private readonly keys: (PacketKeys | null)[] = [];
  private readonly owner: (Owner | null)[] = [];
  private readonly headerStart: number[] = [];
  private readonly numberStart: number[] = [];
  private readonly payloadEnd: number[] = [];
  private readonly number: number[] = [];

  /** Adds a packed packet of `owner`; see {@link sealPacket} for what the positions mean. */
  push(
    keys: PacketKeys,
    headerStart: number,
    numberStart: number,
    payloadEnd: number,
    number: number,
    owner: Owner,
  ): void {
    const i = this.count++;
    this.keys[i] = keys;
    this.owner[i] = owner;
    this.headerStart[i] = headerStart;
    this.numberStart[i] = numberStart;
    this.payloadEnd[i] = payloadEnd;
    this.number[i] = number;
  }

  /** Takes back all but the first `count` packets. */
  truncate(count: number): void {
    for (let i = count; i < this.count; i++) this.forget(i);
    this.count = Math.min(this.count, count);
  }

  /**
   * Seals every packet of the list in place, and empties it.
   * @param onFailure - is told of each packet that is not sealed, because that threw; by default it throws
   */
  seal(
    arena: Uint8Array,
    onFailure: (owner: Owner, headerStart: number, error: unknown) => void = rethrow,
  ): void {
    for (let i = 0; i < this.count; i++) {
      try {
        sealPacket(
          this.keys[i] as PacketKeys,
          arena,
          this.headerStart[i],
          this.numberStart[i],
          this.payloadEnd[i],
          this.number[i],
        );
      } catch (error) {
        onFailure(this.owner[i] as Owner, this.headerStart[i], error);
      }
      this.forget(i);
    }
    this.count = 0;
  }

  private forget(i: number): void {
    this.keys[i] = null;
    this.owner[i] = null;
  }
}

function rethrow(_owner: unknown, _headerStart: number, error: unknown): never {
  throw error;
}
