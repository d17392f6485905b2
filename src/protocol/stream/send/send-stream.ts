import { assert, JspError } from '../../../base/errors.ts';
import { type Micros, NEVER } from '../../../base/time.ts';
import type { StreamProtection } from '../../fec/stream-protection.ts';
import { CloseCode } from '../../wire/close-code.ts';
import type { FrameReader } from '../../wire/frame-reader.ts';
import { Delivery, FrameType, Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { writeStreamDataBlocked } from '../../wire/frames/flow-control.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import {
  recordStreamOpen,
  streamOpenSize,
  writeResetStream,
  writeStreamFin,
  writeStreamOpen,
} from '../../wire/frames/stream.ts';
import { FlowCredit, SEQUENCE_SPAN_MAX } from '../flow-control.ts';
import { Packetizer } from './packetizer.ts';
import type { SecondCopies } from './second-copies.ts';
import type { UnsentMessage } from './send-buffer.ts';
import { type SendContext, SendQueue, type SendQueueOptions } from './send-context.ts';
import { SendMark } from './send-mark.ts';

/** The states of a sending half, as RFC 9000 section 3.1 names them. */
export const SendState = {
  /** Nothing was sent yet. */
  READY: 0,
  SEND: 1,
  /** All messages were sent, and STREAM_FIN. */
  DATA_SENT: 2,
  /** The peer has STREAM_FIN, and everything sent is settled: the half can be forgotten. [STR-30] */
  DATA_RECVD: 3,
  /** The stream was reset: RESET_STREAM is sent, or goes with the next packet. */
  RESET_SENT: 4,
  /** The peer has RESET_STREAM, and everything sent is settled: the half can be forgotten. [STR-30] */
  RESET_RECVD: 5,
} as const;
export type SendState = (typeof SendState)[keyof typeof SendState];

/** What STREAM_OPEN tells the peer. */
export interface StreamOpening {
  /** The byte of the frame: priority, ordered, default delivery. */
  readonly flags: number;
  /** UTF-8, at most 64 bytes. */
  readonly label: Uint8Array;
}

/** What {@link SendStream.send} did with a message. */
export const SendResult = {
  ACCEPTED: 0,
  /** Accepted, but the queue is above its high-water mark: wait for the drain. */
  FULL: 1,
  /** Not accepted: the queue is at its limit. */
  REFUSED: 2,
} as const;
export type SendResult = (typeof SendResult)[keyof typeof SendResult];

/** Fixed things of a sending half. */
export interface SendStreamOptions extends SendQueueOptions {
  readonly id: number;
  /** Given by the side that opens the stream; null on the other side. */
  readonly opening: StreamOpening | null;
  /** The peer's initial_max_stream_data. */
  readonly initialMaxStreamData: number;
  /** It is of the class `system`, and may use the last of the connection's credit. Default false. */
  readonly isSystem?: boolean;
  /** It is of the class `bulk`: time matters less than bytes. Default false. */
  readonly isBulk?: boolean;
  /** Most sequences from the oldest unsettled one on. [STR-12] Default 65,536. */
  readonly spanMax?: number;
  /** How its messages are protected against loss. Default: not at all. */
  readonly protection?: StreamProtection;
}

/**
 * The sending half of a stream. The application's messages go in with {@link send}; the connection takes them out with
 * {@link write} and brings back what became of the frames with {@link onFrameAcked} and {@link onFrameLost}.
 */
export class SendStream {
  readonly credit: FlowCredit;
  /** What waits for its first transmission. */
  readonly queue: SendQueue;
  /** Code of the peer's STOP_SENDING; -1 without one. */
  stopCode = -1;
  /** Something was done to its stream since the last turn. */
  isTouched = false;

  private state: SendState = SendState.READY;
  /** The application has ended the stream: STREAM_FIN follows what is queued. */
  private isEnded = false;
  private resetCode = 0;
  /** How far STREAM_OPEN is, and STREAM_FIN or, once the stream was reset, RESET_STREAM. */
  private open: Told;
  private end: Told = Told.DUE;

