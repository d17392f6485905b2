import { type Micros, NEVER } from '../base/time.ts';
import type { Space } from '../wire/frame-type.ts';

/** Told when the budget takes a segment's memory away. */
export interface SegmentOwner {
  onEvicted(segment: Segment): void;
}

/**
 * Received messages with consecutive sequences whose bytes lie in one buffer: a run as it came in a packet, with a length before
 * each message, or one message. It is the unit in which messages are held, delivered and dropped.
 */
export class Segment {
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
  deadline: Micros = NEVER;
  /** Bytes of `buffer` that nobody is charged for. */
  waste = 0;
  /** Neighbours in the ready queue. */
  next: Segment | null = null;
  previous: Segment | null = null;

  /** Best effort only: place in the budget, see {@link BestEffortBudget}. */
  owner: SegmentOwner | null = null;
  budgeted = 0;
  older: Segment | null = null;
  newer: Segment | null = null;

  constructor(
    space: Space,
    sequence: number,
    count: number,
    buffer: Uint8Array,
    at: number,
    end: number,
    prefixed: boolean,
  ) {
    this.space = space;
    this.sequence = sequence;
    this.count = count;
    this.buffer = buffer;
    this.at = at;
    this.end = end;
    this.prefixed = prefixed;
  }
}

export const NO_BYTES = new Uint8Array(0);
