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
