import { Buffer } from 'node:buffer';
import { type Micros, NEVER } from '../../../base/time.ts';
import { CloseCode } from '../../wire/close-code.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import { FrameType, MessageFlag, Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { writeMaxStreamData } from '../../wire/frames/flow-control.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import { writeStopSending } from '../../wire/frames/stream.ts';
import { readVarint, varintLength } from '../../wire/varint.ts';
import { FlowWindow, MESSAGE_COST, SEQUENCE_SPAN_MAX, type WindowGrowth } from '../flow-control.ts';
import { BestEffortInbox } from './best-effort-inbox.ts';
import { Lifetimes } from './lifetimes.ts';
import type { ReceiveContext } from './receive-context.ts';
import { ReliableInbox } from './reliable-inbox.ts';
import { copyOut, lend, ReadyQueue, type Segment } from './segment.ts';

/** Fixed things of a receiving half. */
export interface ReceiveStreamOptions {
  readonly id: number;
  readonly ordered: boolean;
  /** Our initial_max_stream_data. */
  readonly windowBytes: number;
  /** How the window grows; without it, it stays as it is. */
  readonly growth?: WindowGrowth;
  /** Most sequences from the floor on. [STR-12] Default 65,536. */
  readonly spanMax?: number;
}

/**
 * The receiving half of a stream. The connection hands in frames with the `on...` methods, each of which returns 0 or the code to
 * close with; the application takes messages out with {@link read}.
 */
export class ReceiveStream {
  readonly id: number;
  readonly ordered: boolean;
  readonly window: FlowWindow;
  /** Code of the peer's RESET_STREAM; -1 without one. */
  resetCode = -1;
  private readonly context: ReceiveContext;
  private readonly ready = new ReadyQueue();
  private readonly lifetimes = new Lifetimes();
  private readonly reliable: ReliableInbox;
  private bestEffort: BestEffortInbox | null = null;
  private stopState: number = Told.NOT_WANTED;
  private stopCode = 0;
  private limitLost = false;
  /** Messages were lost because the application detached the memory they were in, or wrote over it. */
  isDetached = false;

  constructor(context: ReceiveContext, options: ReceiveStreamOptions) {
    this.id = options.id;
    this.ordered = options.ordered;
    this.context = context;
    this.window = new FlowWindow(options.windowBytes, options.growth);
    const spanMax = options.spanMax ?? SEQUENCE_SPAN_MAX;
    this.reliable = new ReliableInbox(
      context,
      this.ready,
      this.lifetimes,
      options.ordered,
      this.window,
      spanMax,
    );
  }

  // ---- the application's side ----

  /** Messages that {@link read} can take, unless their deadline comes first. */
  get readable(): number {
    return this.ready.count;
  }

  /**
   * Takes the next message, or null when there is none now. The bytes belong to the caller. Small messages have memory of their own;
   * others may share it with messages of the same run, but then it is little, and cannot be transferred. [STR-32]
   */
  read(now: Micros): Buffer | null {
    for (;;) {
      const segment = this.ready.head;
      if (segment === null) return null;
      if (segment.deadline > now) return this.takeFrom(segment);
      this.expire(segment);
    }
  }

  /** A best-effort message has come, read or not. */
  get hasReceivedBestEffort(): boolean {
    return this.bestEffort !== null;
  }

  /** Asks the peer to stop; what has come and will come is thrown away. [STR-25] */
  stop(code: number): void {
    if (this.stopState !== Told.NOT_WANTED) return;
    this.stopCode = code;
    this.stopState = this.reliable.complete || this.resetCode >= 0 ? Told.ACKED : Told.WANTED;
    this.discard();
  }

  /** True when the peer has ended the stream and everything was read. [STR-6] */
  get ended(): boolean {
    return this.reliable.complete && this.ready.count === 0;
  }

  /** True when nothing more can come in or go out: the half can be forgotten. [STR-30] */
  get finished(): boolean {
    return this.ended && !this.droppedDue;
  }

