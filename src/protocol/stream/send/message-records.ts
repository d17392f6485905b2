/**
 * The messages of one sequence space of a sender: their bytes in {@link Slab}s, small messages behind each other with their lengths in front,
 * and a record for each in {@link MessageRecords}.
 */

import { RangeSet } from '../../../base/ranges.ts';
import { type Micros, NEVER } from '../../../base/time.ts';

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
  /** It is sent without protection against loss, whatever its stream has. */
  UNPROTECTED: 0x80,
  /** Its bytes begin with an envelope. */
  ENVELOPE: 0x100,
  /** It waits for the handshake: it may not go as early data. [HS-59] */
  HELD: 0x200,
} as const;

/** What is known of the bytes of a message that was cut. */
export class MessageParts {
  readonly acked = new RangeSet();
  readonly lost = new RangeSet();
  ackedBytes = 0;
}

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
  /** Where the oldest record is in the columns; their length - 1. */
  head = 0;
  mask = -1;
  // The columns. A getter for each message would cost more than what is done with it.
  sequences: Float64Array = NO_SEQUENCES;
  offsets: Uint32Array = NO_NUMBERS;
  lengths: Uint32Array = NO_NUMBERS;
  marks: Uint16Array = NO_MARKS;
  slabs: (Slab | null)[] = NO_SLABS;
  /** The following exist once they are needed. */
  private deadlines: Float64Array | null = null;
  private trackingIds: Float64Array | null = null;
  private parts: (MessageParts | null)[] | null = null;
  /** Packets that carry a whole message and are thought to be under way, beside the first. */
  private copies: Uint8Array | null = null;
  /** Most records since there was none. */
  private peak = 0;

  /** True when nothing is queued and everything sent is settled. */
  get isEmpty(): boolean {
    return this.flight + this.queued === 0;
  }

  /** Index into the columns of the record at place `r`. */
  index(r: number): number {
    return (this.head + r) & this.mask;
  }

  append(slab: Slab, offset: number, length: number, mark: number): number {
    const count = this.flight + this.queued++;
    if (count > this.mask) this.resize(Math.max(FIRST_CAPACITY, 2 * (this.mask + 1)), count);
    if (count >= this.peak) this.peak = count + 1;
    const i = (this.head + count) & this.mask;
    this.slabs[i] = slab;
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.marks[i] = mark;
    if (this.copies !== null) this.copies[i] = 0;
    return i;
  }

  setDeadline(i: number, deadline: Micros): void {
    if (this.deadlines === null) this.deadlines = new Float64Array(this.mask + 1);
    this.deadlines[i] = deadline;
    this.marks[i] |= Mark.LIFETIME;
  }

  setTrackingId(i: number, id: number): void {
    if (this.trackingIds === null) this.trackingIds = new Float64Array(this.mask + 1);
    this.trackingIds[i] = id;
    this.marks[i] |= Mark.TRACKED;
  }

  /** 0 when nobody asked for the outcome. */
  trackingIdOf(i: number): number {
    return (this.marks[i] & Mark.TRACKED) !== 0 ? (this.trackingIds as Float64Array)[i] : 0;
  }

  /** Another packet carries the whole message. */
  addCopy(i: number): void {
    if (this.copies === null) this.copies = new Uint8Array(this.mask + 1);
    if (this.copies[i] < COPIES_MAX) this.copies[i]++;
  }

  /** A packet with the whole message is lost: true when another is still under way. */
  loseCopy(i: number): boolean {
    if (this.copies === null || this.copies[i] === 0) return false;
    this.copies[i]--;
    return true;
  }

  /** More than one packet with the whole message is thought to be under way. */
  hasCopy(i: number): boolean {
    return this.copies !== null && this.copies[i] > 0;
  }

  partsOf(i: number): MessageParts {
    if (this.parts === null) this.parts = new Array(this.mask + 1).fill(null);
    let parts = this.parts[i];
    if (parts === null) {
      parts = new MessageParts();
      this.parts[i] = parts;
      this.marks[i] |= Mark.PARTS;
    }
    return parts;
  }

  /** The message counts as whole again. */
  forgetParts(i: number): void {
    if (this.parts !== null) this.parts[i] = null;
    if (this.copies !== null) this.copies[i] = 0;
    this.marks[i] &= ~Mark.PARTS;
  }

  deadlineOf(i: number): Micros {
    return (this.marks[i] & Mark.LIFETIME) !== 0 ? (this.deadlines as Float64Array)[i] : NEVER;
  }

  /** Place of the sent record with this sequence number; the first later one when it is gone. May be `flight`. */
  find(sequence: number): number {
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
  dropSettled(): void {
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
    this.marks = reordered(this.marks, new Uint16Array(capacity), order);
    this.slabs = reordered(this.slabs, new Array<Slab | null>(capacity).fill(null), order);
    if (count === 0) {
      this.deadlines = null;
      this.trackingIds = null;
      this.parts = null;
      this.copies = null;
    }
    if (this.deadlines !== null)
      this.deadlines = reordered(this.deadlines, new Float64Array(capacity), order);
    if (this.trackingIds !== null)
      this.trackingIds = reordered(this.trackingIds, new Float64Array(capacity), order);
    if (this.parts !== null) {
      this.parts = reordered(this.parts, new Array<MessageParts | null>(capacity).fill(null), order);
    }
    if (this.copies !== null) this.copies = reordered(this.copies, new Uint8Array(capacity), order);
    this.head = 0;
    this.mask = capacity - 1;
  }
}

