import type { SentFrames } from '../stream/sent-frames.ts';
import type { ConnectionStream } from './connection-stream.ts';

/** The streams whose receiving half has MAX_STREAM_DATA or STOP_SENDING to send, each once. */
export class ControlQueue {
  private readonly streams: ConnectionStream[] = [];

  get isEmpty(): boolean {
    return this.streams.length === 0;
  }

  /** Takes the stream in if it has something to send and is not here yet. */
  add(stream: ConnectionStream): void {
    if (stream.isControlDue || !stream.receiver.controlDue) return;
    stream.isControlDue = true;
    this.streams.push(stream);
  }

  /** Writes as many of the frames as fit. Returns the new offset. */
  write(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    const { streams } = this;
    let at = start;
    for (let i = streams.length - 1; i >= 0; i--) {
      const stream = streams[i];
      if (!stream.sender.isOpenAtPeer) continue; // only STREAM_OPEN and what rides with it may come first [STR-3]
      at = stream.receiver.writeControl(out, at, limit, sent);
      if (stream.receiver.controlDue) break;
      stream.isControlDue = false;
      streams[i] = streams[streams.length - 1];
      streams.pop();
    }
    return at;
  }
}
