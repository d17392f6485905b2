import { AssertionFailure } from '../../../base/errors.ts';
import { type DeadlineHeap, type Micros, NEVER } from '../../../base/time.ts';
import { CloseCode } from '../../wire/close-code.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import { MessageFlag, Space } from '../../wire/frame-type.ts';
import { readVarint, varintLength } from '../../wire/varint.ts';
import { type FlowWindow, MESSAGE_COST } from '../flow-control.ts';
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
 * The reliable space of the receiving half of a stream. Every sequence is charged when it first appears and freed when its message is
 * read or given up; what is out of order on an ordered stream is held until the gap closes. [STR-7]
 */
export class ReliableReassembler implements SegmentOwner {
  readonly seen: SequenceWindow;
  readonly report: DroppedReport;
  /** One above the highest sequence of which anything has appeared. */
  private appeared = 0;
  /** The stream's end: how many sequences its reliable space has; -1 while unknown. */
  finalEnd = -1;
  /** Nobody will read: what comes is only counted. */
  private discarding = false;
  private readonly context: ReceiveContext;
  private readonly ready: ReadyQueue;
  /** Messages of the stream that have a deadline. */
  private readonly lifetimes: DeadlineHeap<Segment>;
  private readonly ordered: boolean;
  private readonly assemblies = new Assemblies();
  private readonly window: FlowWindow;
  /** Most sequences from the floor on. [STR-12] */
  private readonly spanMax: number;
  /** Ordered streams: complete messages behind a gap, by their first sequence. */
  private held: Map<number, Segment> | null = null;
  /** While something is missing below what appeared: when the lowest that is missing began to wait for its next byte; else NEVER. */
  private waitsSince: Micros = NEVER;
  private waitsFor = -1;
  /** End of what {@link take} delivered last without holding it. */
  private deliveredTo = 0;

  constructor(half: ReassemblerOptions, window: FlowWindow, spanMax: number) {
    const { overhead } = half.context.kept;
    this.seen = new SequenceWindow(overhead);
    this.report = new DroppedReport(Space.RELIABLE, overhead);
    this.context = half.context;
    this.ready = half.ready;
    this.lifetimes = half.lifetimes;
    this.ordered = half.ordered;
    this.window = window;
    this.spanMax = spanMax;
  }

  /** Bytes of memory but for those of complete messages. */
  get memoryBytes(): number {
    return this.seen.bytes + this.report.bytes + this.assemblies.bytes;
  }

  /** True when every sequence up to the stream's end was seen. */
  get complete(): boolean {
    return this.finalEnd >= 0 && this.seen.floor >= this.finalEnd;
  }

  /** When the next byte of the lowest message that is missing is overdue. [STR-35] */
  get stallsAt(): Micros {
    return Math.max(this.waitsSince, this.context.progressAt) + this.context.stallTimeout;
  }

  // ---- frames; each returns 0 or a close code ----

  onRun(frame: FrameReader): number {
    const { sequence, count, buffer, dataStart } = frame;
    const error = this.checkRange(sequence, count);
    if (error !== 0) return error;
    const end = dataStart + frame.dataLength;
    if (
      !this.seen.contiguous ||
      sequence !== this.seen.floor ||
      this.assemblies.size > 0 ||
      this.discarding
    ) {
      return this.onScatteredRun(frame, end);
    }
    if (this.ready.count > 0 && !this.context.kept.overhead.admits(SEGMENT_BYTES, false))
      return this.context.refuse();
    let bytes = 0;
    const max = this.context.messageBytesMax;
    for (let at = dataStart; at < end; ) {
      const length = readVarint(buffer, at, end);
      if (length > max) return CloseCode.MESSAGE_TOO_LARGE;
      bytes += length;
      at += varintLength(buffer[at]) + length;
    }
    if (!this.charge(bytes + count * MESSAGE_COST)) return CloseCode.FLOW_CONTROL_ERROR;
    this.seen.advance(count);
    const segment = segmentOfRun(this, frame, sequence, count, dataStart, end);
    segment.charged = bytes + count * MESSAGE_COST;
    this.context.kept.keep(segment);
    this.ready.push(segment);
    return 0;
  }