  /** Lets go of all memory, when the half is forgotten. */
  forget(): void {
    this.discard();
    this.window.close();
  }

  // ---- the connection's side ----

  /** MESSAGES of either space. */
  onMessages(frame: FrameReader): number {
    if (frame.type === FrameType.MESSAGES) return this.reliable.onRun(frame);
    if (this.ended) return this.tooLate(frame.count);
    return this.bestEffortInbox.onRun(frame);
  }

  /** MESSAGE of either space. */
  onMessage(frame: FrameReader, now: Micros): number {
    // [STR-23] nobody has agreed to compression yet
    if ((frame.flags & MessageFlag.ENVELOPE) !== 0) return CloseCode.PROTOCOL_VIOLATION;
    if ((frame.flags & MessageFlag.BEST_EFFORT) === 0) return this.reliable.onMessage(frame, now);
    if (this.ended) return this.tooLate(1);
    return this.bestEffortInbox.onMessage(frame, now);
  }

  onAbandon(frame: FrameReader): number {
    return this.reliable.onAbandon(frame);
  }

  /** STREAM_FIN. */
  onFin(end: number): number {
    return this.reliable.onEnd(end);
  }

  /** RESET_STREAM: unread messages are thrown away. [STR-24] */
  onReset(code: number, end: number): number {
    const error = this.reliable.onEnd(end);
    if (error !== 0 || this.resetCode >= 0) return error;
    this.resetCode = code;
    this.discard();
    return 0;
  }

  /** STREAM_DATA_BLOCKED. */
  onBlocked(limit: number): void {
    this.window.onBlocked(limit);
  }

  /** True when {@link writeControl} has something to write. */
  get controlDue(): boolean {
    if (this.stopState === Told.WANTED) return !this.reliable.complete;
    return (this.window.due || this.limitLost) && this.reliable.finalEnd < 0;
  }

  /** Writes MAX_STREAM_DATA and STOP_SENDING. */
  writeControl(w: FrameWriter): void {
    if (this.stopState === Told.WANTED && w.hasControlRoom) {
      writeStopSending(w, this.id, this.stopCode);
      this.stopState = Told.SENT;
    }
    if ((this.window.due || this.limitLost) && this.reliable.finalEnd < 0 && w.hasControlRoom) {
      this.limitLost = false;
      writeMaxStreamData(w, this.id, this.window.announce());
    }
  }

  /** True when {@link writeDropped} has something to write: it belongs into every packet that carries an ACK, ahead of it. [STR-18] */
  get droppedDue(): boolean {
    return this.reliable.report.due || (this.bestEffort?.report.due ?? false);
  }

  writeDropped(w: FrameWriter): void {
    this.reliable.report.write(w, this.id);
    this.bestEffort?.report.write(w, this.id);
  }

  /** The packet that held this frame of ours is acknowledged. */
  onFrameAcked({ type }: SentFrame): void {
    if (type === FrameType.STOP_SENDING) this.stopState = Told.ACKED;
  }

  /** The packet that held this frame of ours is lost. */
  onFrameLost(frame: SentFrame): void {
    switch (frame.type) {
      case FrameType.STOP_SENDING:
        if (this.stopState === Told.SENT) this.stopState = Told.WANTED;
        break;
      case FrameType.MAX_STREAM_DATA:
        if (frame.limit === this.window.announced) this.limitLost = true;
        break;
      case FrameType.DROPPED:
        (frame.space === Space.RELIABLE ? this.reliable : this.bestEffort)?.report.add(
          frame.sequence,
          frame.count,
        );
        break;
    }
  }

  /** When {@link onTimeout} is to be called at the latest. */
  nextTimeout(): Micros {
    const stale = Math.min(this.reliable.stallsAt, this.bestEffort?.staleAt ?? NEVER);
    return Math.min(this.lifetimes.earliest, stale);
  }

