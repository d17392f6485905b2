/**
 * DEFLATE data (RFC 1951), made and opened by `node:zlib`. [CMP-12] Versions of zlib, and the same one on different processors, make different bytes
 * of a message; all open to it.
 */

import type { Buffer } from 'node:buffer';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { shortLivedBuffer } from '../../base/bytes.ts';
import type { Dictionary } from './dictionary.ts';
import { BROKEN, TOO_LONG } from './lz4-block.ts';

/** Most that a message may have, and what it is deflated to: neither side's work for one is ever more than some milliseconds. [CMP-12] */
export const DEFLATE_BYTES_MAX = 65_536;

/** Deflates `data` to out[at, limit). Returns where it ends; 0 when it does not fit. */
export function deflateTo(
  data: Uint8Array,
  out: Uint8Array,
  at: number,
  limit: number,
  dictionary: Dictionary | null,
): number {
  const reach = data.length + (dictionary === null ? 0 : dictionary.bytes.length) + LOOKAHEAD_BYTES;
  const options = {
    level: LEVEL,
    memLevel: MEM_LEVEL,
    windowBits: Math.min(WINDOW_BITS_MAX, Math.max(WINDOW_BITS_MIN, 32 - Math.clz32(reach - 1))),
    chunkSize: chunkFor(data.length),
  };
  const made = deflateRawSync(
    data,
    dictionary === null ? options : { ...options, dictionary: dictionary.bytes },
  );
  const end = at + made.length;
  if (made.length > DEFLATE_BYTES_MAX || end > limit) return 0;
  out.set(made, at);
  return end;
}

/**
 * Inflates bytes[start, end) to memory of its own. zlib stops where that gets above `max` or `DEFLATE_BYTES_MAX`: {@link TOO_LONG}. {@link BROKEN} when it is
 * no DEFLATE data, ends before its last block does, or goes on behind it.
 */
export function inflateFrom(
  bytes: Uint8Array,
  start: number,
  end: number,
  max: number,
  dictionary: Dictionary | null,
): Buffer | typeof BROKEN | typeof TOO_LONG {
  const length = end - start;
  if (length > DEFLATE_BYTES_MAX) return BROKEN;
  const lengthMax = Math.min(max, DEFLATE_BYTES_MAX);
  const options = {
    info: true,
    maxOutputLength: Math.max(1, lengthMax),
    chunkSize: chunkFor(Math.min(lengthMax, length * USUAL_RATIO)),
  };
  let opened: Inflated;
  try {
    const data = bytes.subarray(start, end);
    // `info` is not in its types
    opened = inflateRawSync(
      data,
      dictionary === null ? options : { ...options, dictionary: dictionary.bytes },
    ) as unknown as Inflated;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? TOO_LONG : BROKEN;
  }
  if (opened.engine.bytesWritten !== length) return BROKEN;
  if (opened.buffer.length > lengthMax) return TOO_LONG;
  // What zlib gives may be a part of a chunk, which it would keep.
  const message = shortLivedBuffer(opened.buffer.length);
  message.set(opened.buffer);
  return message;
}

/** What zlib gives with `info`. */
interface Inflated {
  readonly buffer: Buffer;
  /** Of which it tells how many bytes it has taken, which `node:zlib` calls written. */
  readonly engine: { readonly bytesWritten: number };
}

/** What zlib allocates at a time: all of what is likely to come, with room for it to see that it was all. */
function chunkFor(bytes: number): number {
  return Math.max(CHUNK_BYTES_MIN, bytes + 1);
}

const LEVEL = 6;
/** By 8, zlib's default, no group of the corpus becomes smaller by more than 0.1 %, and what a call allocates for symbols is four times as much. */
const MEM_LEVEL = 6;
/** zlib keeps so much of its window for what comes next: no match reaches further back than the rest. */
const LOOKAHEAD_BYTES = 262;
/** The window is as small as the message and its dictionary allow, for a call allocates four times as much, and a smaller one is as good. */
const WINDOW_BITS_MIN = 9;
const WINDOW_BITS_MAX = 15;
/** JSON of 1 KB with a dictionary becomes 6 times smaller; what has more goes through several chunks. */
const USUAL_RATIO = 8;
const CHUNK_BYTES_MIN = 256;
