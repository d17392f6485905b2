import { Buffer } from 'node:buffer';
import { assert } from '../../../base/errors.ts';
import { DeadlineHeap, type Micros, NEVER } from '../../../base/time.ts';
import { CloseCode } from '../../wire/close-code.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import { FrameType, MessageFlag, RunFlag, Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { writeMaxStreamData } from '../../wire/frames/flow-control.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import { writeStopSending } from '../../wire/frames/stream.ts';
import { readVarint, varintLength } from '../../wire/varint.ts';
import { FlowWindow, MESSAGE_COST, SEQUENCE_SPAN_MAX, type WindowGrowth } from '../flow-control.ts';
import { BestEffortReassembler } from './best-effort-reassembler.ts';
import type { ReassemblerOptions, ReceiveContext } from './receive-context.ts';
import { ReliableReassembler } from './reliable-reassembler.ts';
import { copyOut, lend, ReadyQueue, type Segment } from './segment.ts';

/** The states of a receiving half, as RFC 9000 section 3.2 names them. */
export const ReceiveState = {
  RECV: 0,
  /** The end is known: STREAM_FIN came. */
  SIZE_KNOWN: 1,
  /** Every sequence up to the end was seen. */
  DATA_RECVD: 2,
  /** All that was delivered is read: the application may have seen the end. */
  DATA_READ: 3,
  /** RESET_STREAM came: what is unread, and what still comes, is thrown away. */
  RESET_RECVD: 4,
  /** Every sequence up to the end was seen, so that flow control is exact. */
  RESET_READ: 5,
} as const;
export type ReceiveState = (typeof ReceiveState)[keyof typeof ReceiveState];

/** Why a message that came cannot be read. */
export const ReadFault = {
  NONE: 0,
  /** The application detached the memory it was in, or wrote over it. */
  DETACHED: 1,
  /** It is in an envelope that cannot be opened: the connection is to be closed. [CMP-7] */
  UNREADABLE: 2,
} as const;
export type ReadFault = (typeof ReadFault)[keyof typeof ReadFault];

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
 * The receiving half of a stream. The connection hands in frames with {@link onFrame}; messages are put together by the reassemblers of the
 * two spaces, and the application takes them out with {@link read}.
 */
export class ReceiveStream {
  readonly window: FlowWindow;
  /** Code of the peer's RESET_STREAM; -1 without one. */
  resetCode = -1;
  /** Why {@link read} gave nothing when there was something. */
  fault: ReadFault = ReadFault.NONE;

  private state: ReceiveState = ReceiveState.RECV;
  private readonly id: number;
  private readonly context: ReceiveContext;
  private readonly ready = new ReadyQueue();
  private readonly lifetimes = new DeadlineHeap<Segment>();
  private readonly shared: ReassemblerOptions;
  private readonly reliable: ReliableReassembler;
  private bestEffort: BestEffortReassembler | null = null;
  /** How far STOP_SENDING is. */
  private stopState: Told = Told.NOT_WANTED;
  private stopCode = 0;
  private limitLost = false;

  constructor(context: ReceiveContext, options: ReceiveStreamOptions) {
    this.id = options.id;
    this.context = context;
    this.window = new FlowWindow(options.windowBytes, options.growth);
    const { ready, lifetimes } = this;
    this.shared = { context, ready, lifetimes, ordered: options.ordered };
    this.reliable = new ReliableReassembler(this.shared, this.window, options.spanMax ?? SEQUENCE_SPAN_MAX);
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
    this.advance();
  }

  /** True when the peer has ended the stream and everything was read. [STR-6] Nothing ends well of which something could not be read. */
  get ended(): boolean {
    return this.isOver && this.fault === ReadFault.NONE;
  }

  /** True when nothing more can come in or go out: the half can be forgotten. [STR-30] */
  get finished(): boolean {
    // [CMP-7] A stream with what cannot be opened ends with its connection.
    return this.isOver && !this.droppedDue && this.fault !== ReadFault.UNREADABLE;
  }

  /** Lets go of all memory, when the half is forgotten. */
  forget(): void {
    this.discard();
    this.window.close();
    this.reliable.forget();
    this.bestEffort?.forget();
  }

  // ---- the connection's side ----

