/**
 * Frames that say nothing, or only that their sender is there:
 *
 *     PADDING    0x00
 *     PING       0x01
 *     HEARTBEAT  0x17  number varint, interval varint (milliseconds until the next one at the latest)
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';

/** Writes `count` PADDING frames. */
export function writePadding(w: FrameWriter, count: number): void {
  w.out.fill(FrameType.PADDING, w.at, w.at + count);
  w.at += count;
}

export function writePing(w: FrameWriter): void {
  w.u8(FrameType.PING);
}

export function writeHeartbeat(w: FrameWriter, number: number, intervalMs: number): void {
  w.u8(FrameType.HEARTBEAT);
  w.varint(number);
  w.varint(intervalMs);
  w.sent.plain(FrameType.HEARTBEAT);
}

/** PADDING that stands in a row is read as one. */
const padding: FrameKind = {
  type: FrameType.PADDING,
  read: readPadding,
  packets: InPackets.ALL,
  isAckEliciting: false,
  json: (_, bytes) => `{"frame_type":"padding","payload_length":${bytes}}`,
};

const ping: FrameKind = {
  type: FrameType.PING,
  read: readNothing,
  packets: InPackets.ALL,
  isAckEliciting: true,
  json: () => '{"frame_type":"ping"}',
};

const heartbeat: FrameKind = {
  type: FrameType.HEARTBEAT,
  read: readHeartbeat,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"heartbeat","number":${r.number},"interval":${r.interval}}`,
};

export const PING_FRAMES: readonly FrameKind[] = [padding, ping, heartbeat];

function readPadding(r: FrameReader): void {
  const start = r.at - 1;
  while (r.at < r.bound && r.buffer[r.at] === FrameType.PADDING) r.at++;
  r.count = r.at - start;
}

function readNothing(): void {}

function readHeartbeat(r: FrameReader): void {
  r.number = r.varint();
  r.interval = r.varint();
}
