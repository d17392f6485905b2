import type { MessageStream } from '../pubsub/message-stream.ts';
import type { Link } from './link.ts';

/** A transport stream as the core's {@link Link}: it does not throw when the stream is gone, and resumes after the core has returned. */
export class StreamLink implements Link {
  private readonly stream: MessageStream;
  private paused = false;

  constructor(stream: MessageStream) {
    this.stream = stream;
  }

  send(bytes: Uint8Array): boolean {
    try {
      return bytes.length < TRANSFER_BYTES_MIN ? this.stream.send(bytes) : this.stream.send(bytes, TRANSFER); // [BRK-7]
    } catch {
      return false; // closed; the core hears of it by the stream's own event
    }
  }

  pause(): void {
    this.paused = true;
    this.stream.pause();
  }

  resume(): void {
    this.paused = false;
    queueMicrotask(() => {
      if (!this.paused) this.stream.resume();
    });
  }

  end(): void {
    try {
      this.stream.end();
    } catch {
      // closed already
    }
  }
}

/** Below this a copy is cheaper than keeping hold of the bytes. */
const TRANSFER_BYTES_MIN = 4_096;
const TRANSFER = { transfer: true };
