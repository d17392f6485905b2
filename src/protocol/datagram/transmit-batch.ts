import { assert } from '../../base/errors.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import { sealPacket } from '../crypto/packet-protection.ts';
import { FAILED, PacketTable, SEALED } from '../crypto/packet-table.ts';
import { EcnCodepoint } from '../wire/frames/ack.ts';

/**
 * The way out of one turn, in one arena: packets are packed behind each other, sealed in place, and sent as datagrams. Its columns are in
 * two tables: packets that wait for their seal, over any number of connections, and datagrams, each of one or more packets. Packing,
 * sealing and sending are separate passes, so that native code can take a whole table in one call.
 *
 *     while (batch.hasRoom(bytes)) { pack; batch.pushPacket(...); batch.push(...) }
 *     batch.seal(onFailure);
 *     socket.send(batch);
 */
export class TransmitBatch {
  readonly arena: Uint8Array;
  /** Bytes of the arena in use. */
  used = 0;

  /** Datagrams in the batch. */
  count = 0;
  /** Where each datagram begins in the arena. Where neighbours have one length and one destination, they are one run for segmentation. */
  readonly offset: Int32Array;
  /** Length of each datagram in bytes. */
  readonly length: Int32Array;
  readonly host: string[] = [];
  readonly port: number[] = [];
  /** From which of the socket's own addresses each datagram goes; 0 leaves it to the system. */
  readonly local: Int32Array;
  /** The ECN codepoint that each datagram goes with, of the first so many. A count, because to shorten an array is a call into the runtime, each turn. */
  private readonly ecn: number[] = [];
  private ecnCount = 0;

  /** Where the turn of who packs now ends. */
  private turnCount: number;
  private turnUsed: number;

  /** Packets that wait for their seal. */
  packets = 0;
  private readonly keys: (PacketKeys | null)[] = [];
  private readonly sourceId: (Uint8Array | null)[] = [];
  private readonly headerStart: number[] = [];
  private readonly numberStart: number[] = [];
  private readonly payloadEnd: number[] = [];
  private readonly number: number[] = [];
  private readonly table = new PacketTable();

  /**
   * @param arenaBytes - room for datagrams; at least one of the largest size in use
   * @param datagramsMax - most datagrams a batch holds
   */
  constructor(arenaBytes = ARENA_BYTES, datagramsMax = DATAGRAMS_MAX) {
    this.arena = new Uint8Array(arenaBytes);
    this.offset = new Int32Array(datagramsMax);
    this.length = new Int32Array(datagramsMax);
    this.local = new Int32Array(datagramsMax);
    this.turnCount = datagramsMax;
    this.turnUsed = arenaBytes;
  }

  get datagramsMax(): number {
    return this.offset.length;
  }

  /** True when another datagram of up to `bytes` fits, and the turn is not over. */
  hasRoom(bytes: number): boolean {
    const { used } = this;
    return this.count < this.turnCount && used < this.turnUsed && used + bytes <= this.arena.length;
  }

  /** Begins a turn of one of `sharers`, each of which may have its part of the batch, but as much as is worth a turn. */
  beginTurn(sharers: number): void {
    const count = Math.max(TURN_DATAGRAMS_MIN, Math.ceil(this.offset.length / sharers));
    this.turnCount = Math.min(this.offset.length, this.count + count);
    this.turnUsed = this.used + Math.max(TURN_BYTES_MIN, Math.ceil(this.arena.length / sharers));
  }

  /** True when who has the turn had all of it. */
  get isTurnOver(): boolean {
    return this.count >= this.turnCount || this.used >= this.turnUsed;
  }

  // ---- packing ----

