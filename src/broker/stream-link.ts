import { type MessageStream, STREAM_PRIORITIES } from '../pubsub/message-stream.ts';
import type { Link } from './link.ts';

/** A transport stream as the core's {@link Link}: it does not throw when the stream is gone, and resumes after the core has returned. */
export class StreamLink implements Link {
  readonly id: number;
  readonly priority: number;
  readonly messageBytesMax: number;
  private readonly stream: MessageStream;
  private paused = false;

  constructor(stream: MessageStream) {
    this.stream = stream;
    this.id = stream.id;
    this.messageBytesMax = stream.messageBytesMax;
    this.priority = STREAM_PRIORITIES.indexOf(stream.priority);
  }

  get queuedBytes(): number {
    return this.stream.queuedBytes;
  }

  limit(bytes: number): void {
    this.stream.highWaterMark = bytes;
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

  reset(code: number): void {
    this.stream.reset(code);
  }
}

/** Below this a copy is cheaper than keeping hold of the bytes. */
const TRANSFER_BYTES_MIN = 4_096;
const TRANSFER = { transfer: true };
