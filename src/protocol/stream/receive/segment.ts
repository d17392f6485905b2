/**
 * Messages that have come and wait: {@link Segment}s of them, and the queue of those that can be read.
 *
 * Which memory an application gets its messages in. [STR-32] Until it reads them, messages lie in the datagrams that brought them. A view of
 * a datagram costs least, but keeps all of it alive for as long as the application keeps the message, and whoever has a view can write over
 * all of it. So:
 *
 *  - a datagram that brings something for several receivers is left to the first; the others get copies when it comes. One that lies in a
 *    memory with others is nobody's: it is copied together with those behind it, for the first receiver ({@link DatagramCopy});
 *  - a run, or message, that is a small share of its datagram is copied;
 *  - a message that is small beside the others of its run is copied: that one is kept while its neighbours are not is likely, and the
 *    neighbours' bytes pay for it. Of a run of equals the messages are views: to copy them took 40 % off the rate of 64 B messages, and to
 *    copy 4 KB of the run at a time 7 %;
 *  - memory with unread messages in it cannot be transferred.
 */

import { keepHere, NO_BYTES, shortLivedBuffer } from '../../../base/bytes.ts';
import { type Micros, NEVER } from '../../../base/time.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import type { DatagramCopy } from '../../wire/shared-datagrams.ts';

/** Where a segment is. */
export const Place = {
  NOWHERE: 0,
  /** Some of its one message's bytes are missing; `count` is 0 until it is complete. */
  INCOMPLETE: 1,
  /** Complete, behind a gap of an ordered stream. */
  HELD: 2,
  /** In the ready queue. */
  READY: 3,
} as const;
export type Place = (typeof Place)[keyof typeof Place];

/** Where a segment belongs: the reassembler of its space. */
export interface SegmentOwner {
  /** Gives up a segment whose deadline has come. It is out of the lifetimes already. */
  onExpired(segment: Segment): void;
  /** Gives up a segment whose memory is needed elsewhere. */
  onEvicted(segment: Segment): void;
  /** Frees a segment that is not in the ready queue any more and will not be read. */
  freeSegment(segment: Segment): void;
}

/**
 * Received messages with consecutive sequences whose bytes lie in one buffer: a run as it came in a packet, with a length before
 * each message, or one message. It is the unit in which messages are held, delivered and dropped.
 */
export class Segment {
  readonly owner: SegmentOwner;
  /** Sequence of the first message that is left. */
  sequence: number;
  /** Messages left. */
  count: number;
  buffer: Uint8Array;
  /** Where the first message that is left begins: at its length when {@link prefixed}. */
  at: number;
  /** One message: where it ends. A run: where the last one ends. */
  end: number;
  /** It is a run: each message has its length in front. */
  prefixed = false;
  /** Each message begins with an envelope. */
  isEnveloped = false;
  /** What flow control or the budget holds for the messages that are left. */
  charged = 0;
  /** What views of the messages are made of, set when the first one is read: position p of `buffer` is at `memoryStart + p` in it. */
  memory: ArrayBufferLike | null = null;
  memoryStart = 0;
  /** Messages up to this length are copied rather than viewed. */
  copyMax = 0;
  /** What {@link buffer} is a copy of datagrams for, with other segments of its owner; else null. */
  copy: DatagramCopy | null = null;
  place: Place = Place.NOWHERE;
  /** Bytes of memory that it keeps while it is unread (in a {@link copy}: that are charged), and how many of them nobody is charged for. */
  kept = 0;
  waste = 0;
  /** Neighbours in the ready queue. */
  next: Segment | null = null;
  previous: Segment | null = null;
  /** Its deadline, and its place among those of its stream; -1 without one. */
  deadline: Micros = NEVER;
  heapIndex = -1;
  /** Best effort only: neighbours in the {@link BestEffortBudget}. */
  older: Segment | null = null;
  newer: Segment | null = null;

  constructor(
    owner: SegmentOwner,
    sequence: number,
    count: number,
    buffer: Uint8Array,
    at: number,
    end: number,
  ) {
    this.owner = owner;
    this.sequence = sequence;
    this.count = count;
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }
}

/** A segment on the messages of a run from position `at` to `end`. */
export function segmentOfRun(
  owner: SegmentOwner,
  frame: FrameReader,
  sequence: number,
  count: number,
  at: number,
  end: number,
): Segment {
  const segment = segmentIn(owner, frame, sequence, count, at, end);
  segment.prefixed = true;
  return segment;
}

