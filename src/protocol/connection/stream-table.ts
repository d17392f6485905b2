import type { MemoryAccount } from '../../base/memory-budget.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import { DeadlineWatch } from '../stream/deadline-watch.ts';
import { FlowCredit } from '../stream/flow-credit.ts';
import { FlowWindow, Pace, type WindowGrowth } from '../stream/flow-window.ts';
import { BestEffortBudget, SURE_BYTES } from '../stream/receive/best-effort-budget.ts';
import { ReceiveContext } from '../stream/receive/receive-context.ts';
import { ReceiveStream } from '../stream/receive/receive-stream.ts';
import { Scheduler } from '../stream/scheduler.ts';
import { SendContext } from '../stream/send/send-context.ts';
import { SendStream, type StreamOpening } from '../stream/send/send-stream.ts';
import { SlabPool } from '../stream/send/slab.ts';
import type { SentFrames } from '../stream/sent-frames.ts';
import { WindowPool } from '../stream/window-pool.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { type Delivery, FrameType, Priority, type Space } from '../wire/frame-type.ts';
import { streamOpenFlags } from '../wire/frame-writer.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import type { ConnectionConfig } from './config.ts';
import type { Connection, EventSink } from './connection.ts';
import { ConnectionStream, type StreamOwner, type StreamSettings } from './connection-stream.ts';
import { ControlQueue } from './control-queue.ts';
import { DataLimits } from './data-limits.ts';
import { DroppedQueue } from './dropped-queue.ts';
import { StreamLimits } from './stream-limits.ts';
import { StreamNews } from './stream-news.ts';

/**
 * The streams of a connection: opens and accepts them, hands frames and their fates to them, lets the scheduler choose among those that
 * have something to send, and keeps the connection's flow control and stream limits.
 */
export class StreamTable implements StreamOwner {
  peerMessageBytesMax: number;
  readonly ownMessageBytesMax: number;
  readonly isServer: boolean;
  private readonly connection: Connection;
  private readonly config: ConnectionConfig;
  private readonly events: EventSink;
  private readonly news: StreamNews;
  private readonly streams = new Map<number, ConnectionStream>();
  private readonly scheduler = new Scheduler();
  private readonly sendContext: SendContext;
  private readonly receiveContext: ReceiveContext;
  private readonly control = new ControlQueue();
  private readonly dropped = new DroppedQueue();
  private peerStreamWindow = 0;
  /** The packet being read raised a limit of the connection, which every stream may have waited for. */
  private isLimitRaised = false;
  readonly limits: StreamLimits;
  readonly dataLimits: DataLimits;
  /** Deadlines of messages, sent and received. */
  private readonly deadlines = new DeadlineWatch();

  /** How the windows of streams grow. */
  private readonly streamGrowth: WindowGrowth;
  private readonly pool: WindowPool;
  private readonly pace = new Pace();
  private readonly memory: MemoryAccount;
  /** What the receive context was last told as progress that was none, and how many packets had come when the stall was seen. */
  private excusedAt: Micros = NEVER;
  private heardAtStall = 0;

  constructor(connection: Connection, config: ConnectionConfig, events: EventSink, memory: MemoryAccount) {
    this.connection = connection;
    this.config = config;
    this.events = events;
    this.news = new StreamNews(connection, events);
    this.peerMessageBytesMax = config.messageBytesMax;
    this.ownMessageBytesMax = config.messageBytesMax;
    this.isServer = connection.role === 'server';
    this.limits = new StreamLimits(connection.role === 'client', config.streamsMax);
    this.sendContext = new SendContext(new SlabPool(), new FlowCredit(0), config.mtu - PACKET_OVERHEAD);
    this.memory = memory;
    memory.take(config.connectionWindowStartBytes + SURE_BYTES);
    memory.onRoom = () => this.onMemory();
    const { pace } = this;
    this.pool = new WindowPool(Math.floor(config.connectionWindowBytes * POOL_SHARE), () => {
      const { used, freed } = this.receiveContext.window;
      return used - freed;
    });
    this.streamGrowth = {
      bytesMax: config.streamWindowBytes,
      source: this.pool,
      pace,
      isShared: false,
    };
    this.receiveContext = new ReceiveContext(
      new FlowWindow(config.connectionWindowStartBytes, {
        bytesMax: config.connectionWindowBytes,
        source: memory,
        pace,
        isShared: true,
      }),
      new BestEffortBudget(config.bestEffortBytes, memory),
      config.messageBytesMax,
      WASTE_BYTES_MAX,
      config.stallTimeoutMs === 0 ? NEVER : config.stallTimeoutMs * MILLISECOND,
      pace,
    );
    this.dataLimits = new DataLimits(this.receiveContext.window, this.sendContext.credit);
  }

