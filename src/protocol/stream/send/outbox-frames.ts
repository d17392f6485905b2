import { JspError } from '../../../base/errors.ts';
import { type Micros, NEVER } from '../../../base/time.ts';
import { MessageFlag, Space } from '../../wire/frame-type.ts';
import type { FrameWriter, MessageHeader } from '../../wire/frame-writer.ts';
import {
  abandonHeaderSize,
  messageHeaderSize,
  messagesHeaderSize,
  writeAbandonHeader,
  writeMessageHeader,
  writeMessagesHeader,
} from '../../wire/frames/message.ts';
import { varintSize, writeVarint } from '../../wire/varint.ts';
import { Mark } from './message-records.ts';
import { OutboxFates } from './outbox-fates.ts';
import type { SendContext } from './send-context.ts';

/** How messages of an {@link Outbox} are put into frames; {@link OutboxPacker} decides which ones, and when. */
export class OutboxFrames extends OutboxFates {
  readonly stream: number;
  /** Where {@link writeSingle} had to cut a message; 0 when it went whole, or not at all. */
  protected cutLength = 0;
  /** Packets in a row for which a message waited because it should not be cut. */
  private waits = 0;

  constructor(space: Space, context: SendContext, stream: number) {
    super(space, context);
    this.stream = stream;
  }

  /** Tells which messages the peer need not wait for. [STR-17] */
  writeAbandon(w: FrameWriter): void {
    while (this.abandoned.size > 0) {
      const first = this.abandoned.start(0);
      const r = this.find(first);
      const count = this.planAbandon(r, Math.min(this.abandoned.end(0) - first, COUNT_MAX), first, w.room);
      if (count === 0) break;
      writeAbandonHeader(w, this.stream, first, count);
      for (let place = r, left = count; left > 0; place++) {
        const i = this.index(place);
        if ((this.marks[i] & Mark.VOID) !== 0) continue;
        w.varint(this.lengths[i]);
        left--;
      }
      this.abandoned.remove(first, first + count);
    }
  }

  private planAbandon(r: number, countMax: number, first: number, room: number): number {
    let left = room - abandonHeaderSize(this.stream, first, COUNT_MAX);
    let count = 0;
    for (let place = r; count < countMax && place < this.flight; place++) {
      const i = this.index(place);
      if ((this.marks[i] & Mark.VOID) !== 0) continue;
      left -= varintSize(this.lengths[i]);
      if (left < 0) break;
      count++;
    }
    return count;
  }

  // ---- runs ----

  /** True when the message at index `i` may be part of a run, and fits into `room` as a run of its own. */
  protected runFits(i: number, room: number): boolean {
    if ((this.marks[i] & NOT_IN_RUN) !== 0) return false;
    const length = this.lengths[i];
    return this.runHeaderSize() + varintSize(length) + length <= room;
  }

