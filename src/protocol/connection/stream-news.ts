import type { OutcomeRing } from '../stream/send/outcome.ts';
import type { Connection, EventSink } from './connection.ts';
import type { ConnectionStream } from './connection-stream.ts';

/** Tells the application what is new on streams, each thing once until it has looked. */
export class StreamNews {
  private readonly connection: Connection;
  private readonly events: EventSink;
  /** Streams of messages whose outcome somebody waits for, by tracking number. */
  private readonly tracked = new Map<number, ConnectionStream>();
  private nextTracking = 1;

  constructor(connection: Connection, events: EventSink) {
    this.connection = connection;
    this.events = events;
  }

  /** A number by which the outcome of a message of this stream will be told. */
  track(stream: ConnectionStream): number {
    this.tracked.set(this.nextTracking, stream);
    return this.nextTracking++;
  }

  untrack(tracking: number): void {
    this.tracked.delete(tracking);
  }

  /** Something came, or was read: tells of messages, of the end, and of a reset. */
  tellReceived(stream: ConnectionStream): void {
    const { connection } = this;
    const { receiver, sender } = stream;
    const isReset = receiver.resetCode >= 0 || sender.stopped;
    if (isReset && !stream.isResetTold) {
      stream.isResetTold = true;
      const code = receiver.resetCode >= 0 ? receiver.resetCode : sender.stopCode;
      this.events.push({ type: 'reset', connection, stream, code });
    }
    const isEnd = receiver.ended && !stream.isEndTold;
    if (stream.isReadableTold || (receiver.readable === 0 && !isEnd)) return;
    stream.isReadableTold = true;
    if (receiver.ended) stream.isEndTold = true;
    this.events.push({ type: 'readable', connection, stream });
  }

  /** Messages were sent: the queue may have become short enough to go on. */
  tellDrained(stream: ConnectionStream): void {
    if (!stream.sender.takeDrained()) return;
    this.events.push({ type: 'writable', connection: this.connection, stream });
  }

  /** Messages were settled, which somebody may wait for. */
  tellSettled(stream: ConnectionStream): void {
    const isDrained = stream.sender.takeDrained();
    if (!isDrained && !stream.wantsSettled) return;
    this.events.push({ type: 'writable', connection: this.connection, stream });
  }

  /** Takes the outcomes of tracked messages out of the ring. */
  tellOutcomes(outcomes: OutcomeRing): void {
    const { connection } = this;
    while (outcomes.next()) {
      const { id: tracking, outcome } = outcomes;
      const stream = this.tracked.get(tracking);
      if (stream === undefined) continue;
      this.tracked.delete(tracking);
      this.events.push({ type: 'outcome', connection, stream, tracking, outcome });
    }
  }
}
