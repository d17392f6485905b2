/**
 * Which memory an application gets its messages in. [STR-32] Until it reads them, messages lie in the datagrams that brought them. A view of
 * a datagram costs least, but keeps all of it alive for as long as the application keeps the message, and whoever has a view can write over
 * all of it. So:
 *
 *  - a datagram that brings something for several receivers is left to the first; the others get copies when it comes;
 *  - a run, or message, that is a small share of its datagram is copied;
 *  - a message that is small beside the others of its run is copied: that one is kept while its neighbours are not is likely, and the
 *    neighbours' bytes pay for it. Of a run of equals the messages are views: to copy them took 40 % off the rate of 64 B messages, and to
 *    copy 4 KB of the run at a time 7 %;
 *  - memory with unread messages in it cannot be transferred.
 */

import { keepHere } from '../../../base/bytes.ts';
import type { Segment } from './segment.ts';

/** A copy of bytes[start, start + length) in memory of its own. */
export function copyOut(bytes: Uint8Array, start: number, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  if (length > LOOP_BYTES_MAX) copy.set(bytes.subarray(start, start + length));
  else for (let i = 0; i < length; i++) copy[i] = bytes[start + i];
  return copy;
}

/** Decides about the memory that the messages of a segment are handed out in. */
export function lend(segment: Segment): void {
  const { buffer, at, end, count } = segment;
  const bytes = end - at;
  if (bytes * SMALL_SHARE < buffer.buffer.byteLength) {
    segment.memory = copyOut(buffer, at, bytes).buffer;
    segment.memoryStart = -at;
  } else {
    segment.memory = buffer.buffer;
    segment.memoryStart = buffer.byteOffset;
  }
  if (count < 2) return;
  segment.copyMax = Math.min(COPY_BYTES_MAX, Math.floor(bytes / count / SMALL_SHARE));
  keepHere(segment.memory);
}

/** Less than one in so many parts of a datagram, or of what its neighbours have on average, is small. */
const SMALL_SHARE = 4;
const COPY_BYTES_MAX = 1_024;
/** So few bytes are copied faster one by one. */
const LOOP_BYTES_MAX = 64;
