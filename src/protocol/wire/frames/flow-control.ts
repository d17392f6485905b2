import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';

export function writeMaxData(w: FrameWriter, limit: number): void {
  writeLimit(w, FrameType.MAX_DATA, limit);
}

export function writeMaxStreamData(w: FrameWriter, stream: number, limit: number): void {
  writeStreamLimit(w, FrameType.MAX_STREAM_DATA, stream, limit);
}

export function writeMaxStreams(w: FrameWriter, limit: number): void {
  writeLimit(w, FrameType.MAX_STREAMS, limit);
}

export function writeDataBlocked(w: FrameWriter, limit: number): void {
  writeLimit(w, FrameType.DATA_BLOCKED, limit);
}

export function writeStreamDataBlocked(w: FrameWriter, stream: number, limit: number): void {
  writeStreamLimit(w, FrameType.STREAM_DATA_BLOCKED, stream, limit);
}

export function writeStreamsBlocked(w: FrameWriter, limit: number): void {
  writeLimit(w, FrameType.STREAMS_BLOCKED, limit);
}

function writeLimit(w: FrameWriter, type: number, limit: number): void {
  w.u8(type);
  w.varint(limit);
  w.sent.limit(type, 0, limit);
}

function writeStreamLimit(w: FrameWriter, type: number, stream: number, limit: number): void {
  w.u8(type);
  w.varint(stream);
  w.varint(limit);
  w.sent.limit(type, stream, limit);
}