  /**
   * Adds a packed packet; see `sealPacket` for what the positions mean.
   * @param sourceId - says whose it is, should it fail
   */
  pushPacket(
    keys: PacketKeys,
    headerStart: number,
    numberStart: number,
    payloadEnd: number,
    number: number,
    sourceId: Uint8Array,
  ): void {
    const i = this.packets++;
    this.keys[i] = keys;
    this.headerStart[i] = headerStart;
    this.numberStart[i] = numberStart;
    this.payloadEnd[i] = payloadEnd;
    this.number[i] = number;
    this.sourceId[i] = sourceId;
  }

  /** Takes back all packets but the first `count`. */
  truncatePackets(count: number): void {
    for (let i = count; i < this.packets; i++) this.forgetPacket(i);
    this.packets = Math.min(this.packets, count);
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

  /** The datagram pushed last is to go with this ECN codepoint. */
  mark(ecn: EcnCodepoint): void {
    while (this.ecnCount < this.count) this.ecn[this.ecnCount++] = EcnCodepoint.NOT_ECT;
    this.ecn[this.count - 1] = ecn;
  }

  /** The ECN codepoint that a datagram is to go with. */
  ecnOf(i: number): EcnCodepoint {
    return i < this.ecnCount ? (this.ecn[i] as EcnCodepoint) : EcnCodepoint.NOT_ECT;
  }

  // ---- sealing ----

  /**
   * Seals every packet in place. The datagram of one that fails is taken out: it must not leave as it is.
   * @param onFailure - is told of each packet that is not sealed, because that threw
   */
  seal(onFailure: (sourceId: Uint8Array, error: unknown) => void): void {
    const { table } = this;
    const isNative = this.packets > 0 && this.sealNatively();
    for (let i = 0; i < this.packets; i++) {
      const keys = this.keys[i] as PacketKeys;
      try {
        if (isNative) {
          const result = table.result(i);
          assert(result !== FAILED, 'the native addon failed to seal a packet');
          if (result === SEALED) {
            this.forgetPacket(i);
            continue;
          }
        }
        sealPacket(
          keys,
          this.arena,
          this.headerStart[i],
          this.numberStart[i],
          this.payloadEnd[i],
          this.number[i],
        );
      } catch (error) {
        this.dropAt(this.headerStart[i]);
        onFailure(this.sourceId[i] as Uint8Array, error);
      }
      this.forgetPacket(i);
    }
    this.packets = 0;
  }

  /** Has the native addon seal the packets of those who use it. False when nobody does. */
  private sealNatively(): boolean {
    const { keys, table } = this;
    let isWanted = false;
    for (let i = 0; i < this.packets; i++) {
      const key = keys[i]?.native ?? null;
      if (key !== null) isWanted = true;
      table.add(this.headerStart[i], this.numberStart[i], this.payloadEnd[i], key, this.number[i]);
    }
    if (isWanted) table.seal(this.arena);
    table.clear();
    return isWanted;
  }

  /** Takes the datagram out that has the byte at `at` of the arena, if one has. The others stay where they are. */
  private dropAt(at: number): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (at >= this.offset[i] && at < this.offset[i] + this.length[i]) continue;
      this.offset[kept] = this.offset[i];
      this.length[kept] = this.length[i];
      this.host[kept] = this.host[i];
      this.port[kept] = this.port[i];
      this.local[kept] = this.local[i];
      if (kept < this.ecnCount) this.ecn[kept] = this.ecnOf(i);
      kept++;
    }
    this.count = kept;
    this.ecnCount = Math.min(this.ecnCount, kept);
  }

  // ---- sent ----

  clear(): void {
    this.used = 0;
    this.count = 0;
    this.beginTurn(1);
    this.ecnCount = 0;
    this.truncatePackets(0);
  }

  private forgetPacket(i: number): void {
    this.keys[i] = null;
    this.sourceId[i] = null;
  }
}

/** A few packets of loopback size, or as many of those of the internet as a batch holds. */
const ARENA_BYTES = 256 * 1024;
const DATAGRAMS_MAX = 192;
const TURN_DATAGRAMS_MIN = 16;
const TURN_BYTES_MIN = 16 * 1024;
