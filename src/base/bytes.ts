import { markAsUntransferable } from 'node:worker_threads';

/**
 * Byte arrays: compared, copied, and freed before the collector comes.
 *
 * Large buffers and V8's garbage collector. An array buffer's memory lies outside the heap and is freed only when the collector finds
 * the small object that stands for it. With 16 KB and more a buffer, tens of megabytes are dead by then: each new buffer is memory that
 * no cache holds, and V8, which counts those megabytes, runs full collections. Measured while receiving 64 KB messages from one process
 * of the same host (2 cores, Node 20): freeing the datagrams at once gave a quarter to a third more throughput, OpenSSL's results freed
 * at once too made OpenSSL the faster cipher for large packets, and hastening scavenges cut the full collections from 10 a second to
 * less than 1 and gave another tenth.
 */

/** True when both hold the same bytes. Not constant in time: for ids and other public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether the memory was given away, to a worker say: there are no bytes any more, and the length is 0. In a browser, too. */
export function isDetached(bytes: Uint8Array): boolean {
  if (bytes.length > 0) return false;
  try {
    new Uint8Array(bytes.buffer);
    return false;
  } catch {
    return true;
  }
}

/** The bytes in memory of their own. `slice` is no copy of what is a Buffer, as datagrams are. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** The 6 bytes from `at` on as a number: for tables whose keys are random bytes. */
export function u48(bytes: Uint8Array, at = 0): number {
  let value = 0;
  for (let i = at; i < at + 6; i++) value = value * 256 + bytes[i];
  return value;
}

/** In hexadecimal, as people and logs have it. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/**
 * Frees the memory behind `bytes` now rather than when the collector comes round to it. Only for bytes that nobody looks at any more: all
 * views of that memory have length 0 from then on. Does nothing when they are a part of a larger buffer.
 */
export function freeNow(bytes: Uint8Array): void {
  const memory = bytes.buffer as ArrayBuffer;
  if (bytes.length !== memory.byteLength) return;
  // A message to a closed port takes the memory it transfers with it, and is dropped on the spot.
  closedPort ??= openAndClose();
  closedPort.postMessage(null, [memory]);
}

/**
 * Tells the collector of a new buffer of `bytes` that will soon be garbage: half as much garbage on the heap brings the next scavenge,
 * which costs little and frees both, before the full collection that V8 would begin instead.
 */
export function hastenScavenge(bytes: number): void {
  ballast = new Array(Math.min(bytes >>> 4, BALLAST_MAX));
}

/**
 * Memory of its own, not zeroed, for bytes that will soon be garbage. Measured while receiving 1,400 B messages in datagrams of 32 KB: without a
 * hastened scavenge 20 full collections a second, and a third less throughput.
 */
export function shortLivedBuffer(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  if (bytes >= LARGE_BUFFER_BYTES) hastenScavenge(bytes);
  return buffer;
}

/** Sees to it that nobody can transfer this memory to another thread, which would take it away from all who have views of it. */
export function keepHere(memory: ArrayBufferLike): void {
  markAsUntransferable(memory as ArrayBuffer);
}

function openAndClose() {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/** Bytes where there are none. */
export const NO_BYTES = new Uint8Array(0);

/** Buffers smaller than this are left to the collector, which is cheaper for them. */
export const LARGE_BUFFER_BYTES = 8_192;
let closedPort: ReturnType<typeof openAndClose> | null = null;
/** Read by nobody: it keeps the allocation from being optimised away. */
export let ballast: unknown[] | null = null;
/** Elements of 8 bytes. Above it an array would not be a young object of the usual kind. */
const BALLAST_MAX = 8_192;
