/**
 * Which messages of a space go again in later packets before anything is known of their loss. [FEC-5]
 *
 * The unit is the packet: what a packet of the stream had of new messages goes again in the packets that the plan says, as far as it is small,
 * whole and unsettled by then. Of packets it is known where their new messages begin, and how often these went again; nothing is kept of
 * messages but, in the best-effort space, their bytes.
 */

import type { Micros } from '../../../base/time.ts';
import { PlanMode } from '../../fec/protection.ts';
import type { StreamProtection } from '../../fec/stream-protection.ts';
import { FrameType, MessageFlag } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import { varintSize } from '../../wire/varint.ts';
import { Mark } from './message-records.ts';
import type { SendBuffer } from './send-buffer.ts';

/** Whoever puts messages of the space into packets, as far as it writes them again. */
export interface RepeatWriter {
  readonly isReliable: boolean;
  /** Whether the record at index `i` may be sent whole once more, while a packet with it is under way. */
  mayRepeat(i: number, now: Micros): boolean;
  writeRun(w: FrameWriter, r: number, count: number): void;
  /** Writes the message at index `i` by itself; false when that takes more than `room` bytes. */
  writeWhole(w: FrameWriter, i: number, room: number): boolean;
}

export class Repeats {
  /** Messages right before the queue that go again in the run of the next new ones, and their bytes. */
  joined = 0;
  joinedBytes = 0;
  private readonly buffer: SendBuffer;
  private readonly protection: StreamProtection;
  private readonly writer: RepeatWriter;
  /** Packets with new messages so far; they are numbered from 0 on. */
  private packets = 0;
  /** By packet: its first new sequence, bytes of new messages before it, how often they went again. */
  private readonly firsts = new Float64Array(PACKETS);
  private readonly bytesBefore = new Float64Array(PACKETS);
  private readonly times = new Uint8Array(PACKETS);
  private bytes = 0;
  /** The oldest packet whose best-effort messages have their bytes. */
  private keptFrom = 0;

  constructor(buffer: SendBuffer, protection: StreamProtection, writer: RepeatWriter) {
    this.buffer = buffer;
    this.protection = protection;
    this.writer = writer;
  }

  /** The packet being filled has new messages from `first` on. */
  onSent(first: number, bytes: number): void {
    const i = this.packets & MASK;
    this.firsts[i] = first;
    this.bytesBefore[i] = this.bytes;
    this.times[i] = 0;
    this.bytes += bytes;
    this.packets++;
    this.releaseOld();
  }

  /**
   * Writes what is due into the packet that is being filled, at most `room` bytes, as far as the budget has them; a flush writes all that
   * would come later, too.
   *
   * @param joins - new messages follow as a run, which what lies right before them can be the beginning of: {@link joined}
   */
  write(w: FrameWriter, room: number, joins: boolean): void {
    const { protection } = this;
    const { plan, isFlushDue } = protection;
    this.clear();
    // At a flush nothing follows, so that nothing need wait.
    const end = isFlushDue ? this.packets : this.packets - plan.lag + 1;
    const oldest = Math.max(0, this.packets - plan.lag - plan.repeats + 1, this.packets - PACKETS + 1);
    const isExtra = isFlushDue && protection.isApart(protection.packets);
    const limit = w.at + room;
    for (let packet = oldest; packet < end; ) {
      let stop = packet;
      while (stop < end && (isExtra || this.times[stop & MASK] < plan.repeats)) stop++;
      // Where there is not enough for all of them, the newest have gone out least often.
      while (packet < stop && !this.writeRange(w, packet, stop, limit, joins)) packet++;
      for (; packet < stop; packet++) if (!isExtra) this.times[packet & MASK]++;
      packet = stop + 1;
    }
  }

  /**
   * A packet with this frame is lost: counts the messages for which it was the first packet, and which arrived all the same or are under way
   * in another.
   */
  onFrameLost({ type, sequence, count }: SentFrame): void {
    const isRun = type === FrameType.MESSAGES || type === FrameType.MESSAGES_BEST_EFFORT;
    if (!isRun && (type < FrameType.MESSAGE || (type & MessageFlag.FRAGMENT) !== 0)) return;
    const end = isRun ? sequence + count : sequence + 1;
    const from = Math.max(sequence, this.firstNewOf(end));
    const { records } = this.buffer;
    let used = end - from;
    for (let r = records.find(from); r < records.flight; r++) {
      const i = records.index(r);
      if (records.sequences[i] >= end) break;
      if ((records.marks[i] & Mark.SETTLED) === 0 && !records.hasCopy(i)) used--;
    }
    this.protection.onRepeatsUsed(used);
  }

  /** Nothing is joined to a run, or it is written. */
  clear(): void {
    this.joined = 0;
    this.joinedBytes = 0;
  }

  /** Nothing is sent again any more. */
  stop(): void {
    if (this.keptFrom >= this.packets || this.writer.isReliable) return;
    this.release(this.firstOf(this.keptFrom), this.buffer.nextSequence);
    this.keptFrom = this.packets;
  }

  // ---- inside ----