  // ---- the application's side ----

  /** Opens a stream. Beyond the peer's limit it waits until MAX_STREAMS allows it. */
  open(settings: StreamSettings): ConnectionStream {
    const id = this.limits.open();
    const flags = streamOpenFlags(settings.priority, settings.ordered, settings.delivery);
    const stream = this.add(id, settings, { flags, label: ENCODER.encode(settings.label) });
    this.onSendTouched(stream);
    return stream;
  }

  values(): IterableIterator<ConnectionStream> {
    return this.streams.values();
  }

  get size(): number {
    return this.streams.size;
  }

  get sendCounts(): Readonly<SendContext> {
    return this.sendContext;
  }

  get receiveCounts(): Readonly<ReceiveContext> {
    return this.receiveContext;
  }

  /** Nothing sent on any stream is unsettled. */
  get isSettled(): boolean {
    for (const stream of this.streams.values()) if (!stream.sender.settled) return false;
    return true;
  }

  /** All that was sent reliably, and every end of a stream, is acknowledged; best-effort messages do not count. */
  get isDelivered(): boolean {
    for (const stream of this.streams.values()) if (!stream.sender.delivered) return false;
    return true;
  }

  track(stream: ConnectionStream): number {
    return this.news.track(stream);
  }

  untrack(tracking: number): void {
    this.news.untrack(tracking);
  }

  onSendTouched(stream: ConnectionStream): void {
    if (stream.sender.sendable && this.limits.isAllowed(stream.id)) {
      this.scheduler.activate(stream);
      this.setDeadline(stream);
    }
    this.deadlines.add(stream.sender.nextTimeout());
    this.connection.touch();
  }

  onReceiveTouched(stream: ConnectionStream): void {
    this.onReceived(stream);
    this.forgetFinished(stream);
    this.connection.touch();
  }

  // ---- limits of the peer ----

  onPeerParameters(parameters: TransportParameters): void {
    this.peerMessageBytesMax = parameters.maxMessageBytes;
    this.peerStreamWindow = parameters.initialMaxStreamData;
    this.limits.raise(parameters.initialMaxStreams);
    this.sendContext.credit.raise(parameters.initialMaxData);
    this.sendContext.reserveBytes = Math.min(RESERVE_BYTES_MAX, Math.floor(parameters.initialMaxData / 8)); // [STR-34]
  }

  onRtt(min: Micros, newest: Micros, now: Micros): void {
    this.sendContext.onRtt(min, newest, now);
  }

  onPacketSize(mtu: number): void {
    this.sendContext.packetRoom = mtu - PACKET_OVERHEAD;
  }

  // ---- frames that came ----

  /** MESSAGE and MESSAGES. Returns 0 or a close code. */
  onMessageFrame(frame: FrameReader, arrivedAt: Micros): number {
    const stream = this.streams.get(frame.stream);
    if (stream === undefined) return this.checkForgotten(frame.stream);
    const { receiver } = stream;
    this.pace.now = arrivedAt;
    this.receiveContext.onBytes(frame.dataLength, arrivedAt);
    let code: number;
    if (frame.type >= FrameType.MESSAGES) code = receiver.onMessages(frame);
    else {
      code = receiver.onMessage(frame, arrivedAt);
    }
    if (code !== 0) return code;
    this.deadlines.add(receiver.nextTimeout());
    this.onReceived(stream);
    if (receiver.finished) this.forgetFinished(stream);
    return 0;
  }

