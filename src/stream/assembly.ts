import { hastenScavenge, LARGE_BUFFER_BYTES } from '../base/memory.ts';
import { Coverage } from './coverage.ts';
import type { Segment } from './segment.ts';

/** A message of which some fragments have arrived. */
export class Assembly {
  readonly sequence: number;
  readonly buffer: Uint8Array;
  /** What it becomes when it is complete; until then it stands for it in the budget and among the lifetimes. */
  readonly segment: Segment;
  /** The MESSAGE flags that all its fragments carry. */
  private readonly flags: number;
  private readonly coverage: Coverage;

  constructor(segment: Segment, total: number, flags: number) {
    this.sequence = segment.sequence;
    this.segment = segment;
    this.flags = flags;
    // Not zeroed, which cost a tenth of the time for 64 KB messages: it is handed out only when all of it is written.
    this.buffer = Buffer.allocUnsafeSlow(total);
    if (total >= LARGE_BUFFER_BYTES) hastenScavenge(total);
    this.coverage = new Coverage(total);
  }

  /** True when a fragment with this total and these flags can belong to it. [FRM-6] [STR-15] */
  agrees(total: number, flags: number): boolean {
    return total === this.buffer.length && flags === this.flags;
  }

  /** Takes in the fragment from[start, start + length), which belongs at `offset`. True when the message is complete. */
  add(from: Uint8Array, start: number, length: number, offset: number): boolean {
    this.buffer.set(from.subarray(start, start + length), offset);
    this.coverage.add(offset, offset + length);
    return this.coverage.complete;
  }

  /** The complete message. */
  finish(): Segment {
    const { segment } = this;
    segment.count = 1;
    segment.buffer = this.buffer;
    segment.end = this.buffer.length;
    return segment;
  }
}
