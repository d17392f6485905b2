/** A stream as the application of a connection has it: {@link ConnectionStream} takes its calls, {@link StreamEvents} tells it what happens. */

import { type Micros, NEVER } from '../../base/time.ts';
import { CompressionMode, type ConnectionCompression } from '../compress/compression.ts';
import { StreamCompression } from '../compress/stream-compression.ts';
import type { ConnectionProtection } from '../fec/connection-protection.ts';
import type { ProtectionOptions } from '../fec/protection.ts';
import type { DefaultProtection, StreamProtection } from '../fec/stream-protection.ts';
import type { Delivery, Priority } from '../wire/frame-type.ts';
import type { MessageLimits } from './limits.ts';
import type { ReceiveStream } from './receive/receive-stream.ts';
import { Schedulable } from './scheduler.ts';
import { Mark } from './send/message-records.ts';
import type { Outcomes } from './send/send-context.ts';
import { SendResult, type SendStream } from './send/send-stream.ts';

/** What a stream is opened with. */
export interface StreamSettings {
  readonly priority: Priority;
  /** What its messages are unless they are sent as something less. */
  readonly delivery: Delivery;
  readonly ordered: boolean;
  /** At most 64 bytes of UTF-8. */
  readonly label: string;
  /** What is sent on it is protected by; default: what the connection's streams are. */
  readonly protection?: ProtectionOptions | undefined;
  /** Whether what is sent on it is compressed; default: as the connection's streams are. */
  readonly compression?: CompressionMode | undefined;
  /** What is sent on it may go before the handshake is complete, unless a message says otherwise. Default false. [HS-59] */
  readonly earlyData?: boolean | undefined;
}

/** What a connection does to the messages of its streams. */
export interface MessageServices {
  /** Against loss. */
  readonly protection: ConnectionProtection;
  /** The same of streams that do not say. */
  readonly defaultProtection: DefaultProtection;
  /** To make them small. */
  readonly compression: ConnectionCompression;
}

/** What a message asks for that its stream does not have. */
export interface MessageAsks {
  /** What it is protected by against loss; null: what the stream is. */
  readonly protection: ProtectionOptions | null;
  /** Whether it is compressed; null: as the stream's are. */
  readonly compression: CompressionMode | null;
  /** Whether it may go before the handshake is complete; null: as the stream's may. */
  readonly earlyData?: boolean | null;
}

/** What a stream needs of its connection. */
export interface StreamOwner {
  /** The application queued, ended or gave up something. */
  onSendTouched(stream: ConnectionStream): void;
  /** The application read something, or reads no more. */
  onReceiveTouched(stream: ConnectionStream): void;
  /** A number by which the outcome of a message of this stream will be told. */
  track(stream: ConnectionStream): number;
  /** The message with this number was not sent after all. */
  untrack(tracking: number): void;
  readonly messageLimits: MessageLimits;
  readonly compression: ConnectionCompression;
}

/** A stream of one connection: its two halves, and what the application may do with them. */
export class ConnectionStream extends Schedulable {
  readonly id: number;
  readonly delivery: Delivery;
  readonly ordered: boolean;
  readonly label: string;
  readonly sender: SendStream;
  readonly receiver: ReceiveStream;
  /** Whatever the driver wants to find again with an event. */
  owner: unknown = null;
  /** A `readable` event is on its way, or the application has not read since. */
  isReadableTold = false;
  /** The application wants to know when messages are settled. */
  wantsSettled = false;
  isResetTold = false;
  /** The application was told that the peer's messages end here. */
  isEndTold = false;
  /** How what is sent on it is protected against loss. */
  private readonly protection: StreamProtection;
  /** What its messages are unless they say. */
  private readonly compression: CompressionMode;
  /** What the next message is. */
  private nextCompression: CompressionMode;
  /** What compresses them; null before the first that is to be. */
  private deflater: StreamCompression | null = null;
  /** The message before was compressed. */
  private wasDeflated = false;
  /** A message has asked for something of its own. */
  private isMixed = false;
  /** Its messages may go before the handshake is complete, unless they say otherwise. */
  private readonly isEarly: boolean;
  private readonly streams: StreamOwner;

  constructor(
    id: number,
    settings: StreamSettings,
    sender: SendStream,
    receiver: ReceiveStream,
    protection: StreamProtection,
    streams: StreamOwner,
  ) {
    super(settings.priority);
    this.id = id;
    this.delivery = settings.delivery;
    this.ordered = settings.ordered;
    this.label = settings.label;
    this.sender = sender;
    this.protection = protection;
    this.receiver = receiver;
    this.streams = streams;
    this.compression = settings.compression ?? streams.compression.options.mode;
    this.nextCompression = this.compression;
    this.isEarly = settings.earlyData ?? false;
  }

