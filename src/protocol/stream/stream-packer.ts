import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { ConnectionCompression } from '../compress/compression.ts';
import type { ConnectionProtection } from '../fec/connection-protection.ts';
import { FrameType, MessageFlag } from '../wire/frame-type.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import type { ConnectionStream, StreamEvents } from './connection-stream.ts';
import type { Pace, WindowPool } from './flow-control.ts';
import type { Limits } from './limits.ts';
import { Scheduler } from './scheduler.ts';
import { THINNINGS_A_WAIT } from './send/best-effort-queue.ts';
import type { PathMeasures } from './send/deadline-rule.ts';
import type { SecondCopies } from './send/second-copies.ts';
import type { SendContext } from './send/send-context.ts';

/** What a {@link StreamPacker} shares with the table of streams that it belongs to. */
export interface StreamPackerOptions {
  readonly streams: ReadonlyMap<number, ConnectionStream>;
  readonly context: SendContext;
  readonly limits: Limits;
  /** What streams' windows grow by. */
  readonly pool: WindowPool;
  readonly pace: Pace;
  readonly events: Pick<StreamEvents<unknown>, 'sent' | 'outcomes'>;
  /** How long a best-effort message may wait before it gives way to newer ones; NEVER for as long as it takes. */
  readonly waitMax: Micros;
  readonly protection: ConnectionProtection;
  readonly compression: ConnectionCompression;
  readonly owner: PackedStreamsOwner;
}

/** What the packer tells the owner of the streams. */
export interface PackedStreamsOwner {
  /** Both halves of the stream may be over now. */
  forgetFinished(stream: ConnectionStream): void;
}

/**
 * Fills packets with what the streams of a connection have to send:
 *
 *   1. limits of the connection, then MAX_STREAM_DATA, STOP_SENDING and DROPPED of the streams that owe some;
 *   2. messages, of the streams that the scheduler chooses, one after the other until the packet is full.
 */
export class StreamPacker {
  private readonly streams: ReadonlyMap<number, ConnectionStream>;
  private readonly context: SendContext;
  private readonly limits: Limits;
  private readonly pool: WindowPool;
  private readonly pace: Pace;
  private readonly events: Pick<StreamEvents<unknown>, 'sent' | 'outcomes'>;
  readonly protection: ConnectionProtection;
  readonly compression: ConnectionCompression;
  private readonly owner: PackedStreamsOwner;
  /** Made when a stream first has something to send. */
  private scheduler = IDLE_SCHEDULER;
  /** How long best-effort messages may wait, and when it is looked at next. */
  private readonly waitMax: Micros;
  private thinsAt: Micros = 0;
  /** When there last was something that goes ahead of all others. */
  private urgentAt: Micros = Number.NEGATIVE_INFINITY;
  /** Until then messages that never give way are known to fill all packets. */
  private othersUntil: Micros = 0;
  /** Streams whose receiving half has MAX_STREAM_DATA or STOP_SENDING to send; null: none ever had. */
  private controlDue: Set<ConnectionStream> | null = null;
  /** Streams whose receiving half has DROPPED to send; null: none ever had. */
  private droppedDue: Set<ConnectionStream> | null = null;

  constructor(options: StreamPackerOptions) {
    this.streams = options.streams;
    this.context = options.context;
    this.limits = options.limits;
    this.pool = options.pool;
    this.pace = options.pace;
    this.events = options.events;
    this.protection = options.protection;
    this.compression = options.compression;
    this.owner = options.owner;
    this.waitMax = options.waitMax;
  }

  // ---- what changed ----

  /** The sending half may have something to send. */
  onSendTouched(stream: ConnectionStream): void {
    const { sender } = stream;
    if (!sender.sendable || !this.limits.streams.isAllowed(stream.id)) return;
    if (sender.queue.early?.isHeldBack === true) return; // [HS-59] it waits for the handshake
    if (this.scheduler === IDLE_SCHEDULER) this.scheduler = new Scheduler();
    this.scheduler.activate(stream);
    this.setDeadline(stream);
  }

  /** The receiving half may have something to send. */
  onReceiveTouched(stream: ConnectionStream): void {
    const { receiver } = stream;
    if (receiver.controlDue) this.addControlDue(stream);
    if (receiver.droppedDue) {
      this.droppedDue ??= new Set();
      this.droppedDue.add(stream);
    }
  }

  /** The stream sends nothing any more. */
  remove(stream: ConnectionStream): void {
    this.scheduler.deactivate(stream);
  }

  /** The path was measured anew; see {@link DeadlineRule.onMeasured}. */
  onMeasured(path: PathMeasures, rate: number, now: Micros): void {
    this.context.deadlines.onMeasured(path, rate, now);
  }

