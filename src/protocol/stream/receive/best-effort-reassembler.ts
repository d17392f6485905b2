import { type DeadlineHeap, type Micros, NEVER } from '../../../base/time.ts';
import { CloseCode } from '../../wire/close-code.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import { MessageFlag, Space } from '../../wire/frame-type.ts';
import { readVarint, varintLength } from '../../wire/varint.ts';
import { MESSAGE_COST } from '../flow-control.ts';
import { ASSEMBLY_OVERHEAD, Assemblies, type Assembly } from './assembly.ts';
import { SEGMENT_BYTES } from './kept-memory.ts';
import type { ReassemblerOptions, ReceiveContext } from './receive-context.ts';
import {
  deadlineOf,
  incompleteSegment,
  Place,
  type ReadyQueue,
  type Segment,
  type SegmentOwner,
  segmentOfMessage,
  segmentOfRun,
} from './segment.ts';
import { DroppedReport, SequenceWindow } from './sequences.ts';

/**
 * The best-effort space of the receiving half of a stream. Nothing waits for anything: whole messages are delivered at once. On
 * an ordered stream a message is delivered only when it is newer than all that were delivered.
 */
export class BestEffortReassembler implements SegmentOwner {
  readonly seen: SequenceWindow;
  readonly report: DroppedReport;
  private readonly context: ReceiveContext;
  private readonly ready: ReadyQueue;
  private readonly lifetimes: DeadlineHeap<Segment>;
  private readonly ordered: boolean;
  private readonly onGivenUp: () => void;
  private readonly assemblies = new Assemblies();
  private discarding = false;
  /** Fragments of messages below this are of no use any more. */
  private cancelledBelow = 0;
  /** When to look for incomplete messages of which nothing comes any more; NEVER while there is none. */
  staleAt: Micros = NEVER;

  /** @param onGivenUp - called when an unread message had to give way to one of whatever stream */
  constructor(half: ReassemblerOptions, onGivenUp: () => void) {
    const { overhead } = half.context.kept;
    this.seen = new SequenceWindow(overhead);
    this.report = new DroppedReport(Space.BEST_EFFORT, overhead);
    this.context = half.context;
    this.ready = half.ready;
    this.lifetimes = half.lifetimes;
    this.ordered = half.ordered;
    this.onGivenUp = onGivenUp;
  }

  /** Bytes of memory but for those of complete messages. */
  get memoryBytes(): number {
    return this.seen.bytes + this.report.bytes + this.assemblies.bytes;
  }

  // ---- frames; each returns 0 or a close code ----

  onRun(frame: FrameReader): number {
    const { sequence, count, buffer, dataStart } = frame;
    const end = dataStart + frame.dataLength;
    const { seen } = this;
    const simple = sequence >= seen.top && this.assemblies.size === 0;
    if (!simple) return this.onScatteredRun(frame, end);
    let bytes = 0;
    const max = this.context.messageBytesMax;
    for (let at = dataStart; at < end; ) {
      const length = readVarint(buffer, at, end);
      if (length > max) return CloseCode.MESSAGE_TOO_LARGE;
      bytes += length;
      at += varintLength(buffer[at]) + length;
    }
    this.deliver(segmentOfRun(this, frame, sequence, count, dataStart, end), bytes, NEVER);
    return 0;
  }

  onMessage(frame: FrameReader, now: Micros): number {
    const { sequence } = frame;
    if (frame.total > this.context.messageBytesMax) return CloseCode.MESSAGE_TOO_LARGE;
    const fragment = (frame.flags & MessageFlag.FRAGMENT) !== 0;
    if (fragment) this.cancelBelow(frame.oldest);
    if (this.seen.has(sequence) || (fragment && sequence < this.cancelledBelow)) {
      this.context.late++;
      return 0;
    }
    const deadline = deadlineOf(frame, now);
    if (fragment) return this.onFragment(frame, deadline, now);
    if (this.assemblies.find(sequence) !== undefined) this.cancel(sequence);
    this.deliver(segmentOfMessage(this, frame), frame.total, deadline);
    return 0;
  }

  // ---- the rest ----

