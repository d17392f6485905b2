/**
 * Repair symbols of an erasure code (spec/protection.md):
 *
 *     REPAIR  0x16  code u8, group varint, index u8, k u8, r u8, length varint, bytes[length]
 *
 * Of code 1, group is the number of the packet that carries it less the newest number that it covers, index the row of the code, k the span
 * of numbers that it covers, r the bytes of the mask that says which of the span, and the bytes are mask and parity.
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

/** The code that there is: systematic, Cauchy, over GF(256). */
export const CAUCHY_CODE = 1;
/** Rows of the code; the next index above them that means anything is {@link XOR_ROW}. */
export const ROWS = 128;
/** The row whose coefficients are all 1. */
export const XOR_ROW = 255;
/** Most numbers that a repair spans. */
export const SPAN_MAX = 64;
/** The longest symbol that is protected. */
export const SYMBOL_BYTES_MAX = 1_500;
/** In front of each symbol, as it is coded, stands its length as u16. */
export const SYMBOL_LENGTH_BYTES = 2;

export function repairHeaderSize(group: number, length: number): number {
  return 1 + 1 + varintSize(group) + 3 + varintSize(length);
}

/** The fields of a REPAIR frame before its data. */
export interface RepairHeader {
  readonly code: number;
  readonly group: number;
  readonly index: number;
  readonly k: number;
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

/** Bytes of the mask that covers a span not wholly. */
export function maskSize(span: number): number {
  return (span + 7) >> 3;
}

const repair: FrameKind = {
  type: FrameType.REPAIR,
  read: readRepair,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: (r) =>
    `{"frame_type":"repair","code":${r.code},"group":${r.group},"index":${r.index},"k":${r.k},"r":${r.r},"length":${r.dataLength}}`,
};

export const REPAIR_FRAMES: readonly FrameKind[] = [repair];

function readRepair(r: FrameReader): void {
  r.code = r.u8();
  r.group = r.varint();
  r.index = r.u8();
  r.k = r.u8();
  r.r = r.u8();
  r.data();
  if (r.code === CAUCHY_CODE && !r.failed && !isSound(r)) r.fail();
}

/** [FEC-21] The values that code 1 has. */
function isSound(r: FrameReader): boolean {
  const parity = r.dataLength - r.r;
  return (
    r.group >= 1 &&
    (r.index < ROWS || r.index === XOR_ROW) &&
    r.k >= 1 &&
    r.k <= SPAN_MAX &&
    parity > SYMBOL_LENGTH_BYTES &&
    parity <= SYMBOL_LENGTH_BYTES + SYMBOL_BYTES_MAX &&
    (r.r === 0 || (r.r === maskSize(r.k) && isMask(r)))
  );
}

/** The first and the last number of the span are covered, and no bit stands behind them. */
function isMask({ buffer, dataStart, r, k }: FrameReader): boolean {
  return (buffer[dataStart] & 1) === 1 && buffer[dataStart + r - 1] >> ((k - 1) & 7) === 1;
}