  /**
   * The path lost packets.
   *
   * @param rate - upper bound of the share that it loses
   * @param interval - mean time between packets
   */
  onLoss(rate: number, interval: Micros): void {
    this.context.copies.wait = rate < TWICE_RATE_MIN ? NEVER : Math.max(COPY_WAIT_MIN, interval / 2);
  }

  /** The message, or the run of them, goes out once more in the next packet; false when the frame has no whole messages. [REC-58] */
  repeat({ type, stream, sequence, count }: SentFrame, now: Micros): boolean {
    if (type < FrameType.MESSAGE || (type < FrameType.MESSAGES && (type & MessageFlag.FRAGMENT) !== 0))
      return false;
    this.context.copies.addProbed(stream, sequence, type < FrameType.MESSAGES ? 1 : count, now);
    return true;
  }

  onPacketSize(mtu: number): void {
    this.context.packetRoom = mtu - PACKET_OVERHEAD;
  }

  // ---- frames to send ----

  /** True when {@link write} may have messages to write. */
  get hasMessages(): boolean {
    return !this.scheduler.idle;
  }

  /** True when {@link write} may have something to write. */
  get hasFrames(): boolean {
    return (
      !this.scheduler.idle ||
      isSome(this.controlDue) ||
      isSome(this.droppedDue) ||
      this.limits.due ||
      this.context.copies.isDue ||
      this.pool.hasRoomAgain
    );
  }

  /** Something waits for the peer to let us send more, or open more streams. */
  get isFlowBlocked(): boolean {
    const { context, limits } = this;
    return context.blockedCredits > 0 || context.credit.blocked || limits.streams.waiting > 0;
  }

  /** There was a message that gives way while the queue of the path is long. [STR-42] */
  get thins(): boolean {
    return this.context.hasThinned;
  }

  /** Packets of what may be sent that are to be left for urgent messages now: none when there is one, or was none for long. [SCH-7] */
  packetsReserved(now: Micros): number {
    if (this.scheduler.hasUrgent) {
      this.urgentAt = now;
      return 0;
    }
    return now < this.urgentAt + URGENT_MEMORY ? PACKETS_RESERVED : 0;
  }

  /**
   * Fills the packet.
   *
   * @param rate - pacing rate in bytes a second
   * @param rtt - smoothed round-trip time
   * @param thinRoom - bytes that best-effort and partial messages may add to the queue of the path; infinite while that is short
   */
  write(w: FrameWriter, rate: number, rtt: Micros, thinRoom: number): void {
    const { now, at: start } = w;
    this.context.thinRoom = now < this.othersUntil ? Number.POSITIVE_INFINITY : thinRoom;
    const isHeld = this.context.thinRoom <= 0;
    this.pace.now = now;
    this.pace.rtt = rtt;
    this.limits.streams.watch(now);
    this.writeControl(w);
    const { scheduler } = this;
    const { copies, retransmittedBytes } = this.context;
    copies.beginPacket();
    if (scheduler !== IDLE_SCHEDULER) scheduler.beginPacket(now, rate);
    if (this.protection.isAsked) this.protection.beginPacket(now);
    let skips = 0;
    while (!scheduler.idle && w.room >= FRAME_ROOM_MIN) {
      const stream = scheduler.next() as ConnectionStream | null;
      if (stream === null) break;
      const before = w.at;
      stream.sender.write(w); // [SCH-8] with what it has to send again
      if (w.at > before) scheduler.charge(stream, w.at - before);
      else {
        scheduler.skip(stream);
        skips++;
      }
      if (stream.sender.sendable) this.setDeadline(stream);
      else scheduler.deactivate(stream);
      this.events.sent(stream);
      if (w.at > before && scheduler.hasOne && stream.active) break; // it wrote all that fits
      if (skips >= SKIPS_MAX && w.at > start) break;
    }
    // What fills the packet without them fills the queue, too: that they alone give way would only starve them.
    if (isHeld && w.room < FRAME_ROOM_MIN) this.othersUntil = now + 2 * rtt;
    if (copies.isReady) this.writeCopies(w, copies);
    if (this.context.retransmittedBytes !== retransmittedBytes) this.context.retransmittedPackets++;
    // Some may have expired where they waited.
    if (this.context.outcomes.length > 0) this.events.outcomes(this.context.outcomes);
  }

  /** {@link write} has nothing to write but messages of one stream. */
  get isRun(): boolean {
    return (
      this.scheduler.hasOne &&
      this.context.copies.count === 0 &&
      !isSome(this.controlDue) &&
      !isSome(this.droppedDue) &&
      !this.limits.due &&
      !this.pool.hasRoomAgain
    );
  }