  /** A frame of the peer's sending half. Returns 0 or the code to close with. */
  onFrame(frame: FrameReader, now: Micros): number {
    const { type } = frame;
    if (type >= FrameType.MESSAGE) {
      // [CMP-6] this side did not say that it opens envelopes
      if (frame.isEnveloped && this.context.compression === null) return CloseCode.PROTOCOL_VIOLATION;
      return type >= FrameType.MESSAGES ? this.onMessages(frame) : this.onMessage(frame, now);
    }
    switch (type) {
      case FrameType.STREAM_FIN:
        return this.onFin(frame.end);
      case FrameType.RESET_STREAM:
        return this.onReset(frame.code, frame.end);
      case FrameType.ABANDON:
        return this.advanced(this.reliable.onAbandon(frame));
      default: // STREAM_DATA_BLOCKED
        this.window.onBlocked(frame.limit);
        return 0;
    }
  }

  /** True when {@link writeControl} has something to write. */
  get controlDue(): boolean {
    if (this.stopState === Told.WANTED) return !this.reliable.complete;
    return this.limitDue;
  }

  /** Writes MAX_STREAM_DATA and STOP_SENDING. */
  writeControl(w: FrameWriter): void {
    if (this.stopState === Told.WANTED && w.hasControlRoom) {
      writeStopSending(w, this.id, this.stopCode);
      this.stopState = Told.SENT;
    }
    if (this.limitDue && w.hasControlRoom) {
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
    const deadline = this.lifetimes.peek()?.deadline ?? NEVER;
    return Math.min(deadline, stale);
  }

  /**
   * Gives up messages whose deadline has come. True when what is incomplete has waited too long for its next byte, for which the connection
   * may be closed. [STR-35]
   */
  onTimeout(now: Micros): boolean {
    for (let segment = this.lifetimes.peek(); segment !== undefined && segment.deadline <= now; ) {
      this.expire(segment);
      segment = this.lifetimes.peek();
    }
    this.bestEffort?.giveUpStale(now);
    return this.reliable.stallsAt <= now;
  }

  /** Bytes of memory but for those of complete messages. */
  get memoryBytes(): number {
    return this.reliable.memoryBytes + (this.bestEffort?.memoryBytes ?? 0);
  }

  // ---- states ----

  /** The only way from one state to another. */
  private moveTo(state: ReceiveState): void {
    assert(
      NEXT_RECEIVE_STATES[this.state].includes(state),
      'a receiving half moves as RFC 9000 section 3.2 says',
    );
    this.state = state;
  }

  private get isOver(): boolean {
    return this.state === ReceiveState.DATA_READ || this.state === ReceiveState.RESET_READ;
  }

  /** Something was seen, read or thrown away since the end is known. */
  private advance(): void {
    if (this.state === ReceiveState.RECV || !this.reliable.complete) return;
    if (this.state === ReceiveState.SIZE_KNOWN) this.moveTo(ReceiveState.DATA_RECVD);
    if (this.state === ReceiveState.DATA_RECVD && this.ready.count === 0) this.moveTo(ReceiveState.DATA_READ);
    if (this.state === ReceiveState.RESET_RECVD) this.moveTo(ReceiveState.RESET_READ);
  }

  private advanced(code: number): number {
    if (this.state !== ReceiveState.RECV) this.advance();
    return code;
  }

  // ---- frames ----

  private onMessages(frame: FrameReader): number {
    if ((frame.type & RunFlag.BEST_EFFORT) === 0) return this.advanced(this.reliable.onRun(frame));
    if (this.ended) return this.tooLate(frame.count);
    return this.bestEffortReassembler().onRun(frame);
  }

  private onMessage(frame: FrameReader, now: Micros): number {
    if ((frame.flags & MessageFlag.BEST_EFFORT) === 0)
      return this.advanced(this.reliable.onMessage(frame, now));
    if (this.ended) return this.tooLate(1);
    return this.bestEffortReassembler().onMessage(frame, now);
  }

  private onFin(end: number): number {
    const error = this.reliable.onEnd(end);
    if (error !== 0) return error;
    if (this.state === ReceiveState.RECV) this.moveTo(ReceiveState.SIZE_KNOWN);
    return this.advanced(0);
  }

  /** Unread messages are thrown away. [STR-24] */
  private onReset(code: number, end: number): number {
    const error = this.reliable.onEnd(end);
    if (error !== 0 || this.resetCode >= 0) return error;
    this.resetCode = code;
    this.moveTo(ReceiveState.RESET_RECVD);
    this.discard();
    return this.advanced(0);
  }

  /** [STR-6] The application may have seen the end: nothing comes behind it. */
  private tooLate(messages: number): number {
    this.context.late += messages;
    return 0;
  }

  private bestEffortReassembler(): BestEffortReassembler {
    if (this.bestEffort === null) {
      this.bestEffort = new BestEffortReassembler(this.shared, () => this.advance());
      if (this.stopState !== Told.NOT_WANTED || this.resetCode >= 0) this.bestEffort.discard();
    }
    return this.bestEffort;
  }

  /** MAX_STREAM_DATA is to be sent, or sent again. A stream whose end is known gets no more limits. [STR-11] */
  private get limitDue(): boolean {
    return (this.window.due || this.limitLost) && this.state === ReceiveState.RECV;
  }

  // ---- messages ----

  /** For each of many small messages: asking a typed array for its memory takes as long as making a view of it. */
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
    const charge = length + MESSAGE_COST;
    const { copyMax, memory, memoryStart } = segment;
    if (last) {
      this.ready.remove(segment);
      this.lifetimes.remove(segment);
      this.context.kept.unkeep(segment);
    }
    if (segment.owner === this.reliable) {
      segment.charged -= charge;
      if (!last && segment.copy === null && segment.charged < segment.kept - segment.waste)
        this.context.kept.onPartRead(segment);
      this.reliable.free(charge);
    } else if (last) this.context.budget.release(segment);
    else if (segment.copy !== null || segment.charged - charge >= segment.kept)
      this.context.budget.shrink(segment, charge); // else what is left keeps all of its memory
    if (last && this.state === ReceiveState.DATA_RECVD) this.advance();
    if (segment.isEnveloped) return this.open(buffer, start, length);
    if (length <= copyMax) return copyOut(buffer, start, length);
    return new BufferView(memory as ArrayBuffer, memoryStart + start, length);
  }