  /** The largest message that can be sent, in bytes. */
  get messageBytesMax(): number {
    return this.streams.messageLimits.peer;
  }

  /** Whether this side's application is at fault when a message of so many bytes is too large. [STR-36] */
  isOwnFault(bytes: number): boolean {
    return this.streams.messageLimits.isOwnFault(bytes);
  }

  /**
   * Queues a message; see {@link SendStream.send}.
   *
   * @param asks - what it is to be that the stream is not; null: all as the stream
   */
  send(
    data: Uint8Array,
    delivery: Delivery,
    deadline: Micros,
    transfer: boolean,
    tracking = 0,
    asks: MessageAsks | null = null,
  ): SendResult {
    if (asks !== null || this.isMixed) this.ask(asks);
    const result =
      this.nextCompression === CompressionMode.OFF
        ? this.sender.send(data, delivery, deadline, transfer, tracking)
        : this.sendDeflated(data, delivery, deadline, transfer, tracking);
    if (!this.active || deadline < this.deadline) this.streams.onSendTouched(this);
    return result;
  }

  /** The next message asks for this, or null for what the stream has, when messages before it asked for something else. [FEC-1] */
  private ask(asks: MessageAsks | null): void {
    this.isMixed = true;
    this.sender.queue.mark = this.protection.admits(asks?.protection ?? null) ? 0 : Mark.UNPROTECTED;
    this.nextCompression = asks?.compression ?? this.compression;
    const { early } = this.sender.queue;
    if (early !== null) early.isNext = asks?.earlyData ?? this.isEarly;
  }

  /** Sends a message in an envelope, if that makes it smaller; else as it is. [STR-23] */
  private sendDeflated(
    data: Uint8Array,
    delivery: Delivery,
    deadline: Micros,
    transfer: boolean,
    tracking: number,
  ): SendResult {
    const { sender } = this;
    const { queue } = sender;
    const { compression, messageLimits } = this.streams;
    this.deflater ??= new StreamCompression(compression);
    const deflated = this.deflater.deflate(data, this.nextCompression);
    // [CMP-8] Among compressed ones that wait, an envelope is shorter than a frame of its own.
    const isAmong =
      this.wasDeflated &&
      queue.bytes > 0 &&
      deadline === NEVER &&
      data.length <= STORED_BYTES_MAX &&
      data.length < messageLimits.peer;
    this.wasDeflated = deflated !== null;
    const made = deflated ?? (isAmong ? compression.store(data) : null);
    if (made === null) return sender.send(data, delivery, deadline, transfer, tracking);
    const { mark } = queue;
    queue.mark |= Mark.ENVELOPE;
    try {
      const result = sender.send(made, delivery, deadline, false, tracking);
      if (result === SendResult.REFUSED) return result;
      if (deflated === null) compression.counting.stored++;
      else compression.onSent(data.length, made.length);
      return result;
    } finally {
      queue.mark = mark;
    }
  }

  /** A number to send a message with; an `outcome` event with it tells what became of the message. */
  track(): number {
    return this.streams.track(this);
  }

  /** The message with this number was not sent after all. */
  untrack(tracking: number): void {
    this.streams.untrack(tracking);
  }

  /** Takes the next message, or null. Call {@link onRead} when done reading for now. */
  read(now: Micros): Uint8Array | null {
    return this.receiver.read(now);
  }

  /** The application has read what it wants for now: credit may go back, and news is news again. */
  onRead(): void {
    this.isReadableTold = false;
    this.streams.onReceiveTouched(this);
  }

  /** Ends the stream behind the messages that are queued; the peer may go on. */
  finish(): void {
    this.sender.close();
    this.streams.onSendTouched(this);
  }

  /** Gives up both directions. */
  reset(code: number): void {
    this.sender.reset(code);
    this.receiver.stop(code);
    this.streams.onSendTouched(this);
    this.streams.onReceiveTouched(this);
  }
}

