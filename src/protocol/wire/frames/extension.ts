/**
 * Frames for what is to come, which those who do not know them skip:
 *
 *     extension  0x38 to 0x3f  length varint, bytes[length]
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

export function extensionSize(data: Uint8Array): number {
  return 1 + varintSize(data.length) + data.length;
}

/** @param type - 0x38 to 0x3f [FRM-2] */
export function writeExtension(w: FrameWriter, type: number, data: Uint8Array): void {
  w.u8(type);
  w.data(data);
}

const extension: FrameKind = {
  type: FrameType.EXTENSION,
  last: FrameType.EXTENSION | 0x7,
  read: readExtension,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: () => '',
};

export const EXTENSION_FRAMES: readonly FrameKind[] = [extension];

function readExtension(r: FrameReader): void {
  r.data();
}
