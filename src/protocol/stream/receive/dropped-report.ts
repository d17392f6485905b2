import { RangeSet } from '../../../base/ranges.ts';
import type { Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { writeDropped } from '../../wire/frames/abandon.ts';

/** Ranges to report at once. With more the oldest are forgotten: a report only spares the sender work. */
const RANGES_MAX = 256;

/** Messages of one space that the receiver gave up and has to report, until the report is acknowledged. [STR-18] */
export class DroppedReport {
  private readonly space: Space;
  private ranges: RangeSet | null = null;

  constructor(space: Space) {
    this.space = space;
  }

  get due(): boolean {
    return this.ranges !== null;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return (this.ranges?.size ?? 0) * 16;
  }

  add(first: number, count: number): void {
    if (this.ranges === null) this.ranges = new RangeSet();
    this.ranges.add(first, first + count);
    if (this.ranges.size > RANGES_MAX) this.ranges.shiftRange();
  }

  write(w: FrameWriter, stream: number): void {
    const { ranges } = this;
    if (ranges === null) return;
    while (ranges.size > 0 && w.hasControlRoom) {
      const first = ranges.start(0);
      writeDropped(w, stream, this.space, first, ranges.end(0) - first);
      ranges.shiftRange();
    }
    if (ranges.size === 0) this.ranges = null;
  }
}