  private readonly protection: StreamProtection | null;
  private readonly id: number;
  private readonly opening: StreamOpening | null;
  private readonly context: SendContext;
  private readonly reliable: Packetizer;
  private bestEffort: Packetizer | null = null;
  private bestEffortFirst = false;

  constructor(context: SendContext, options: SendStreamOptions) {
    const { id, opening } = options;
    this.id = id;
    this.context = context;
    this.opening = opening;
    this.open = opening === null ? Told.ACKED : Told.DUE;
    this.credit = new FlowCredit(options.initialMaxStreamData, context);
    this.queue = new SendQueue(options);
    this.protection = options.protection ?? null;
    this.reliable = new Packetizer(context, {
      space: Space.RELIABLE,
      stream: id,
      queue: this.queue,
      credit: this.credit,
      spanMax: options.spanMax ?? SEQUENCE_SPAN_MAX,
      usesReserve: options.isSystem ?? false,
      isRepeated: !(options.isBulk ?? false),
      protection: this.protection,
    });
  }

  // ---- the application's side ----

  /**
   * Queues a message, by its delivery in one of the two spaces. It is copied unless `transfer` gives it away. [STR-1]
   *
   * @param deadline - when it is worth nothing any more; NEVER for none
   * @param trackingId - above 0 to find its outcome in the context's ring; 0 for none
   * @throws JspError ERR_JSP_STREAM_CLOSED after {@link close} or {@link reset}, ERR_JSP_STREAM_RESET when the peer stopped it
   */
  send(
    data: Uint8Array,
    delivery: Delivery,
    deadline: Micros,
    transfer: boolean,
    trackingId = 0,
  ): SendResult {
    if (this.isEnding) this.throwClosed();
    if (!this.queue.admits(data.length)) return SendResult.REFUSED;
    const { buffer } = delivery === Delivery.BEST_EFFORT ? this.bestEffortPacketizer() : this.reliable;
    buffer.push(data, deadline, transfer, trackingId);
    this.queue.early?.note(buffer.records, delivery !== Delivery.BEST_EFFORT);
    return this.queue.takeFull() ? SendResult.FULL : SendResult.ACCEPTED;
  }

  /** Ends the stream behind the messages that are queued. [STR-6] */
  close(): void {
    if (!this.isEnding) this.isEnded = true;
  }

  /** Ends the stream at once and gives up what is not acknowledged. [STR-24] */
  reset(code: number): void {
    if (this.isReset) return;
    this.moveTo(SendState.RESET_SENT);
    this.credit.unblock();
    this.end = Told.DUE;
    this.resetCode = code;
    this.reliable.buffer.reset();
    this.bestEffort?.buffer.reset();
  }

  /** True when nothing is queued and everything sent is settled, the end of the stream too. */
  get settled(): boolean {
    return !this.isEndUntold && this.isEmpty;
  }

  /** True when nothing of the reliable space is unsettled, nor the end of the stream. */
  get delivered(): boolean {
    return !this.isEndUntold && this.reliable.buffer.records.isEmpty;
  }

  /** A turn is over: what still waits has waited since now, unless it did before. */
  noteWaiting(now: Micros): void {
    this.reliable.buffer.times.note(now);
    this.bestEffort?.buffer.times.note(now);
  }

  /** Since when the oldest message waits that is not wholly sent; NEVER for none. */
  get waitsSince(): Micros {
    const { bestEffort, reliable } = this;
    return Math.min(reliable.buffer.times.since, bestEffort?.buffer.times.since ?? NEVER);
  }

  /** How far it is, to be looked at again later. */
  mark(): SendMark {
    return new SendMark(this.reliable.buffer, this.bestEffort?.buffer ?? null);
  }

  /** True when the peer knows the end of the stream and everything sent is settled: the half can be forgotten. [STR-30] */
  get finished(): boolean {
    return this.state === SendState.DATA_RECVD || this.state === SendState.RESET_RECVD;
  }

