import { type Micros, NEVER } from '../../../base/time.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import type { Space } from '../../wire/frame-type.ts';
import { MESSAGE_COST } from '../flow-control.ts';
import { Assembly } from './assembly.ts';
import type { Lifetimes } from './lifetimes.ts';
import type { ReceiveContext } from './receive-context.ts';
import { copyOut, Place, type ReadyQueue, Segment, type SegmentOwner } from './segment.ts';
import { DroppedReport, SequenceWindow } from './sequences.ts';

/** What both sequence spaces of the receiving half of a stream have in common. */
export abstract class Inbox implements SegmentOwner {
  readonly seen = new SequenceWindow();
  readonly report: DroppedReport;
  protected readonly context: ReceiveContext;
  protected readonly ready: ReadyQueue;
  protected readonly lifetimes: Lifetimes;
  protected readonly ordered: boolean;
  /** Incomplete messages by sequence, in the order of their first fragments; null when there is none. */
  protected assemblies: Map<number, Assembly> | null = null;
  private readonly space: Space;

  constructor(
    space: Space,
    context: ReceiveContext,
    ready: ReadyQueue,
    lifetimes: Lifetimes,
    ordered: boolean,
  ) {
    this.space = space;
    this.context = context;
    this.ready = ready;
    this.lifetimes = lifetimes;
    this.ordered = ordered;
    this.report = new DroppedReport(space);
  }

  abstract onEvicted(segment: Segment): void;

  /** Gives up a segment whose deadline has come. It is out of the lifetimes already. */
  abstract onExpired(segment: Segment): void;

  /** A segment on the messages of a run from position `at` to `end`, or on one whole message. */
  protected segment(
    frame: FrameReader,
    sequence: number,
    count: number,
    at: number,
    end: number,
    prefixed: boolean,
  ): Segment {
    if (frame.isKept) {
      // Its datagram has something for another receiver already, and what one does with its memory must not touch the other. [STR-32]
      const own = copyOut(frame.buffer, at, end - at);
      return new Segment(this, this.space, sequence, count, own, 0, end - at, prefixed);
    }
    frame.isKept = true;
    return new Segment(this, this.space, sequence, count, frame.buffer, at, end, prefixed);
  }

  /** The segment on a whole message. */
  protected single(frame: FrameReader): Segment {
    const { dataStart, dataLength } = frame;
    return this.segment(frame, frame.sequence, 1, dataStart, dataStart + dataLength, false);
  }

  /** What stands for a message of which only fragments are there; it has no bytes yet. */
  protected incomplete(sequence: number): Segment {
    return new Segment(this, this.space, sequence, 0, EMPTY, 0, 0, false);
  }

  /**
   * Counts what a segment that stays unread keeps alive beyond what is charged for it, and copies it out of its datagram when that is much
   * larger and enough of such memory is already kept alive. [STR-14]
   */
  protected bound(segment: Segment): void {
    const { context } = this;
    const own = segment.end - segment.at;
    const charged = own + segment.count * MESSAGE_COST;
    let kept = segment.buffer.buffer.byteLength;
    if (kept > WASTE_FACTOR * own && context.wasteBytes + kept > context.wasteBytesMax) {
      segment.buffer = copyOut(segment.buffer, segment.at, own);
      segment.at = 0;
      segment.end = own;
      kept = own;
    }
    kept += SEGMENT_BYTES;
    segment.kept = kept;
    context.keptBytes += kept;
    if (kept <= charged) return;
    segment.waste = kept - charged;
    context.wasteBytes += segment.waste;
  }

  /** Bytes of memory but for those of complete messages. */
  get memoryBytes(): number {
    let bytes = this.seen.bytes + this.report.bytes;
    if (this.assemblies === null) return bytes;
    for (const assembly of this.assemblies.values()) bytes += assembly.bytes;
    return bytes;
  }

  protected assemblyFor(sequence: number): Assembly | undefined {
    return this.assemblies === null ? undefined : this.assemblies.get(sequence);
  }

  protected startAssembly(frame: FrameReader, segment: Segment, now: Micros): Assembly {
    const assembly = new Assembly(segment, frame.total, frame.flags, now);
    segment.place = Place.INCOMPLETE;
    if (this.assemblies === null) this.assemblies = new Map();
    this.assemblies.set(frame.sequence, assembly);
    return assembly;
  }

  /** The message with this sequence is not incomplete any more. */
  protected endAssembly(sequence: number): void {
    this.assemblies!.delete(sequence);
    if (this.assemblies!.size === 0) this.assemblies = null;
  }

  protected noteExpired(sequence: number): void {
    this.context.expired++;
    this.report.add(sequence, 1);
  }
}

/** The receiver's deadline of the message that a frame belongs to. [STR-26] */
export function deadlineOf(frame: FrameReader, now: Micros): Micros {
  return frame.remaining < 0 ? NEVER : now + frame.remaining;
}

const EMPTY = new Uint8Array(0);
/** A segment whose buffer is more than this many times its own bytes wastes memory. */
const WASTE_FACTOR = 2;
/** A segment and the objects of its memory. */
const SEGMENT_BYTES = 320;
