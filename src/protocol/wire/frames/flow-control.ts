/**
 * Limits, and that a sender would go beyond one. All limits are cumulative (RFC 9000 section 4):
 *
 *     MAX_DATA             0x10  limit varint
 *     MAX_STREAM_DATA      0x11  stream varint, limit varint
 *     MAX_STREAMS          0x12  limit varint
 *     DATA_BLOCKED         0x13  limit varint
 *     STREAM_DATA_BLOCKED  0x14  stream varint, limit varint
 *     STREAMS_BLOCKED      0x15  limit varint
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
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

/** MAX_DATA, MAX_STREAMS, DATA_BLOCKED and STREAMS_BLOCKED. */
export const limitOfConnection: FrameKind = {
  read: readLimit,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
};

/** MAX_STREAM_DATA and STREAM_DATA_BLOCKED. */
export const limitOfStream: FrameKind = {
  read: readStreamLimit,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
};

function readLimit(r: FrameReader): void {
  r.limit = r.varint();
}

function readStreamLimit(r: FrameReader): void {
  r.stream = r.varint();
  r.limit = r.varint();
}