  /**
   * How many messages from place `r` on, at most `countMax`, go into one run of at most `room` bytes that costs at most `budget`
   * in lengths, each with `cost` added.
   */
  protected planRun(r: number, countMax: number, room: number, budget: number, cost: number): number {
    const max = Math.min(countMax, COUNT_MAX);
    const { marks, lengths, mask } = this;
    let left = room - this.runHeaderSize();
    let creditLeft = budget;
    let i = this.index(r);
    let count = 0;
    while (count < max && (marks[i] & NOT_IN_RUN) === 0) {
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
  protected writeRun(w: FrameWriter, r: number, count: number): void {
    const first = this.sequences[this.index(r)];
    writeMessagesHeader(w, this.space === Space.BEST_EFFORT, this.stream, first, count);
    const { out } = w;
    let { at } = w;
    const { slabs, offsets, lengths, marks, mask } = this;
    let i = this.index(r);
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
    return messagesHeaderSize(this.stream, this.nextSequence, COUNT_MAX);
  }

  // ---- single messages and fragments ----

  /** Writes the message at index `i` whole or, when it may be cut, the first part of it; or nothing. */
  protected writeSingle(w: FrameWriter, i: number): void {
    this.cutLength = 0;
    const length = this.lengths[i];
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
    this.partsOf(i);
    if (part < length) this.cutLength = part;
    this.writePart(w, i, 0, part, true);
  }

  /** How much of bytes [offset, end) of the message at index `i` fits as a fragment; 0 when nothing does. */
  protected partThatFits(w: FrameWriter, i: number, offset: number, end: number): number {
    const left = end - offset;
    const { room } = w;
    const fits = room - messageHeaderSize(this.fill(w, i, offset, Math.min(left, Math.max(0, room)), true));
    if (fits >= left) return left;
    return fits < FRAGMENT_BYTES_MIN ? 0 : fits;
  }

  /** Writes bytes [offset, offset + length) of the message at index `i`: a fragment, or the whole message. */
  protected writePart(w: FrameWriter, i: number, offset: number, length: number, fragment: boolean): void {
    this.fill(w, i, offset, length, fragment);
    writeMessageHeader(w);
    w.at = copy(w.out, w.at, this.slabs[i]!.bytes, this.offsets[i] + offset, length);
  }

  /** Fills in the header of such a frame. */
  private fill(
    { message, now }: FrameWriter,
    i: number,
    offset: number,
    length: number,
    fragment: boolean,
  ): MessageHeader {
    const sequence = this.sequences[i];
    message.flags = this.flagsOf(i, fragment);
    message.stream = this.stream;
    message.sequence = sequence;
    message.offset = offset;
    message.total = this.lengths[i];
    message.oldest = this.oldest(sequence);
    message.remaining = this.remaining(i, now);
    message.length = length;
    return message;
  }

  private flagsOf(i: number, fragment: boolean): number {
    let flags = this.space === Space.BEST_EFFORT ? MessageFlag.BEST_EFFORT : 0;
    if (fragment) flags |= MessageFlag.FRAGMENT;
    return this.deadlineOf(i) === NEVER ? flags : flags | MessageFlag.LIFETIME;
  }

  /** What remains of a message's lifetime when the packet that is made now arrives. [STR-16] */
  private remaining(i: number, now: Micros): Micros {
    const deadline = this.deadlineOf(i);
    return deadline === NEVER ? NEVER : Math.max(1, deadline - now - this.context.oneWayDelay(now));
  }

  /** A message that would arrive at or after its deadline, as far as the delay is known, is not sent. [STR-16] */
  protected isTooLate(i: number, now: Micros): boolean {
    const deadline = this.deadlineOf(i);
    return deadline !== NEVER && deadline - this.context.oneWayDelay(now) <= now;
  }

  /** Oldest sequence that is not settled, `sequence` being one that is not. */
  private oldest(sequence: number): number {
    return this.flight === 0 ? sequence : this.sequences[this.head];
  }

  /** True when a message that takes `whole` bytes in one piece may be cut to `room`. [STR-20] */
  private mayCut(whole: number, room: number): boolean {
    if (whole > this.context.packetRoom || this.waits >= WAITS_MAX) return true;
    return this.space === Space.RELIABLE && room >= CUT_ROOM_MIN;
  }
}

function copy(out: Uint8Array, at: number, from: Uint8Array, start: number, length: number): number {
  if (from.length < start + length) throw new JspError('ERR_JSP_MESSAGE_DETACHED', DETACHED);
  if (length > 0) out.set(from.subarray(start, start + length), at);
  return at + length;
}

const DETACHED =
  'the ArrayBuffer of a message that was sent with `transfer` was detached or resized before it was delivered: what is given away must stay as it is';
const NOT_IN_RUN = Mark.LIFETIME | Mark.PARTS | Mark.ABANDONED | Mark.SETTLED | Mark.VOID;
/** Most messages of one frame: so many that their count takes two bytes. */
const COUNT_MAX = 0x3fff;
/** With less room than this a reliable message waits for the next packet rather than be cut. */
const CUT_ROOM_MIN = 256;
/** A message that found too little room in so many packets in a row is cut after all. */
const WAITS_MAX = 8;
/** No fragment is shorter, unless it ends what is to be sent. */
const FRAGMENT_BYTES_MIN = 64;
