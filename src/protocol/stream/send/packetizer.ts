/** From the records of messages to frames. It is one file because all of it is about the room in one packet. */

import { assert, JspError } from '../../../base/errors.ts';
import { MILLISECOND, type Micros, NEVER } from '../../../base/time.ts';
import { PlanMode } from '../../fec/protection.ts';
import type { StreamProtection } from '../../fec/stream-protection.ts';
import { MessageFlag, RunFlag, Space } from '../../wire/frame-type.ts';
import type { FrameWriter, MessageHeader } from '../../wire/frame-writer.ts';
import {
  abandonHeaderSize,
  messageHeaderSize,
  messagesHeaderSize,
  writeAbandonHeader,
  writeMessageHeader,
  writeMessagesHeader,
} from '../../wire/frames/message.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import { varintSize, writeVarint } from '../../wire/varint.ts';
import { type FlowCredit, MESSAGE_COST } from '../flow-control.ts';
import { BestEffortQueue } from './best-effort-queue.ts';
import { Mark, type MessageRecords } from './message-records.ts';
import { Repeats, type RepeatWriter } from './repeats.ts';
import { SendBuffer } from './send-buffer.ts';
import type { SendContext, SendQueue } from './send-context.ts';

export interface PacketizerOptions {
  readonly space: Space;
  readonly stream: number;
  readonly queue: SendQueue;
  /** The stream's credit. */
  readonly credit: FlowCredit;
  /** Most sequences from the oldest unsettled one on. [STR-12] */
  readonly spanMax: number;
  /** Its messages may use the connection's credit to the last byte. [STR-34] */
  readonly usesReserve: boolean;
  /** What it sends again may be sent twice. [REC-60] */
  readonly isRepeated: boolean;
  /** How the stream's messages are protected against loss; null: not at all. */
  readonly protection: StreamProtection | null;
}

/**
 * Puts the messages of one sequence space into packets:
 *
 *  1. what is lost comes first, lowest sequence first, cut anew to the room there is;
 *  2. then the rest of a message that is partly sent;
 *  3. then new messages, as many as fit and as both credits allow; they get their sequence now. [STR-2]
 *
 * Messages that need nothing said of them go as runs, in MESSAGES; those with a deadline, and those that were cut, each in a MESSAGE.
 */
export class Packetizer implements RepeatWriter {
  readonly buffer: SendBuffer;
  readonly isReliable: boolean;
  private readonly records: MessageRecords;
  private readonly context: SendContext;
  private readonly stream: number;
  private readonly credit: FlowCredit;
  private readonly spanMax: number;
  private readonly usesReserve: boolean;
  private readonly isRepeated: boolean;
  /** Of best-effort messages. */
  private readonly waiting: BestEffortQueue | null;
  private readonly protection: StreamProtection | null;
  /** What goes again before it is lost; null while nothing has. */
  private repeats: Repeats | null = null;
  /** Where {@link writeSingle} had to cut a message; 0 when it went whole, or not at all. */
  private cutLength = 0;
  /** Packets in a row for which a message waited because it should not be cut. */
  private waits = 0;

  constructor(context: SendContext, options: PacketizerOptions) {
    this.buffer = new SendBuffer(options.space, options.queue, context);
    this.records = this.buffer.records;
    this.context = context;
    this.stream = options.stream;
    this.isReliable = options.space === Space.RELIABLE;
    this.waiting = this.isReliable ? null : new BestEffortQueue(this.buffer);
    if (this.waiting !== null) options.queue.bestEffort = this.waiting;
    this.credit = options.credit;
    this.spanMax = options.spanMax;
    this.usesReserve = options.usesReserve;
    this.isRepeated = options.isRepeated;
    this.protection = options.protection;
  }

  /** True when something could be sent now. If that is for lack of credit, the credit notes it, so that a BLOCKED is owed. */
  get sendable(): boolean {
    const { buffer } = this;
    if (buffer.lost.size > 0 || buffer.abandoned.size > 0 || buffer.cutAt > 0) return true;
    return this.records.queued > 0 && !this.isBlocked();
  }

