import { NO_BYTES } from '../../base/bytes.ts';
import type { OpenedPacket } from '../connection/receive.ts';

/**
 * Packets of a batch that are open and wait for their dispatch, over any number of connections: opening and dispatching are separate
 * passes, so that a native opener can take a whole batch in one call.
 */
export class OpenedBatch<T> {
  count = 0;
  readonly data: Uint8Array[] = [];
  private readonly owner: (T | null)[] = [];
  private readonly number: number[] = [];
  private readonly payloadStart: number[] = [];
  private readonly payloadEnd: number[] = [];
  private readonly reserved: number[] = [];

  push(owner: T, data: Uint8Array, packet: OpenedPacket): void {
    const i = this.count++;
    this.owner[i] = owner;
    this.data[i] = data;
    this.number[i] = packet.number;
    this.payloadStart[i] = packet.payloadStart;
    this.payloadEnd[i] = packet.payloadEnd;
    this.reserved[i] = packet.reserved;
  }

  /** Whose packet `i` is; fills `packet` with what was found in it. */
  take(i: number, packet: OpenedPacket): T {
    packet.number = this.number[i];
    packet.payloadStart = this.payloadStart[i];
    packet.payloadEnd = this.payloadEnd[i];
    packet.reserved = this.reserved[i];
    return this.owner[i] as T;
  }

  /** Lets go of the packets; the lists keep their size. */
  clear(): void {
    for (let i = 0; i < this.count; i++) {
      this.owner[i] = null;
      this.data[i] = NO_BYTES;
    }
    this.count = 0;
  }
}
