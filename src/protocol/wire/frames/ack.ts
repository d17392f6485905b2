/**
 * What was received, and how it is to be told (RFC 9000 section 19.3):
 *
 *     ACK                         0x02  largest varint, delay varint (microseconds), count varint, first varint,
 *                                       count x (gap varint, length varint)
 *     ACK with ECN                0x03  as ACK, then ect0 varint, ect1 varint, ce varint
 *     ACK with recovered          0x04  as ACK, then count varint, count x (number varint, as a distance below largest)
 *     ACK with ECN and recovered  0x05  as ACK, ECN counts, recovered
 *     ACK_FREQUENCY               0x1d  number varint, threshold varint (packets), max delay varint (microseconds)
 */

import type { RangeSet } from '../../../base/ranges.ts';
import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize, writeVarint } from '../varint.ts';

/** Most ranges, and most recovered numbers, that are kept of one ACK: the newest. The others are checked and forgotten. */
export const ACK_RANGES_MAX = 256;
/** Most ranges that an ACK of ours carries. */
export const ACK_RANGES_SENT_MAX = 64;

/** What the two ECN bits of an IP header say (RFC 3168): whether the sender understands marks, and whether a router marked the datagram. */
export const EcnCodepoint = { NOT_ECT: 0, ECT1: 1, ECT0: 2, CE: 3 } as const;
export type EcnCodepoint = (typeof EcnCodepoint)[keyof typeof EcnCodepoint];

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
  w.sent.ack(recovered.length === 0 ? FrameType.ACK : FrameType.ACK_RECOVERED, largest, start, number);
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

const ack: FrameKind = {
  type: FrameType.ACK,
  last: FrameType.ACK_ECN_RECOVERED,
  read: readAck,
  packets: InPackets.ALL_BUT_0RTT,
  isAckEliciting: false,
  json: ackJson,
};

const ackFrequency: FrameKind = {
  type: FrameType.ACK_FREQUENCY,
  read: readAckFrequency,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) =>
    `{"frame_type":"ack_frequency","sequence_number":${r.number},"ack_eliciting_threshold":${r.threshold},"requested_max_ack_delay":${r.delay / 1_000}}`,
};

export const ACK_FRAMES: readonly FrameKind[] = [ack, ackFrequency];

function readAck(r: FrameReader): void {
  r.largest = r.varint();
  r.delay = r.varint();
  readRanges(r);
  r.ect0 = -1;
  r.ect1 = -1;
  r.ce = -1;
  r.recoveredCount = 0;
  if (r.type === FrameType.ACK_ECN || r.type === FrameType.ACK_ECN_RECOVERED) {
    r.ect0 = r.varint();
    r.ect1 = r.varint();
    r.ce = r.varint();
  }
  if (r.type >= FrameType.ACK_RECOVERED) readRecovered(r);
}

function readAckFrequency(r: FrameReader): void {
  r.number = r.varint();
  r.threshold = r.varint();
  r.delay = r.varint();
}

/** [FRM-9] */
function readRanges(r: FrameReader): void {
  let more = r.varint();
  if (more * 2 > r.left) more = r.fail();
  let end = r.largest + 1;
  let start = r.largest - r.varint();
  r.rangeCount = 0;
  keepRange(r, start, end);
  for (; more > 0 && start >= 0; more--) {
    end = start - r.varint() - 1;
    start = end - r.varint() - 1;
    keepRange(r, start, end);
  }
  if (start < 0) r.fail();
}

function keepRange(r: FrameReader, start: number, end: number): void {
  const i = r.rangeCount;
  if (i === ACK_RANGES_MAX) return;
  if (2 * i === r.ackRanges.length) r.ackRanges = grown(r.ackRanges);
  r.ackRanges[2 * i] = start;
  r.ackRanges[2 * i + 1] = end;
  r.rangeCount = i + 1;
}

function readRecovered(r: FrameReader): void {
  let more = r.varint();
  if (more > r.left) more = r.fail();
  for (; more > 0; more--) {
    const number = r.largest - r.varint();
    if (number < 0) r.fail();
    if (r.recoveredCount === ACK_RANGES_MAX) continue;
    if (r.recoveredCount === r.recovered.length) r.recovered = grown(r.recovered);
    r.recovered[r.recoveredCount++] = number;
  }
}

function grown(numbers: Float64Array): Float64Array {
  const larger = new Float64Array(Math.max(RECOVERED_AT_FIRST, numbers.length * 2));
  larger.set(numbers);
  return larger;
}

function ackJson(r: FrameReader): string {
  let ranges = '';
  for (let i = 0; i < r.rangeCount; i++) {
    const low = r.ackRanges[2 * i];
    const high = r.ackRanges[2 * i + 1] - 1;
    ranges += `${i === 0 ? '' : ','}[${low === high ? low : `${low},${high}`}]`;
  }
  let json = `{"frame_type":"ack","ack_delay":${r.delay / 1_000},"acked_ranges":[${ranges}]`;
  if (r.ect0 >= 0) json += `,"ect1":${r.ect1},"ect0":${r.ect0},"ce":${r.ce}`;
  if (r.recoveredCount > 0) json += `,"recovered":[${[...r.recovered.subarray(0, r.recoveredCount)]}]`;
  return `${json}}`;
}

/** The count of further ranges is below 64 and so takes one byte. */
const COUNT_BYTES = 1;
const PING_BYTES = 1;
const NONE: readonly number[] = [];
const RECOVERED_AT_FIRST = 8;
