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
export const padding: FrameKind = {
  read: readPadding,
  packets: InPackets.ALL,
  isAckEliciting: false,
};

export const ping: FrameKind = {
  read: readNothing,
  packets: InPackets.ALL,
  isAckEliciting: true,
};

export const heartbeat: FrameKind = {
  read: readHeartbeat,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
};

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