function reordered<T, A extends { [index: number]: T }>(from: A, to: A, order: Uint32Array): A {
  for (let r = 0; r < order.length; r++) to[r] = from[order[r]];
  return to;
}

/** A chunk of memory that holds the bytes of one or more queued messages. */
export class Slab {
  readonly bytes: Uint8Array;
  /** Index of its size class in the pool, or -1 when the pool does not want it back. */
  readonly sizeClass: number;
  /** Bytes written so far. */
  used = 0;
  /** Messages whose bytes are still needed. */
  live = 0;

  constructor(bytes: Uint8Array, sizeClass: number) {
    this.bytes = bytes;
    this.sizeClass = sizeClass;
  }
}

/**
 * The slabs of a connection's streams: those in use, and some that are free for the next message. What is free and what is in use are together
 * no more than was in use of late, so that a transfer, whose share of it comes and goes by megabytes with each burst of acknowledgements, makes
 * nothing new; what comes back beyond that is left to the garbage collector. Measured with 1,400 B messages, when a megabyte was kept: 4,500 new
 * slabs a second, and a tenth of the sender's time in full collections.
 */
export class SlabPool {
  /** By size class. */
  private free: Slab[][] = NONE_FREE;
  /** Bytes in the free lists. */
  freeBytes = 0;
  /** Slabs handed out and not returned. */
  inUse = 0;
  /** Bytes of those that are to come back. */
  private bytesInUse = 0;
  /** The most that they were of late. */
  private peakBytes = 0;

  /** A slab for many small messages, the next one `need` bytes long; a small one when it is the `first` that the stream holds. */
  takeShared(first: boolean, need: number): Slab {
    if (!first) return this.take(BULK_CLASS);
    return this.take(need <= CLASS_BYTES[0] ? 0 : 1);
  }

  /** A slab with room for one message of `length` bytes. */
  takeFor(length: number): Slab {
    for (let sizeClass = 0; sizeClass < CLASS_BYTES.length; sizeClass++) {
      if (length <= CLASS_BYTES[sizeClass]) return this.take(sizeClass);
    }
    this.inUse++;
    return new Slab(new Uint8Array(length), -1);
  }

  /** A slab around bytes that the caller gave away. */
  adopt(bytes: Uint8Array): Slab {
    this.inUse++;
    return new Slab(bytes, -1);
  }

  give(slab: Slab): void {
    this.inUse--;
    if (slab.sizeClass >= 0) this.takeBack(slab);
    if (this.inUse === 0 && this.freeBytes > IDLE_BYTES_MAX) this.trim(IDLE_BYTES_MAX);
  }

  /** Lets go of free slabs, the largest first, until at most `bytesMax` are left. */
  trim(bytesMax: number): void {
    for (let sizeClass = CLASS_BYTES.length - 1; sizeClass >= 0; sizeClass--) {
      const free = this.free[sizeClass];
      while (this.freeBytes > bytesMax && free.length > 0) {
        free.pop();
        this.freeBytes -= CLASS_BYTES[sizeClass];
      }
    }
    if (this.freeBytes === 0) this.free = NONE_FREE;
  }

  private takeBack(slab: Slab): void {
    const bytes = CLASS_BYTES[slab.sizeClass];
    this.bytesInUse -= bytes;
    this.peakBytes -= Math.floor((this.peakBytes - this.bytesInUse) / PEAK_SLABS);
    if (this.bytesInUse + this.freeBytes + bytes > this.peakBytes) return;
    slab.used = 0;
    this.freeBytes += bytes;
    if (this.free === NONE_FREE) this.free = CLASS_BYTES.map(() => []);
    this.free[slab.sizeClass].push(slab);
  }

  private take(sizeClass: number): Slab {
    const bytes = CLASS_BYTES[sizeClass];
    this.inUse++;
    this.bytesInUse += bytes;
    if (this.bytesInUse > this.peakBytes) this.peakBytes = this.bytesInUse;
    const slab = this.free[sizeClass].pop();
    if (slab === undefined) return new Slab(new Uint8Array(bytes), sizeClass);
    this.freeBytes -= bytes;
    return slab;
  }
}

/** What a buffer that never held a message has, so that an idle stream costs nothing. */
const NO_SEQUENCES = new Float64Array(0);
const NO_NUMBERS = new Uint32Array(0);
const NO_MARKS = new Uint16Array(0);
const NO_SLABS: (Slab | null)[] = [];
/** More packets with one message are not counted. */
const COPIES_MAX = 255;
const FIRST_CAPACITY = 8;
/** A ring that is larger than this shrinks. */
const KEPT_CAPACITY = 64;
/** Slabs are of these sizes; a larger message gets memory of its own that is not pooled. */
const CLASS_BYTES = [2_048, 8_192, 16_384, 32_768, 65_536, 131_072];
/** What all pools with nothing free have: nothing is ever put in. */
const NONE_FREE: Slab[][] = CLASS_BYTES.map(() => []);
/** A stream without a slab starts with the smallest; one that fills it goes on with this class. */
const BULK_CLASS = 3;
/** Most bytes that the pool keeps while no slab is in use: what a sender that runs empty needs at its next turn. */
const IDLE_BYTES_MAX = 262_144;
/** When so many slabs have come back, what a peak had above what is in use is down to a third. */
const PEAK_SLABS = 4_096;
