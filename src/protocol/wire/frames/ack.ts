import type { RangeSet } from '../../../base/ranges.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize, writeVarint } from '../varint.ts';

/** Most ranges that an ACK of ours carries. */
export const ACK_RANGES_SENT_MAX = 64;

/** Packets received with each ECN codepoint. */
export interface EcnCounts {
  ect0: number;
  ect1: number;
  ce: number;
}

/**
 * Writes an ACK of the newest ranges, as many as fit and at most 64, and leaves room for a PING, which the packet may need. False when
 * not even the newest range fits. [FRM-9]
 * @param ranges - the packet numbers received, at least one
 * @param delay - microseconds since the largest of them came
 * @param number - of the frame among our ACKs, for its record
 * @param ecn - null: none are reported
 * @param recovered - numbers, at most the largest received, whose packets FEC recovered
 */
export function writeAck(
  w: FrameWriter,
  ranges: RangeSet,
  delay: number,
  number: number,
  ecn: EcnCounts | null = null,
  recovered: readonly number[] = NONE,
): boolean {
  const { out, at } = w;
  const largest = ranges.largest;
  let i = ranges.size - 1;
  let start = ranges.start(i);
  const first = largest - start;
  const headSize = 1 + varintSize(largest) + varintSize(delay) + COUNT_BYTES + varintSize(first);
  let left = w.limit - at - PING_BYTES - headSize - ecnSize(ecn) - recoveredSize(recovered, largest);
  if (left < 0) return false;

  out[at] = FrameType.ACK + (ecn === null ? 0 : 1) + (recovered.length === 0 ? 0 : 2);
  const countAt = writeVarint(out, writeVarint(out, at + 1, largest), delay);
  let next = writeVarint(out, countAt + COUNT_BYTES, first);
  let count = 0;
  for (i--; i >= 0 && count < ACK_RANGES_SENT_MAX - 1; i--) {
    const gap = start - ranges.end(i) - 1;
    const length = ranges.end(i) - ranges.start(i) - 1;
    left -= varintSize(gap) + varintSize(length);
    if (left < 0) break;
    next = writeVarint(out, writeVarint(out, next, gap), length);
    start = ranges.start(i);
    count++;
  }
  out[countAt] = count;
  if (ecn !== null) next = writeEcn(out, next, ecn);
  w.at = recovered.length === 0 ? next : writeRecovered(out, next, recovered, largest);
  w.sent.ack(FrameType.ACK, largest, start, number);
  return true;
}

export function writeAckFrequency(w: FrameWriter, number: number, threshold: number, delayMax: number): void {
  w.u8(FrameType.ACK_FREQUENCY);
  w.varint(number);
  w.varint(threshold);
  w.varint(delayMax);
}

function ecnSize(ecn: EcnCounts | null): number {
  return ecn === null ? 0 : varintSize(ecn.ect0) + varintSize(ecn.ect1) + varintSize(ecn.ce);
}

function writeEcn(out: Uint8Array, at: number, ecn: EcnCounts): number {
  return writeVarint(out, writeVarint(out, writeVarint(out, at, ecn.ect0), ecn.ect1), ecn.ce);
}

function recoveredSize(recovered: readonly number[], largest: number): number {
  if (recovered.length === 0) return 0;
  let size = varintSize(recovered.length);
  for (let i = 0; i < recovered.length; i++) size += varintSize(largest - recovered[i]);
  return size;
}

function writeRecovered(out: Uint8Array, at: number, recovered: readonly number[], largest: number): number {
  let next = writeVarint(out, at, recovered.length);
  for (let i = 0; i < recovered.length; i++) next = writeVarint(out, next, largest - recovered[i]);
  return next;
}

/** The count of further ranges is below 64 and so takes one byte. */
const COUNT_BYTES = 1;
const PING_BYTES = 1;
const NONE: readonly number[] = [];