  /** All other frames about streams and flow control. Returns 0 or a close code. */
  onControlFrame(frame: FrameReader, now: Micros): number {
    switch (frame.type) {
      case FrameType.MAX_DATA:
        if (this.sendContext.credit.raise(frame.limit)) this.isLimitRaised = true;
        return 0;
      case FrameType.MAX_STREAMS:
        if (this.limits.raise(frame.limit)) this.isLimitRaised = true;
        return 0;
      case FrameType.DATA_BLOCKED:
        this.receiveContext.window.onBlocked(frame.limit);
        return 0;
      case FrameType.STREAMS_BLOCKED:
        this.limits.onBlocked(frame.limit);
        return 0;
      case FrameType.STREAM_OPEN:
        return this.onOpen(frame);
    }
    const stream = this.streams.get(frame.stream);
    if (stream === undefined) return this.checkForgotten(frame.stream);
    const code = this.onStreamFrame(stream, frame, now);
    if (code !== 0) return code;
    this.onReceived(stream);
    this.onSettled(stream);
    return 0;
  }

  /** All frames of a packet were handed over. Streams look at a limit once a packet, however often it rose in it. */
  onPacketEnd(): void {
    if (!this.isLimitRaised) return;
    this.isLimitRaised = false;
    for (const stream of this.streams.values()) this.onSendTouched(stream);
  }

  // ---- what became of frames that were sent ----

  find(id: number): ConnectionStream | undefined {
    return this.streams.get(id);
  }

  /** A packet with one of the connection's own flow-control frames is lost. */
  onLimitLost(kind: number, limit: number): void {
    if (kind === FrameType.MAX_DATA || kind === FrameType.DATA_BLOCKED) this.dataLimits.onLost(kind, limit);
    else this.limits.onLost(kind, limit);
  }

  /** Messages of the stream were settled, or may have been. */
  onSettled(stream: ConnectionStream): void {
    // What is settled makes room in the span of sequences, which may be all that held the stream back. [STR-12]
    if (!stream.active && stream.sender.sendable) this.onSendTouched(stream);
    this.news.tellSettled(stream);
    this.news.tellOutcomes(this.sendContext.outcomes);
    this.forgetFinished(stream);
  }

