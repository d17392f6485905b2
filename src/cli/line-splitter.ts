import { CommandError } from './command-error.ts';

/** Cuts chunks of bytes into lines at newlines, which are not part of them, nor is a carriage return in front of one (CRLF). */
export class LineSplitter {
  private readonly lineBytesMax: number;
  /** What came of a line that goes on in the next chunk. */
  private pieces: Buffer[] = [];
  private piecesBytes = 0;

  constructor(lineBytesMax: number) {
    this.lineBytesMax = lineBytesMax;
  }

  /** Calls `onLine` with each line that ends in `chunk`; the bytes are valid during the call. */
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

function withoutReturn(line: Buffer): Uint8Array {
  return line.length > 0 && line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const EMPTY = Buffer.alloc(0);
