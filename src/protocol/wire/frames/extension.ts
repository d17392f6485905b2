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