  /** True while a message waits for its first transmission, or for the rest of it. */
  get hasUnsent(): boolean {
    return this.records.queued > 0 || this.buffer.cutAt > 0;
  }

  /** Deadline of the message that would be sent next. */
  get headDeadline(): Micros {
    const { records } = this;
    if (this.buffer.cutAt > 0) return records.deadlineOf(records.index(records.flight - 1));
    return records.queued > 0 ? records.deadlineOf(records.index(records.flight)) : NEVER;
  }

  /** Writes lost messages and parts of messages again. [STR-28] */
  writeLost(w: FrameWriter): void {
    const { buffer, context, records } = this;
    while (buffer.lost.size > 0) {
      const sequence = buffer.lost.start(0);
      const r = records.find(sequence);
      const i = records.index(r);
      if (buffer.expireIfLate(r, i, w.now)) continue;
      const before = w.at;
      if ((records.marks[i] & Mark.PARTS) !== 0) this.writeLostPart(w, i);
      else if (this.runFits(i, w.room)) this.writeLostRun(w, r, sequence);
      else this.writeLostSingle(w, i);
      if (w.at === before) break;
      context.retransmittedBytes += w.at - before;
      context.retransmittedMessages++;
    }
  }

  /** Tells which messages the peer need not wait for. [STR-17] */
  writeAbandon(w: FrameWriter): void {
    const { records, stream } = this;
    const { abandoned } = this.buffer;
    while (abandoned.size > 0) {
      const first = abandoned.start(0);
      const r = records.find(first);
      const countMax = Math.min(abandoned.end(0) - first, COUNT_MAX);
      const count = this.planAbandon(r, countMax, w.room - abandonHeaderSize(stream, first, COUNT_MAX));
      if (count === 0) break;
      writeAbandonHeader(w, stream, first, count);
      for (let place = r, left = count; left > 0; place++) {
        const i = records.index(place);
        if ((records.marks[i] & Mark.VOID) !== 0) continue;
        w.varint(records.lengths[i]);
        left--;
      }
      abandoned.remove(first, first + count);
    }
  }

  /** Writes messages that were not sent before. */
  writeNew(w: FrameWriter): void {
    if (this.protection?.isAsked) this.writeProtected(w, this.protection);
    else this.writeQueued(w);
  }

  /** Writes once more what no other packet followed in time. [FEC-7] */
  writeFlush(w: FrameWriter): void {
    const { repeats } = this;
    if (repeats !== null && this.hasRoomForRepeats(w, 0)) repeats.write(w, w.room, false);
  }

  /** What was sent counts as never sent. [HS-58] */
  recall(): void {
    this.repeats = null;
    this.buffer.recall();
  }

  /** A packet with this MESSAGE, MESSAGES or ABANDON is lost. */
  onFrameLost(frame: SentFrame, now: Micros): void {
    if (this.repeats !== null) this.repeats.onFrameLost(frame);
    this.buffer.onFrameLost(frame, now);
  }

  private writeQueued(w: FrameWriter): void {
    const { buffer, context, records } = this;
    const isThinned = context.thinRoom !== Number.POSITIVE_INFINITY;
    if (isThinned && context.thinRoom > 0) this.waiting?.keepNewest(context.thinRoom);
    for (;;) {
      buffer.expireNext(w.now);
      const before = w.at;
      const givesWay = isThinned && this.givesWay();
      if (givesWay && context.thinRoom <= 0) break;
      if (buffer.cutAt > 0) {
        this.writeRest(w);
      } else if (records.queued > 0) {
        const i = records.index(records.flight);
        if (this.isBlocked()) break;
        if (this.runFits(i, w.room)) this.writeNewRun(w);
        else this.writeNewSingle(w, i);
      }
      if (w.at === before) break;
      if (givesWay) context.thinRoom -= w.at - before;
    }
  }

