import {
  KEY_ROW_BYTES,
  KeyOffset,
  type NativeAddon,
  nativeAddon,
  PACKET_FAILED,
  PACKET_LEFT,
  PACKET_ROW,
  PacketColumn,
} from '../../base/native-addon.ts';
import type { CipherSuite } from './cipher-suite.ts';

/**
 * Packets to be sealed or opened by the native addon in one call, with their keys. Each packet is of one arena. What the addon leaves is as it
 * came, and whoever fills a table judges that by the functions for one packet, which are the definition of what comes out.
 *
 *     const row = table.add(start, numberStart, end, key, number);
 *     if (table.seal(arena) && table.result(row) === SEALED) ...
 *     table.clear();
 */
export class PacketTable {
  count = 0;
  private readonly addon: NativeAddon | null = nativeAddon();
  private rows: Int32Array;
  private keys: Int32Array = NO_ROWS;
  private keyDoubles: Float64Array = new Float64Array(0);
  private keyCount = 0;
  /** Tells the keys that are in the table from those of an earlier use. */
  private use = nextUse++;

  constructor(packets = 1) {
    this.rows = new Int32Array(packets * PACKET_ROW);
  }

  /**
   * Adds a packet to be sealed or opened; see `sealPacket` and `openInto` for what the positions mean.
   * @param key - null leaves the packet to JavaScript
   * @param number - the packet's, when sealing; when opening, the largest opened in its space by now, or -1
   * @returns its row
   */
  add(start: number, numberStart: number, end: number, key: KeyRow | null, number: number): number {
    const row = this.count++;
    const at = row * PACKET_ROW;
    if (at === this.rows.length) this.growRows();
    const { rows } = this;
    const isSmall = number >= 0 && number < SMALL_NUMBERS;
    rows[at + PacketColumn.START] = start;
    rows[at + PacketColumn.NUMBER_START] = numberStart;
    rows[at + PacketColumn.END] = end;
    rows[at + PacketColumn.KEYS] = key === null ? NO_KEY : this.rowOf(key, number);
    rows[at + PacketColumn.NUMBER_LOW] = number;
    rows[at + PacketColumn.NUMBER_HIGH] = isSmall ? 0 : Math.floor(number / SMALL_NUMBERS);
    return row;
  }

  /** Seals all in place. */
  seal(arena: Uint8Array): void {
    if (this.addon === null) this.leaveAll();
    else this.addon.seal(arena, this.rows, this.count, this.keyDoubles);
  }

  /** Opens all in place. */
  open(arena: Uint8Array): void {
    if (this.addon === null) this.leaveAll();
    else this.addon.open(arena, this.rows, this.count, this.keyDoubles);
  }

  /** Bits of the header that are mostly 0, of a packet that was opened; 0 of one that was sealed; else {@link FAILED} or {@link LEFT}. */
  result(row: number): number {
    return this.rows[row * PACKET_ROW + PacketColumn.RESULT];
  }

  /** The number of a packet that was opened. */
  number(row: number): number {
    const at = row * PACKET_ROW;
    const low = this.rows[at + PacketColumn.NUMBER_LOW] >>> 0;
    const high = this.rows[at + PacketColumn.NUMBER_HIGH];
    return high === 0 ? low : high * SMALL_NUMBERS + low;
  }

  /** Bytes of the header of a packet that was opened. */
  headerBytes(row: number): number {
    const at = row * PACKET_ROW;
    return this.rows[at + PacketColumn.PAYLOAD_START] - this.rows[at + PacketColumn.START];
  }

  /** Forgets packets and keys, which are zeroed; what was found stays until the next packet is added. */
  clear(): void {
    this.keys.fill(0, 0, this.keyCount * KEY_INTS);
    this.count = 0;
    this.keyCount = 0;
    this.use = nextUse++;
  }

  /** Where a key stands: each of them once, so that what is opened with it counts for the next packet. */
  private rowOf(key: KeyRow, largest: number): number {
    if (key.use === this.use) return key.row;
    const row = this.keyCount++;
    const at = row * KEY_INTS;
    if (at === this.keys.length) this.growKeys();
    const { keys } = this;
    const { ints } = key;
    for (let i = 0; i < KEY_INTS; i++) keys[at + i] = ints[i];
    this.keyDoubles[(at + LARGEST_INT) >> 1] = largest;
    key.use = this.use;
    key.row = row;
    return row;
  }

  private leaveAll(): void {
    for (let row = 0; row < this.count; row++)
      this.rows[row * PACKET_ROW + PacketColumn.RESULT] = PACKET_LEFT;
  }

  private growRows(): void {
    const rows = new Int32Array(Math.max(PACKET_ROW, 2 * this.rows.length));
    rows.set(this.rows);
    this.rows = rows;
  }

  private growKeys(): void {
    const doubles = new Float64Array(Math.max(KEY_INTS / 2, 2 * this.keyDoubles.length));
    const keys = new Int32Array(doubles.buffer);
    keys.set(this.keys);
    this.keys.fill(0);
    this.keys = keys;
    this.keyDoubles = doubles;
  }
}

/** The keys of one direction and phase as the addon takes them; see `PacketKeys`. */
export class KeyRow {
  readonly ints: Int32Array = new Int32Array(KEY_INTS);
  /** In which use of a table they stand in {@link row}. */
  use = NEVER_USED;
  row = 0;

  /** @param key - 32 bytes; like the other arguments it is copied */
  constructor(suite: CipherSuite, key: Uint8Array, headerKey: Uint8Array, iv: Uint8Array, phase: number) {
    const bytes = this.bytes;
    bytes[0] = suite.id;
    bytes[KeyOffset.PHASE] = phase;
    bytes.set(key, KeyOffset.KEY);
    bytes.set(headerKey, KeyOffset.HEADER_KEY);
    bytes.set(iv, KeyOffset.IV);
  }

  /** The keys of the generation after these, which have the same header key and the other phase. */
  updated(suite: CipherSuite, key: Uint8Array, iv: Uint8Array): KeyRow {
    return new KeyRow(suite, key, this.headerKey, iv, 1 - this.bytes[KeyOffset.PHASE]);
  }

  // Views, for what is made from them.

  get key(): Uint8Array {
    return this.bytes.subarray(KeyOffset.KEY, KeyOffset.HEADER_KEY);
  }

  get headerKey(): Uint8Array {
    return this.bytes.subarray(KeyOffset.HEADER_KEY, KeyOffset.IV);
  }

  get iv(): Uint8Array {
    return this.bytes.subarray(KeyOffset.IV, KeyOffset.LARGEST);
  }

  wipe(): void {
    if (this.use !== NEVER_USED) nativeAddon()?.forget(new Float64Array(this.ints.buffer));
    this.ints.fill(0);
  }

  private get bytes(): Uint8Array {
    return new Uint8Array(this.ints.buffer);
  }
}

/** In {@link PacketTable.result}. */
export const SEALED = 0;
/** It does not verify; of one to be sealed: it is neither as it came nor sealed. */
export const FAILED = PACKET_FAILED;
/** It is as it came. */
export const LEFT = PACKET_LEFT;

const KEY_INTS = KEY_ROW_BYTES / 4;
const LARGEST_INT = KeyOffset.LARGEST / 4;
const SMALL_NUMBERS = 2 ** 32;
const NO_KEY = -1;
const NEVER_USED = 0;
const NO_ROWS = new Int32Array(0);
let nextUse = 1;
