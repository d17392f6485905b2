/** All streams of a connection. One file because it is one class, which everything that streams have in common goes through. */

import { type MemoryAccount, Overhead } from '../../base/memory-budget.ts';
import { DeadlineWatch, MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { ConnectionCompression } from '../compress/compression.ts';
import type { ConnectionProtection } from '../fec/connection-protection.ts';
import type { ProtectionOptions } from '../fec/protection.ts';
import { type DefaultProtection, StreamProtection } from '../fec/stream-protection.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { type Delivery, FrameType, Priority } from '../wire/frame-type.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import { streamOpenFlags } from '../wire/frames/stream.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import {
  ConnectionStream,
  type MessageServices,
  type StreamEventSink,
  StreamEvents,
  type StreamOwner,
  type StreamSettings,
} from './connection-stream.ts';
import { FlowCredit, FlowWindow, Pace, type WindowGrowth, WindowPool } from './flow-control.ts';
import { DataLimits, Limits, MessageLimits, StreamLimits } from './limits.ts';
import { KeptMemory, SEGMENT_BYTES } from './receive/kept-memory.ts';
import { BestEffortBudget, ReceiveContext, SURE_BYTES } from './receive/receive-context.ts';
import { ReadFault, ReceiveStream } from './receive/receive-stream.ts';
import { EarlyRow } from './send/early-row.ts';
import { SlabPool } from './send/message-records.ts';
import { SendContext } from './send/send-context.ts';
import { SendStream, type StreamOpening } from './send/send-stream.ts';
import { PACKET_OVERHEAD, type PackedStreamsOwner, StreamPacker } from './stream-packer.ts';

/** What a connection's configuration says of its streams. */
export interface StreamsConfig {
  readonly messageBytesMax: number;
  readonly streamsMax: number;
  readonly streamWindowStartBytes: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowStartBytes: number;
  readonly connectionWindowBytes: number;
  readonly bestEffortBytes: number;
  readonly stallTimeoutMs: number;
  /** How long best-effort messages may wait for congestion control before newer ones take their place; 0 for ever. */
  readonly thinningDelayMs: number;
  readonly mtu: number;
  /** Of streams that do not say themselves. */
  readonly protection: ProtectionOptions;
}

/** The connection, as its streams see it. */
export interface StreamsHost {
  readonly role: 'client' | 'server';
  /** Something changed that may be worth a packet. */
  touch(): void;
  readonly lifecycle: {
    /** The peer broke the protocol. */
    close(scope: 'transport', code: number, reason: string, now: Micros): void;
  };
}

/**
 * The streams of a connection: opens and accepts them, hands them the frames that came and what became of the frames that were sent, and
 * forgets them when both halves are over. What goes out is in {@link StreamPacker}.
 */
export class Streams<Host extends StreamsHost> {
  readonly limits: Limits;
  readonly packer: StreamPacker;
  /** What the peer makes this side keep beyond what windows and budgets are charged with. */
  readonly overhead: Overhead;
  private readonly protection: ConnectionProtection;
  private readonly compression: ConnectionCompression;
  private readonly host: Host;
  private readonly config: StreamsConfig;
  private readonly memory: MemoryAccount;
  private readonly events: StreamEvents<Host>;
  private readonly streams = new Map<number, ConnectionStream>();
  private readonly owner: StreamOwner & PackedStreamsOwner;
  /** Streams to which the application or the peer did something since the last turn. */
  private readonly touched: SendStream[] = [];
  private readonly sendContext: SendContext;
  private readonly receiveContext: ReceiveContext;
  private readonly defaultProtection: DefaultProtection;
  private peerStreamWindow = 0;
  /** How the windows of streams grow. */
  private readonly streamGrowth: WindowGrowth;
  private readonly pace = new Pace();
  /** Deadlines of messages, sent and received. */
  private readonly deadlines = new DeadlineWatch();
  /** The handshake is not complete, and some may be sent all the same. */
  private isEarly = false;
  /** The packet being read raised a limit of the connection, which every stream may have waited for. */
  private isLimitRaised = false;
  /** What the receive context was last told as progress that was none, and how many packets had come when the stall was seen. */
  private excusedAt: Micros = NEVER;
  private heardAtStall = 0;