  /** What would be sent next gives way while the queue of the path is long: it is best effort, or partial. [STR-42] */
  private givesWay(): boolean {
    const { records } = this;
    const r = this.buffer.cutAt > 0 ? records.flight - 1 : records.flight;
    return !this.isReliable || (this.hasUnsent && (records.marks[records.index(r)] & Mark.LIFETIME) !== 0);
  }

  // ---- protected ----

  /** Repeats, as far as any are due, and new messages. [FEC-5] */
  private writeProtected(w: FrameWriter, protection: StreamProtection): void {
    const { buffer } = this;
    const first = buffer.nextSequence;
    if (protection.plan.mode === PlanMode.REPEAT) this.writeRepeats(w, protection);
    else this.repeats?.stop();
    const start = w.at;
    const joinedBytes = this.repeats?.joinedBytes ?? 0;
    this.writeQueued(w);
    assert(this.repeats === null || this.repeats.joined === 0, 'what was joined to a run went with it');
    if (w.at === start) return;
    const bytes = w.at - start - joinedBytes;
    this.repeats?.onSent(first, bytes);
    protection.onSent(bytes, w.now);
  }

  private writeRepeats(w: FrameWriter, protection: StreamProtection): void {
    const { buffer, records } = this;
    buffer.expireNext(w.now);
    this.repeats ??= new Repeats(buffer, protection, this);
    const newBytes = this.newBytes();
    const room = w.room - newBytes - this.runHeaderSize();
    // Where even new messages give way, none goes again. [STR-42]
    const isThinned = this.context.thinRoom !== Number.POSITIVE_INFINITY;
    if (isThinned || room <= 0 || !this.hasRoomForRepeats(w, newBytes)) return this.repeats.clear();
    const isRun =
      buffer.cutAt === 0 &&
      records.queued > 0 &&
      (records.marks[records.index(records.flight)] & NOT_IN_RUN) === 0;
    this.repeats.write(w, room, isRun && !this.isBlocked());
  }

  /** Only a packet that is three quarters empty takes repeats: who fills packets needs none, and would be unfair to others. */
  private hasRoomForRepeats(w: FrameWriter, newBytes: number): boolean {
    const { packetRoom } = this.context;
    return packetRoom - w.room + newBytes <= packetRoom * REPEATED_SHARE;
  }

  /** Bytes of the messages that wait, as far as they matter here: little more than what leaves no room for repeats. */
  private newBytes(): number {
    const { records } = this;
    if (this.buffer.cutAt > 0) return this.context.packetRoom;
    const repeatBytesMax = this.context.packetRoom * REPEATED_SHARE;
    let bytes = 0;
    for (let k = 0; k < records.queued && bytes <= repeatBytesMax; k++) {
      bytes += records.lengths[records.index(records.flight + k)] + HEADER_BYTES;
    }
    return bytes;
  }

  // ---- again ----

  private writeLostRun(w: FrameWriter, r: number, sequence: number): void {
    const { lost } = this.buffer;
    const count = this.planRun(r, lost.end(0) - sequence, w.room, Number.POSITIVE_INFINITY, 0);
    lost.remove(sequence, sequence + count);
    this.context.retransmittedMessages += count - 1;
    const start = w.at;
    this.writeRun(w, r, count);
    this.sendTwice(w, start, sequence, count);
  }

  private writeLostSingle(w: FrameWriter, i: number): void {
    const { records } = this;
    const start = w.at;
    this.writeSingle(w, i);
    if (w.at === start) return;
    const sequence = records.sequences[i];
    // what was whole when it was lost may have to be cut now; the rest of it is lost as well
    if (this.cutLength > 0) records.partsOf(i).lost.add(this.cutLength, records.lengths[i]);
    else {
      this.buffer.lost.remove(sequence, sequence + 1);
      const { copies, deadlines } = this.context;
      // [STR-41] There is no time for another round: the copy is made before anybody knows whether it is needed.
      const isLast = deadlines.isLastChance(records.deadlineOf(i), w.now);
      if (isLast) copies.add(this.stream, sequence, 1, w.now + LAST_CHANCE_WAIT);
      else this.sendTwice(w, start, sequence, 1);
    }
  }

