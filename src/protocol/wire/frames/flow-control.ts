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

export const FLOW_CONTROL_FRAMES: readonly FrameKind[] = [
  ofConnection(FrameType.MAX_DATA, '"max_data","maximum"'),
  ofStream(FrameType.MAX_STREAM_DATA, 'max_stream_data', 'maximum'),
  ofConnection(FrameType.MAX_STREAMS, '"max_streams","stream_type":"bidirectional","maximum"'),
  ofConnection(FrameType.DATA_BLOCKED, '"data_blocked","limit"'),
  ofStream(FrameType.STREAM_DATA_BLOCKED, 'stream_data_blocked', 'limit'),
  ofConnection(FrameType.STREAMS_BLOCKED, '"streams_blocked","stream_type":"bidirectional","limit"'),
];

/** @param named - its JSON from its name to that of its limit */
function ofConnection(type: number, named: string): FrameKind {
  const json = (r: FrameReader): string => `{"frame_type":${named}:${r.limit}}`;
  return { type, read: readLimit, packets: InPackets.APPLICATION, isAckEliciting: true, json };
}

function ofStream(type: number, name: string, limit: string): FrameKind {
  const json = (r: FrameReader): string =>
    `{"frame_type":"${name}","stream_id":${r.stream},"${limit}":${r.limit}}`;
  return { type, read: readStreamLimit, packets: InPackets.APPLICATION, isAckEliciting: true, json };
}

function readLimit(r: FrameReader): void {
  r.limit = r.varint();
}

function readStreamLimit(r: FrameReader): void {
  r.stream = r.varint();
  r.limit = r.varint();
}