  constructor(
    host: Host,
    config: StreamsConfig,
    sink: StreamEventSink<Host>,
    memory: MemoryAccount,
    services: MessageServices,
  ) {
    const { protection, defaultProtection, compression } = services;
    this.host = host;
    this.protection = protection;
    this.compression = compression;
    this.config = config;
    this.defaultProtection = defaultProtection;
    this.memory = memory;
    this.overhead = new Overhead(memory);
    this.events = new StreamEvents(host, sink);
    memory.take(config.connectionWindowStartBytes + SURE_BYTES);
    const { pace } = this;
    const window = new FlowWindow(config.connectionWindowStartBytes, {
      bytesMax: config.connectionWindowBytes,
      source: memory,
      pace,
      isShared: true,
    });
    const pool = new WindowPool(Math.floor(config.connectionWindowBytes * POOL_SHARE), window);
    this.streamGrowth = { bytesMax: config.streamWindowBytes, source: pool, pace, isShared: false };
    this.receiveContext = new ReceiveContext(
      window,
      new BestEffortBudget(config.bestEffortBytes, memory),
      config.messageBytesMax,
      new KeptMemory(undefined, this.overhead),
      config.stallTimeoutMs === 0 ? NEVER : config.stallTimeoutMs * MILLISECOND,
      pace,
    );
    if (compression.isTaking) this.receiveContext.compression = compression;
    const credit = new FlowCredit(0);
    this.sendContext = new SendContext(new SlabPool(), credit, config.mtu - PACKET_OVERHEAD);
    this.limits = new Limits(
      new StreamLimits(host.role === 'client', config.streamsMax),
      new DataLimits(window, credit),
      new MessageLimits(config.messageBytesMax, host.role === 'server'),
    );
    this.owner = new Streams.Owner(this);
    this.packer = new StreamPacker({
      streams: this.streams,
      context: this.sendContext,
      limits: this.limits,
      pool,
      pace,
      events: this.events,
      waitMax: config.thinningDelayMs === 0 ? NEVER : config.thinningDelayMs * MILLISECOND,
      protection,
      compression,
      owner: this.owner,
    });
  }

  /** A turn is over in which all was sent that could be: what still waits has waited since now. */
  noteWaiting(now: Micros): void {
    const { touched } = this;
    for (let sender = touched.pop(); sender !== undefined; sender = touched.pop()) {
      sender.isTouched = false;
      sender.noteWaiting(now);
    }
  }

  // ---- the application's side ----

  /** So many more streams of the peer (or fewer, below 0) that are closed count as open. */
  hold(count: number): void {
    this.limits.streams.makeRoom(-count);
    this.host.touch();
  }

  /** Opens a stream. Beyond the peer's limit it waits until MAX_STREAMS allows it. */
  open(settings: StreamSettings): ConnectionStream {
    const id = this.limits.streams.open();
    const flags = streamOpenFlags(settings.priority, settings.ordered, settings.delivery);
    const stream = this.add(id, settings, { flags, label: ENCODER.encode(settings.label) });
    if (this.isEarly) stream.sender.queue.early = new EarlyRow(settings.earlyData ?? false);
    this.onSendTouched(stream);
    return stream;
  }

  find(id: number): ConnectionStream | undefined {
    return this.streams.get(id);
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

  // ---- what came ----

  /** What the peer allows; once the handshake is complete, nothing is held back any more. */
  onPeerParameters(parameters: TransportParameters): void {
    const isLess = this.isEarly && parameters.maxMessageBytes < this.limits.messages.peer;
    if (this.isEarly) this.releaseAll();
    this.limits.messages.peer = parameters.maxMessageBytes;
    if (isLess) this.takeLonger(parameters.maxMessageBytes);
    this.protection.mayRepair = parameters.repairBytes > 0; // [FEC-40]
    this.compression.onPeerParameter(parameters.inflates);
    this.peerStreamWindow = parameters.initialMaxStreamData;
    this.limits.streams.raise(parameters.initialMaxStreams);
    this.sendContext.credit.raise(parameters.initialMaxData);
    // [STR-34] The last of the credit is for streams of the class `system`.
    this.sendContext.reserveBytes = Math.min(RESERVE_BYTES_MAX, Math.floor(parameters.initialMaxData / 8));
    for (const stream of this.streams.values()) {
      stream.sender.credit.raise(parameters.initialMaxStreamData);
      this.onSendTouched(stream);
    }
  }

  /**
   * Before the handshake is complete: what is marked as early may be sent, under the limits that the server had when it gave the ticket.
   * Repairs and compressed messages wait until it says what it takes now. [HS-57]
   */
  beginEarly(remembered: TransportParameters): void {
    this.onPeerParameters({ ...remembered, repairBytes: 0, inflates: null });
    this.isEarly = true;
  }

  /** All that was sent was thrown away unread: it counts as never sent, and no limit is known. [HS-58] */
  recall(): void {
    this.sendContext.credit.restart(0);
    this.limits.streams.restart(0);
    this.peerStreamWindow = 0;
    for (const stream of this.streams.values()) {
      stream.sender.recall(0);
      this.packer.remove(stream);
    }
    this.events.outcomes(this.sendContext.outcomes);
  }

  /** MESSAGE and MESSAGES. Returns 0 or a close code. */
  onMessageFrame(frame: FrameReader, arrivedAt: Micros): number {
    const stream = this.streams.get(frame.stream);
    if (stream === undefined) return this.checkForgotten(frame.stream);
    const { receiver } = stream;
    this.pace.now = arrivedAt;
    this.receiveContext.onBytes(frame.dataLength, arrivedAt);
    const code = receiver.onFrame(frame, arrivedAt);
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
        if (this.limits.streams.raise(frame.limit)) this.isLimitRaised = true;
        return 0;
      case FrameType.DATA_BLOCKED:
        this.receiveContext.window.onBlocked(frame.limit);
        return 0;
      case FrameType.STREAMS_BLOCKED:
        this.limits.streams.onBlocked(frame.limit);
        return 0;
      case FrameType.STREAM_OPEN:
        return this.onOpen(frame);
    }
    const stream = this.streams.get(frame.stream);
    if (stream === undefined) return this.checkForgotten(frame.stream);
    const isOfReceiver = isReceiversFrame(frame.type);
    const code = isOfReceiver ? stream.sender.onFrame(frame, now) : stream.receiver.onFrame(frame, now);
    if (code !== 0) return code;
    if (isOfReceiver) this.onSendTouched(stream);
    this.onReceived(stream);
    this.onSettled(stream);
    return 0;
  }