  private writeLostPart(w: FrameWriter, i: number): void {
    const { lost } = this.records.partsOf(i);
    const offset = lost.start(0);
    const length = this.partThatFits(w, i, offset, lost.end(0));
    if (length === 0) return;
    lost.remove(offset, offset + length);
    const sequence = this.records.sequences[i];
    if (lost.size === 0) this.buffer.lost.remove(sequence, sequence + 1);
    this.writePart(w, i, offset, length, true);
  }

  /** What was written from `start` on goes into a later packet, too, if it is little and the path loses much. [REC-60] */
  private sendTwice(w: FrameWriter, start: number, sequence: number, count: number, isProbed = false): void {
    const { copies, packetRoom } = this.context;
    if (copies.wait === NEVER || !this.isRepeated || w.at - start > packetRoom * REPEATED_SHARE) return;
    copies.add(this.stream, sequence, count, isProbed ? NEVER : w.now + copies.wait);
  }

  /**
   * Writes those of [sequence, sequence + count) once more of which nothing is known but that they are under way.
   * False when the packet has no room for all of them.
   */
  writeCopies(w: FrameWriter, sequence: number, count: number, isProbed: boolean): boolean {
    const start = w.at;
    const { buffer, records } = this;
    const { sequences } = records;
    const end = sequence + count;
    for (let r = records.find(sequence); r < records.flight; ) {
      const i = records.index(r);
      if (sequences[i] >= end) break;
      const { copies, deadlines } = this.context;
      const isLast = copies.takesLarge || deadlines.isLastChance(records.deadlineOf(i), w.now);
      if (!(isLast || this.isLittle(i)) || !this.isWorthRepeating(i, w.now)) {
        r++;
        continue;
      }
      const before = w.at;
      let written = 1;
      if (this.runFits(i, w.room)) {
        // as long as none of them waits to be sent again anyway
        const countMax = Math.min(end - sequences[i], records.flight - r);
        if (buffer.lost.size === 0) written = this.planRun(r, countMax, w.room, NEVER, 0);
        this.writeRun(w, r, written);
      } else if ((records.marks[i] & Mark.LIFETIME) === 0 || !this.writeWhole(w, i, w.room)) {
        return false;
      }
      this.context.retransmittedBytes += w.at - before;
      this.context.retransmittedMessages += written;
      for (; written > 0; written--) records.addCopy(records.index(r++));
    }
    if (isProbed && w.at > start) this.sendTwice(w, start, sequence, count, true);
    return true;
  }

  /** Whether the record at index `i` may be sent whole once more, while a packet with it is under way. */
  mayRepeat(i: number, now: Micros): boolean {
    return this.isLittle(i) && this.isWorthRepeating(i, now);
  }

  private isLittle(i: number): boolean {
    return this.records.lengths[i] <= this.context.packetRoom * REPEATED_SHARE;
  }

  private isWorthRepeating(i: number, now: Micros): boolean {
    const { context, records } = this;
    const { lost } = this.buffer;
    if ((records.marks[i] & NOT_REPEATED) !== 0) return false;
    if (context.deadlines.isTooLate(records.deadlineOf(i), 0, now)) return false;
    const sequence = records.sequences[i];
    return lost.size === 0 || !lost.covers(sequence, sequence + 1);
  }

  // ---- for the first time ----

  private writeNewRun(w: FrameWriter): void {
    const { buffer, records, isReliable } = this;
    const budget = isReliable ? this.creditLeft : Number.POSITIVE_INFINITY;
    const countMax = isReliable ? Math.min(records.queued, this.spanLeft) : records.queued;
    const r = records.flight;
    const { repeats } = this;
    const joined = repeats === null ? 0 : repeats.joined;
    const room = joined === 0 ? w.room : w.room - repeats!.joinedBytes;
    const count = this.planRun(r, countMax, room, budget, MESSAGE_COST);
    const charge = buffer.sendNext(count, 0);
    this.writeRun(w, r - joined, joined + count);
    this.waits = 0;
    if (joined > 0) repeats!.clear();
    if (isReliable) this.charge(charge);
    else if (!this.isKept) for (let k = 0; k < count; k++) buffer.releaseBytes(records.index(r + k));
  }

