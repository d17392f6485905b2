import { hastenScavenge, LARGE_BUFFER_BYTES } from '../../../base/bytes.ts';
import type { Micros } from '../../../base/time.ts';
import { Coverage } from './coverage.ts';
import type { Segment } from './segment.ts';

/**
 * A message of which some fragments have arrived. Its memory follows what has arrived, not the length that the first fragment announces:
 * the buffer, from the message's beginning on, is at most four times that, and what lies beyond it waits beside it. [STR-33]
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
  private buffer: Uint8Array = EMPTY;
  private readonly coverage: Coverage;
  private aside: AsideFragments | null = null;

  constructor(segment: Segment, total: number, flags: number, now: Micros) {
    this.sequence = segment.sequence;
    this.total = total;
    this.segment = segment;
    this.flags = flags;
    this.progressAt = now;
    this.coverage = new Coverage(total);
  }

  /** True when a fragment with this total and these flags can belong to it. [FRM-6] [STR-15] */
  agrees(total: number, flags: number): boolean {
    return total === this.total && flags === this.flags;
  }

  /** Bytes of memory that it keeps, itself included. */
  get bytes(): number {
    return ASSEMBLY_COST + this.buffer.length + this.coverage.bytes + (this.aside?.bytes ?? 0);
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
    const grown = Buffer.allocUnsafeSlow(length);
    if (length >= LARGE_BUFFER_BYTES) hastenScavenge(length);
    grown.set(this.buffer);
    this.buffer = grown;
    if (this.aside?.moveInto(grown) === true) this.aside = null;
  }

  private putAside(from: Uint8Array, start: number, length: number, offset: number): void {
    this.aside ??= new AsideFragments();
    this.aside.add(from, start, length, offset);
    // What lies aside costs more than the message itself: an odd order, or the same bytes again and again.
    if (this.aside.bytes >= this.total) this.growTo(this.total);
  }
}

/** Fragments that lie beyond the buffer, in the order in which they came. */
class AsideFragments {
  private data: Uint8Array = EMPTY;
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

const EMPTY = new Uint8Array(0);
const NO_PLACES = new Float64Array(0);
/** The buffer is at most so many times as large as what has arrived. */
const GROWTH = 4;
/** The objects of an incomplete message: this one, its segment, its coverage and its place in a table. */
const ASSEMBLY_COST = 640;