/** A segment on a whole message. */
export function segmentOfMessage(owner: SegmentOwner, frame: FrameReader): Segment {
  const { sequence, dataStart, dataLength } = frame;
  return segmentIn(owner, frame, sequence, 1, dataStart, dataStart + dataLength);
}

/** What stands for a message of which only fragments are there; it has no bytes yet. */
export function incompleteSegment(owner: SegmentOwner, sequence: number): Segment {
  return new Segment(owner, sequence, 0, NO_BYTES, 0, 0);
}

function segmentIn(
  owner: SegmentOwner,
  frame: FrameReader,
  sequence: number,
  count: number,
  at: number,
  end: number,
): Segment {
  const segment = frame.isKept
    ? copiedSegment(owner, frame, sequence, count, at, end)
    : new Segment(owner, sequence, count, frame.buffer, at, end);
  frame.isKept = true;
  segment.isEnveloped = frame.isEnveloped;
  return segment;
}

/** Its datagram may have something for another receiver already, and what one does with its memory must not touch the other. [STR-32] */
function copiedSegment(
  owner: SegmentOwner,
  { buffer, shared }: FrameReader,
  sequence: number,
  count: number,
  at: number,
  end: number,
): Segment {
  if (shared !== null && (end - at) * SMALL_SHARE >= buffer.length) {
    const copy = shared.copyFor(owner);
    if (copy !== null) {
      const offset = shared.copyOffset;
      const segment = new Segment(owner, sequence, count, copy.bytes, offset + at, offset + end);
      segment.copy = copy;
      return segment;
    }
  }
  return new Segment(owner, sequence, count, copyOut(buffer, at, end - at), 0, end - at);
}

/** Messages that the application can read, oldest first: a linked list of segments. Flow control and the budget bound it. */
export class ReadyQueue {
  head: Segment | null = null;
  /** Messages in the queue. */
  count = 0;
  private tail: Segment | null = null;

  push(segment: Segment): void {
    segment.place = Place.READY;
    segment.previous = this.tail;
    segment.next = null;
    if (this.tail === null) this.head = segment;
    else this.tail.next = segment;
    this.tail = segment;
    this.count += segment.count;
  }

  /** Takes `segment` out, with the messages that are left in it. */
  remove(segment: Segment): void {
    const { previous, next } = segment;
    if (previous === null) this.head = next;
    else previous.next = next;
    if (next === null) this.tail = previous;
    else next.previous = previous;
    segment.place = Place.NOWHERE;
    segment.previous = null;
    segment.next = null;
    this.count -= segment.count;
  }
}

/** The receiver's deadline of the message that a frame belongs to. [STR-26] */
export function deadlineOf(frame: FrameReader, now: Micros): Micros {
  return frame.remaining < 0 ? NEVER : now + frame.remaining;
}

/** A copy of bytes[start, start + length) in memory of its own. */
export function copyOut(bytes: Uint8Array, start: number, length: number): Buffer {
  const copy = shortLivedBuffer(length);
  if (length > LOOP_BYTES_MAX) copy.set(bytes.subarray(start, start + length));
  else for (let i = 0; i < length; i++) copy[i] = bytes[start + i];
  return copy;
}

/** Decides about the memory that the messages of a segment are handed out in. */
export function lend(segment: Segment): void {
  if (segment.isEnveloped) return; // what is opened has memory of its own
  const { buffer, at, end, count } = segment;
  const bytes = end - at;
  if (segment.copy !== null) {
    segment.memory = buffer.buffer;
  } else if (bytes * SMALL_SHARE < buffer.buffer.byteLength) {
    segment.memory = copyOut(buffer, at, bytes).buffer;
    segment.memoryStart = -at;
  } else {
    segment.memory = buffer.buffer;
    segment.memoryStart = buffer.byteOffset;
  }
  if (count < 2) return;
  segment.copyMax = Math.min(COPY_BYTES_MAX, Math.floor(bytes / count / SMALL_SHARE));
  if (segment.copy === null) keepHere(segment.memory);
}

/** Less than one in so many parts of a datagram, or of what its neighbours have on average, is small. */
const SMALL_SHARE = 4;
const COPY_BYTES_MAX = 1_024;
/** So few bytes are copied faster one by one. */
const LOOP_BYTES_MAX = 64;
