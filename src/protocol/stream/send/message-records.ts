import { RangeSet } from '../../../base/ranges.ts';
import { type Micros, NEVER } from '../../../base/time.ts';
import type { Slab } from './slab.ts';

/** State bits of a message record. */
export const Mark = {
  /** Its bytes lie behind their length prefix in a shared slab, ready to be copied as part of a run. */
  PREFIXED: 0x01,
  /** It has a deadline. */
  LIFETIME: 0x02,
  /** It was cut into fragments at least once, see {@link MessageParts}. */
  PARTS: 0x04,
  /** Its deadline passed, or its stream was reset, after a part of it was sent: the peer is told to wait no longer. */
  ABANDONED: 0x08,
  /** Nothing is to be done for it any more. */
  SETTLED: 0x10,
  /** It left the queue before it got a sequence number. */
  VOID: 0x20,
  /** Somebody asked for its outcome. */
  TRACKED: 0x40,
} as const;

/** What is known of the bytes of a message that was cut. */
export class MessageParts {
  readonly acked = new RangeSet();
  readonly lost = new RangeSet();
  ackedBytes = 0;
}

/** What an outbox that never held a message has, so that an idle stream costs nothing. */
const NO_SEQUENCES = new Float64Array(0);
const NO_NUMBERS = new Uint32Array(0);
const NO_MARKS = new Uint8Array(0);
const NO_SLABS: (Slab | null)[] = [];

const FIRST_CAPACITY = 8;
/** A ring that is larger than this shrinks. */
const KEPT_CAPACITY = 64;

/**
 * The messages of one sequence space of a stream, oldest first: `flight` records that have a sequence number, then `queued` ones
 * that were not sent yet. A circular structure of arrays; a record is named by its place `r` counted from the oldest. Void
 * records make sequence numbers and places differ, so {@link find} starts from a guess.
 *
 * It has no bound of its own: the stream refuses messages above its queue limit, and flow control and congestion bound what is in
 * flight.
 */
export class MessageRecords {
  flight = 0;
  queued = 0;
  /** Most records since there was none. */
  private peak = 0;
  protected head = 0;
  protected mask = -1;
  protected sequences = NO_SEQUENCES;
  protected offsets = NO_NUMBERS;
  protected lengths = NO_NUMBERS;
  protected marks = NO_MARKS;
  protected slabs: (Slab | null)[] = NO_SLABS;
  /** The following exist once they are needed. */
  protected deadlines: Float64Array | null = null;
  protected trackingIds: Float64Array | null = null;
  protected parts: (MessageParts | null)[] | null = null;

  /** Index into the arrays of the record at place `r`. */
  protected index(r: number): number {
    return (this.head + r) & this.mask;
  }

  protected append(slab: Slab, offset: number, length: number, mark: number): number {
    const count = this.flight + this.queued++;
    if (count > this.mask) this.resize(Math.max(FIRST_CAPACITY, 2 * (this.mask + 1)), count);
    if (count >= this.peak) this.peak = count + 1;
    const i = (this.head + count) & this.mask;
    this.slabs[i] = slab;
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.marks[i] = mark;
    return i;
  }

  protected setDeadline(i: number, deadline: Micros): void {
    if (this.deadlines === null) this.deadlines = new Float64Array(this.mask + 1);
    this.deadlines[i] = deadline;
    this.marks[i] |= Mark.LIFETIME;
  }

  protected setTrackingId(i: number, id: number): void {
    if (this.trackingIds === null) this.trackingIds = new Float64Array(this.mask + 1);
    this.trackingIds[i] = id;
    this.marks[i] |= Mark.TRACKED;
  }

  protected partsOf(i: number): MessageParts {
    if (this.parts === null) this.parts = new Array(this.mask + 1).fill(null);
    let parts = this.parts[i];
    if (parts === null) {
      parts = new MessageParts();
      this.parts[i] = parts;
      this.marks[i] |= Mark.PARTS;
    }
    return parts;
  }

  protected deadlineOf(i: number): Micros {
    return (this.marks[i] & Mark.LIFETIME) !== 0 ? (this.deadlines as Float64Array)[i] : NEVER;
  }

  /** Place of the sent record with this sequence number; the first later one when it is gone. May be `flight`. */
  protected find(sequence: number): number {
    if (this.flight === 0) return 0;
    const guess = sequence - this.sequences[this.head];
    if (guess <= 0) return 0;
    if (guess < this.flight) {
      const i = this.index(guess);
      if (this.sequences[i] === sequence && (this.marks[i] & Mark.VOID) === 0) return guess;
    }
    let low = Math.min(guess, this.flight);
    let high = this.flight;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const i = this.index(middle);
      const at = this.sequences[i];
      if (at < sequence || (at === sequence && (this.marks[i] & Mark.VOID) !== 0)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Forgets the settled records at the old end. */
  protected dropSettled(): void {
    while (this.flight > 0 && (this.marks[this.head] & Mark.SETTLED) !== 0) {
      if (this.parts !== null) this.parts[this.head] = null;
      this.head = (this.head + 1) & this.mask;
      this.flight--;
    }
    if (this.flight + this.queued === 0 && this.mask >= KEPT_CAPACITY) this.shrink();
  }

  /** Gives memory back when nothing is sent. */
  trim(): void {
    if (this.flight + this.queued === 0 && this.mask >= FIRST_CAPACITY) this.resize(FIRST_CAPACITY, 0);
  }

  /** A sender whose queue runs empty again and again needs its ring again and again, so it shrinks in steps. */
  private shrink(): void {
    const capacity = this.mask + 1;
    if (this.peak * 4 <= capacity) this.resize(capacity / 2, 0);
    this.peak = 0;
  }

  private resize(capacity: number, count: number): void {
    const order = new Uint32Array(count);
    for (let r = 0; r < count; r++) order[r] = this.index(r);
    this.sequences = reordered(this.sequences, new Float64Array(capacity), order);
    this.offsets = reordered(this.offsets, new Uint32Array(capacity), order);
    this.lengths = reordered(this.lengths, new Uint32Array(capacity), order);
    this.marks = reordered(this.marks, new Uint8Array(capacity), order);
    this.slabs = reordered(this.slabs, new Array<Slab | null>(capacity).fill(null), order);
    if (count === 0) {
      this.deadlines = null;
      this.trackingIds = null;
      this.parts = null;
    }
    if (this.deadlines !== null)
      this.deadlines = reordered(this.deadlines, new Float64Array(capacity), order);
    if (this.trackingIds !== null)
      this.trackingIds = reordered(this.trackingIds, new Float64Array(capacity), order);
    if (this.parts !== null) {
      this.parts = reordered(this.parts, new Array<MessageParts | null>(capacity).fill(null), order);
    }
    this.head = 0;
    this.mask = capacity - 1;
  }
}

function reordered<T, A extends { [index: number]: T }>(from: A, to: A, order: Uint32Array): A {
  for (let r = 0; r < order.length; r++) to[r] = from[order[r]];
  return to;
}
