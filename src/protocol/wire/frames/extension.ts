/**
 * Frames for what is to come:
 *
 *     REPAIR     0x16          code u8, group varint, index u8, k u8, r u8, length varint, bytes[length]
 *     extension  0x38 to 0x3f  length varint, bytes[length]; those that are not known are skipped
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

export function repairHeaderSize(group: number, length: number): number {
  return 1 + 1 + varintSize(group) + 3 + varintSize(length);
}

/** The fields of a REPAIR frame before its data. */
export interface RepairHeader {
  /** Id of the erasure code. */
  readonly code: number;
  readonly group: number;
  readonly index: number;
  /** Source symbols of the group. */
  readonly k: number;
  /** Repair symbols of the group. */
  readonly r: number;
  /** Bytes of data. */
  readonly length: number;
}

export function writeRepairHeader(w: FrameWriter, { code, group, index, k, r, length }: RepairHeader): void {
  w.u8(FrameType.REPAIR);
  w.u8(code);
  w.varint(group);
  w.u8(index);
  w.u8(k);
  w.u8(r);
  w.varint(length);
}

export function extensionSize(data: Uint8Array): number {
  return 1 + varintSize(data.length) + data.length;
}

/** @param type - 0x38 to 0x3f [FRM-2] */
export function writeExtension(w: FrameWriter, type: number, data: Uint8Array): void {
  w.u8(type);
  w.varint(data.length);
  w.bytes(data);
}

export const repair: FrameKind = {
  read: readRepair,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
};

export const extension: FrameKind = {
  read: readExtension,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
};

function readRepair(r: FrameReader): void {
  r.code = r.u8();
  r.group = r.varint();
  r.index = r.u8();
  r.k = r.u8();
  r.r = r.u8();
  r.data();
}

function readExtension(r: FrameReader): void {
  r.data();
}
