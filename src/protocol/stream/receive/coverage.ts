import { RangeSet } from '../../../base/ranges.ts';

/** With more ranges than this, ranges cost too much time: the bytes are looked at block by block. */
const RANGES_MAX = 256;
/** Bytes of a message in a block. */
const BLOCK_BYTES = 1_024;
const BLOCK_BITS = 10;
const BIT_MAP_BYTES = BLOCK_BYTES / 8;

/**
 * Which bytes of a message of known length have arrived. Its memory follows what arrived, not the length: one range, then a set of them,
 * then, of each block of the message, one range or, where that does not do, a bit for each byte.
 */
export class Coverage {
  /** Distinct bytes that have arrived. */
  covered = 0;
  private readonly total: number;
  /** The one range there is, [from, to), as long as there is one: parts mostly come in order. */
  private from = 0;
  private to = 0;
  private ranges: RangeSet | null = null;
  private blocks: BlockCoverage | null = null;

  constructor(total: number) {
    this.total = total;
  }

  get complete(): boolean {
    return this.covered === this.total;
  }

  /** Bytes of memory beyond the object itself. */
  get bytes(): number {
    return (this.ranges?.size ?? 0) * RANGE_COST + (this.blocks?.bytes ?? 0);
  }

  /** Adds [start, end), which is not empty. Returns how many bytes were new. */
  add(start: number, end: number): number {
    const before = this.covered;
    if (this.blocks !== null) {
      this.covered += this.blocks.add(start, end);
    } else if (this.ranges !== null) {
      this.covered += this.ranges.add(start, end);
      if (this.ranges.size > RANGES_MAX) this.divide(this.ranges);
    } else if (this.covered === 0) {
      this.from = start;
      this.to = end;
      this.covered = end - start;
    } else if (start <= this.to && end >= this.from) {
      if (start < this.from) this.from = start;
      if (end > this.to) this.to = end;
      this.covered = this.to - this.from;
    } else {
      this.ranges = new RangeSet();
      this.ranges.add(this.from, this.to);
      this.covered += this.ranges.add(start, end);
    }
    return this.covered - before;
  }

  private divide(ranges: RangeSet): void {
    this.blocks = new BlockCoverage(this.total);
    for (let i = 0; i < ranges.size; i++) this.blocks.add(ranges.start(i), ranges.end(i));
    this.ranges = null;
  }
}

/** One number a block: 0 for nothing, -n for bit map n - 1, else the one range in it, as `from * 2048 + to`. */
class BlockCoverage {
  private readonly blocks: Int32Array;
  private bitMaps = new Uint8Array(BIT_MAP_BYTES);
  private bitMapCount = 0;

  constructor(total: number) {
    this.blocks = new Int32Array(Math.ceil(total / BLOCK_BYTES));
  }

  get bytes(): number {
    return this.blocks.byteLength + this.bitMaps.byteLength;
  }

  add(start: number, end: number): number {
    let fresh = 0;
    for (let at = start; at < end; ) {
      const block = at >>> BLOCK_BITS;
      const first = block << BLOCK_BITS;
      const to = Math.min(end, first + BLOCK_BYTES);
      fresh += this.addTo(block, at - first, to - first);
      at = to;
    }
    return fresh;
  }

  private addTo(block: number, start: number, end: number): number {
    const found = this.blocks[block];
    if (found < 0) return setBits(this.bitMaps, (-found - 1) * BIT_MAP_BYTES * 8, start, end);
    if (found === 0) {
      this.blocks[block] = (start << 11) | end;
      return end - start;
    }
    const from = found >>> 11;
    const to = found & 2_047;
    if (start <= to && end >= from) {
      const low = Math.min(from, start);
      const high = Math.max(to, end);
      this.blocks[block] = (low << 11) | high;
      return high - low - (to - from);
    }
    const map = this.newBitMap();
    this.blocks[block] = -map - 1;
    setBits(this.bitMaps, map * BIT_MAP_BYTES * 8, from, to);
    return setBits(this.bitMaps, map * BIT_MAP_BYTES * 8, start, end);
  }

  private newBitMap(): number {
    const map = this.bitMapCount++;
    if (this.bitMapCount * BIT_MAP_BYTES > this.bitMaps.length) {
      const grown = new Uint8Array(this.bitMaps.length * 2);
      grown.set(this.bitMaps);
      this.bitMaps = grown;
    }
    return map;
  }
}

/** Sets the bits [start, end) from bit `base` on, a multiple of 8. Returns how many were not set before. */
function setBits(bits: Uint8Array, base: number, start: number, end: number): number {
  let fresh = 0;
  let at = base + start;
  const stop = base + end;
  while (at < stop) {
    const byte = at >>> 3;
    const low = at & 7;
    const count = Math.min(8 - low, stop - at);
    const ones = ((1 << count) - 1) << low;
    const added = ones & ~bits[byte];
    bits[byte] |= ones;
    fresh += added === 0xff ? 8 : bitCount(added);
    at += count;
  }
  return fresh;
}

function bitCount(value: number): number {
  let count = 0;
  for (let rest = value; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Two numbers. */
const RANGE_COST = 16;
