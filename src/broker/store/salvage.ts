/** Records that are whole in a place that is not: each has a checksum of its own, and its length in two places. [STO-25] */

import { crc32 } from 'node:zlib';
import { BATCH_HEADER_BYTES, eachRecord } from './format.ts';
import type { BadRegion } from './scan.ts';

export interface Salvage {
  /** Records that there were, as far as anything says so; 0: nobody knows. */
  readonly count: number;
  /** Those that are whole: which of the batch, and their bytes. */
  readonly records: readonly { readonly index: number; readonly bytes: Uint8Array }[];
}

/** @param count - where something else says how many records there should be */
export function salvage(bytes: Uint8Array, region: BadRegion, salt: number, count = 0): Salvage {
  const { header, start, end } = region;
  const body = bytes.subarray(start + BATCH_HEADER_BYTES, end);
  const expected = header?.count ?? (count > 0 ? count : countOf(body, salt));
  const records: { index: number; bytes: Uint8Array }[] = [];
  if (expected > 0 && 4 * expected <= body.length) {
    eachRecord(body, expected, false, salt, (index, start, end) =>
      records.push({ index, bytes: body.subarray(start, end) }),
    );
  }
  return { count: expected, records };
}

/** Of a body without a header: its table of lengths ends where a record of the first length begins. */
function countOf(body: Uint8Array, salt: number): number {
  if (body.length < 4 + RECORD_BYTES_MIN) return 0;
  const view = Buffer.from(body.buffer, body.byteOffset, body.length);
  const length = view.readUInt32BE(0);
  if (length < RECORD_BYTES_MIN) return 0;
  for (let at = 4; at + length <= view.length; at += 4) {
    if (view.readUInt32BE(at) !== length) continue;
    if (crc32(view.subarray(at + 8, at + length), salt) === view.readUInt32BE(at + 4)) return at / 4;
  }
  return 0;
}

const RECORD_BYTES_MIN = 12;
