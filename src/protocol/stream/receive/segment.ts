import { type Micros, NEVER } from '../../../base/time.ts';
import type { Space } from '../../wire/frame-type.ts';

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

/** Told when the memory of one of its segments is needed elsewhere. */
export interface SegmentOwner {
  onEvicted(segment: Segment): void;
}

/**
 * Received messages with consecutive sequences whose bytes lie in one buffer: a run as it came in a packet, with a length before
 * each message, or one message. It is the unit in which messages are held, delivered and dropped.
 */
export class Segment {
  readonly owner: SegmentOwner;
  readonly space: Space;
  /** Sequence of the first message that is left. */
  sequence: number;
  /** Messages left. */
  count: number;
  buffer: Uint8Array;
  /** Where the first message that is left begins: at its length when `prefixed`. */
  at: number;
  /** One message: where it ends. A run: where the last one ends. */
  end: number;
  readonly prefixed: boolean;
  /** What flow control or the budget holds for the messages that are left. */
  charged = 0;
  /** What views of the messages are made of, set when the first one is read: position p of `buffer` is at `memoryStart + p` in it. */
  memory: ArrayBufferLike | null = null;
  memoryStart = 0;
  /** Messages up to this length are copied rather than viewed. */
  copyMax = 0;
  place: Place = Place.NOWHERE;
  /** Bytes of memory that it keeps while it is unread, and how many of them nobody is charged for. */
  kept = 0;
  waste = 0;
  /** Neighbours in the ready queue. */
  next: Segment | null = null;
  previous: Segment | null = null;
  /** Place among the {@link Lifetimes}; -1 without deadline. */
  deadline: Micros = NEVER;
  heapIndex = -1;
  /** Best effort only: neighbours in the {@link BestEffortBudget}. */
  older: Segment | null = null;
  newer: Segment | null = null;

  constructor(
    owner: SegmentOwner,
    space: Space,
    sequence: number,
    count: number,
    buffer: Uint8Array,
    at: number,
    end: number,
    prefixed: boolean,
  ) {
    this.owner = owner;
    this.space = space;
    this.sequence = sequence;
    this.count = count;
    this.buffer = buffer;
    this.at = at;
    this.end = end;
    this.prefixed = prefixed;
  }
}
