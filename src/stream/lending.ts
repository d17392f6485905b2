/**
 * Which memory an application gets its messages in. [STR-32] Until it reads them, messages lie in the datagrams that brought them. A view of
 * a datagram costs least, but keeps all of it alive for as long as the application keeps the message, and whoever has a view can write over
 * all of it. So:
 *
 *  - a datagram that brings something for several receivers is left to the first; the others get copies when it comes;
 *  - what V8 keeps on its heap, up to 64 bytes, is copied: that takes as long as making a view (61-145 ns against 69-117, Node 20);
 *  - a small share of a datagram is copied, together with what follows it in its run;
 *  - of a run in a large datagram a few KB are copied at a time, which costs 20 ns a message where single copies would cost 700;
 *  - all else is a view. Where messages that are not read yet share its memory, that cannot be transferred.
 */

import { keepHere } from '../base/memory.ts';
import type { Segment } from './segment.ts';

/** Messages up to this size get memory of their own: V8 keeps as much within the object that stands for it. */
export const OWN_BYTES_MAX = 64;

/** A copy of bytes[start, start + length) in memory of its own. */
export function copyOut(bytes: Uint8Array, start: number, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  if (length > OWN_BYTES_MAX) copy.set(bytes.subarray(start, start + length));
  else for (let i = 0; i < length; i++) copy[i] = bytes[start + i];
  return copy;
}

/** Gives a segment the memory that the message of `length` bytes at `start` is handed out in, and others behind it. */
export function lend(segment: Segment, start: number, length: number): void {
  const { buffer } = segment;
  const memoryBytes = buffer.buffer.byteLength;
  const left = segment.end - start;
  const isFew = memoryBytes <= BLOCK_BYTES && left * SHARE_MAX >= memoryBytes;
  let lent = left;
  if (isFew || length * SHARE_MAX >= memoryBytes) {
    segment.memory = buffer.buffer;
    segment.memoryStart = buffer.byteOffset;
  } else {
    lent = Math.min(left, Math.max(length, BLOCK_BYTES));
    const block = copyOut(buffer, start, lent);
    segment.memory = block.buffer;
    segment.memoryStart = block.byteOffset - start;
  }
  segment.memoryEnd = start + lent;
  if (lent > length) keepHere(segment.memory);
}

/** Less than this part of a datagram is a small share. */
const SHARE_MAX = 4;
/** Most that a kept message of a run keeps alive, unless it is larger itself. */
const BLOCK_BYTES = 4_096;
