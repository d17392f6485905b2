import type { Writable } from 'node:stream';

/** Writes lines to a stream, many at a time, and says when the stream has enough of them. */
export class LineWriter {
  private readonly stream: Writable;
  private readonly room = Buffer.allocUnsafe(ROOM_BYTES);
  private used = 0;
  private flushIsDue = false;
  /** While the stream has enough. */
  private blocked: Promise<void> | null = null;

  constructor(stream: Writable) {
    this.stream = stream;
  }

  /** @returns null, or what resolves when there is room for more */
  writeLine(line: Uint8Array): Promise<void> | null {
    this.write(line);
    return this.write(NEWLINE);
  }

  /** As {@link writeLine}, and nothing is added. */
  write(bytes: Uint8Array): Promise<void> | null {
    if (this.used + bytes.length > ROOM_BYTES) this.flush();
    if (bytes.length > ROOM_BYTES) {
      this.hand(bytes);
      return this.blocked;
    }
    this.room.set(bytes, this.used);
    this.used += bytes.length;
    if (!this.flushIsDue) {
      this.flushIsDue = true;
      setImmediate(() => {
        this.flushIsDue = false;
        this.flush();
      });
    }
    return this.blocked;
  }

  /** Resolves when the stream has handed everything to the system. */
  finish(): Promise<void> {
    this.flush();
    return new Promise((resolve) => this.stream.write('', () => resolve()));
  }

  private flush(): void {
    if (this.used === 0) return;
    const bytes = Buffer.from(this.room.subarray(0, this.used));
    this.used = 0;
    this.hand(bytes);
  }

  private hand(bytes: Uint8Array): void {
    if (this.stream.write(bytes) || this.blocked !== null) return;
    this.blocked = new Promise((resolve) => {
      this.stream.once('drain', () => {
        this.blocked = null;
        resolve();
      });
    });
  }
}

const NEWLINE = Buffer.from('\n');
const ROOM_BYTES = 64 * 1024;