/** What the streams of a connection tell of themselves; `Connection` is whatever they belong to. */
export type StreamEvent<Connection> =
  /** The peer opened a stream. */
  | { readonly type: 'stream'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** The stream has messages to read, or its end. */
  | { readonly type: 'readable'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** The stream's queue became shorter, or messages were settled. */
  | { readonly type: 'writable'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** What became of a message that was sent with a tracking number. */
  | {
      readonly type: 'outcome';
      readonly connection: Connection;
      readonly stream: ConnectionStream;
      readonly tracking: number;
      readonly outcome: number;
    }
  /** A message that was taken in under a larger limit of the peer's, is above the present one, and was not sent. [STR-46] */
  | {
      readonly type: 'unsent';
      readonly connection: Connection;
      readonly stream: ConnectionStream;
      readonly data: Uint8Array;
      /** 0 where nobody waits for its outcome. */
      readonly tracking: number;
      readonly bytesMax: number;
    }
  /** The peer ended the stream by a reset, or stopped reading it. */
  | {
      readonly type: 'reset';
      readonly connection: Connection;
      readonly stream: ConnectionStream;
      readonly code: number;
    }
  /** Both directions of the stream are over. */
  | { readonly type: 'streamClosed'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** Streams of ours have waited for long because the peer, which has not ended others, lets us open no more. [STR-39] */
  | { readonly type: 'streamsBlocked'; readonly connection: Connection; readonly waiting: number };

/** Where stream events go. */
export interface StreamEventSink<Connection> {
  push(event: StreamEvent<Connection>): void;
}

/** Emits the events of streams, edge-triggered: each once, until the application has looked. */
export class StreamEvents<Connection> {
  private readonly connection: Connection;
  private readonly sink: StreamEventSink<Connection>;
  /** Streams of messages whose outcome somebody waits for, by tracking number; null: nobody ever did. */
  private tracked: Map<number, ConnectionStream> | null = null;
  private nextTracking = 1;

  constructor(connection: Connection, sink: StreamEventSink<Connection>) {
    this.connection = connection;
    this.sink = sink;
  }

  /** A number by which the outcome of a message of this stream will be told. */
  track(stream: ConnectionStream): number {
    this.tracked ??= new Map();
    this.tracked.set(this.nextTracking, stream);
    return this.nextTracking++;
  }

  /** The message with this number was not sent after all. */
  untrack(tracking: number): void {
    this.tracked?.delete(tracking);
  }

  opened(stream: ConnectionStream): void {
    this.sink.push({ type: 'stream', connection: this.connection, stream });
  }

  closed(stream: ConnectionStream): void {
    this.sink.push({ type: 'streamClosed', connection: this.connection, stream });
  }

  unsent(stream: ConnectionStream, data: Uint8Array, tracking: number, bytesMax: number): void {
    if (tracking > 0) this.tracked?.delete(tracking);
    this.sink.push({ type: 'unsent', connection: this.connection, stream, data, tracking, bytesMax });
  }

  blocked(waiting: number): void {
    this.sink.push({ type: 'streamsBlocked', connection: this.connection, waiting });
  }

  /** Something came, or was read: there may be messages, the end, or a reset. */
  received(stream: ConnectionStream): void {
    const { connection } = this;
    const { receiver, sender } = stream;
    const isReset = receiver.resetCode >= 0 || sender.stopCode >= 0;
    if (isReset && !stream.isResetTold) {
      stream.isResetTold = true;
      const code = receiver.resetCode >= 0 ? receiver.resetCode : sender.stopCode;
      this.sink.push({ type: 'reset', connection, stream, code });
    }
    const isEnd = receiver.ended && !stream.isEndTold;
    if (stream.isReadableTold || (receiver.readable === 0 && !isEnd)) return;
    stream.isReadableTold = true;
    if (receiver.ended) stream.isEndTold = true;
    this.sink.push({ type: 'readable', connection, stream });
  }

  /** Messages were sent: the queue may have become short enough to go on. */
  sent(stream: ConnectionStream): void {
    if (!stream.sender.queue.takeDrained()) return;
    this.sink.push({ type: 'writable', connection: this.connection, stream });
  }

  /** Messages were settled, which somebody may wait for. */
  settled(stream: ConnectionStream): void {
    const isDrained = stream.sender.queue.takeDrained();
    if (!isDrained && !stream.wantsSettled) return;
    this.sink.push({ type: 'writable', connection: this.connection, stream });
  }

  /** Takes the outcomes of tracked messages out of the ring. */
  outcomes(ring: Outcomes): void {
    const { connection } = this;
    while (ring.next()) {
      const { id: tracking, outcome } = ring;
      const stream = this.tracked?.get(tracking);
      if (stream === undefined) continue;
      this.tracked?.delete(tracking);
      this.sink.push({ type: 'outcome', connection, stream, tracking, outcome });
    }
  }
}

/** A longer message that is not compressed has a frame of its own. */
const STORED_BYTES_MAX = 1_024;
