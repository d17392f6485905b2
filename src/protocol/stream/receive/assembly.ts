import { NO_BYTES, shortLivedBuffer } from '../../../base/bytes.ts';
import { Overhead } from '../../../base/memory-budget.ts';
import { RangeSet } from '../../../base/ranges.ts';
import type { Micros } from '../../../base/time.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import { MESSAGE_COST } from '../flow-control.ts';
import { Place, type Segment } from './segment.ts';

/**
 * A message of which some fragments have arrived. Its memory follows what has arrived, not the length that the first fragment announces:
 * the buffer, from the message's beginning on, is at most eight times that, and what lies beyond it waits beside it. [STR-33]
 */
export class Assembly {
  readonly sequence: number;
  readonly total: number;
  /** What it becomes when it is complete; until then it stands for it in the budget and among the lifetimes. */
  readonly segment: Segment;
  /** The MESSAGE flags that all its fragments carry. */
  private readonly flags: number;
  /** When a byte came last that was not there before. */
  progressAt: Micros;
  /** The first bytes of the message, arrived or not. */
  private buffer: Uint8Array = NO_BYTES;
  private readonly coverage: Coverage;
  private aside: AsideFragments | null = null;
  private readonly overhead: Overhead;

  /** @param overhead - which what it takes beyond its charge counts in */
  constructor(segment: Segment, total: number, flags: number, now: Micros, overhead = new Overhead(null)) {
    this.overhead = overhead;
    overhead.add(ASSEMBLY_OVERHEAD);
    this.sequence = segment.sequence;
    this.total = total;
    this.segment = segment;
    this.flags = flags;
    this.progressAt = now;
    this.coverage = new Coverage(total, overhead);
  }

  /** True when a fragment with this total and these flags can belong to it. [FRM-6] [STR-15] */
  agrees(total: number, flags: number): boolean {
    return total === this.total && flags === this.flags;
  }

  /** Bytes of memory that it keeps, itself included. */
  get bytes(): number {
    return ASSEMBLY_COST + this.buffer.length + this.coverage.bytes + (this.aside?.bytes ?? 0);
  }

  /** Most bytes that it may take beyond its charge for a fragment at [offset, end). What its message takes is within that. */
  growthFor(offset: number, end: number): number {
    return this.coverage.growthFor(offset, end);
  }

  /** It is over: what it took beyond its charge is free. */
  end(): void {
    this.overhead.drop(ASSEMBLY_OVERHEAD + this.coverage.bytes);
  }

  /** Takes in the fragment from[start, start + length), which belongs at `offset`. True when the message is complete. */
  add(from: Uint8Array, start: number, length: number, offset: number, now: Micros): boolean {
    const end = offset + length;
    if (this.coverage.add(offset, end) === 0) return false;
    this.progressAt = now;
    if (end > this.buffer.length) this.grow(end);
    if (end <= this.buffer.length) this.buffer.set(from.subarray(start, start + length), offset);
    else this.putAside(from, start, length, offset);
    return this.coverage.complete;
  }

  /** The complete message. */
  finish(): Segment {
    const { segment } = this;
    if (this.buffer.length < this.total) this.growTo(this.total);
    segment.count = 1;
    segment.buffer = this.buffer;
    segment.end = this.total;
    return segment;
  }

  /** Makes the buffer larger if it may be as large as `end` needs, and at least twice as large, so that its bytes are not copied often. */
  private grow(end: number): void {
    const { total } = this;
    const allowed = Math.min(total, GROWTH * this.coverage.covered);
    if (allowed >= end && (allowed >= 2 * this.buffer.length || allowed === total)) this.growTo(allowed);
  }

  private growTo(length: number): void {
    // Not zeroed, which cost a tenth of the time for 64 KB messages: it is handed out only when all of it is written.
    const grown = shortLivedBuffer(length);
    grown.set(this.buffer);
    this.buffer = grown;
    if (this.aside?.moveInto(grown) === true) this.aside = null;
  }

