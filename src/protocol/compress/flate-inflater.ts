/**
 * Inflates DEFLATE data (RFC 1951). It inflates into memory of its own, of the most that a message may have, so that nothing that comes makes it
 * allocate, and what a block says of its length need not be believed.
 *
 * Stricter than the RFC where that costs no sender anything: the data ends with the byte in which its last block ends, sets of codes are complete
 * (but for a single one), and blocks are few, for building the codes of an empty one is work for nothing. [CMP-12]
 */

import { Buffer } from 'node:buffer';
import {
  BlockKind,
  CODE_BITS_MAX,
  DISTANCE_BASES,
  DISTANCE_CODES,
  DISTANCE_CODES_USED,
  DISTANCE_EXTRA_BITS,
  END_OF_BLOCK,
  FLATE_BYTES_MAX,
  fixedLengths,
  LENGTH_BASES,
  LENGTH_EXTRA_BITS,
  LENGTH_ORDER,
  LITERAL_CODES,
  LITERAL_CODES_USED,
} from './flate-codes.ts';
import { BROKEN, TOO_LONG } from './lz4-block.ts';

/** One for all messages of a process: what it inflated is copied before it inflates anything else. */
export class FlateInflater {
  /** What was inflated last. */
  private readonly out = Buffer.allocUnsafeSlow(FLATE_BYTES_MAX);
  private readonly literals = new CodeTable(LITERAL_CODES, LITERAL_TABLE_BITS);
  private readonly distances = new CodeTable(DISTANCE_CODES, DISTANCE_TABLE_BITS);
  private readonly lengthCodes = new CodeTable(LENGTH_ORDER.length, LENGTH_TABLE_BITS);
  private readonly lengths = new Uint8Array(LITERAL_CODES + DISTANCE_CODES);
  private fixed: { literals: CodeTable; distances: CodeTable } | null = null;

  private bytes: Uint8Array = this.out;
  private at = 0;
  private end = 0;
  /** Bits taken from the bytes and not used; below 0 when more were used than there were. */
  private held = 0;
  private bits = 0;
  /** Where `out` goes on. */
  private to = 0;
  private max = 0;

  /**
   * Inflates bytes[start, end). Returns the length, {@link BROKEN}, or {@link TOO_LONG} when that is above `max` or `FLATE_BYTES_MAX`; what it has
   * inflated {@link take} gives.
   *
   * @param dictionary - what lies before the beginning
   */
  inflate(bytes: Uint8Array, start: number, end: number, max: number, dictionary: Uint8Array): number {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.held = 0;
    this.bits = 0;
    this.to = 0;
    this.max = Math.min(max, FLATE_BYTES_MAX);
    for (let blocks = 0; blocks < BLOCKS_MAX; blocks++) {
      const isLast = this.takeBits(1);
      const kind = this.takeBits(2);
      const fault = this.inflateBlock(kind, dictionary);
      if (fault !== 0) return fault;
      if (isLast === 0) continue;
      // all bytes, and of the last one at least a bit
      return this.at - (this.held >> 3) === end ? this.to : BROKEN;
    }
    return BROKEN;
  }

  /** What was inflated last, in memory of its own. */
  take(): Buffer {
    const message = Buffer.allocUnsafeSlow(this.to);
    this.out.copy(message, 0, 0, this.to);
    return message;
  }

  /** Returns 0 when it went well. */
  private inflateBlock(kind: number, dictionary: Uint8Array): number {
    if (kind === BlockKind.STORED) return this.inflateStored();
    if (kind === BlockKind.DYNAMIC)
      return this.readCodes() ? this.inflateCoded(this.literals, this.distances, dictionary) : BROKEN;
    if (kind !== BlockKind.FIXED) return BROKEN;
    this.fixed ??= fixedTables();
    return this.inflateCoded(this.fixed.literals, this.fixed.distances, dictionary);
  }

  private inflateStored(): number {
    if (this.held < 0) return BROKEN;
    this.at -= this.held >> 3; // bytes that were taken and not begun
    this.held = 0;
    this.bits = 0;
    const { bytes, at, end } = this;
    if (at + 4 > end) return BROKEN;
    const length = bytes[at] | (bytes[at + 1] << 8);
    if ((length ^ 0xffff) !== (bytes[at + 2] | (bytes[at + 3] << 8))) return BROKEN;
    const from = at + 4;
    if (from + length > end) return BROKEN;
    if (this.to + length > this.max) return TOO_LONG;
    this.out.set(bytes.subarray(from, from + length), this.to);
    this.to += length;
    this.at = from + length;
    return 0;
  }