  /** When what is incomplete has waited too long for its next byte; NEVER when nothing is. [STR-35] */
  get stallsAt(): Micros {
    return this.reliable.stallsAt;
  }

  /** Gives up messages whose deadline has come. */
  onTimeout(now: Micros): void {
    for (
      let segment = this.lifetimes.takeExpired(now);
      segment !== null;
      segment = this.lifetimes.takeExpired(now)
    ) {
      this.expire(segment);
    }
    this.bestEffort?.giveUpStale(now);
  }

  /** Bytes of memory but for those of complete messages. */
  get memoryBytes(): number {
    return this.reliable.memoryBytes + (this.bestEffort?.memoryBytes ?? 0);
  }

  // ---- inside ----

  /** [STR-6] The application may have seen the end: nothing comes behind it. */
  private tooLate(messages: number): number {
    this.context.late += messages;
    return 0;
  }

  private get bestEffortInbox(): BestEffortInbox {
    if (this.bestEffort === null) {
      this.bestEffort = new BestEffortInbox(this.context, this.ready, this.lifetimes, this.ordered);
      if (this.stopState !== Told.NOT_WANTED || this.resetCode >= 0) this.bestEffort.discard();
    }
    return this.bestEffort;
  }

  /**
   * For each of many small messages: asking a typed array for its memory takes as long as making a view of it, and so does looking up
   * the global `Buffer`.
   */
  private takeFrom(segment: Segment): Buffer | null {
    const { buffer } = segment;
    let start = segment.at;
    if (segment.end > buffer.length) return this.lose(segment);
    if (segment.memory === null) lend(segment);
    let length = segment.end - start;
    if (segment.prefixed) {
      length = readVarint(buffer, start, segment.end);
      start += varintLength(buffer[start]);
    }
    const next = start + length;
    // Lengths come in runs that were checked, so somebody wrote over them.
    if (length < 0 || next > segment.end || (segment.count === 1 && next < segment.end))
      return this.lose(segment);
    segment.at = next;
    segment.sequence++;
    segment.count--;
    this.ready.count--;
    this.context.messages++;
    this.context.messageBytes += length;
    const last = segment.count === 0;
    if (last) {
      this.ready.remove(segment);
      this.lifetimes.remove(segment);
      this.context.unkeep(segment);
    }
    if (segment.space === Space.RELIABLE) {
      segment.charged -= length + MESSAGE_COST;
      this.reliable.free(length + MESSAGE_COST);
    } else if (last) this.context.budget.release(segment);
    else this.context.budget.shrink(segment, length + MESSAGE_COST);
    if (length <= segment.copyMax) return copyOut(buffer, start, length);
    return Buffer.from(segment.memory as ArrayBuffer, segment.memoryStart + start, length);
  }

  /** The application let go of memory that messages share which it has not read, or wrote over it: they are gone, and the stream with them. [STR-32] */
  private lose(segment: Segment): null {
    this.ready.remove(segment);
    (segment.space === Space.RELIABLE ? this.reliable : this.bestEffort!).freeSegment(segment);
    this.isDetached = true;
    return null;
  }

  /** A message was not complete, in order and read in time. [STR-26] */
  private expire(segment: Segment): void {
    this.lifetimes.remove(segment);
    const inbox = segment.space === Space.RELIABLE ? this.reliable : this.bestEffort!;
    inbox.onExpired(segment);
  }

  private discard(): void {
    for (let segment = this.ready.head; segment !== null; segment = this.ready.head) {
      this.ready.remove(segment);
      if (segment.space === Space.RELIABLE) this.reliable.freeSegment(segment);
      else this.bestEffort!.freeSegment(segment);
    }
    this.reliable.discard();
    this.bestEffort?.discard();
  }
}

/** How far the peer has been told of something. */
const Told = { NOT_WANTED: 0, WANTED: 1, SENT: 2, ACKED: 3 } as const;