  private writeNewSingle(w: FrameWriter, i: number): void {
    const { buffer } = this;
    const start = w.at;
    this.records.sequences[i] = buffer.nextSequence;
    this.writeSingle(w, i);
    if (w.at === start) return;
    const charge = buffer.sendNext(1, this.cutLength);
    if (this.isReliable) this.charge(charge);
    this.afterWhole(i);
  }

  /** Goes on with the youngest sent message, which is partly sent. */
  private writeRest(w: FrameWriter): void {
    const { buffer, records } = this;
    const i = records.index(records.flight - 1);
    const length = this.partThatFits(w, i, buffer.cutAt, records.lengths[i]);
    if (length === 0) return;
    this.writePart(w, i, buffer.cutAt, length, true);
    buffer.sendMore(length);
    this.afterWhole(i);
  }

  /** Best-effort messages are never sent again: their bytes are free once all of them are in packets. */
  private afterWhole(i: number): void {
    if (this.buffer.cutAt > 0 || this.isReliable) return;
    if (!this.isKept || this.records.lengths[i] > this.context.packetRoom * REPEATED_SHARE)
      this.buffer.releaseBytes(i);
  }

  /** What was sent best effort goes again in later packets. */
  private get isKept(): boolean {
    return this.repeats !== null && this.protection!.plan.mode === PlanMode.REPEAT;
  }

  // ---- credit ----

  private get creditLeft(): number {
    return Math.min(this.credit.available, this.context.credit.available - this.reserve);
  }

  private get reserve(): number {
    return this.usesReserve ? 0 : this.context.reserveBytes;
  }

  /** [STR-12] Sequences that may still be used, from the oldest unsettled one on. */
  private get spanLeft(): number {
    const { flight, sequences, head } = this.records;
    return flight === 0 ? this.spanMax : this.spanMax - (this.buffer.nextSequence - sequences[head]);
  }

  /** [STR-8] Both levels are charged when the first part is sent. */
  private charge(bytes: number): void {
    this.credit.used += bytes;
    this.context.credit.used += bytes;
  }

  /** True when the message at the front of the queue, which there is, has to wait for credit. [STR-10] */
  private isBlocked(): boolean {
    const { records } = this;
    const i = records.index(records.flight);
    if ((records.marks[i] & Mark.HELD) !== 0) return true; // [HS-59] until the handshake is complete
    if (!this.isReliable) return false;
    const charge = records.lengths[i] + MESSAGE_COST;
    const ofConnection = this.context.credit;
    const onStream = charge > this.credit.available;
    const onConnection = charge + this.reserve > ofConnection.available;
    if (onStream) this.credit.block(this.credit.used + charge);
    if (onConnection) ofConnection.block(ofConnection.used + charge + this.reserve);
    return onStream || onConnection || this.spanLeft <= 0;
  }

  // ---- runs ----

  /** True when the message at index `i` may be part of a run, and fits into `room` as a run of its own. */
  private runFits(i: number, room: number): boolean {
    const { marks, lengths } = this.records;
    if ((marks[i] & NOT_IN_RUN) !== 0) return false;
    return this.runHeaderSize() + varintSize(lengths[i]) + lengths[i] <= room;
  }

  /**
   * How many messages from place `r` on, at most `countMax`, go into one run of at most `room` bytes that costs at most `budget`
   * in lengths, each with `cost` added.
   */
  private planRun(r: number, countMax: number, room: number, budget: number, cost: number): number {
    const max = Math.min(countMax, COUNT_MAX);
    const { marks, lengths, mask } = this.records;
    let left = room - this.runHeaderSize();
    let creditLeft = budget;
    let i = this.records.index(r);
    let count = 0;
    const kind = marks[i] & Mark.ENVELOPE;
    while (count < max && (marks[i] & NOT_LIKE_OTHERS) === kind) {
      const length = lengths[i];
      left -= length + varintSize(length);
      creditLeft -= length + cost;
      if (left < 0 || creditLeft < 0) break;
      count++;
      i = (i + 1) & mask;
    }
    return count;
  }

