import { readVarint, varintLength } from './varint.ts';

/**
 * Reads fields from a stretch of bytes, one after the other. A field that does not fit sets {@link failed} and moves to the
 * end, so that every later field fails too: a decoder reads all its fields in a straight line and asks once. Never reads out
 * of bounds, never throws.
 */
export class ByteCursor {
  buffer: Uint8Array = EMPTY;
  /** Where the next field begins. */
  at = 0;
  /** Where the bytes end. */
  bound = 0;
  /** A field ran over the end, or was no varint of at most 2^53 - 1. */
  failed = false;

  /** Begins at `start`; the bytes end before `end`. */
  reset(buffer: Uint8Array, start: number, end: number): void {
    this.buffer = buffer;
    this.at = start;
    this.bound = end;
    this.failed = false;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.bound - this.at;
  }

  u8(): number {
    if (this.at >= this.bound) return this.fail();
    return this.buffer[this.at++];
  }

  varint(): number {
    const value = readVarint(this.buffer, this.at, this.bound);
    if (value < 0) return this.fail();
    this.at += varintLength(this.buffer[this.at]);
    return value;
  }

  /** Passes over `length` bytes. Returns where they begin. */
  skip(length: number): number {
    if (length > this.bound - this.at) return this.fail();
    const start = this.at;
    this.at += length;
    return start;
  }

  /** Marks the bytes as malformed. Returns 0, to be the value of the field that failed. */
  fail(): number {
    this.failed = true;
    this.at = this.bound;
    return 0;
  }
}

const EMPTY = new Uint8Array(0);
