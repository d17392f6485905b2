import { FrameType, type Space } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

export function abandonHeaderSize(stream: number, first: number, count: number): number {
  return 1 + varintSize(stream) + varintSize(first) + varintSize(count);
}

/** The caller writes the lengths of the `count` messages behind it, each a varint. */
export function writeAbandonHeader(w: FrameWriter, stream: number, first: number, count: number): void {
  w.u8(FrameType.ABANDON);
  w.varint(stream);
  w.varint(first);
  w.varint(count);
  w.sent.run(FrameType.ABANDON, stream, first, count);
}

export function writeDropped(
  w: FrameWriter,
  stream: number,
  space: Space,
  first: number,
  count: number,
): void {
  w.u8(FrameType.DROPPED);
  w.varint(stream);
  w.u8(space);
  w.varint(first);
  w.varint(count);
  w.sent.run(FrameType.DROPPED, stream, first, count, space);
}