  /** Writes the messages at [r, r + count), whose sequences are consecutive, as one run. */
  writeRun(w: FrameWriter, r: number, count: number): void {
    const { sequences, slabs, offsets, lengths, marks, mask } = this.records;
    let i = this.records.index(r);
    let flags = this.isReliable ? 0 : RunFlag.BEST_EFFORT;
    if ((marks[i] & Mark.ENVELOPE) !== 0) flags |= RunFlag.ENVELOPE;
    writeMessagesHeader(w, flags, this.stream, sequences[i], count);
    const { out } = w;
    let { at } = w;
    for (let k = 0; k < count; ) {
      const slab = slabs[i]!;
      const length = lengths[i];
      if ((marks[i] & Mark.PREFIXED) === 0) {
        at = writeVarint(out, at, length);
        at = copy(out, at, slab.bytes, offsets[i], length);
        i = (i + 1) & mask;
        k++;
        continue;
      }
      // all that lies next to each other in the slab, lengths included, in one copy
      const from = offsets[i] - varintSize(length);
      let end = offsets[i] + length;
      for (;;) {
        i = (i + 1) & mask;
        if (++k === count || slabs[i] !== slab || (marks[i] & Mark.PREFIXED) === 0) break;
        const next = offsets[i];
        if (next - varintSize(lengths[i]) !== end) break;
        end = next + lengths[i];
      }
      at = copy(out, at, slab.bytes, from, end - from);
    }
    w.at = at;
  }

  /** Upper bound of a run's bytes before its first message. */
  private runHeaderSize(): number {
    return messagesHeaderSize(this.stream, this.buffer.nextSequence, COUNT_MAX);
  }

  /** How many messages from place `r` on, at most `countMax`, an ABANDON with so much room for their lengths names. */
  private planAbandon(r: number, countMax: number, room: number): number {
    const { records } = this;
    let left = room;
    let count = 0;
    for (let place = r; count < countMax && place < records.flight; place++) {
      const i = records.index(place);
      if ((records.marks[i] & Mark.VOID) !== 0) continue;
      left -= varintSize(records.lengths[i]);
      if (left < 0) break;
      count++;
    }
    return count;
  }

  // ---- single messages and fragments ----

  /** Writes the message at index `i` whole or, when it may be cut, the first part of it; or nothing. */
  private writeSingle(w: FrameWriter, i: number): void {
    this.cutLength = 0;
    const length = this.records.lengths[i];
    if (this.isForNextPacket(length, w.room)) {
      this.waits++;
      return;
    }
    const whole = messageHeaderSize(this.fill(w, i, 0, length, false)) + length;
    if (whole <= w.room) {
      this.waits = 0;
      this.writePart(w, i, 0, length, false);
      return;
    }
    if (!this.mayCut(whole, w.room)) {
      this.waits++;
      return;
    }
    const part = this.partThatFits(w, i, 0, length);
    if (part === 0) return;
    this.waits = 0;
    this.records.partsOf(i);
    if (part < length) this.cutLength = part;
    this.writePart(w, i, 0, part, true);
  }

  /** Writes the message at index `i` whole; false when that takes more than `room` bytes. */
  writeWhole(w: FrameWriter, i: number, room: number): boolean {
    const length = this.records.lengths[i];
    if (messageHeaderSize(this.fill(w, i, 0, length, false)) + length > room) return false;
    this.writePart(w, i, 0, length, false);
    return true;
  }

  /** What most packets end with, without a look at headers: a message that fits the next packet and not this one, which has no room worth cutting it. */
  private isForNextPacket(length: number, room: number): boolean {
    if (length <= room || length + HEADER_BYTES_MAX > this.context.packetRoom || this.waits >= WAITS_MAX)
      return false;
    return !this.isReliable || room < CUT_ROOM_MIN;
  }