  /** {@link write} while {@link isRun}, for another packet of the same moment; not where it {@link thins}, so that no message has a deadline. */
  writeRun(w: FrameWriter): void {
    const { context, scheduler } = this;
    const { retransmittedBytes } = context;
    context.copies.beginPacket();
    scheduler.beginPacket(w.now, 0); // what it is due since the packet before is nothing
    const stream = scheduler.next() as ConnectionStream;
    const before = w.at;
    stream.sender.write(w);
    if (w.at > before) scheduler.charge(stream, w.at - before);
    else scheduler.skip(stream);
    if (!stream.sender.sendable) scheduler.deactivate(stream);
    this.events.sent(stream);
    if (context.copies.isReady) this.writeCopies(w, context.copies);
    if (context.retransmittedBytes !== retransmittedBytes) context.retransmittedPackets++;
  }

  /**
   * Congestion control lets nothing out: what has waited for so long that it is out of date gives way. [STR-43] Returns when that is to be looked at again where no
   * acknowledgement comes; NEVER where nothing waits that could give way.
   */
  onBlocked(now: Micros): Micros {
    if (now < this.thinsAt) return this.thins ? this.thinsAt : NEVER;
    this.thinsAt = now + this.waitMax / THINNINGS_A_WAIT;
    let isWaiting = false;
    for (const stream of this.streams.values()) {
      const { bestEffort } = stream.sender.queue;
      if (!stream.active || bestEffort === null) continue;
      if (bestEffort.thin(this.waitMax, now)) isWaiting = true;
      this.events.sent(stream);
    }
    if (this.context.outcomes.length > 0) this.events.outcomes(this.context.outcomes);
    return isWaiting ? this.thinsAt : NEVER;
  }

  /** Writes the DROPPED frames that are due; they go ahead of every ACK. [STR-18] */
  writeDropped(w: FrameWriter): void {
    const { droppedDue } = this;
    if (!isSome(droppedDue)) return;
    for (const stream of droppedDue) {
      stream.receiver.writeDropped(w);
      if (stream.receiver.droppedDue) break;
      droppedDue.delete(stream);
      this.owner.forgetFinished(stream);
    }
  }

  /** Writes what is to go out once more, as far as the packet has room for it. */
  writeRepeated(w: FrameWriter): void {
    const { copies } = this.context;
    copies.beginPacket();
    copies.takesLarge = true;
    if (copies.isReady) this.writeCopies(w, copies);
    copies.takesLarge = false;
  }

  // ---- inside ----

  /** [REC-60] What is in another packet already rides along in what room is left. */
  private writeCopies(w: FrameWriter, copies: SecondCopies): void {
    while (copies.isReady) {
      const { shifts } = copies;
      const stream = this.streams.get(copies.stream);
      if (stream === undefined) copies.shift(w.now);
      else stream.sender.write(w, copies);
      if (copies.shifts === shifts) break; // there was no room
    }
  }

  private setDeadline(stream: ConnectionStream): void {
    const deadline = stream.sender.headDeadline;
    if (deadline !== stream.deadline) this.scheduler.setDeadline(stream, deadline);
  }

  private writeControl(w: FrameWriter): void {
    if (this.pool.hasRoomAgain) this.shareOut();
    this.limits.write(w);
    if (isSome(this.controlDue)) this.writeStreamControl(w, this.controlDue);
    this.writeDropped(w);
  }

  private addControlDue(stream: ConnectionStream): void {
    this.controlDue ??= new Set();
    this.controlDue.add(stream);
  }

  private writeStreamControl(w: FrameWriter, controlDue: Set<ConnectionStream>): void {
    for (const stream of controlDue) {
      if (!stream.sender.isOpenAtPeer) continue; // only STREAM_OPEN and what rides with it may come first [STR-3]
      stream.receiver.writeControl(w);
      if (stream.receiver.controlDue) break;
      controlDue.delete(stream);
    }
  }

  /** Some streams gave back what others of this connection wait for. */
  private shareOut(): void {
    this.pool.retried();
    for (const stream of this.streams.values()) {
      if (!stream.receiver.window.isStarved) continue;
      stream.receiver.window.retry();
      if (stream.receiver.controlDue) this.addControlDue(stream);
    }
  }
}

function isSome(streams: Set<ConnectionStream> | null): streams is Set<ConnectionStream> {
  return streams !== null && streams.size > 0;
}

/** Short header with the longest number, tag. */
export const PACKET_OVERHEAD = 1 + 8 + 4 + 16;
/** What all have that never had anything to send: nothing is ever put in. */
const IDLE_SCHEDULER = new Scheduler();
/** [SCH-7] An urgent message, and what is to be said with it. */
const PACKETS_RESERVED = 2;
/** Who has sent urgent messages so lately will send more of them. */
const URGENT_MEMORY: Micros = 10 * SECOND;
/** With less room than this left no stream is asked. */
const FRAME_ROOM_MIN = 16;
/** [REC-60] Share of lost packets from which on what is sent again is sent twice. */
const TWICE_RATE_MIN = 0.02;
const COPY_WAIT_MIN: Micros = 2 * MILLISECOND;
/** When so many streams had nothing that fits into what is left of a packet, no other is asked. [SCH-1] */
const SKIPS_MAX = 16;
