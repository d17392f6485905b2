import type { Micros } from '../base/time.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { Space } from '../wire/frame-type.ts';
import { readVarint, varintLength } from '../wire/varint.ts';
import { Assembly } from './assembly.ts';
import { DeadlineWatch } from './deadline-watch.ts';
import { DroppedReport } from './dropped-report.ts';
import { MESSAGE_COST } from './flow-credit.ts';
import type { ReadyQueue } from './ready-queue.ts';
import type { ReceiveContext } from './receive-context.ts';
import { Segment } from './segment.ts';
import { SequenceWindow } from './sequence-window.ts';

/** What both sequence spaces of the receiving half of a stream have in common. */
export abstract class Inbox {
  readonly seen = new SequenceWindow();
  readonly report: DroppedReport;
  protected readonly context: ReceiveContext;
  protected readonly ready: ReadyQueue;
  protected readonly ordered: boolean;
  /** Incomplete messages by sequence; null until the first fragment. */
  protected assemblies: Map<number, Assembly> | null = null;
  /** Deadlines of what is held here. */
  protected readonly deadlines = new DeadlineWatch();
  private readonly space: Space;

  constructor(space: Space, context: ReceiveContext, ready: ReadyQueue, ordered: boolean) {
    this.space = space;
    this.context = context;
    this.ready = ready;
    this.ordered = ordered;
    this.report = new DroppedReport(space);
  }

  get nextTimeout(): Micros {
    return this.deadlines.next;
  }

  /** A segment on the messages of a run from position `at` to `end`, or on one whole message. */
  protected segment(
    frame: FrameReader,
    sequence: number,
    count: number,
    at: number,
    end: number,
    prefixed: boolean,
  ): Segment {
    return new Segment(this.space, sequence, count, frame.buffer, at, end, prefixed);
  }

  /**
   * Copies a segment that stays unread out of its datagram when that is much larger and enough of such memory is already kept
   * alive. [STR-14]
   */
  protected bound(segment: Segment): void {
    const own = segment.end - segment.at;
    const size = segment.buffer.buffer.byteLength;
    if (size <= WASTE_FACTOR * (own + segment.count * MESSAGE_COST)) return;
    if (this.context.wasteBytes + size <= this.context.wasteBytesMax) {
      segment.waste = size;
      this.context.wasteBytes += size;
      return;
    }
    segment.buffer = new Uint8Array(segment.buffer.subarray(segment.at, segment.end));
    segment.at = 0;
    segment.end = own;
  }

  protected assemblyFor(sequence: number): Assembly | undefined {
    return this.assemblies === null ? undefined : this.assemblies.get(sequence);
  }

  protected startAssembly(frame: FrameReader): Assembly {
    const assembly = new Assembly(frame.sequence, frame.total, frame.flags);
    if (this.assemblies === null) this.assemblies = new Map();
    this.assemblies.set(frame.sequence, assembly);
    return assembly;
  }

  protected endAssembly(sequence: number): void {
    this.assemblies!.delete(sequence);
    if (this.assemblies!.size === 0) this.assemblies = null;
  }
}

/** A segment whose buffer is more than this many times what is charged for it wastes memory. */
const WASTE_FACTOR = 4;

/** Position behind the message of a run that begins, with its length, at `at`. */
export function skipMessage(buffer: Uint8Array, at: number, end: number): number {
  return at + varintLength(buffer[at]) + readVarint(buffer, at, end);
}