  /** True when a message that takes `whole` bytes in one piece may be cut to `room`. [STR-20] */
  private mayCut(whole: number, room: number): boolean {
    if (whole > this.context.packetRoom || this.waits >= WAITS_MAX) return true;
    return this.isReliable && room >= CUT_ROOM_MIN;
  }

  /** How much of bytes [offset, end) of the message at index `i` fits as a fragment; 0 when nothing does. */
  private partThatFits(w: FrameWriter, i: number, offset: number, end: number): number {
    const left = end - offset;
    const { room } = w;
    const fits = room - messageHeaderSize(this.fill(w, i, offset, Math.min(left, Math.max(0, room)), true));
    if (fits >= left) return left;
    return fits < FRAGMENT_BYTES_MIN ? 0 : fits;
  }

  /** Writes bytes [offset, offset + length) of the message at index `i`: a fragment, or the whole message. */
  private writePart(w: FrameWriter, i: number, offset: number, length: number, isFragment: boolean): void {
    const { slabs, offsets } = this.records;
    this.fill(w, i, offset, length, isFragment);
    writeMessageHeader(w);
    w.at = copy(w.out, w.at, slabs[i]!.bytes, offsets[i] + offset, length);
  }

  /** Fills in the header of such a frame. */
  private fill(
    { message, now }: FrameWriter,
    i: number,
    offset: number,
    length: number,
    isFragment: boolean,
  ): MessageHeader {
    const { records } = this;
    const sequence = records.sequences[i];
    const deadline = records.deadlineOf(i);
    let flags = this.isReliable ? 0 : MessageFlag.BEST_EFFORT;
    if (isFragment) flags |= MessageFlag.FRAGMENT;
    if (deadline !== NEVER) flags |= MessageFlag.LIFETIME;
    if ((records.marks[i] & Mark.ENVELOPE) !== 0) flags |= MessageFlag.ENVELOPE;
    message.flags = flags;
    message.stream = this.stream;
    message.sequence = sequence;
    message.offset = offset;
    message.total = records.lengths[i];
    message.oldest = records.flight === 0 ? sequence : records.sequences[records.head];
    message.remaining = this.context.deadlines.remaining(deadline, now);
    message.length = length;
    return message;
  }
}

function copy(out: Uint8Array, at: number, from: Uint8Array, start: number, length: number): number {
  if (from.length < start + length) throw new JspError('ERR_JSP_MESSAGE_DETACHED', DETACHED);
  if (length > 0) out.set(from.subarray(start, start + length), at);
  return at + length;
}

const DETACHED =
  'the ArrayBuffer of a message that was sent with `transfer` was detached or resized before it was delivered: what is given away must stay as it is';
const NOT_REPEATED = Mark.PARTS | Mark.ABANDONED | Mark.SETTLED | Mark.VOID;
const NOT_IN_RUN = Mark.LIFETIME | Mark.PARTS | Mark.ABANDONED | Mark.SETTLED | Mark.VOID | Mark.HELD;
/** The messages of a run are all in envelopes, or none is. */
const NOT_LIKE_OTHERS = NOT_IN_RUN | Mark.ENVELOPE;
/** A message that takes more than this of a packet does not go again, and a packet of which more is taken has no repeats. */
const REPEATED_SHARE = 1 / 4;
/** What a message takes beside its bytes, more or less. */
const HEADER_BYTES = 4;
/** And at most. */
const HEADER_BYTES_MAX = 64;
/** The second copy of what has its last chance waits so long for another packet to ride in. */
const LAST_CHANCE_WAIT: Micros = 2 * MILLISECOND;
/** Most messages of one frame: so many that their count takes two bytes. */
const COUNT_MAX = 0x3fff;
/** With less room than this a reliable message waits for the next packet rather than be cut. */
const CUT_ROOM_MIN = 256;
/** A message that found too little room in so many packets in a row is cut after all. */
const WAITS_MAX = 8;
/** No fragment is shorter, unless it ends what is to be sent. */
const FRAGMENT_BYTES_MIN = 64;
