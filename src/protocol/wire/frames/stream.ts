import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

/** The flags byte of a STREAM_OPEN. */
export function streamOpenFlags(priority: number, ordered: boolean, delivery: number): number {
  return priority | (ordered ? 0x4 : 0) | (delivery << 3);
}

export function streamOpenSize(stream: number, label: Uint8Array): number {
  return 1 + varintSize(stream) + 1 + 1 + label.length;
}

/**
 * Writes a STREAM_OPEN, which is not recorded before {@link recordStreamOpen}: it goes only with something else, or when it is owed.
 * @param label - UTF-8, at most 64 bytes
 */
export function writeStreamOpen(w: FrameWriter, stream: number, flags: number, label: Uint8Array): void {
  w.u8(FrameType.STREAM_OPEN);
  w.varint(stream);
  w.u8(flags);
  w.u8(label.length);
  w.bytes(label);
}

/** The packet keeps the STREAM_OPEN that was put into it. */
export function recordStreamOpen(w: FrameWriter, stream: number): void {
  w.sent.ofStream(FrameType.STREAM_OPEN, stream);
}

export function writeStreamFin(w: FrameWriter, stream: number, end: number): void {
  w.u8(FrameType.STREAM_FIN);
  w.varint(stream);
  w.varint(end);
  w.sent.ofStream(FrameType.STREAM_FIN, stream);
}

export function writeResetStream(w: FrameWriter, stream: number, code: number, end: number): void {
  w.u8(FrameType.RESET_STREAM);
  w.varint(stream);
  w.varint(code);
  w.varint(end);
  w.sent.ofStream(FrameType.RESET_STREAM, stream);
}

export function writeStopSending(w: FrameWriter, stream: number, code: number): void {
  w.u8(FrameType.STOP_SENDING);
  w.varint(stream);
  w.varint(code);
  w.sent.ofStream(FrameType.STOP_SENDING, stream);
}
