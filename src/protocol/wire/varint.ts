/** Variable length integers of RFC 9000 section 16, at most 2^53 - 1 here, and the cursor that reads them and other fields. */

import { NO_BYTES } from '../../base/bytes.ts';
/** The largest value a varint carries. */
export const VARINT_MAX = Number.MAX_SAFE_INTEGER;

/** Bytes that `value` takes: 1, 2, 4 or 8. */
export function varintSize(value: number): number {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8;
}

/** Bytes of the varint that begins with this byte. */
export function varintLength(firstByte: number): number {
  return 1 << (firstByte >> 6);
}

/** Writes `value`, a whole number in [0, 2^53 - 1], in its shortest form. Returns the offset behind it. */
export function writeVarint(out: Uint8Array, at: number, value: number): number {
  if (value < 0x40) {
    out[at] = value;
    return at + 1;
  }
  if (value < 0x4000) {
    out[at] = 0x40 | (value >> 8);
    out[at + 1] = value;
    return at + 2;
  }
  if (value < 0x4000_0000) {
    out[at] = 0x80 | (value >> 24);
    out[at + 1] = value >> 16;
    out[at + 2] = value >> 8;
    out[at + 3] = value;
    return at + 4;
  }
  const high = Math.floor(value / 0x1_0000_0000);
  out[at] = 0xc0;
  out[at + 1] = high >> 16;
  out[at + 2] = high >> 8;
  out[at + 3] = high;
  const low = value >>> 0;
  out[at + 4] = low >> 24;
  out[at + 5] = low >> 16;
  out[at + 6] = low >> 8;
  out[at + 7] = low;
  return at + 8;
}

/** Reads the varint at `at`: its value, or -1 when it runs over `end` or is above 2^53 - 1. [FRM-1] */
export function readVarint(buffer: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1;
  const first = buffer[at];
  if (first < 0x40) return first;
  if (first < 0x80) return at + 2 <= end ? ((first & 0x3f) << 8) | buffer[at + 1] : -1;
  if (first < 0xc0) {
    if (at + 4 > end) return -1;
    return ((first & 0x3f) << 24) | (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3];
  }
  // 53 bits: the first byte and the top 3 bits of the second carry nothing
  if (at + 8 > end || first !== 0xc0 || buffer[at + 1] > 0x1f) return -1;
  const high = (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3];
  const low = (buffer[at + 4] << 24) | (buffer[at + 5] << 16) | (buffer[at + 6] << 8) | buffer[at + 7];
  return high * 0x1_0000_0000 + (low >>> 0);
}

/**
 * Reads fields from a stretch of bytes, one after the other. A field that does not fit sets {@link failed} and moves to the
 * end, so that every later field fails too: a decoder reads all its fields in a straight line and asks once. Never reads out
 * of bounds, never throws.
 */
export class ByteCursor {
  buffer: Uint8Array = NO_BYTES;
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