  onMessage(frame: FrameReader, now: Micros): number {
    const { sequence } = frame;
    const error = this.checkRange(sequence, 1);
    if (error !== 0) return error;
    if (frame.total > this.context.messageBytesMax) return CloseCode.MESSAGE_TOO_LARGE;
    if (this.seen.has(sequence)) {
      this.context.duplicates++;
      return 0;
    }
    const deadline = deadlineOf(frame, now);
    if ((frame.flags & MessageFlag.FRAGMENT) !== 0) return this.onFragment(frame, deadline, now);
    if (!this.hasRoom(sequence, sequence + 1)) return this.context.refuse();
    const fault = this.chargeOnce(sequence, frame.total);
    if (fault !== 0) return fault;
    const segment = segmentOfMessage(this, frame);
    segment.charged = frame.total + MESSAGE_COST;
    this.take(segment, deadline);
    this.afterArrival();
    return 0;
  }

  /** ABANDON: these will not come; what is incomplete of them is given up. [STR-17] */
  onAbandon(frame: FrameReader): number {
    const { sequence, count, buffer, dataStart } = frame;
    const error = this.checkRange(sequence, count);
    if (error !== 0) return error;
    const end = dataStart + frame.dataLength;
    if (!this.hasRoomFor(0, sequence, sequence + count)) return this.context.refuse();
    let at = dataStart;
    for (let i = 0; i < count; i++) {
      const length = readVarint(buffer, at, end);
      at += varintLength(buffer[at]);
      if (this.seen.has(sequence + i)) continue;
      const fault = this.chargeOnce(sequence + i, length);
      if (fault !== 0) return fault;
      this.free(length + MESSAGE_COST);
      this.seen.add(sequence + i, sequence + i + 1);
    }
    this.afterArrival();
    return 0;
  }

  /** The stream ends before sequence `end`. [STR-6] */
  onEnd(end: number): number {
    if (end === this.finalEnd) return 0;
    if (this.finalEnd >= 0 || end < this.appeared) return CloseCode.FINAL_SIZE_ERROR;
    this.finalEnd = end;
    return 0;
  }

  // ---- what the application does ----

  /** Returns the credit of a message that was read or given up. [STR-9] */
  free(bytes: number): void {
    this.window.free(bytes);
    this.context.window.free(bytes);
  }

  /** Nothing more will come. */
  forget(): void {
    this.seen.forget();
    this.report.forget();
  }

  /** Nobody will read any more: frees what is held, and from now on everything that comes. */
  discard(): void {
    this.discarding = true;
    if (this.held !== null) for (const segment of this.held.values()) this.freeSegment(segment);
    this.held = null;
    for (const assembly of this.assemblies) this.dropAssembly(assembly);
    this.seen.settle();
    this.watch();
  }

  /** Frees a segment that is complete and will not be read. */
  freeSegment(segment: Segment): void {
    if (segment.place === Place.HELD) this.release(segment.charged);
    segment.place = Place.NOWHERE;
    this.lifetimes.remove(segment);
    this.context.kept.unkeep(segment);
    this.free(segment.charged);
    segment.charged = 0;
  }

  /** A message whose deadline has come is dropped, and reported. [STR-26] */
  onExpired(segment: Segment): void {
    const { sequence } = segment;
    if (segment.place === Place.INCOMPLETE) {
      this.dropAssembly(this.assemblies.find(sequence)!);
      this.afterArrival();
    } else {
      if (segment.place === Place.READY) this.ready.remove(segment);
      else this.held!.delete(sequence);
      this.freeSegment(segment);
    }
    this.context.expired++;
    this.report.add(sequence, 1);
  }

  onEvicted(): never {
    throw new AssertionFailure('the budget holds a segment of the reliable space');
  }

  // ---- inside ----