  /** The application let go of memory that messages share which it has not read, or wrote over it: they are gone, and the stream with them. [STR-32] */
  private lose(segment: Segment): null {
    this.ready.remove(segment);
    segment.owner.freeSegment(segment);
    this.fault = ReadFault.DETACHED;
    this.advance();
    return null;
  }

  /** A message that is read is taken out of its envelope. [CMP-5] */
  private open(bytes: Uint8Array, start: number, length: number): Buffer | null {
    const { compression, messageBytesMax } = this.context;
    const message = compression!.inflate(bytes, start, start + length, messageBytesMax);
    if (message !== null) return message;
    this.fault = ReadFault.UNREADABLE;
    this.discard(); // what follows would hide that something is missing
    return null;
  }

  /** A message was not complete, in order and read in time. [STR-26] */
  private expire(segment: Segment): void {
    this.lifetimes.remove(segment);
    segment.owner.onExpired(segment);
    this.advance();
  }

  private discard(): void {
    for (let segment = this.ready.head; segment !== null; segment = this.ready.head) {
      this.ready.remove(segment);
      segment.owner.freeSegment(segment);
    }
    this.reliable.discard();
    this.bestEffort?.discard();
  }
}

/** The class that buffers are of: `Buffer.from` looks at what it is given for half as long again as it takes to make a view. */
const BufferView = (Buffer as unknown as Record<typeof Symbol.species, BufferViewOf>)[Symbol.species];
type BufferViewOf = new (memory: ArrayBuffer, start: number, length: number) => Buffer;

/** How far the peer has been told of something. */
const Told = { NOT_WANTED: 0, WANTED: 1, SENT: 2, ACKED: 3 } as const;
type Told = (typeof Told)[keyof typeof Told];

/** By {@link ReceiveState}. A stream may also be reset when all of it was read, as its sender cannot know. spec/state-machines.md says when. */
export const NEXT_RECEIVE_STATES: readonly (readonly ReceiveState[])[] = [
  [ReceiveState.SIZE_KNOWN, ReceiveState.RESET_RECVD],
  [ReceiveState.DATA_RECVD, ReceiveState.RESET_RECVD],
  [ReceiveState.DATA_READ, ReceiveState.RESET_RECVD],
  [ReceiveState.RESET_RECVD],
  [ReceiveState.RESET_READ],
  [],
];
