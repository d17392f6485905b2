/** What a receiver keeps of the sequences of a space: which were seen, and which it gave up and has to report. */

import { Overhead } from '../../../base/memory-budget.ts';
import { RangeSet } from '../../../base/ranges.ts';
import type { Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { writeDropped } from '../../wire/frames/message.ts';

/**
 * Which sequences of a space were seen: all below `floor`, and those above it whose bit is set in a circular bit map that grows with
 * the distance between the floor and the highest one seen. Its owner bounds that distance.
 */
export class SequenceWindow {
  /** Lowest sequence that was not seen. */
  floor = 0;
  /** One above the highest sequence seen. */
  top = 0;
  private words = NO_WORDS;
  /** Number of words - 1. */
  private mask = -1;
  /** Sequences up to here will be marked. */
  private reservedTo = 0;
  private readonly overhead: Overhead;

  /** @param overhead - which the bit map counts in */
  constructor(overhead = new Overhead(null)) {
    this.overhead = overhead;
  }

  /** True when nothing above the floor was seen. */
  get contiguous(): boolean {
    return this.top === this.floor;
  }

  /** Bytes of the bit map. */
  get bytes(): number {
    return this.words.byteLength;
  }

  /** Bytes by which the bit map has to grow before sequences below `end` can be marked. */
  growthFor(end: number): number {
    if (end <= this.top || end - this.floor <= 32 * this.mask) return 0;
    return 4 * (this.lengthFor(end) - this.words.length);
  }

  has(sequence: number): boolean {
    if (sequence < this.floor) return true;
    if (sequence >= this.top) return false;
    return (this.words[this.wordOf(sequence)] & (1 << (sequence & 31))) !== 0;
  }

  /** The next `count` sequences from the floor on were seen; only while {@link contiguous}. */
  advance(count: number): void {
    this.floor += count;
    this.top = this.floor;
  }

  /** Whether sequences from `first` on need no mark: all below them were seen, and none above. */
  isNext(first: number): boolean {
    return this.contiguous && first === this.floor;
  }

  /** `count` sequences from `first` on were seen. The floor moves where they are the next, for which no bit map is needed. */
  addOrAdvance(first: number, count: number): void {
    if (this.isNext(first)) this.advance(count);
    else this.add(first, first + count);
  }

  /** Marks [first, end) as seen; `first` is not below the floor. Does not move the floor. */
  add(first: number, end: number): void {
    if (end > this.top) {
      this.grow(end);
      this.top = end;
    }
    for (let sequence = first; sequence < end; ) {
      const bit = sequence & 31;
      const count = Math.min(32 - bit, end - sequence);
      const ones = count === 32 ? -1 : ((1 << count) - 1) << bit;
      this.words[this.wordOf(sequence)] |= ones;
      sequence += count;
    }
  }

  /** Moves the floor over the seen sequences that follow it. */
  settle(): void {
    let floor = this.floor;
    while (floor < this.top) {
      const at = this.wordOf(floor);
      const bit = floor & 31;
      const missing = ~(this.words[at] >> bit);
      // zeros that the shift brought in at a set sign count as seen, so the run is cut to the word
      const run = Math.min(missing === 0 ? 32 : 31 - Math.clz32(missing & -missing), 32 - bit);
      if (run === 0) break;
      this.words[at] &= run === 32 ? 0 : ~(((1 << run) - 1) << bit);
      floor += run;
    }
    this.floor = floor;
    this.relax();
  }

  /** Moves the floor to `floor`; everything below counts as seen. */
  raise(floor: number): void {
    if (floor <= this.floor) return;
    if (floor >= this.top) {
      if (this.top > this.floor) this.words.fill(0);
      this.floor = floor;
      this.top = floor;
      this.relax();
      return;
    }
    for (let sequence = this.floor; sequence < floor; ) {
      const bit = sequence & 31;
      const count = Math.min(32 - bit, floor - sequence);
      this.words[this.wordOf(sequence)] &= count === 32 ? 0 : ~(((1 << count) - 1) << bit);
      sequence += count;
    }
    this.floor = floor;
  }

  private wordOf(sequence: number): number {
    return Math.floor(sequence / 32) & this.mask;
  }

  private relax(): void {
    const { floor, reservedTo, top } = this;
    if (top === floor && floor >= reservedTo && this.words.length > KEPT_WORDS) this.forget();
  }

  /** Gives the bit map back: nothing above the floor was seen, or nobody asks any more. */
  forget(): void {
    this.overhead.drop(this.bytes);
    this.words = NO_WORDS;
    this.mask = -1;
    this.top = this.floor;
  }

  /** Words of a map that is large enough for [floor, end). */
  private lengthFor(end: number): number {
    const needed = Math.floor((end - 1) / 32) - Math.floor(this.floor / 32) + 1;
    let { length } = this.words;
    if (needed <= length) return length;
    length = Math.max(FIRST_WORDS, length);
    while (length < needed) length *= 2;
    return length;
  }

  /** A sequence below `end` will be marked: the map is large enough for that from now on. */
  reserve(end: number): void {
    this.grow(end);
    if (end > this.reservedTo) this.reservedTo = end;
  }

  /** Makes the map large enough for [floor, end). */
  private grow(end: number): void {
    const length = this.lengthFor(end);
    if (length === this.words.length) return;
    this.overhead.add(4 * (length - this.words.length));
    const words = new Int32Array(length);
    if (this.top > this.floor) {
      const last = Math.floor((this.top - 1) / 32);
      for (let word = Math.floor(this.floor / 32); word <= last; word++) {
        words[word & (length - 1)] = this.words[word & this.mask];
      }
    }
    this.words = words;
    this.mask = length - 1;
  }
}

/** Messages of one space that the receiver gave up and has to report, until the report is acknowledged. [STR-18] */
export class DroppedReport {
  private readonly space: Space;
  private ranges: RangeSet | null = null;
  private readonly overhead: Overhead;

  /** @param overhead - which the ranges count in */
  constructor(space: Space, overhead = new Overhead(null)) {
    this.space = space;
    this.overhead = overhead;
  }

  get due(): boolean {
    return this.ranges !== null;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return (this.ranges?.size ?? 0) * RANGE_BYTES;
  }

  /** Where there is no memory for it the sender is not told. */
  add(first: number, count: number): void {
    if (!this.overhead.admits(RANGE_BYTES, false)) return;
    const before = this.bytes;
    if (this.ranges === null) this.ranges = new RangeSet();
    this.ranges.add(first, first + count);
    if (this.ranges.size > RANGES_MAX) this.ranges.shiftRange();
    this.account(before);
  }

  /** Nothing is to be reported any more. */
  forget(): void {
    const before = this.bytes;
    this.ranges = null;
    this.account(before);
  }

  write(w: FrameWriter, stream: number): void {
    const { ranges } = this;
    if (ranges === null) return;
    const before = this.bytes;
    while (ranges.size > 0 && w.hasControlRoom) {
      const first = ranges.start(0);
      writeDropped(w, stream, this.space, first, ranges.end(0) - first);
      ranges.shiftRange();
    }
    if (ranges.size === 0) this.ranges = null;
    this.account(before);
  }

  private account(before: number): void {
    const more = this.bytes - before;
    if (more > 0) this.overhead.add(more);
    else this.overhead.drop(-more);
  }
}

const NO_WORDS = new Int32Array(0);
const FIRST_WORDS = 2;
/** A map that is larger than this is given back when no bit is set. */
const KEPT_WORDS = 64;
const RANGE_BYTES = 16;
/** Ranges to report at once. With more the oldest are forgotten: a report only spares the sender work. */
const RANGES_MAX = 256;
