import { type PacketKeys, sealPacket } from '../crypto/packet-protection.ts';

/** Sealed datagrams, back to back in one arena, each with its destination. */
export class TransmitBatch {
  readonly arena: Uint8Array;
  /** Bytes of the arena in use. */
  used = 0;
  /** Datagrams in the batch. */
  count = 0;
  /** Where each datagram begins in the arena. */
  readonly offset: Int32Array;
  /** Length of each datagram in bytes. */
  readonly length: Int32Array;
  readonly host: string[] = [];
  readonly port: number[] = [];
  /** From which of the socket's own addresses each datagram goes; 0 leaves it to the system. */
  readonly local: Int32Array;

  /**
   * @param arenaBytes - room for datagrams; at least one of the largest size in use
   * @param datagramsMax - most datagrams a batch holds
   */
  constructor(arenaBytes = ARENA_BYTES, datagramsMax = DATAGRAMS_MAX) {
    this.arena = new Uint8Array(arenaBytes);
    this.offset = new Int32Array(datagramsMax);
    this.length = new Int32Array(datagramsMax);
    this.local = new Int32Array(datagramsMax);
  }

  get datagramsMax(): number {
    return this.offset.length;
  }

  /** True when another datagram of up to `bytes` fits. */
  hasRoom(bytes: number): boolean {
    return this.count < this.offset.length && this.used + bytes <= this.arena.length;
  }

  /** Takes the `length` bytes at {@link used} as the next datagram. */
  push(length: number, host: string, port: number, local = 0): void {
    const i = this.count++;
    this.offset[i] = this.used;
    this.length[i] = length;
    this.host[i] = host;
    this.port[i] = port;
    this.local[i] = local;
    this.used += length;
  }

  /** Takes the datagram out that has the byte at `at` of the arena, if one has. The others stay where they are. */
  dropAt(at: number): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (at >= this.offset[i] && at < this.offset[i] + this.length[i]) continue;
      this.offset[kept] = this.offset[i];
      this.length[kept] = this.length[i];
      this.host[kept] = this.host[i];
      this.port[kept] = this.port[i];
      this.local[kept] = this.local[i];
      kept++;
    }
    this.count = kept;
  }

  clear(): void {
    this.used = 0;
    this.count = 0;
  }
}

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

/** A few packets of loopback size, or as many of those of the internet as a batch holds. */
const ARENA_BYTES = 256 * 1024;
const DATAGRAMS_MAX = 192;