  private putAside(from: Uint8Array, start: number, length: number, offset: number): void {
    this.aside ??= new AsideFragments();
    this.aside.add(from, start, length, offset);
    // It would cost more than the message itself, which is what is charged: an odd order, or the same bytes again and again.
    if (this.buffer.length + this.aside.bytes >= this.total) this.growTo(this.total);
  }
}

/** The incomplete messages of a sequence space, in the order of their first fragments. Costs nothing until there is one. */
export class Assemblies {
  private bySequence: Map<number, Assembly> | null = null;

  get size(): number {
    return this.bySequence === null ? 0 : this.bySequence.size;
  }

  /** Bytes of memory. */
  get bytes(): number {
    let bytes = 0;
    for (const assembly of this) bytes += assembly.bytes;
    return bytes;
  }

  find(sequence: number): Assembly | undefined {
    return this.bySequence === null ? undefined : this.bySequence.get(sequence);
  }

  /** Begins the message that a fragment belongs to; `segment` stands for it. */
  start(frame: FrameReader, segment: Segment, now: Micros, overhead: Overhead): Assembly {
    const assembly = new Assembly(segment, frame.total, frame.flags, now, overhead);
    segment.place = Place.INCOMPLETE;
    segment.isEnveloped = frame.isEnveloped;
    this.bySequence ??= new Map();
    this.bySequence.set(frame.sequence, assembly);
    return assembly;
  }

  /** The message with this sequence is not incomplete any more. */
  end(sequence: number): void {
    this.bySequence?.get(sequence)?.end();
    this.bySequence?.delete(sequence);
    if (this.bySequence?.size === 0) this.bySequence = null;
  }

  [Symbol.iterator](): IterableIterator<Assembly> {
    return this.bySequence === null ? NO_ASSEMBLIES.values() : this.bySequence.values();
  }
}

/** Fragments that lie beyond the buffer, in the order in which they came. */
class AsideFragments {
  private data: Uint8Array = NO_BYTES;
  private used = 0;
  /** For each: where it belongs, where it ends. */
  private places: Float64Array = NO_PLACES;
  private count = 0;

  get bytes(): number {
    return this.data.length + this.places.byteLength;
  }

  add(from: Uint8Array, start: number, length: number, offset: number): void {
    if (this.used + length > this.data.length) {
      const grown = new Uint8Array(Math.max(this.used + length, 2 * this.data.length));
      grown.set(this.data.subarray(0, this.used));
      this.data = grown;
    }
    if (2 * this.count === this.places.length) {
      const grown = new Float64Array(Math.max(4, 2 * this.places.length));
      grown.set(this.places);
      this.places = grown;
    }
    this.data.set(from.subarray(start, start + length), this.used);
    this.used += length;
    this.places[2 * this.count] = offset;
    this.places[2 * this.count + 1] = offset + length;
    this.count++;
  }

  /** Moves what lies within `buffer` there. True when nothing is left aside. */
  moveInto(buffer: Uint8Array): boolean {
    const { data, places, count } = this;
    let at = 0;
    this.used = 0;
    this.count = 0;
    for (let i = 0; i < count; i++) {
      const offset = places[2 * i];
      const end = places[2 * i + 1];
      const part = data.subarray(at, at + end - offset);
      at += part.length;
      if (end <= buffer.length) buffer.set(part, offset);
      else this.keep(part, offset);
    }
    return this.count === 0;
  }