  /** The memory of an incomplete or unread message is needed for newer ones. [STR-21] */
  onEvicted(segment: Segment): void {
    this.giveUp(segment.sequence, Math.max(1, segment.count));
    this.dropSegment(segment);
    this.onGivenUp();
  }

  /** Nothing is sent again here: what got no byte for long is never complete. [STR-35] */
  giveUpStale(now: Micros): void {
    if (now < this.staleAt) return;
    this.staleAt = NEVER;
    for (const { progressAt, segment } of this.assemblies) {
      const staleAt = progressAt + this.context.stallTimeout;
      if (staleAt <= now) this.onEvicted(segment);
      else this.staleAt = Math.min(this.staleAt, staleAt);
    }
  }

  /** A message whose deadline has come is dropped, and reported. [STR-26] */
  onExpired(segment: Segment): void {
    this.context.expired++;
    this.report.add(segment.sequence, 1);
    this.dropSegment(segment);
  }

  /** Frees a segment that is not in the ready queue any more and will not be read. */
  freeSegment(segment: Segment): void {
    segment.place = Place.NOWHERE;
    this.lifetimes.remove(segment);
    this.context.budget.release(segment);
    this.context.kept.unkeep(segment);
  }

  discard(): void {
    this.discarding = true;
    for (const { sequence } of this.assemblies) this.cancel(sequence);
  }

  /** Nothing more will come. */
  forget(): void {
    this.seen.forget();
    this.report.forget();
  }

  // ---- inside ----

  private onFragment(frame: FrameReader, deadline: Micros, now: Micros): number {
    const { sequence, total } = frame;
    let assembly = this.assemblies.find(sequence);
    if (assembly === undefined) {
      if (this.discarding) return 0;
      assembly = this.admitAssembly(frame, now);
      if (assembly === undefined) return 0;
    } else if (!assembly.agrees(total, frame.flags)) {
      return CloseCode.FRAME_ENCODING_ERROR;
    }
    const { offset } = frame;
    const more = assembly.growthFor(offset, offset + frame.dataLength);
    if (more > 0 && !this.context.kept.overhead.admits(more, false)) {
      this.onEvicted(assembly.segment);
      return 0;
    }
    if (!assembly.add(frame.buffer, frame.dataStart, frame.dataLength, offset, now)) {
      this.lifetimes.set(assembly.segment, deadline);
      return 0;
    }
    this.cancel(sequence);
    this.deliver(assembly.finish(), total, deadline);
    return 0;
  }

  /** Begins an incomplete message; undefined when the budget has no room for it at all, or it is late now. */
  private admitAssembly(frame: FrameReader, now: Micros): Assembly | undefined {
    const { sequence, total } = frame;
    if (this.assemblies.size >= ASSEMBLIES_MAX) this.evictAssembly();
    if (!this.canMark(sequence, 1)) {
      this.context.evicted++;
      return undefined;
    }
    const segment = incompleteSegment(this, sequence);
    const { budget, kept } = this.context;
    if (!kept.overhead.admits(ASSEMBLY_OVERHEAD, false) || !budget.admit(segment, total + MESSAGE_COST)) {
      this.giveUp(sequence, 1);
      this.mark(sequence, 1);
      return undefined;
    }
    // A newer message that gave way on an ordered stream takes all below it with it.
    if (this.seen.has(sequence)) {
      this.freeSegment(segment);
      this.context.late++;
      return undefined;
    }
    if (this.staleAt === NEVER) this.staleAt = now + this.context.stallTimeout;
    return this.assemblies.start(frame, segment, now, kept.overhead);
  }

  /** The incomplete message that began first gives way. [STR-21] */
  private evictAssembly(): void {
    for (const { segment } of this.assemblies) {
      this.onEvicted(segment);
      return;
    }
  }