  /** What was sent was thrown away unread by the peer, which does not know the stream: all of it is to be sent anew. [HS-58] */
  recall(limit: number): void {
    this.reliable.recall();
    this.credit.restart(limit);
    this.open = Told.DUE;
    this.end = Told.DUE;
    if (!this.isReset && this.state !== SendState.READY) this.moveTo(SendState.READY);
  }

  /** The peer takes no messages longer than this: those that wait leave the queue. [STR-46] */
  takeLonger(bytesMax: number): UnsentMessage[] {
    const taken = this.reliable.buffer.takeLonger(bytesMax);
    if (this.bestEffort !== null) taken.push(...this.bestEffort.buffer.takeLonger(bytesMax));
    return taken;
  }

  // ---- the connection's side ----

  /** The peer knows the stream, so that frames about it may go without its STREAM_OPEN. */
  get isOpenAtPeer(): boolean {
    return this.open === Told.ACKED;
  }

  /** True when {@link write} may have something to write now. */
  get sendable(): boolean {
    if (this.open === Told.DUE || this.resetDue || this.finDue) return true;
    if (this.reliable.sendable || this.credit.owesBlocked || this.isFlushDue) return true;
    return this.bestEffort?.sendable ?? false;
  }

  /** Deadline of the message that would be sent next, for the scheduler. */
  get headDeadline(): Micros {
    const deadline = this.reliable.headDeadline;
    return this.bestEffort === null ? deadline : Math.min(deadline, this.bestEffort.headDeadline);
  }

  /**
   * Writes as much as fits into the packet: what is lost first, then what is new.
   *
   * @param copies - writes the oldest of these instead, if the packet has room for all of it
   */
  write(w: FrameWriter, copies: SecondCopies | null = null): void {
    const start = w.at;
    if (this.open !== Told.ACKED && !this.putOpening(w)) return; // [STR-3] it goes ahead of all else
    const opened = w.at;
    if (copies === null) this.writeDue(w);
    else if (this.reliable.writeCopies(w, copies.sequence, copies.messages, copies.isProbed))
      copies.shift(w.now);
    if (w.at === opened && this.open !== Told.DUE) w.at = start;
    else this.afterWrite(w);
  }

  /** The packet that held this frame of ours is acknowledged. */
  onFrameAcked(frame: SentFrame): void {
    const { type } = frame;
    if (isMessageFrame(type)) this.packetizerOf(frame)?.buffer.onFrameAcked(frame);
    else if (type === FrameType.STREAM_OPEN) this.open = Told.ACKED;
    else if (type === this.endFrame) this.end = Told.ACKED;
    this.settleEnd();
  }

  /** The packet that held this frame of ours is lost. */
  onFrameLost(frame: SentFrame, now: Micros): void {
    const { type } = frame;
    if (isMessageFrame(type)) this.packetizerOf(frame)?.onFrameLost(frame, now);
    else if (type === FrameType.STREAM_DATA_BLOCKED) this.credit.onBlockedLost(frame.limit);
    else if (type === FrameType.STREAM_OPEN) this.open = lost(this.open);
    else if (type === this.endFrame) this.end = lost(this.end);
    this.settleEnd();
  }

  /** A frame of the peer's receiving half: MAX_STREAM_DATA, STOP_SENDING or DROPPED. Returns 0 or the code to close with. */
  onFrame(frame: FrameReader, now: Micros): number {
    switch (frame.type) {
      case FrameType.MAX_STREAM_DATA:
        this.credit.raise(frame.limit);
        return 0;
      case FrameType.STOP_SENDING:
        this.onStopSending(frame.code);
        return 0;
      default:
        return this.onDropped(frame.space as Space, frame.sequence, frame.count, now);
    }
  }

  /** When {@link onTimeout} is to be called at the latest. */
  nextTimeout(): Micros {
    const next = this.reliable.buffer.nextTimeout;
    return this.bestEffort === null ? next : Math.min(next, this.bestEffort.buffer.nextTimeout);
  }