  /** Writes the messages of packets [from, to) again. False when that costs more than there is, or takes more room. */
  private writeRange(w: FrameWriter, from: number, to: number, limit: number, joins: boolean): boolean {
    const { buffer, protection, writer } = this;
    const { records } = buffer;
    const first = this.firstOf(from);
    const end = this.firstOf(to);
    const cost = this.bytesOfRange(first, end, w.now);
    if (w.at + cost > limit || !protection.affords(cost)) return false;
    for (let r = records.find(first); r < records.flight && records.sequences[records.index(r)] < end; ) {
      const count = this.repeatable(r, end, w.now);
      if (count === 0) {
        r++;
        continue;
      }
      const bytes = this.bytesOf(r, count);
      const isAlone = (records.marks[records.index(r)] & Mark.LIFETIME) !== 0;
      if (isAlone) writer.writeWhole(w, records.index(r), limit - w.at);
      else if (joins && this.isNextToQueue(r + count)) this.join(count, bytes);
      else writer.writeRun(w, r, count);
      for (let k = 0; k < count; k++) records.addCopy(records.index(r + k));
      protection.onRepeated(count, bytes);
      r += count;
    }
    return true;
  }

  /** The message before place `r` is the last that was sent, and the next new one has the sequence behind it. */
  private isNextToQueue(r: number): boolean {
    const { nextSequence, records } = this.buffer;
    const last = records.index(r - 1);
    if (r !== records.flight || records.sequences[last] + 1 !== nextSequence) return false;
    return ((records.marks[last] ^ records.marks[records.index(r)]) & Mark.ENVELOPE) === 0;
  }

  private join(count: number, bytes: number): void {
    this.joined = count;
    this.joinedBytes = bytes;
  }

  /** At most what it takes to write those of [first, end) again that may. */
  private bytesOfRange(first: number, end: number, now: Micros): number {
    const { records } = this.buffer;
    let bytes = 0;
    for (let r = records.find(first); r < records.flight && records.sequences[records.index(r)] < end; ) {
      const count = this.repeatable(r, end, now);
      if (count > 0) bytes += this.bytesOf(r, count) + HEADER_BYTES_MAX;
      r += Math.max(1, count);
    }
    return bytes;
  }

  /** How many messages from place `r` on, all below `end`, may go again as one run; 1 of those that go by themselves. */
  private repeatable(r: number, end: number, now: Micros): number {
    const { records } = this.buffer;
    let count = 0;
    for (; r + count < records.flight; count++) {
      const i = records.index(r + count);
      const isOut = (records.marks[i] & Mark.UNPROTECTED) !== 0 || records.slabs[i] === null;
      if (isOut || records.sequences[i] >= end || !this.writer.mayRepeat(i, now)) break;
      if ((records.marks[i] & Mark.LIFETIME) !== 0) return count === 0 ? 1 : count;
      const isLikeFirst = ((records.marks[i] ^ records.marks[records.index(r)]) & Mark.ENVELOPE) === 0;
      if (!isLikeFirst) break; // all of a run are in envelopes, or none is
    }
    return count;
  }

  private bytesOf(r: number, count: number): number {
    const { records } = this.buffer;
    let bytes = 0;
    for (let k = 0; k < count; k++) {
      const length = records.lengths[records.index(r + k)];
      bytes += length + varintSize(length);
    }
    return bytes;
  }

  /** First sequence of a packet's messages; of the packet that comes next, the next one. */
  private firstOf(packet: number): number {
    return packet >= this.packets ? this.buffer.nextSequence : this.firsts[packet & MASK];
  }

  /** Where the messages begin that were new in the packet whose last one is before `end`; `end` when that is too long ago. */
  private firstNewOf(end: number): number {
    for (let packet = this.packets - 1; packet >= Math.max(0, this.packets - PACKETS + 1); packet--) {
      const first = this.firsts[packet & MASK];
      if (first < end) return first;
    }
    return end;
  }

  /** Lets go of the bytes of best-effort messages that will not go again, and of the oldest beyond the bound. [FEC-6] */
  private releaseOld(): void {
    const { buffer, protection } = this;
    if (this.writer.isReliable) return;
    const { plan } = protection;
    const reach = plan.mode === PlanMode.REPEAT ? this.packets - plan.lag - plan.repeats + 1 : this.packets;
    while (this.keptFrom < this.packets) {
      const first = this.firstOf(this.keptFrom);
      const isTooMuch =
        buffer.nextSequence - first > KEPT_MESSAGES_MAX ||
        this.bytes - this.bytesBefore[this.keptFrom & MASK] > KEPT_BYTES_MAX ||
        this.packets - this.keptFrom >= PACKETS;
      if (this.keptFrom >= reach && !isTooMuch) return;
      this.keptFrom++;
      this.release(first, this.firstOf(this.keptFrom));
    }
  }

  private release(from: number, to: number): void {
    const { buffer } = this;
    const { records } = buffer;
    for (let r = records.find(from); r < records.flight; r++) {
      const i = records.index(r);
      if (records.sequences[i] >= to) return;
      const isUnsent = buffer.cutAt > 0 && r === records.flight - 1;
      if (!isUnsent) buffer.releaseBytes(i);
    }
  }
}

/** Packets that are remembered, a power of two. */
const PACKETS = 64;
const MASK = PACKETS - 1;
/** Of a MESSAGES, or of a MESSAGE with a lifetime, before its messages. */
const HEADER_BYTES_MAX = 32;
/** [FEC-6] Best-effort messages of a stream that are kept to go again, and their bytes. */
const KEPT_MESSAGES_MAX = 64;
const KEPT_BYTES_MAX = 16_384;
