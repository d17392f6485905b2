/**
 * The end of a connection (RFC 9000 section 19.19):
 *
 *     CONNECTION_CLOSE  0x1c  scope u8, code varint, frame type u8, reason length varint, reason (UTF-8)
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

export function connectionCloseSize(code: number, reason: Uint8Array): number {
  return 1 + 1 + varintSize(code) + 1 + varintSize(reason.length) + reason.length;
}

/**
 * @param scope - 0 transport, 1 application, 2 application before all was delivered
 * @param frameType - the type at fault, 0 when none is
 * @param reason - UTF-8
 */
export function writeConnectionClose(
  w: FrameWriter,
  scope: number,
  code: number,
  frameType: number,
  reason: Uint8Array,
): void {
  w.u8(FrameType.CONNECTION_CLOSE);
  w.u8(scope);
  w.varint(code);
  w.u8(frameType);
  w.data(reason);
}

export const connectionClose: FrameKind = {
  read: readConnectionClose,
  packets: InPackets.ALL,
  isAckEliciting: false,
};

function readConnectionClose(r: FrameReader): void {
  r.scope = r.u8();
  r.code = r.varint();
  r.frameType = r.u8();
  r.data();
  if (r.scope > 2) r.fail(); // [FRM-12]
}