  /** Ends the lifetime of messages whose deadline has come. */
  onTimeout(now: Micros): void {
    this.reliable.buffer.expire(now);
    this.bestEffort?.buffer.expire(now);
    if (this.queue.bytes === 0) this.credit.unblock();
    this.settleEnd();
  }

  /** Gives memory back, when the stream has not been used for a while. */
  trim(): void {
    this.reliable.buffer.records.trim();
    this.bestEffort?.buffer.records.trim();
  }

  // ---- frames ----

  /** What waits to be sent. */
  private writeDue(w: FrameWriter): void {
    const { reliable, bestEffort } = this;
    if (this.resetDue && w.hasControlRoom) this.writeReset(w);
    if (reliable.buffer.lost.size > 0) reliable.writeLost(w);
    if (reliable.buffer.abandoned.size > 0) reliable.writeAbandon(w);
    if (bestEffort !== null) this.writeNewOfBoth(w, bestEffort);
    else if (reliable.hasUnsent) reliable.writeNew(w);
    if (this.isFlushDue) this.flush(w);
    if (reliable.buffer.abandoned.size > 0) reliable.writeAbandon(w); // of what proved to be too late just now
    if (this.credit.owesBlocked && w.hasControlRoom) {
      writeStreamDataBlocked(w, this.id, this.credit.sayBlocked());
    }
    if (this.finDue && w.hasControlRoom) this.writeFin(w);
  }

  /** Nobody reads any more. [STR-25] */
  private onStopSending(code: number): void {
    if (this.stopCode >= 0) return;
    this.stopCode = code;
    if (!this.finished) this.reset(code);
  }

  /** The peer gave these messages up: they need no more work. [STR-18] */
  private onDropped(space: Space, first: number, count: number, now: Micros): number {
    const buffer = (space === Space.RELIABLE ? this.reliable : this.bestEffort)?.buffer;
    if (buffer === undefined || !buffer.onDropped(first, count, now)) return CloseCode.PROTOCOL_VIOLATION;
    this.settleEnd();
    return 0;
  }

  // ---- states ----

  /** The only way from one state to another. */
  private moveTo(state: SendState): void {
    assert(NEXT_SEND_STATES[this.state].includes(state), 'a sending half moves as RFC 9000 section 3.1 says');
    this.state = state;
  }

  /** The peer may know the end now, and everything sent may be settled. */
  private settleEnd(): void {
    if (this.end !== Told.ACKED || !this.isEmpty) return;
    if (this.state === SendState.DATA_SENT) this.moveTo(SendState.DATA_RECVD);
    else if (this.state === SendState.RESET_SENT) this.moveTo(SendState.RESET_RECVD);
  }

  private get isReset(): boolean {
    return this.state >= SendState.RESET_SENT;
  }

  /** The stream was ended or reset: it takes no more messages. */
  private get isEnding(): boolean {
    return this.isEnded || this.isReset;
  }

  /** The end is on its way, or will be, and the peer has not said that it knows. */
  private get isEndUntold(): boolean {
    return this.isEnding && this.end !== Told.ACKED;
  }

  private get isEmpty(): boolean {
    return (
      this.reliable.buffer.records.isEmpty &&
      (this.bestEffort === null || this.bestEffort.buffer.records.isEmpty)
    );
  }

  // ---- STREAM_OPEN, STREAM_FIN, RESET_STREAM [STR-30] ----

  private get endFrame(): number {
    return this.isReset ? FrameType.RESET_STREAM : FrameType.STREAM_FIN;
  }

  private get resetDue(): boolean {
    return this.state === SendState.RESET_SENT && this.end === Told.DUE;
  }

  /** STREAM_FIN goes, or goes again, as soon as nothing is unsent. */
  private get finDue(): boolean {
    if (!this.isEnded || this.isReset || this.end !== Told.DUE || this.reliable.hasUnsent) return false;
    return this.bestEffort === null || !this.bestEffort.hasUnsent;
  }