  /** Reads the codes of a block with codes of its own; false when they are none. */
  private readCodes(): boolean {
    const literalCount = this.takeBits(5) + 257;
    const distanceCount = this.takeBits(5) + 1;
    const lengthCount = this.takeBits(4) + 4;
    if (literalCount > LITERAL_CODES_USED || distanceCount > DISTANCE_CODES_USED) return false;
    const { lengths } = this;
    lengths.fill(0, 0, LENGTH_ORDER.length);
    for (let i = 0; i < lengthCount; i++) lengths[LENGTH_ORDER[i]] = this.takeBits(3);
    if (this.held < 0 || !this.lengthCodes.build(lengths, 0, LENGTH_ORDER.length)) return false;
    const count = literalCount + distanceCount;
    for (let i = 0; i < count; ) {
      const symbol = this.takeSymbol(this.lengthCodes);
      if (symbol < 0 || this.held < 0) return false;
      if (symbol < 16) {
        lengths[i++] = symbol;
        continue;
      }
      if (symbol === 16 && i === 0) return false;
      const repeated = symbol === 16 ? lengths[i - 1] : 0;
      const times =
        symbol === 16 ? 3 + this.takeBits(2) : symbol === 17 ? 3 + this.takeBits(3) : 11 + this.takeBits(7);
      if (i + times > count) return false;
      lengths.fill(repeated, i, i + times);
      i += times;
    }
    if (this.held < 0 || lengths[END_OF_BLOCK] === 0) return false;
    return (
      this.literals.build(lengths, 0, literalCount, true) &&
      this.distances.build(lengths, literalCount, count, true)
    );
  }

  private inflateCoded(literals: CodeTable, distances: CodeTable, dictionary: Uint8Array): number {
    const { out, bytes, end, max } = this;
    let { at, held, bits, to } = this;
    for (;;) {
      while (held <= 24 && at < end) {
        bits |= bytes[at++] << held;
        held += 8;
      }
      let entry = literals.table[bits & LITERAL_MASK];
      if (entry === 0) entry = literals.longEntry(bits);
      bits >>>= entry & 15;
      held -= entry & 15;
      if (entry === 0 || held < 0) return BROKEN;
      const symbol = entry >>> 4;
      if (symbol < END_OF_BLOCK) {
        if (to >= max) return TOO_LONG;
        out[to++] = symbol;
        continue;
      }
      if (symbol === END_OF_BLOCK) break;
      const lengthCode = symbol - 257;
      if (lengthCode >= LENGTH_BASES.length) return BROKEN;
      const lengthBits = LENGTH_EXTRA_BITS[lengthCode];
      const length = LENGTH_BASES[lengthCode] + (bits & ((1 << lengthBits) - 1));
      bits >>>= lengthBits;
      held -= lengthBits;
      while (held <= 24 && at < end) {
        bits |= bytes[at++] << held;
        held += 8;
      }
      entry = distances.table[bits & DISTANCE_MASK];
      if (entry === 0) entry = distances.longEntry(bits);
      bits >>>= entry & 15;
      held -= entry & 15;
      if (entry === 0 || held < 0) return BROKEN;
      while (held <= 24 && at < end) {
        bits |= bytes[at++] << held;
        held += 8;
      }
      const distanceCode = entry >>> 4;
      if (distanceCode >= DISTANCE_CODES_USED) return BROKEN;
      const distanceBits = DISTANCE_EXTRA_BITS[distanceCode];
      const distance = DISTANCE_BASES[distanceCode] + (bits & ((1 << distanceBits) - 1));
      bits >>>= distanceBits;
      held -= distanceBits;
      if (held < 0) return BROKEN;
      let from = to - distance;
      const stop = to + length;
      if (stop > max) return TOO_LONG;
      if (from < 0) {
        // in the dictionary, and perhaps on into what is inflated
        let d = dictionary.length + from;
        if (d < 0) return BROKEN;
        while (d < dictionary.length && to < stop) out[to++] = dictionary[d++];
        from = to - distance;
      }
      while (to < stop) out[to++] = out[from++];
    }
    this.at = at;
    this.held = held;
    this.bits = bits;
    this.to = to;
    return 0;
  }

  /** At most 16; 0 bits stand for what is missing, and `held` tells. */
  private takeBits(count: number): number {
    this.fill();
    const value = this.bits & ((1 << count) - 1);
    this.bits >>>= count;
    this.held -= count;
    return value;
  }

