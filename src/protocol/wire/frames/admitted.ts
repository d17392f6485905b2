/**
 * A part of what a server's application tells a client that it lets in [HS-44]:
 *
 *     ADMITTED  0x1e  offset varint, total varint, length varint, bytes[length]
 *
 * All parts together are `kind u8 (0: nothing is said, 1: what follows), bytes`.
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';

export function writeAdmittedHeader(w: FrameWriter, offset: number, total: number, length: number): void {
  w.u8(FrameType.ADMITTED);
  w.varint(offset);
  w.varint(total);
  w.varint(length);
  w.sent.part(FrameType.ADMITTED, 0, 0, offset, length);
}

const admitted: FrameKind = {
  type: FrameType.ADMITTED,
  read: readAdmitted,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"admitted","offset":${r.offset},"length":${r.dataLength}}`,
};

export const ADMITTED_FRAMES: readonly FrameKind[] = [admitted];

function readAdmitted(r: FrameReader): void {
  r.offset = r.varint();
  r.total = r.varint();
  r.data();
  // [FRM-18] a bounded total, and no bytes beyond it
  if (r.total < 1 || r.total > ADMITTED_BYTES_MAX || r.offset + r.dataLength > r.total) r.fail();
}

/** What the application says, and the byte in front of it. */
const ADMITTED_BYTES_MAX = 1_025;