  /** Takes what is new of a run that is not simply newer than everything before. */
  private onScatteredRun(frame: FrameReader, end: number): number {
    const { buffer } = frame;
    let sequence = frame.sequence;
    let from = -1;
    let first = sequence;
    let bytes = 0;
    let at = frame.dataStart;
    for (; at < end; sequence++) {
      const length = readVarint(buffer, at, end);
      if (length > this.context.messageBytesMax) return CloseCode.MESSAGE_TOO_LARGE;
      if (this.seen.has(sequence)) {
        this.context.late++;
        if (from >= 0)
          this.deliver(segmentOfRun(this, frame, first, sequence - first, from, at), bytes, NEVER);
        from = -1;
      } else {
        if (this.assemblies.find(sequence) !== undefined) this.cancel(sequence);
        if (from < 0) {
          from = at;
          first = sequence;
          bytes = 0;
        }
        bytes += length;
      }
      at += varintLength(buffer[at]) + length;
    }
    if (from >= 0) this.deliver(segmentOfRun(this, frame, first, sequence - first, from, at), bytes, NEVER);
    return 0;
  }

  /** Delivers messages that were not seen before, `bytes` long together. */
  private deliver(segment: Segment, bytes: number, deadline: Micros): void {
    const { sequence, count } = segment;
    const { budget, kept } = this.context;
    if (!this.canMark(sequence, count)) {
      this.context.evicted += count;
      return;
    }
    this.mark(sequence, count);
    if (this.discarding) return;
    if (!kept.overhead.admits(SEGMENT_BYTES, false)) return this.giveUp(sequence, count);
    segment.charged = bytes + count * MESSAGE_COST;
    kept.keep(segment);
    // Ahead of the budget, to which an older one of this stream may give way: that must not pass for the last that was to be read.
    this.ready.push(segment);
    if (budget.admit(segment, segment.charged)) {
      this.lifetimes.set(segment, deadline);
    } else {
      this.ready.remove(segment);
      this.freeSegment(segment);
      this.giveUp(sequence, count);
    }
  }

  /** The budget has no room for these messages. */
  private giveUp(first: number, count: number): void {
    this.context.evicted += count;
    this.report.add(first, count);
  }

  /** Whether there is memory to tell these from others later; where there is none they are as good as lost. [CON-53] */
  private canMark(first: number, count: number): boolean {
    const { seen } = this;
    const end = first + count;
    const more = this.ordered || seen.isNext(first) ? 0 : Math.min(seen.growthFor(end), MARKS_BYTES_MAX);
    return more === 0 || this.context.kept.overhead.admits(more, false);
  }

  /** Counts sequences as seen. On an ordered stream nothing below them will be delivered any more. */
  private mark(first: number, count: number): void {
    const { seen } = this;
    const end = first + count;
    if (this.ordered) {
      seen.raise(end);
      this.cancelBelow(end);
      return;
    }
    if (seen.contiguous && first === seen.floor) {
      seen.advance(count);
      return;
    }
    seen.raise(end - WINDOW_SEQUENCES);
    seen.add(Math.max(first, seen.floor), end);
    seen.settle();
  }

  /** Gives up incomplete messages below `oldest`: the sender has, or they are too late. [STR-19] */
  private cancelBelow(oldest: number): void {
    if (oldest <= this.cancelledBelow) return;
    this.cancelledBelow = oldest;
    for (const { sequence } of this.assemblies) {
      if (sequence >= oldest) continue;
      this.cancel(sequence);
      this.context.late++;
    }
  }

  private cancel(sequence: number): void {
    const { segment } = this.assemblies.find(sequence)!;
    this.assemblies.end(sequence);
    this.freeSegment(segment);
  }

  /** Lets go of an incomplete or unread message. */
  private dropSegment(segment: Segment): void {
    if (segment.place === Place.INCOMPLETE) {
      this.cancel(segment.sequence);
      if (this.canMark(segment.sequence, 1)) this.mark(segment.sequence, 1);
    } else {
      this.ready.remove(segment);
      this.freeSegment(segment);
    }
  }
}

/** Most sequences that are told apart behind the newest one; what is older counts as late. [STR-22] */
const WINDOW_SEQUENCES = 16_384;
/** Most bytes of their bit map. */
const MARKS_BYTES_MAX = WINDOW_SEQUENCES / 4;
/** Most incomplete messages; with more the one that began first gives way. */
const ASSEMBLIES_MAX = 256;
