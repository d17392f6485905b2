import type { ConnectionStream } from './connection-stream.ts';
import type { Outcomes } from './send/send-context.ts';

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
  /** Streams of messages whose outcome somebody waits for, by tracking number. */
  private readonly tracked = new Map<number, ConnectionStream>();
  private nextTracking = 1;

  constructor(connection: Connection, sink: StreamEventSink<Connection>) {
    this.connection = connection;
    this.sink = sink;
  }

  /** A number by which the outcome of a message of this stream will be told. */
  track(stream: ConnectionStream): number {
    this.tracked.set(this.nextTracking, stream);
    return this.nextTracking++;
  }

  /** The message with this number was not sent after all. */
  untrack(tracking: number): void {
    this.tracked.delete(tracking);
  }

  opened(stream: ConnectionStream): void {
    this.sink.push({ type: 'stream', connection: this.connection, stream });
  }

  closed(stream: ConnectionStream): void {
    this.sink.push({ type: 'streamClosed', connection: this.connection, stream });
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
    if (!stream.sender.takeDrained()) return;
    this.sink.push({ type: 'writable', connection: this.connection, stream });
  }

  /** Messages were settled, which somebody may wait for. */
  settled(stream: ConnectionStream): void {
    const isDrained = stream.sender.takeDrained();
    if (!isDrained && !stream.wantsSettled) return;
    this.sink.push({ type: 'writable', connection: this.connection, stream });
  }

  /** Takes the outcomes of tracked messages out of the ring. */
  outcomes(ring: Outcomes): void {
    const { connection } = this;
    while (ring.next()) {
      const { id: tracking, outcome } = ring;
      const stream = this.tracked.get(tracking);
      if (stream === undefined) continue;
      this.tracked.delete(tracking);
      this.sink.push({ type: 'outcome', connection, stream, tracking, outcome });
    }
  }
}