  /** Moves a fragment down over those that are gone. */
  private keep(part: Uint8Array, offset: number): void {
    this.data.set(part, this.used);
    this.used += part.length;
    this.places[2 * this.count] = offset;
    this.places[2 * this.count + 1] = offset + part.length;
    this.count++;
  }
}

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
  private readonly overhead: Overhead;

  /** @param overhead - which {@link bytes} count in */
  constructor(total: number, overhead = new Overhead(null)) {
    this.total = total;
    this.overhead = overhead;
  }

  get complete(): boolean {
    return this.covered === this.total;
  }

  /** Bytes of memory beyond the object itself. */
  get bytes(): number {
    return (this.ranges?.size ?? 0) * RANGE_COST + (this.blocks?.bytes ?? 0);
  }

  /** Most that {@link bytes} may grow by with [start, end): by nothing where that touches what is there, but for what is odd. */
  growthFor(start: number, end: number): number {
    const { blocks, ranges } = this;
    if (blocks !== null) return blocks.growthFor(start, end);
    if (ranges === null) {
      const isOneRange = this.covered === 0 || (start <= this.to && end >= this.from);
      return isOneRange ? 0 : 2 * RANGE_COST;
    }
    const touches = ranges.contains(start) || ranges.contains(start - 1) || ranges.contains(end);
    if (touches) return 0;
    return ranges.size < RANGES_MAX ? RANGE_COST : dividedBytesMax(this.total);
  }

  /** Adds [start, end), which is not empty. Returns how many bytes were new. */
  add(start: number, end: number): number {
    const before = this.covered;
    if (this.blocks !== null || this.ranges !== null) {
      this.addToMany(start, end);
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
      this.overhead.add(this.bytes);
    }
    return this.covered - before;
  }

  /** There is more than one range. */
  private addToMany(start: number, end: number): void {
    const before = this.bytes;
    if (this.blocks !== null) {
      this.covered += this.blocks.add(start, end);
    } else if (this.ranges !== null) {
      this.covered += this.ranges.add(start, end);
      if (this.ranges.size > RANGES_MAX) this.divide(this.ranges);
    }
    const more = this.bytes - before;
    if (more > 0) this.overhead.add(more);
    else if (more < 0) this.overhead.drop(-more);
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

  /** By how much {@link bytes} would grow with [start, end): only at its two ends can a block have a second range. */
  growthFor(start: number, end: number): number {
    const first = start >>> BLOCK_BITS;
    const last = (end - 1) >>> BLOCK_BITS;
    let maps = this.wouldDivide(first, start & BLOCK_MASK, Math.min(end - (first << BLOCK_BITS), BLOCK_BYTES))
      ? 1
      : 0;
    if (last > first && this.wouldDivide(last, 0, end - (last << BLOCK_BITS))) maps++;
    const isEnough = (this.bitMapCount + maps) * BIT_MAP_BYTES <= this.bitMaps.length;
    return maps === 0 || isEnough ? 0 : Math.max(this.step, 3 * BIT_MAP_BYTES);
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

  /** Whether [start, end) of a block does not touch the one range in it. */
  private wouldDivide(block: number, start: number, end: number): boolean {
    const found = this.blocks[block];
    return found > 0 && (start > (found & 2_047) || end < found >>> 11);
  }

  private get step(): number {
    return Math.min(this.bitMaps.length, BIT_MAPS_STEP_MAX);
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
      const grown = new Uint8Array(this.bitMaps.length + this.step);
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

/** Most bytes of a {@link BlockCoverage} that so many ranges of a message are put into. */
function dividedBytesMax(total: number): number {
  const blocks = Math.ceil(total / BLOCK_BYTES);
  return 4 * blocks + 2 * BIT_MAP_BYTES * Math.min(blocks, RANGES_MAX + 1);
}

function bitCount(value: number): number {
  let count = 0;
  for (let rest = value; rest !== 0; rest &= rest - 1) count++;
  return count;
}

const NO_ASSEMBLIES: ReadonlyMap<number, Assembly> = new Map();
const NO_PLACES = new Float64Array(0);
/** The buffer is at most so many times as large as what has arrived. */
const GROWTH = 8;
/** The objects of an incomplete message: this one, its segment, its coverage and its place in a table. */
const ASSEMBLY_COST = 640;
/** What it takes of them beyond what is charged for any message. */
export const ASSEMBLY_OVERHEAD = ASSEMBLY_COST - MESSAGE_COST;
/** With more ranges than this, ranges cost too much time: the bytes are looked at block by block. */
const RANGES_MAX = 256;
/** Bytes of a message in a block. */
const BLOCK_BYTES = 1_024;
const BLOCK_BITS = 10;
const BLOCK_MASK = BLOCK_BYTES - 1;
const BIT_MAP_BYTES = BLOCK_BYTES / 8;
/** Bit maps grow by no more at a time, so that one more of a message in many pieces does not take much memory. */
const BIT_MAPS_STEP_MAX = 4_096;
/** Two numbers. */
const RANGE_COST = 16;