  /** Writes STREAM_OPEN without recording it yet: it goes only with something else, or when it is owed. False when it does not fit. */
  private putOpening(w: FrameWriter): boolean {
    const { flags, label } = this.opening!;
    if (w.room < streamOpenSize(this.id, label)) return false;
    writeStreamOpen(w, this.id, flags, label);
    return true;
  }

  private writeReset(w: FrameWriter): void {
    writeResetStream(w, this.id, this.resetCode, this.reliable.buffer.nextSequence);
    this.end = Told.SENT;
  }

  private writeFin(w: FrameWriter): void {
    writeStreamFin(w, this.id, this.reliable.buffer.nextSequence);
    this.end = Told.SENT;
    if (this.state !== SendState.DATA_SENT) this.moveTo(SendState.DATA_SENT);
  }

  /** Something was written, which the packet keeps. */
  private afterWrite(w: FrameWriter): void {
    if (this.state === SendState.READY) this.moveTo(SendState.SEND);
    if (this.open === Told.ACKED) return;
    recordStreamOpen(w, this.id);
    this.open = Told.SENT;
  }

  // ---- protection ----

  private get isFlushDue(): boolean {
    return this.protection?.isFlushDue === true;
  }

  private flush(w: FrameWriter): void {
    this.reliable.writeFlush(w);
    this.bestEffort?.writeFlush(w);
    this.protection?.endFlush();
  }

  // ---- the two spaces ----

  private bestEffortPacketizer(): Packetizer {
    this.context.hasThinned = true;
    this.bestEffort ??= new Packetizer(this.context, {
      space: Space.BEST_EFFORT,
      stream: this.id,
      queue: this.queue,
      credit: this.credit,
      spanMax: 0,
      usesReserve: false,
      isRepeated: false,
      protection: this.protection,
    });
    return this.bestEffort;
  }

  private packetizerOf(frame: SentFrame): Packetizer | null {
    return frame.isBestEffort ? this.bestEffort : this.reliable;
  }

  /** New messages of both spaces; which goes first changes with every packet, so that neither starves. */
  private writeNewOfBoth(w: FrameWriter, bestEffort: Packetizer): void {
    const first = this.bestEffortFirst ? bestEffort : this.reliable;
    const second = this.bestEffortFirst ? this.reliable : bestEffort;
    this.bestEffortFirst = !this.bestEffortFirst;
    first.writeNew(w);
    second.writeNew(w);
  }

  private throwClosed(): never {
    if (this.stopCode >= 0) {
      throw new JspError(
        'ERR_JSP_STREAM_RESET',
        `the peer stopped stream ${this.id} with code ${this.stopCode}`,
        { applicationCode: this.stopCode },
      );
    }
    throw new JspError('ERR_JSP_STREAM_CLOSED', `stream ${this.id} is closed for sending`);
  }
}

/** Whether a frame that was sent is one that a buffer is told of. */
function isMessageFrame(type: number): boolean {
  return (type >= FrameType.MESSAGE && type <= FrameType.MESSAGES_BEST_EFFORT) || type === FrameType.ABANDON;
}

/** How far the peer has been told of something. */
const Told = { DUE: 0, SENT: 1, ACKED: 2 } as const;
type Told = (typeof Told)[keyof typeof Told];

/** A packet that told of it is lost: it is due again, unless another one arrived. */
function lost(told: Told): Told {
  return told === Told.SENT ? Told.DUE : told;
}

/**
 * By {@link SendState}. A stream may also be reset when all of it has arrived: then the peer throws away what is unread; and one whose early data
 * was refused begins anew [HS-58]. spec/state-machines.md says when.
 */
export const NEXT_SEND_STATES: readonly (readonly SendState[])[] = [
  [SendState.SEND, SendState.DATA_SENT, SendState.RESET_SENT],
  [SendState.DATA_SENT, SendState.READY, SendState.RESET_SENT],
  [SendState.DATA_RECVD, SendState.READY, SendState.RESET_SENT],
  [SendState.RESET_SENT],
  [SendState.RESET_RECVD],
  [],
];