  /** Whether a whole message, or run of them, from sequence `first` on can be kept: the first that can be read has its place. [CON-53] */
  private hasRoom(first: number, end: number): boolean {
    const marks = this.seen.isNext(first) ? 0 : this.seen.growthFor(end);
    const isReadable = this.ready.count === 0 && (!this.ordered || first <= this.seen.floor);
    const more = isReadable || this.discarding ? marks : marks + SEGMENT_BYTES;
    return more === 0 || this.context.kept.overhead.admits(more, isReadable);
  }

  /**
   * Whether `bytes` of a part of a message, or none of ABANDON, and marks for the sequences below `end` can be kept beyond what is charged. What
   * all above it waits for may have the last of what there is. [CON-53]
   */
  private hasRoomFor(bytes: number, first: number, end: number): boolean {
    const more = (this.discarding ? 0 : bytes) + this.seen.growthFor(end);
    return more === 0 || this.context.kept.overhead.admits(more, first <= this.seen.floor);
  }

  private onFragment(frame: FrameReader, deadline: Micros, now: Micros): number {
    const { sequence, total } = frame;
    let assembly = this.assemblies.find(sequence);
    const { offset } = frame;
    const more = assembly?.growthFor(offset, offset + frame.dataLength) ?? ASSEMBLY_OVERHEAD;
    if (!this.hasRoomFor(more, sequence, sequence + 1)) return this.context.refuse();
    if (assembly === undefined) {
      if (!this.charge(total + MESSAGE_COST)) return CloseCode.FLOW_CONTROL_ERROR;
      if (this.discarding) {
        this.free(total + MESSAGE_COST);
        this.seen.add(sequence, sequence + 1);
        this.seen.settle();
        return 0;
      }
      this.seen.reserve(sequence + 1);
      assembly = this.assemblies.start(
        frame,
        incompleteSegment(this, sequence),
        now,
        this.context.kept.overhead,
      );
    } else if (!assembly.agrees(total, frame.flags)) {
      return CloseCode.FRAME_ENCODING_ERROR;
    }
    if (!assembly.add(frame.buffer, frame.dataStart, frame.dataLength, offset, now)) {
      this.lifetimes.set(assembly.segment, deadline);
      this.watch();
      return 0;
    }
    this.assemblies.end(sequence);
    const segment = assembly.finish();
    segment.charged = total + MESSAGE_COST;
    this.take(segment, deadline, true);
    this.afterArrival();
    return 0;
  }

  /** A run that is not simply the next messages: takes the stretches of it that are new. */
  private onScatteredRun(frame: FrameReader, end: number): number {
    const { buffer } = frame;
    let sequence = frame.sequence;
    let from = -1;
    let first = sequence;
    let charged = 0;
    let at = frame.dataStart;
    for (; at < end; sequence++) {
      const length = readVarint(buffer, at, end);
      if (length > this.context.messageBytesMax) return CloseCode.MESSAGE_TOO_LARGE;
      if (this.seen.has(sequence)) {
        this.context.duplicates++;
        if (from >= 0) this.takeRun(frame, first, sequence - first, from, at, charged);
        from = -1;
      } else {
        if (from < 0 && !this.hasRoom(sequence, frame.sequence + frame.count)) {
          this.context.refuse();
          break;
        }
        const fault = this.chargeOnce(sequence, length);
        if (fault !== 0) return fault;
        if (from < 0) {
          from = at;
          first = sequence;
          charged = 0;
        }
        charged += length + MESSAGE_COST;
      }
      at += varintLength(buffer[at]) + length;
    }
    if (from >= 0) this.takeRun(frame, first, sequence - first, from, at, charged);
    this.afterArrival();
    return 0;
  }

  private takeRun(
    frame: FrameReader,
    first: number,
    count: number,
    from: number,
    to: number,
    charged: number,
  ): void {
    const segment = segmentOfRun(this, frame, first, count, from, to);
    segment.charged = charged;
    this.take(segment, NEVER);
  }