  /** All frames of a packet were handed over. Streams look at a limit once a packet, however often it rose in it. */
  onPacketEnd(): void {
    this.isRefusing = false;
    if (!this.isLimitRaised) return;
    this.isLimitRaised = false;
    for (const stream of this.streams.values()) this.onSendTouched(stream);
  }

  /** Something of the packet that is being read was not taken, for lack of memory: it counts as one that did not come. [CON-53] */
  get isRefusing(): boolean {
    return this.receiveContext.isRefusing;
  }

  set isRefusing(isRefusing: boolean) {
    this.receiveContext.isRefusing = isRefusing;
  }

  // ---- what became of frames that were sent ----

  /** The packet that held this frame of ours is acknowledged. True for one that takes a stream nearer to its end. */
  onFrameAcked(frame: SentFrame): boolean {
    const { type } = frame;
    if (!isStreamFrame(type)) return false;
    const isReceivers = isReceiversFrame(type);
    const stream = this.streams.get(frame.stream);
    if (stream !== undefined) {
      if (isReceivers) stream.receiver.onFrameAcked(frame);
      else stream.sender.onFrameAcked(frame);
      this.onSettled(stream);
    }
    return !isReceivers && type !== FrameType.STREAM_DATA_BLOCKED;
  }

  /** The packet that held this frame is lost: what still matters of it is sent again. False when it is none of the streams. [FRM-5] */
  onFrameLost(frame: SentFrame, now: Micros): boolean {
    if (!isStreamFrame(frame.type)) return this.limits.onFrameLost(frame);
    const stream = this.streams.get(frame.stream);
    if (stream === undefined) return true;
    if (isReceiversFrame(frame.type)) {
      stream.receiver.onFrameLost(frame);
      this.onReceived(stream);
    } else {
      stream.sender.onFrameLost(frame, now);
      this.onSendTouched(stream);
      this.onSettled(stream);
    }
    return true;
  }

  // ---- time ----

  nextTimeout(): Micros {
    const { deadlines, limits, protection, sendContext } = this;
    return Math.min(
      deadlines.next,
      limits.streams.warnAt,
      sendContext.copies.nextTimeout,
      protection.nextTimeout(),
    );
  }