  /** The next symbol; -1 when no code is like that. */
  private takeSymbol(codes: CodeTable): number {
    this.fill();
    const entry = codes.table[this.bits & codes.mask] || codes.longEntry(this.bits);
    if (entry === 0) return -1;
    this.bits >>>= entry & 15;
    this.held -= entry & 15;
    return entry >>> 4;
  }

  private fill(): void {
    while (this.held >= 0 && this.held <= 24 && this.at < this.end) {
      this.bits |= this.bytes[this.at++] << this.held;
      this.held += 8;
    }
  }
}

/** A set of codes, to look the next bits up in. An entry is 16 x symbol + bits of its code; 0 stands for none. */
class CodeTable {
  readonly mask: number;
  /** By the next bits, the entries of codes that are not longer. */
  readonly table: Uint16Array;
  private readonly tableBits: number;
  /** How many codes have so many bits, and the symbols in the order of their codes. */
  private readonly counts = new Uint16Array(CODE_BITS_MAX + 1);
  private readonly symbols: Uint16Array;
  private readonly places = new Uint16Array(CODE_BITS_MAX + 2);

  constructor(symbols: number, tableBits: number) {
    this.tableBits = tableBits;
    this.mask = (1 << tableBits) - 1;
    this.table = new Uint16Array(1 << tableBits);
    this.symbols = new Uint16Array(symbols);
  }

  /**
   * Takes the bits of the codes of symbols from lengths[start, end); false when these are no set of codes that leaves nothing out.
   *
   * @param mayBeShort - one code, or none, will do, too
   */
  build(lengths: Uint8Array, start: number, end: number, mayBeShort = false): boolean {
    const { counts, places, symbols, table, tableBits } = this;
    counts.fill(0);
    for (let i = start; i < end; i++) counts[lengths[i]]++;
    const used = end - start - counts[0];
    counts[0] = 0;
    places[1] = 0;
    let left = 1;
    for (let bits = 1; bits <= CODE_BITS_MAX; bits++) {
      left = left * 2 - counts[bits];
      if (left < 0) return false;
      places[bits + 1] = places[bits] + counts[bits];
    }
    const isComplete = left === 0;
    if (!isComplete && !(mayBeShort && used === counts[1])) return false;
    for (let i = start; i < end; i++) if (lengths[i] !== 0) symbols[places[lengths[i]]++] = i - start;
    if (!isComplete || used === 0) table.fill(0);
    // codes come in the order of their bits read backwards, which is how they are looked up
    let code = 0;
    let k = 0;
    for (let bits = 1; bits <= CODE_BITS_MAX; bits++) {
      const step = 1 << bits;
      for (let n = counts[bits]; n > 0; n--, k++) {
        if (bits > tableBits) table[code & this.mask] = 0;
        else {
          const entry = (symbols[k] << 4) | bits;
          for (let i = code; i <= this.mask; i += step) table[i] = entry;
        }
        // one is added from the far end
        let bit = step >>> 1;
        while ((code & bit) !== 0) {
          code ^= bit;
          bit >>>= 1;
        }
        code |= bit;
      }
    }
    return true;
  }

  /** The entry of a code that is longer than the table's; 0 for none. */
  longEntry(bits: number): number {
    const { counts, symbols } = this;
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= CODE_BITS_MAX; length++) {
      code |= (bits >>> (length - 1)) & 1;
      const count = counts[length];
      if (code - first < count) return (symbols[index + code - first] << 4) | length;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return 0;
  }
}

function fixedTables(): { literals: CodeTable; distances: CodeTable } {
  const lengths = fixedLengths();
  const literals = new CodeTable(LITERAL_CODES, LITERAL_TABLE_BITS);
  const distances = new CodeTable(DISTANCE_CODES, DISTANCE_TABLE_BITS);
  literals.build(lengths.literals, 0, LITERAL_CODES);
  distances.build(lengths.distances, 0, DISTANCE_CODES);
  return { literals, distances };
}

/** zlib's smallest blocks have 128 symbols; a message has fewer of them than this, but for one that somebody made to cost work. */
export const BLOCKS_MAX = 1_024;
/** Longer codes, which are rare, are looked for bit by bit. */
const LITERAL_TABLE_BITS = 9;
const DISTANCE_TABLE_BITS = 7;
const LENGTH_TABLE_BITS = 7;
const LITERAL_MASK = (1 << LITERAL_TABLE_BITS) - 1;
const DISTANCE_MASK = (1 << DISTANCE_TABLE_BITS) - 1;
