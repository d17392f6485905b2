/** Lines in and out: {@link LineSplitter} cuts the bytes that come on stdin, {@link LineWriter} gathers those that go to stdout. */
import type { Writable } from 'node:stream';
import { CommandError } from './terminal.ts';

/** Cuts chunks of bytes into lines at newlines, which are not part of them, nor is a carriage return in front of one (CRLF). */
export class LineSplitter {
  private readonly lineBytesMax: number;
  /** What came of a line that goes on in the next chunk. */
  private pieces: Buffer[] = [];
  private piecesBytes = 0;

  constructor(lineBytesMax: number) {
    this.lineBytesMax = lineBytesMax;
  }

  /** Calls `onLine` with each line that ends in `chunk`, of whose memory it is where it can be. */
  push(chunk: Buffer, onLine: (line: Uint8Array) => void): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const line = chunk.subarray(start, end);
      start = end + 1;
      onLine(withoutReturn(this.pieces.length === 0 ? line : this.joined(line)));
    }
    if (start < chunk.length) this.keep(chunk.subarray(start));
  }

  /** The input has ended; a last line without a newline is a line too. */
  end(onLine: (line: Uint8Array) => void): void {
    if (this.piecesBytes > 0) onLine(this.joined(EMPTY));
  }

  private joined(last: Buffer): Buffer {
    this.keep(last);
    const line = Buffer.concat(this.pieces, this.piecesBytes);
    this.pieces = [];
    this.piecesBytes = 0;
    return line;
  }

  private keep(piece: Buffer): void {
    this.piecesBytes += piece.length;
    if (this.piecesBytes > this.lineBytesMax) {
      throw new CommandError(
        'ERR_JSP_INPUT_TOO_LARGE',
        `a line on stdin has more than ${this.lineBytesMax} bytes, too much for one message`,
      );
    }
    this.pieces.push(piece);
  }
}

/** Writes lines to a stream, many at a time, and says when the stream has enough of them. */
export class LineWriter {
  /** Why something could not be handed to the system; null: everything was, so far. */
  failure: NodeJS.ErrnoException | null = null;
  private readonly stream: Writable;
  private readonly room = Buffer.allocUnsafe(ROOM_BYTES);
  private used = 0;
  private flushIsDue = false;
  /** While the stream has enough. */
  private blocked: Promise<void> | null = null;
  /** Told when the stream has handed what is in {@link room} to the system. */
  private marks: (() => void)[] = [];

  constructor(stream: Writable) {
    this.stream = stream;
  }

  /** @returns null, or what resolves when there is room for more */
  writeLine(line: Uint8Array): Promise<void> | null {
    this.write(line);
    return this.write(NEWLINE_BYTES);
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

  /** Calls `onWritten` when the stream has handed everything so far to the system; never when it cannot any more. */
  mark(onWritten: () => void): void {
    this.marks.push(onWritten);
    if (this.used === 0) this.hand(EMPTY);
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
    const { marks } = this;
    this.marks = [];
    const hasRoom = this.stream.write(bytes, (error) => {
      if (error) this.failure ??= error;
      else for (const mark of marks) mark();
    });
    if (hasRoom || this.blocked !== null) return;
    this.blocked = new Promise((resolve) => {
      const goOn = (): void => {
        this.stream.off('drain', goOn).off('close', goOn);
        this.blocked = null;
        resolve();
      };
      this.stream.on('drain', goOn).on('close', goOn); // what is closed takes everything, and keeps nothing
    });
  }
}

function withoutReturn(line: Buffer): Uint8Array {
  return line.length > 0 && line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const EMPTY = Buffer.alloc(0);
const NEWLINE_BYTES = Buffer.of(NEWLINE);
const ROOM_BYTES = 64 * 1024;
