import { RangeSet } from '../base/ranges.ts';

/** With more ranges than this a bit for each byte is cheaper, and bounds what a peer can make us keep. */
const RANGES_MAX = 256;

/** Which bytes of a message of known length have arrived. */
export class Coverage {
  /** Distinct bytes that have arrived. */
  covered = 0;
  private readonly total: number;
  /** The one range there is, [from, to), as long as there is one: parts mostly come in order. */
  private from = 0;
  private to = 0;
  private ranges: RangeSet | null = null;
  private bits: Uint8Array | null = null;

  constructor(total: number) {
    this.total = total;
  }

  get complete(): boolean {
    return this.covered === this.total;
  }

  /** Adds [start, end), which is not empty. */
  add(start: number, end: number): void {
    if (this.bits !== null) {
      this.covered += setBits(this.bits, start, end);
    } else if (this.ranges !== null) {
      this.covered += this.ranges.add(start, end);
      if (this.ranges.size > RANGES_MAX) this.bits = toBits(this.ranges, this.total);
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
  }
}

function toBits(ranges: RangeSet, total: number): Uint8Array {
  const bits = new Uint8Array((total + 7) >>> 3);
  for (let i = 0; i < ranges.size; i++) setBits(bits, ranges.start(i), ranges.end(i));
  ranges.clear();
  return bits;
}

/** Sets the bits [start, end). Returns how many were not set before. */
function setBits(bits: Uint8Array, start: number, end: number): number {
  let fresh = 0;
  let at = start;
  while (at < end) {
    const byte = at >>> 3;
    const low = at & 7;
    const count = Math.min(8 - low, end - at);
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
