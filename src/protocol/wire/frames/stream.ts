/**
 * Frames about the beginning and the end of a stream:
 *
 *     STREAM_OPEN   0x0a  stream varint, flags u8, label length u8, label (UTF-8, at most 64 bytes)
 *                         flags  0x03 priority, 0x04 ordered, 0x18 default delivery, 0xe0 reserved
 *     STREAM_FIN    0x0b  stream varint, end varint
 *     RESET_STREAM  0x0c  stream varint, code varint, end varint
 *     STOP_SENDING  0x0d  stream varint, code varint
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { Delivery, FrameType, PRIORITY_NAMES } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { applicationCodeJson, textJson } from '../qlog-values.ts';
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

const streamOpen: FrameKind = {
  type: FrameType.STREAM_OPEN,
  read: readStreamOpen,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: streamOpenJson,
};

const streamFin: FrameKind = {
  type: FrameType.STREAM_FIN,
  read: readStreamFin,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"stream_fin","stream_id":${r.stream},"end":${r.end}}`,
};

const resetStream: FrameKind = {
  type: FrameType.RESET_STREAM,
  read: readResetStream,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) =>
    `{"frame_type":"reset_stream","stream_id":${r.stream},"error_code":${applicationCodeJson(r.code)},"final_size":${r.end}}`,
};

const stopSending: FrameKind = {
  type: FrameType.STOP_SENDING,
  read: readStopSending,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) =>
    `{"frame_type":"stop_sending","stream_id":${r.stream},"error_code":${applicationCodeJson(r.code)}}`,
};

export const STREAM_FRAMES: readonly FrameKind[] = [streamOpen, streamFin, resetStream, stopSending];

function readStreamOpen(r: FrameReader): void {
  r.stream = r.varint();
  const flags = r.u8();
  r.flags = flags;
  r.priority = flags & 0x3;
  r.ordered = (flags & 0x4) !== 0;
  r.delivery = (flags >> 3) & 0x3;
  r.opaque(r.u8());
  if (r.failed) return;
  // [FRM-10]
  if ((flags & 0xe0) !== 0 || r.delivery > Delivery.BEST_EFFORT) r.fail();
  else if (r.dataLength > LABEL_BYTES_MAX || !isUtf8(r.buffer, r.dataStart, r.at)) r.fail();
}

function readStreamFin(r: FrameReader): void {
  r.stream = r.varint();
  r.end = r.varint();
}

function readResetStream(r: FrameReader): void {
  r.stream = r.varint();
  r.code = r.varint();
  r.end = r.varint();
}

function readStopSending(r: FrameReader): void {
  r.stream = r.varint();
  r.code = r.varint();
}

/** True when buffer[start, end) is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
export function isUtf8(buffer: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const lead = buffer[at++];
    if (lead < 0x80) continue;
    const trailing = lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
    if (trailing < 0 || at + trailing > end) return false;
    // overlong forms, surrogates and what lies above U+10FFFF all show in the second byte
    const second = buffer[at];
    if (lead === 0xe0 && second < 0xa0) return false;
    if (lead === 0xed && second > 0x9f) return false;
    if (lead === 0xf0 && second < 0x90) return false;
    if (lead === 0xf4 && second > 0x8f) return false;
    for (let i = 0; i < trailing; i++) if ((buffer[at++] & 0xc0) !== 0x80) return false;
  }
  return true;
}

function streamOpenJson(r: FrameReader): string {
  const label = textJson(r.bytes);
  return `{"frame_type":"stream_open","stream_id":${r.stream},"priority":"${PRIORITY_NAMES[r.priority]}","ordered":${r.ordered},"delivery":"${DELIVERIES[r.delivery]}","label":${label}}`;
}

const DELIVERIES = ['reliable', 'partial', 'best_effort'];

/** Longest label of a stream. [FRM-10] */
export const LABEL_BYTES_MAX = 64;
