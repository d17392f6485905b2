import { JspError } from '../../../base/errors.ts';
import type { Micros } from '../../../base/time.ts';
import { CloseCode } from '../../wire/close-code.ts';
import { Delivery, FrameType, MessageFlag, Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { writeStreamDataBlocked } from '../../wire/frames/flow-control.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import { FlowCredit, MESSAGE_COST, SEQUENCE_SPAN_MAX } from '../flow-control.ts';
import { OutboxPacker } from './outbox-packer.ts';
import type { SendContext } from './send-context.ts';
import { SendSignals, type StreamOpening, Told } from './send-signals.ts';

export type { StreamOpening };

/** What {@link SendStream.send} did with a message. */
export const SendResult = {
  ACCEPTED: 0,
  /** Accepted, but the queue is above its high-water mark: wait for the drain. */
  FULL: 1,
  /** Not accepted: the queue is at its limit. */
  REFUSED: 2,
} as const;
export type SendResult = (typeof SendResult)[keyof typeof SendResult];

/** A point in the messages of a stream: how many were taken in until then, by space. */
export interface SendMark {
  readonly reliable: number;
  readonly bestEffort: number;
}

/** Fixed things of a sending half. */
export interface SendStreamOptions {
  readonly id: number;
  /** Given by the side that opens the stream; null on the other side. */
  readonly opening: StreamOpening | null;
  /** The peer's initial_max_stream_data. */
  readonly initialMaxStreamData: number;
  /** It is of the class `system`, and may use the last of the connection's credit. Default false. */
  readonly isSystem?: boolean;
  /** Most sequences from the oldest unsettled one on. [STR-12] Default 65,536. */
  readonly spanMax?: number;
  readonly highWaterBytes?: number;
  readonly lowWaterBytes?: number;
  readonly queueBytesMax?: number;
}

/**
 * The sending half of a stream. The application's messages go in with {@link send}; the connection takes them out with
 * {@link write} and brings back what became of the frames with {@link onFrameAcked} and {@link onFrameLost}.
 */
export class SendStream {
  readonly id: number;
  readonly credit: FlowCredit;
  /** Above this many queued bytes {@link send} answers FULL. */
  highWaterBytes: number;
  /** When the queue falls to this after FULL, {@link takeDrained} says so. */
  lowWaterBytes: number;
  /** Beyond this {@link send} refuses, unless nothing else is queued. */
  queueBytesMax: number;
  /** The peer asked us to stop; its code is in `stopCode`. */
  stopped = false;
  stopCode = 0;

  private readonly context: SendContext;
  private readonly signals: SendSignals;
  private readonly reliable: OutboxPacker;
  private bestEffort: OutboxPacker | null = null;
  private bestEffortFirst = false;
  private awaitsDrain = false;

  constructor(context: SendContext, options: SendStreamOptions) {
    this.id = options.id;
    this.context = context;
    this.signals = new SendSignals(options.id, options.opening);
    this.credit = new FlowCredit(options.initialMaxStreamData);
    this.queueBytesMax = options.queueBytesMax ?? QUEUE_BYTES_MAX;
    this.highWaterBytes = Math.min(options.highWaterBytes ?? HIGH_WATER_BYTES, this.queueBytesMax);
    this.lowWaterBytes = options.lowWaterBytes ?? this.highWaterBytes >>> 2;
    const spanMax = options.spanMax ?? SEQUENCE_SPAN_MAX;
    const isSystem = options.isSystem ?? false;
    this.reliable = new OutboxPacker(Space.RELIABLE, context, this.id, this.credit, spanMax, isSystem);
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
    if (this.signals.isEnding) this.throwClosed();
    const queued = this.queuedBytes;
    if (queued + data.length > this.queueBytesMax && queued > 0) {
      this.awaitsDrain = true;
      return SendResult.REFUSED;
    }
    let outbox = this.reliable;
    if (delivery === Delivery.BEST_EFFORT) {
      if (this.bestEffort === null) {
        this.bestEffort = new OutboxPacker(Space.BEST_EFFORT, this.context, this.id, this.credit, 0, false);
      }
      outbox = this.bestEffort;
    }
    outbox.push(data, deadline, transfer, trackingId);
    if (queued + data.length + MESSAGE_COST <= this.highWaterBytes) return SendResult.ACCEPTED;
    this.awaitsDrain = true;
    return SendResult.FULL;
  }

  /** Bytes not sent yet, with the fixed cost of their messages. */
  get queuedBytes(): number {
    return this.bestEffort === null
      ? this.reliable.queuedBytes
      : this.reliable.queuedBytes + this.bestEffort.queuedBytes;
  }

  /** True once after {@link send} answered FULL or REFUSED and the queue has fallen to the low-water mark. */
  takeDrained(): boolean {
    if (!this.awaitsDrain || this.queuedBytes > this.lowWaterBytes) return false;
    this.awaitsDrain = false;
    return true;
  }

  /** Ends the stream behind the messages that are queued. [STR-6] */
  close(): void {
    if (!this.signals.isEnding) this.signals.fin = Told.WANTED;
  }

  /** Ends the stream at once and gives up what is not acknowledged. [STR-24] */
  reset(code: number): void {
    if (this.signals.reset !== Told.NOT_WANTED) return;
    this.signals.wantReset(code);
    this.reliable.reset();
    this.bestEffort?.reset();
  }

  /** True when nothing is queued and everything sent is settled, the end of the stream too. */
  get settled(): boolean {
    return !this.signals.isEndUntold && this.isEmpty;
  }

  /** True when nothing of the reliable space is unsettled, nor the end of the stream. */
  get delivered(): boolean {
    return !this.signals.isEndUntold && this.reliable.empty;
  }

  /** Whether all of the first `mark.reliable` and `mark.bestEffort` messages of the two spaces are settled. */
  isSettledUpTo(mark: SendMark): boolean {
    if (this.reliable.settledPrefix < mark.reliable) return false;
    return this.bestEffort === null || this.bestEffort.settledPrefix >= mark.bestEffort;
  }

  /** How many messages were taken in so far. */
  mark(): SendMark {
    return { reliable: this.reliable.pushed, bestEffort: this.bestEffort?.pushed ?? 0 };
  }

  /** True when the peer knows the end of the stream and everything sent is settled: the half can be forgotten. [STR-30] */
  get finished(): boolean {
    return this.signals.isEndTold && this.isEmpty;
  }

  // ---- the connection's side ----

  /** The peer knows the stream, so that frames about it may go without its STREAM_OPEN. */
  get isOpenAtPeer(): boolean {
    return this.signals.open === Told.ACKED;
  }

  /** True when {@link write} may have something to write now. */
  get sendable(): boolean {
    const { signals } = this;
    if (signals.open === Told.WANTED || signals.reset === Told.WANTED || this.finDue) return true;
    if (this.reliable.sendable || this.credit.owesBlocked) return true;
    return this.bestEffort?.sendable ?? false;
  }

  /** Deadline of the message that would be sent next, for the scheduler. */
  get headDeadline(): Micros {
    const deadline = this.reliable.headDeadline;
    return this.bestEffort === null ? deadline : Math.min(deadline, this.bestEffort.headDeadline);
  }

  /** Writes as much as fits into the packet: what is lost first, then what is new. */
  write(w: FrameWriter): void {
    const { signals, reliable, bestEffort } = this;
    const start = w.at;
    if (signals.open !== Told.ACKED && !signals.putOpening(w)) return; // [STR-3]
    const opened = w.at;
    if (signals.reset === Told.WANTED) signals.writeReset(w, reliable.nextSequence);
    if (reliable.hasLost) reliable.writeLost(w);
    if (reliable.hasAbandoned) reliable.writeAbandon(w);
    if (bestEffort !== null) this.writeNewOfBoth(w, bestEffort);
    else if (reliable.hasUnsent) reliable.writeNew(w);
    if (this.credit.owesBlocked && w.hasControlRoom) {
      writeStreamDataBlocked(w, this.id, this.credit.sayBlocked());
    }
    if (this.finDue) signals.writeFin(w, reliable.nextSequence);
    if (w.at === opened && signals.open !== Told.WANTED) w.at = start;
    else if (signals.open !== Told.ACKED) signals.openingSent(w);
  }

  /** The packet that held this frame of ours is acknowledged. */
  onFrameAcked(frame: SentFrame): void {
    switch (frame.type) {
      case FrameType.MESSAGES:
        this.reliable.onAcked(frame.sequence, frame.count);
        break;
      case FrameType.MESSAGES_BEST_EFFORT:
        this.bestEffort?.onAcked(frame.sequence, frame.count);
        break;
      case FrameType.MESSAGE:
        this.reliable.onAcked(frame.sequence, 1);
        break;
      case FrameType.MESSAGE | MessageFlag.BEST_EFFORT:
        this.bestEffort?.onAcked(frame.sequence, 1);
        break;
      case FrameType.MESSAGE | MessageFlag.FRAGMENT:
        this.reliable.onFragmentAcked(frame.sequence, frame.offset, frame.length);
        break;
      case FrameType.MESSAGE | MessageFlag.FRAGMENT | MessageFlag.BEST_EFFORT:
        this.bestEffort?.onFragmentAcked(frame.sequence, frame.offset, frame.length);
        break;
      case FrameType.ABANDON:
        this.reliable.onAbandonAcked(frame.sequence, frame.count);
        break;
      default:
        this.signals.onFrameAcked(frame);
    }
  }

  /** The packet that held this frame of ours is lost. */
  onFrameLost(frame: SentFrame, now: Micros): void {
    switch (frame.type) {
      case FrameType.MESSAGES:
        this.reliable.onLost(frame.sequence, frame.count, now);
        break;
      case FrameType.MESSAGES_BEST_EFFORT:
        this.bestEffort?.onLost(frame.sequence, frame.count, now);
        break;
      case FrameType.MESSAGE:
        this.reliable.onLost(frame.sequence, 1, now);
        break;
      case FrameType.MESSAGE | MessageFlag.BEST_EFFORT:
        this.bestEffort?.onLost(frame.sequence, 1, now);
        break;
      case FrameType.MESSAGE | MessageFlag.FRAGMENT:
        this.reliable.onFragmentLost(frame.sequence, frame.offset, frame.length, now);
        break;
      case FrameType.MESSAGE | MessageFlag.FRAGMENT | MessageFlag.BEST_EFFORT:
        this.bestEffort?.onFragmentLost(frame.sequence, frame.offset, frame.length, now);
        break;
      case FrameType.ABANDON:
        this.reliable.onAbandonLost(frame.sequence, frame.count);
        break;
      case FrameType.STREAM_DATA_BLOCKED:
        this.credit.onBlockedLost(frame.limit);
        break;
      default:
        this.signals.onFrameLost(frame);
    }
  }

  /** MAX_STREAM_DATA from the peer. True when there is more credit than before. */
  onMaxStreamData(limit: number): boolean {
    return this.credit.raise(limit);
  }

  /** STOP_SENDING from the peer: nobody reads any more. [STR-25] */
  onStopSending(code: number): void {
    if (this.stopped) return;
    this.stopped = true;
    this.stopCode = code;
    if (!this.finished) this.reset(code);
  }

  /** DROPPED from the peer. Returns 0 or a close code. */
  onDropped(space: Space, first: number, count: number, now: Micros): number {
    const outbox = space === Space.RELIABLE ? this.reliable : this.bestEffort;
    if (outbox === null || first + count > outbox.nextSequence) return CloseCode.PROTOCOL_VIOLATION;
    outbox.reportedDropped += count;
    if (outbox.reportedDropped > DROPPED_SLACK + DROPPED_FACTOR * outbox.nextSequence) {
      return CloseCode.PROTOCOL_VIOLATION;
    }
    outbox.onDropped(first, count, now);
    return 0;
  }

  /** Gives memory back, when the stream has not been used for a while. */
  trim(): void {
    this.reliable.trim();
    this.bestEffort?.trim();
  }

  /** When {@link onTimeout} is to be called at the latest. */
  nextTimeout(): Micros {
    const next = this.reliable.nextTimeout;
    return this.bestEffort === null ? next : Math.min(next, this.bestEffort.nextTimeout);
  }

  /** Ends the lifetime of messages whose deadline has come. */
  onTimeout(now: Micros): void {
    this.reliable.expire(now);
    this.bestEffort?.expire(now);
  }

  // ---- inside ----

  private get isEmpty(): boolean {
    return this.reliable.empty && (this.bestEffort === null || this.bestEffort.empty);
  }

  private get finDue(): boolean {
    if (!this.signals.isFinWanted || this.reliable.hasUnsent) return false;
    return this.bestEffort === null || !this.bestEffort.hasUnsent;
  }

  /** New messages of both spaces; which goes first changes with every packet, so that neither starves. */
  private writeNewOfBoth(w: FrameWriter, bestEffort: OutboxPacker): void {
    const first = this.bestEffortFirst ? bestEffort : this.reliable;
    const second = this.bestEffortFirst ? this.reliable : bestEffort;
    this.bestEffortFirst = !this.bestEffortFirst;
    first.writeNew(w);
    second.writeNew(w);
  }

  private throwClosed(): never {
    if (this.stopped) {
      throw new JspError(
        'ERR_JSP_STREAM_RESET',
        `the peer stopped stream ${this.id} with code ${this.stopCode}`,
        { applicationCode: this.stopCode },
      );
    }
    throw new JspError('ERR_JSP_STREAM_CLOSED', `stream ${this.id} is closed for sending`);
  }
}

/** A peer that reports more dropped messages than this, and than so many times those that were sent, only makes work. [STR-18] */
const DROPPED_SLACK = 65_536;
const DROPPED_FACTOR = 8;
const HIGH_WATER_BYTES = 262_144;
const QUEUE_BYTES_MAX = 67_108_864;
