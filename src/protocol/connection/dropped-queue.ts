import type { SentFrames } from '../stream/sent-frames.ts';
import type { ConnectionStream } from './connection-stream.ts';

/** Told when a stream has nothing more to report. */
export interface ReportOwner {
  forgetFinished(stream: ConnectionStream): void;
}

/** The streams whose receiving half has DROPPED to report, each once. */
export class DroppedQueue {
  private readonly streams: ConnectionStream[] = [];

  get isEmpty(): boolean {
    return this.streams.length === 0;
  }

  /** Takes the stream in if it has something to report and is not here yet. */
  add(stream: ConnectionStream): void {
    if (stream.isDroppedDue || !stream.receiver.droppedDue) return;
    stream.isDroppedDue = true;
    this.streams.push(stream);
  }

  /** Writes as many of the frames as fit. Returns the new offset. */
  write(out: Uint8Array, start: number, limit: number, sent: SentFrames, owner: ReportOwner): number {
    const { streams } = this;
    let at = start;
    while (streams.length > 0) {
      const stream = streams[streams.length - 1];
      at = stream.receiver.writeDropped(out, at, limit, sent);
      if (stream.receiver.droppedDue) break;
      stream.isDroppedDue = false;
      streams.pop();
      owner.forgetFinished(stream);
    }
    return at;
  }
}