  /** Something came, was read, or is to be said again: there may be news for the application, and frames for the peer. */
  onReceived(stream: ConnectionStream): void {
    this.control.add(stream);
    this.dropped.add(stream);
    this.news.tellReceived(stream);
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
      !this.control.isEmpty ||
      !this.dropped.isEmpty ||
      this.limits.due ||
      this.dataLimits.due ||
      this.pool.hasRoomAgain
    );
  }

  /** Fills out[at, limit) with control frames, then with messages as the scheduler chooses. Returns the new offset. */
  write(out: Uint8Array, start: number, limit: number, now: Micros, sent: SentFrames, rate: number): number {
    this.pace.now = now;
    this.pace.rtt = this.connection.recovery.rtt.smoothed;
    this.limits.watch(now);
    let at = this.writeControl(out, start, limit, sent);
    const { scheduler } = this;
    scheduler.beginPacket(now, rate);
    let skips = 0;
    while (limit - at >= FRAME_ROOM_MIN) {
      const stream = scheduler.next() as ConnectionStream | null;
      if (stream === null) break;
      const next = stream.sender.write(out, at, limit, now, sent);
      if (next > at) scheduler.charge(stream, next - at);
      else {
        scheduler.skip(stream);
        skips++;
      }
      at = next;
      if (stream.sender.sendable) this.setDeadline(stream);
      else scheduler.deactivate(stream);
      this.news.tellDrained(stream);
      if (skips >= SKIPS_MAX && at > start) break;
    }
    // Some may have expired where they waited.
    if (this.sendContext.outcomes.length > 0) this.news.tellOutcomes(this.sendContext.outcomes);
    return at;
  }

  /** Writes the DROPPED frames that are due; they go ahead of every ACK. [STR-18] */
  writeDropped(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    return this.dropped.write(out, start, limit, sent, this);
  }

  // ---- time ----

  nextTimeout(): Micros {
    return Math.min(this.deadlines.next, this.limits.warnAt);
  }

  /** Returns 0 or a close code. */
  onTimeout(now: Micros): number {
    const waiting = this.limits.takeWarning(now);
    if (waiting > 0) this.events.push({ type: 'streamsBlocked', connection: this.connection, waiting });
    const { deadlines } = this;
    if (now < deadlines.next) return 0;
    deadlines.clear();
    deadlines.looked(this.streams.size, now);
    for (const stream of this.streams.values()) {
      const { sender, receiver } = stream;
      if (sender.nextTimeout() <= now) {
        sender.onTimeout(now);
        this.onSendTouched(stream);
        this.onSettled(stream);
      }
      if (receiver.nextTimeout() <= now) {
        receiver.onTimeout(now);
        this.onReceived(stream);
        if (receiver.stallsAt <= now && !this.isExcused(now)) return CloseCode.PROTOCOL_VIOLATION; // [STR-35]
      }
      deadlines.add(Math.min(sender.nextTimeout(), receiver.nextTimeout()));
    }
    this.news.tellOutcomes(this.sendContext.outcomes);
    return 0;
  }

  /**
   * A peer that is hardly heard cannot get on, nor does one that hears none of our acknowledgements: that is the path's fault, and for
   * heartbeats and timeouts to judge. One that is heard again and again, and sends other things, does not want to. [STR-35]
   */
  private isExcused(now: Micros): boolean {
    const { connection, receiveContext } = this;
    const heard = connection.counters.packetsReceived;
    if (receiveContext.progressAt !== this.excusedAt) this.heardAtStall = heard;
    const isSilent = now - connection.liveness.receivedAt >= SILENCE;
    if (!isSilent && heard - this.heardAtStall >= CHANCES) return false;
    receiveContext.progressAt = now - receiveContext.stallTimeout + (isSilent ? SILENCE : SECOND);
    this.excusedAt = receiveContext.progressAt;
    return true;
  }

  /** Gives memory back, for a connection that goes idle. */
  trim(): void {
    for (const stream of this.streams.values()) {
      stream.sender.trim();
      stream.receiver.window.relax();
    }
    this.receiveContext.window.relax();
    this.sendContext.slabs.trim(0);
  }

  // ---- the connection is over ----

  /** Every stream ends with the connection; what was received can still be read. */
  onConnectionOver(): void {
    for (const stream of this.streams.values()) if (stream.active) this.scheduler.deactivate(stream);
  }

  // ---- inside ----

  private add(id: number, settings: StreamSettings, opening: StreamOpening | null): ConnectionStream {
    const sender = new SendStream(this.sendContext, {
      id,
      opening,
      initialMaxStreamData: this.peerStreamWindow,
      isSystem: settings.priority === Priority.SYSTEM,
    });
    const receiver = new ReceiveStream(this.receiveContext, {
      id,
      ordered: settings.ordered,
      windowBytes: this.config.streamWindowStartBytes,
      growth: this.streamGrowth,
    });
    this.memory.take(STREAM_BYTES);
    const stream = new ConnectionStream(id, settings, sender, receiver, this);
    this.streams.set(id, stream);
    return stream;
  }

  /** STREAM_OPEN, which may come again with every packet until we acknowledged one. [STR-3] */
  private onOpen(frame: FrameReader): number {
    const id = frame.stream;
    if (this.limits.isOurs(id)) return CloseCode.STREAM_STATE_ERROR;
    if (this.limits.wasOpen(id)) return 0;
    const code = this.limits.accept(id);
    if (code !== 0) return code;
    const label = DECODER.decode(frame.buffer.subarray(frame.dataStart, frame.dataStart + frame.dataLength));
    const settings = {
      priority: frame.priority as Priority,
      delivery: frame.delivery as Delivery,
      ordered: frame.ordered,
      label,
    };
    const stream = this.add(id, settings, null);
    this.events.push({ type: 'stream', connection: this.connection, stream });
    return 0;
  }

  private onStreamFrame(stream: ConnectionStream, frame: FrameReader, now: Micros): number {
    const { sender, receiver } = stream;
    switch (frame.type) {
      case FrameType.STREAM_FIN:
        return receiver.onFin(frame.end);
      case FrameType.STREAM_RESET:
        return receiver.onReset(frame.code, frame.end);
      case FrameType.ABANDON:
        return receiver.onAbandon(frame);
      case FrameType.STREAM_DATA_BLOCKED:
        receiver.onBlocked(frame.limit);
        return 0;
      case FrameType.STOP_SENDING:
        sender.onStopSending(frame.code);
        this.onSendTouched(stream);
        return 0;
      case FrameType.MAX_STREAM_DATA:
        if (sender.onMaxStreamData(frame.limit)) this.onSendTouched(stream);
        return 0;
      default:
        return sender.onDropped(frame.space as Space, frame.sequence, frame.count, now);
    }
  }

  /** A frame for a stream that is not there: fine when it was once, and is closed. [STR-5] */
  private checkForgotten(id: number): number {
    return this.limits.wasOpen(id) ? 0 : CloseCode.STREAM_STATE_ERROR;
  }

  private setDeadline(stream: ConnectionStream): void {
    const deadline = stream.sender.headDeadline;
    if (deadline !== stream.deadline) this.scheduler.setDeadline(stream, deadline);
  }

  /** Both halves may be over: then nothing is kept of the stream. [STR-30] */
  forgetFinished(stream: ConnectionStream): void {
    if (!stream.sender.finished || !stream.receiver.finished) return;
    if (!this.streams.delete(stream.id)) return;
    stream.receiver.forget();
    this.memory.give(STREAM_BYTES);
    if (stream.active) this.scheduler.deactivate(stream);
    this.limits.onForgotten(stream.id);
    this.events.push({ type: 'streamClosed', connection: this.connection, stream });
  }

  /** The endpoint has room for what this connection's peer waits for. */
  private onMemory(): void {
    this.receiveContext.window.retry();
    this.connection.touch();
  }

  /** Some streams gave back what others of this connection wait for. */
  private shareOut(): void {
    this.pool.retried();
    for (const stream of this.streams.values()) {
      if (!stream.receiver.window.isStarved) continue;
      stream.receiver.window.retry();
      this.control.add(stream);
    }
  }

  private writeControl(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    if (this.pool.hasRoomAgain) this.shareOut();
    let at = this.dataLimits.write(out, start, limit, sent);
    at = this.limits.write(out, at, limit, sent);
    at = this.control.write(out, at, limit, sent);
    return this.writeDropped(out, at, limit, sent);
  }
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true }); // a BOM is part of the text
/** Short header with the longest number, tag. */
const PACKET_OVERHEAD = 1 + 8 + 4 + 16;
/** With less room than this left no stream is asked. */
const FRAME_ROOM_MIN = 16;
/** When so many streams had nothing that fits into what is left of a packet, no other is asked. [SCH-1] */
const SKIPS_MAX = 16;
/** The part of a connection's window by which the windows of its streams may grow. [STR-34] */
const POOL_SHARE = 0.75;
/** Most that unread messages of a connection keep alive beyond what is charged for them, before they are copied. [STR-14] */
const WASTE_BYTES_MAX = 262_144;
/** Most of the connection's credit that only `system` may use. */
const RESERVE_BYTES_MAX = 65_536;
/** A peer that was not heard for so long has, or its path has, another problem than a message that it does not complete. */
const SILENCE: Micros = 5 * SECOND;
/** Packets of a peer that stalls in which it could still have got on. */
const CHANCES = 8;
/** What a stream costs with nothing in it. */
export const STREAM_BYTES = 2_048;