  /**
   * Returns 0 or a close code.
   *
   * @param heardAt - when the peer was heard last
   * @param heard - packets of the peer so far
   */
  onTimeout(now: Micros, heardAt: Micros, heard: number): number {
    const waiting = this.limits.streams.takeWarning(now);
    if (waiting > 0) this.events.blocked(waiting);
    for (let flush = this.protection.nextFlush(now); flush !== null; flush = this.protection.nextFlush(now)) {
      const stream = this.streams.get(flush.stream.id);
      if (stream !== undefined) this.onSendTouched(stream);
    }
    const { deadlines, sendContext } = this;
    if (sendContext.copies.count > 0) sendContext.copies.onTimeout(now);
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
        const isStalled = receiver.onTimeout(now);
        this.onReceived(stream);
        if (isStalled && !this.isExcused(now, heardAt, heard)) return CloseCode.PROTOCOL_VIOLATION; // a message that gets no byte [STR-35]
      }
      deadlines.add(Math.min(sender.nextTimeout(), receiver.nextTimeout()));
    }
    this.events.outcomes(this.sendContext.outcomes);
    return 0;
  }

  /** Gives memory back, for a connection that goes idle. */
  trim(): void {
    for (const stream of this.streams.values()) {
      stream.sender.trim();
      stream.receiver.window.relax();
    }
    this.receiveContext.window.relax();
    this.overhead.relax();
    this.sendContext.slabs.trim(0);
  }

  /** Every stream ends with the connection; what was received can still be read. */
  onConnectionOver(): void {
    for (const stream of this.streams.values()) this.packer.remove(stream);
  }

  // ---- inside ----

  /** The server takes smaller messages than the ticket said: what is too large for it now was not sent, and ends here, each by itself. [STR-46] */
  private takeLonger(bytesMax: number): void {
    for (const stream of this.streams.values()) {
      for (const { data, tracking } of stream.sender.takeLonger(bytesMax))
        this.events.unsent(stream, data, tracking, bytesMax);
      this.events.settled(stream);
    }
  }

  private releaseAll(): void {
    this.isEarly = false;
    for (const { sender } of this.streams.values()) {
      sender.queue.early?.release();
      sender.queue.early = null;
    }
  }

  private add(id: number, settings: StreamSettings, opening: StreamOpening | null): ConnectionStream {
    const { ordered, priority } = settings;
    const protection = new StreamProtection(
      { id, ordered, isBulk: priority === Priority.BULK },
      settings.protection ?? this.defaultProtection,
      this.protection,
    );
    const sender = new SendStream(this.sendContext, {
      id,
      opening,
      initialMaxStreamData: this.peerStreamWindow,
      isSystem: settings.priority === Priority.SYSTEM,
      isBulk: settings.priority === Priority.BULK,
      protection,
    });
    const receiver = new ReceiveStream(this.receiveContext, {
      id,
      ordered: settings.ordered,
      windowBytes: this.config.streamWindowStartBytes,
      growth: this.streamGrowth,
    });
    if (opening === null) this.overhead.add(STREAM_BYTES + SEGMENT_BYTES);
    else this.memory.take(STREAM_BYTES + SEGMENT_BYTES);
    const stream = new ConnectionStream(id, settings, sender, receiver, protection, this.owner);
    this.streams.set(id, stream);
    return stream;
  }

  private onSendTouched(stream: ConnectionStream): void {
    const { sender } = stream;
    if (!sender.isTouched) this.touched.push(sender);
    sender.isTouched = true;
    this.packer.onSendTouched(stream);
    this.deadlines.add(sender.nextTimeout());
    this.host.touch();
  }

  private onReceiveTouched(stream: ConnectionStream): void {
    if (stream.receiver.fault === ReadFault.UNREADABLE) this.failReading(stream.id);
    this.onReceived(stream);
    this.forgetFinished(stream);
    this.host.touch();
  }

  /** A message cannot be opened. [CMP-7] */
  private failReading(id: number): void {
    const { compression, pace } = this;
    this.host.lifecycle.close(
      'transport',
      compression.fault,
      `a message of stream ${id} cannot be opened`,
      pace.now,
    );
  }

  /** Something came, was read, or is to be said again: there may be news for the application, and frames for the peer. */
  private onReceived(stream: ConnectionStream): void {
    this.packer.onReceiveTouched(stream);
    this.events.received(stream);
  }

  /** Messages of the stream were settled, or may have been. */
  private onSettled(stream: ConnectionStream): void {
    // What is settled makes room in the span of sequences, which may be all that held the stream back. [STR-12]
    if (!stream.active && stream.sender.sendable) this.onSendTouched(stream);
    this.events.settled(stream);
    this.events.outcomes(this.sendContext.outcomes);
    this.forgetFinished(stream);
  }

  /** Both halves may be over: then nothing is kept of the stream. [STR-30] */
  private forgetFinished(stream: ConnectionStream): void {
    if (!stream.sender.finished || !stream.receiver.finished) return;
    if (!this.streams.delete(stream.id)) return;
    stream.receiver.forget();
    if (this.limits.streams.isOurs(stream.id)) this.memory.give(STREAM_BYTES + SEGMENT_BYTES);
    else this.overhead.drop(STREAM_BYTES + SEGMENT_BYTES);
    this.packer.remove(stream);
    this.protection.forget(stream.id);
    this.defaultProtection.forget(stream.id);
    if (!this.limits.streams.isOurs(stream.id)) this.limits.streams.makeRoom(1);
    this.events.closed(stream);
  }

  /** STREAM_OPEN, which may come again with every packet until we acknowledged one. [STR-3] */
  private onOpen(frame: FrameReader): number {
    const id = frame.stream;
    const limits = this.limits.streams;
    if (limits.isOurs(id)) return CloseCode.STREAM_STATE_ERROR;
    if (limits.wasOpen(id)) return 0;
    if (!this.overhead.admits(STREAM_BYTES + SEGMENT_BYTES, false)) return this.receiveContext.refuse(); // [CON-53]
    const code = limits.accept(id);
    if (code !== 0) return code;
    const label = DECODER.decode(frame.buffer.subarray(frame.dataStart, frame.dataStart + frame.dataLength));
    const settings = {
      priority: frame.priority as Priority,
      delivery: frame.delivery as Delivery,
      ordered: frame.ordered,
      label,
    };
    this.events.opened(this.add(id, settings, null));
    return 0;
  }

  /** A frame for a stream that is not there: fine when it was once, and is closed [STR-5], or the same packet opened it, and it was not taken. [CON-53] */
  private checkForgotten(id: number): number {
    return this.isRefusing || this.limits.streams.wasOpen(id) ? 0 : CloseCode.STREAM_STATE_ERROR;
  }

  /**
   * A peer that is hardly heard cannot get on, nor does one that hears none of our acknowledgements: that is the path's fault, and for
   * heartbeats and timeouts to judge. One that is heard again and again, and sends other things, does not want to. [STR-35]
   */
  private isExcused(now: Micros, heardAt: Micros, heard: number): boolean {
    const { receiveContext } = this;
    if (receiveContext.progressAt !== this.excusedAt) this.heardAtStall = heard;
    const isSilent = now - heardAt >= SILENCE;
    if (!isSilent && heard - this.heardAtStall >= CHANCES) return false;
    receiveContext.progressAt = now - receiveContext.stallTimeout + (isSilent ? SILENCE : SECOND);
    this.excusedAt = receiveContext.progressAt;
    return true;
  }

  /** The endpoint has room for what this connection's peer waits for. */
  onRoom(): void {
    this.receiveContext.window.retry();
    this.host.touch();
  }

  /** What streams and their packer may ask and tell. */
  private static readonly Owner = class implements StreamOwner, PackedStreamsOwner {
    private readonly all: Streams<StreamsHost>;

    constructor(all: Streams<StreamsHost>) {
      this.all = all;
    }

    get messageLimits(): MessageLimits {
      return this.all.limits.messages;
    }

    get compression(): ConnectionCompression {
      return this.all.compression;
    }

    onSendTouched(stream: ConnectionStream): void {
      this.all.onSendTouched(stream);
    }

    onReceiveTouched(stream: ConnectionStream): void {
      this.all.onReceiveTouched(stream);
    }

    track(stream: ConnectionStream): number {
      return this.all.events.track(stream);
    }

    untrack(tracking: number): void {
      this.all.events.untrack(tracking);
    }

    forgetFinished(stream: ConnectionStream): void {
      this.all.forgetFinished(stream);
    }
  };
}

function isStreamFrame(kind: number): boolean {
  if (kind >= FrameType.MESSAGE && kind <= FrameType.MESSAGES_BEST_EFFORT) return true;
  return (
    (kind >= FrameType.STREAM_OPEN && kind <= FrameType.DROPPED) ||
    kind === FrameType.MAX_STREAM_DATA ||
    kind === FrameType.STREAM_DATA_BLOCKED
  );
}

/** Frames that the receiving half of a stream sends; the others come from the sending half. */
function isReceiversFrame(kind: number): boolean {
  return kind === FrameType.STOP_SENDING || kind === FrameType.DROPPED || kind === FrameType.MAX_STREAM_DATA;
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true }); // a BOM is part of the text
/** The part of a connection's window by which the windows of its streams may grow. [STR-34] */
const POOL_SHARE = 0.75;
/** Most of the connection's credit that only `system` may use. */
const RESERVE_BYTES_MAX = 65_536;
/** A peer that was not heard for so long has, or its path has, another problem than a message that it does not complete. */
const SILENCE: Micros = 5 * SECOND;
/** Packets of a peer that stalls in which it could still have got on. */
const CHANCES = 8;
/** What a stream costs with nothing in it. */
export const STREAM_BYTES = 2_048;