  /** Takes new, charged messages in: delivers them, holds them behind a gap, or discards them. */
  private take(segment: Segment, deadline: Micros, wasBegun = false): void {
    const { sequence, count } = segment;
    if (this.discarding) {
      this.freeSegment(segment);
      this.seen.addOrAdvance(sequence, count);
      return;
    }
    this.context.kept.keep(segment, wasBegun);
    if (!this.ordered || sequence === this.seen.floor) {
      this.ready.push(segment);
      this.deliveredTo = sequence + count;
    } else {
      if (this.held === null) this.held = new Map();
      this.held.set(sequence, segment);
      segment.place = Place.HELD;
      this.hold(segment.charged);
    }
    this.lifetimes.set(segment, deadline);
    this.seen.addOrAdvance(sequence, count);
  }

  /** Messages came that the application cannot read yet: for windows they count as read. [STR-47] */
  private hold(bytes: number): void {
    this.window.hold(bytes);
    this.context.window.hold(bytes);
  }

  private release(bytes: number): void {
    this.window.release(bytes);
    this.context.window.release(bytes);
  }

  /** Moves the floor on and delivers what waited for that. */
  private afterArrival(): void {
    this.deliverHeld();
    this.watch();
  }

  /** Notes since when the lowest missing message waits for its next byte. */
  private watch(): void {
    const { floor } = this.seen;
    if (this.assemblies.size === 0 && this.seen.contiguous) {
      this.waitsSince = NEVER;
      return;
    }
    const { now } = this.context.pace;
    if (this.waitsSince !== NEVER && this.waitsFor === floor) {
      this.waitsSince = Math.max(this.waitsSince, this.assemblies.find(floor)?.progressAt ?? 0);
      return;
    }
    this.waitsSince = now;
    this.waitsFor = floor;
  }

  private deliverHeld(): void {
    const { seen } = this;
    if (this.held === null) {
      seen.settle();
      return;
    }
    const before = seen.floor;
    seen.settle();
    if (seen.floor === before) return;
    for (let sequence = Math.max(before, this.deliveredTo); sequence < seen.floor; ) {
      const segment = this.held.get(sequence);
      if (segment === undefined) {
        sequence++;
        continue;
      }
      this.held.delete(sequence);
      sequence += segment.count;
      this.release(segment.charged);
      this.ready.push(segment);
    }
    if (this.held.size === 0) this.held = null;
  }

  /** Gives up an incomplete message. */
  private dropAssembly(assembly: Assembly): void {
    const { sequence } = assembly;
    this.free(assembly.total + MESSAGE_COST);
    this.forgetAssembly(assembly);
    this.seen.add(sequence, sequence + 1);
  }

  private forgetAssembly(assembly: Assembly): void {
    this.lifetimes.remove(assembly.segment);
    this.assemblies.end(assembly.sequence);
  }

  /** Charges an unseen sequence, unless a fragment of it was charged already, whose assembly then ends. 0 or a close code. [STR-8] [STR-15] */
  private chargeOnce(sequence: number, length: number): number {
    const assembly = this.assemblies.find(sequence);
    if (assembly === undefined) return this.charge(length + MESSAGE_COST) ? 0 : CloseCode.FLOW_CONTROL_ERROR;
    if (assembly.total !== length) return CloseCode.FRAME_ENCODING_ERROR;
    this.forgetAssembly(assembly);
    return 0;
  }

  /** False when the peer went over a limit. [STR-13] */
  private charge(bytes: number): boolean {
    const within = this.window.charge(bytes);
    return this.context.window.charge(bytes) && within;
  }

  private checkRange(sequence: number, count: number): number {
    const end = sequence + count;
    if (this.finalEnd >= 0 && end > this.finalEnd) return CloseCode.FINAL_SIZE_ERROR;
    if (end - this.seen.floor > this.spanMax) return CloseCode.FLOW_CONTROL_ERROR; // too far above the floor [STR-12]
    if (end > this.appeared) this.appeared = end;
    return 0;
  }
}
