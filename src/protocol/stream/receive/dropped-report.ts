import { RangeSet } from '../../../base/ranges.ts';
import { FrameType, type Space } from '../../wire/frame-type.ts';
import { CONTROL_FRAME_BYTES_MAX, writeDropped } from '../../wire/frame-writer.ts';
import type { SentFrames } from '../sent-frames.ts';

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

  write(out: Uint8Array, start: number, limit: number, stream: number, sent: SentFrames): number {
    let at = start;
    const { ranges } = this;
    if (ranges === null) return at;
    while (ranges.size > 0 && limit - at >= CONTROL_FRAME_BYTES_MAX) {
      const first = ranges.start(0);
      const count = ranges.end(0) - first;
      at = writeDropped(out, at, stream, this.space, first, count);
      sent.add(FrameType.DROPPED, stream, first, count, this.space);
      ranges.shiftRange();
    }
    if (ranges.size === 0) this.ranges = null;
    return at;
  }
}
