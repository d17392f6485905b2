import { Overhead } from '../../../base/memory-budget.ts';
import type { DatagramCopy } from '../../wire/shared-datagrams.ts';
import { copyOut, type Segment } from './segment.ts';

/**
 * The memory that unread messages of a connection keep. What is beyond their charges is reserved beside these, and where that is not to be had,
 * or is waste, they are copied out of what they lie in. [STR-14] [CON-53]
 */
export class KeptMemory {
  /** Bytes of memory that unread messages keep. */
  bytes = 0;
  /** Bytes of datagrams that are kept alive by small messages in them and that nobody is charged for. Above {@link wasteBytesMax} messages are copied out. */
  wasteBytes = 0;
  readonly wasteBytesMax: number;
  /** What is kept beyond what is charged, by whatever is not a message as well. */
  readonly overhead: Overhead;

  constructor(wasteBytesMax = WASTE_BYTES_MAX, overhead = new Overhead(null)) {
    this.wasteBytesMax = wasteBytesMax;
    this.overhead = overhead;
  }

  /**
   * A segment stays unread: counts what it keeps alive beyond what is charged for it, and copies it out of its datagram when that is much
   * larger and enough of such memory is already kept alive [STR-14], or there is none. It was asked before whether {@link SEGMENT_BYTES} can be
   * kept; where they cannot, it is what its stream has them for.
   *
   * @param wasBegun - it took more while parts of it were missing
   */
  keep(segment: Segment, wasBegun = false): void {
    if (segment.copy !== null && this.keepCopy(segment, segment.copy)) return;
    const own = segment.end - segment.at;
    const { charged } = segment;
    let kept = segment.buffer.buffer.byteLength;
    const isWaste = kept > WASTE_FACTOR * own && this.wasteBytes + kept > this.wasteBytesMax;
    if (isWaste || (kept > own && !this.overhead.admits(kept + SEGMENT_BYTES - charged, false))) {
      kept = own;
      this.copyOut(segment, own);
    }
    kept += SEGMENT_BYTES;
    segment.kept = kept;
    this.bytes += kept;
    if (kept > charged && (kept > own + SEGMENT_BYTES || this.overhead.admits(kept - charged, wasBegun)))
      this.addWaste(segment, kept - charged);
  }

  private copyOut(segment: Segment, own: number): void {
    segment.buffer = copyOut(segment.buffer, segment.at, own);
    segment.memory = null;
    segment.at = 0;
    segment.end = own;
  }

  private addWaste(segment: Segment, bytes: number): void {
    segment.waste += bytes;
    this.wasteBytes += bytes;
    this.overhead.add(bytes);
  }

  /**
   * Messages of a segment were read, and what is charged for the others is less than what they keep. All of that counts as waste now, rather than
   * more with each that is read; where there is no memory for it they are copied out, and what they still take is what their stream has.
   */
  onPartRead(segment: Segment): void {
    const more = segment.kept - segment.waste;
    if (this.overhead.admits(more, false)) return this.addWaste(segment, more);
    const own = segment.end - segment.at;
    if (own + SEGMENT_BYTES === segment.kept) return;
    this.unkeep(segment);
    this.copyOut(segment, own);
    segment.kept = own + SEGMENT_BYTES;
    this.bytes += segment.kept;
  }

  /** The same where segments share a copy of datagrams: what that keeps alive counts once. False when the segment is to be copied out of it. */
  private keepCopy(segment: Segment, copy: DatagramCopy): boolean {
    const { charged } = segment;
    const isFirst = copy.kept === 0;
    if (isFirst) {
      const { length } = copy.bytes;
      const isWaste = this.wasteBytes + length > this.wasteBytesMax;
      if (isWaste || !this.overhead.admits(length + SEGMENT_BYTES, false)) {
        segment.copy = null;
        return false;
      }
    }
    const before = copy.waste;
    copy.kept++;
    copy.charged += charged;
    this.wasteBytes += copy.waste - before;
    segment.kept = charged;
    const kept = SEGMENT_BYTES + (isFirst ? copy.bytes.length : 0);
    this.bytes += kept;
    this.overhead.add(kept); // all of it: it is there for as long as any of them, and charges are not
    return true;
  }

  /** A segment is not unread any more. */
  unkeep(segment: Segment): void {
    if (segment.copy !== null) this.unkeepCopy(segment, segment.copy);
    else if (segment.kept > 0) {
      this.bytes -= segment.kept;
      segment.kept = 0;
      if (segment.waste > 0) {
        this.wasteBytes -= segment.waste;
        this.overhead.drop(segment.waste);
        segment.waste = 0;
      }
    }
  }

  private unkeepCopy(segment: Segment, copy: DatagramCopy): void {
    if (segment.kept === 0) return;
    const before = copy.waste;
    copy.kept--;
    copy.charged -= segment.kept;
    this.wasteBytes += copy.waste - before;
    const kept = SEGMENT_BYTES + (copy.kept === 0 ? copy.bytes.length : 0);
    this.bytes -= kept;
    this.overhead.drop(kept);
    segment.kept = 0;
  }
}

/** A segment whose buffer is more than this many times its own bytes wastes memory. */
const WASTE_FACTOR = 2;
/** A segment and the objects of its memory. Every stream has so much reserved for one that can be read when nothing else can. */
export const SEGMENT_BYTES = 320;
/** Most that unread messages of a connection keep alive beyond what is charged for them, before they are copied. [STR-14] */
const WASTE_BYTES_MAX = 262_144;
