import { JspError } from '../../../base/errors.ts';
import { type Micros, NEVER } from '../../../base/time.ts';
import { FrameType, MessageFlag, Space } from '../../wire/frame-type.ts';
import { abandonHeaderSize, writeAbandonHeader } from '../../wire/frame-writer.ts';
import {
  messageHeaderSize,
  messagesHeaderSize,
  writeMessageHeader,
  writeMessagesHeader,
} from '../../wire/message-frame.ts';
import { varintSize, writeVarint } from '../../wire/varint.ts';
import type { SentFrames } from '../sent-frames.ts';
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

  /** Tells which messages the peer need not wait for. Returns the new offset. [STR-17] */
  writeAbandon(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    let at = start;
    while (this.abandoned.size > 0) {
      const first = this.abandoned.start(0);
      const r = this.find(first);
      const count = this.planAbandon(
        r,
        Math.min(this.abandoned.end(0) - first, COUNT_MAX),
        first,
        limit - at,
      );
      if (count === 0) break;
      at = writeAbandonHeader(out, at, this.stream, first, count);
      for (let place = r, left = count; left > 0; place++) {
        const i = this.index(place);
        if ((this.marks[i] & Mark.VOID) !== 0) continue;
        at = writeVarint(out, at, this.lengths[i]);
        left--;
      }
      sent.add(FrameType.ABANDON, this.stream, first, count, 0);
      this.abandoned.remove(first, first + count);
    }
    return at;
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

  /** Writes the messages at [r, r + count), whose sequences are consecutive, as one run. Returns the new offset. */
  protected writeRun(out: Uint8Array, start: number, r: number, count: number, sent: SentFrames): number {
    const first = this.sequences[this.index(r)];
    const bestEffort = this.space === Space.BEST_EFFORT;
    let at = writeMessagesHeader(out, start, bestEffort, this.stream, first, count);
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
    sent.add(bestEffort ? FrameType.MESSAGES_BEST_EFFORT : FrameType.MESSAGES, this.stream, first, count, 0);
    return at;
  }

  /** Upper bound of a run's bytes before its first message. */
  private runHeaderSize(): number {
    return messagesHeaderSize(this.stream, this.nextSequence, COUNT_MAX);
  }

  // ---- single messages and fragments ----

  /** Writes the message at index `i` whole or, when it may be cut, the first part of it. Returns the new offset. */
  protected writeSingle(
    out: Uint8Array,
    start: number,
    limit: number,
    now: Micros,
    sent: SentFrames,
    i: number,
  ): number {
    this.cutLength = 0;
    const room = limit - start;
    const length = this.lengths[i];
    const whole = this.headerSize(i, 0, length, now, false) + length;
    if (whole <= room) {
      this.waits = 0;
      return this.writePart(out, start, sent, i, 0, length, now, false);
    }
    if (!this.mayCut(whole, room)) {
      this.waits++;
      return start;
    }
    const part = this.partThatFits(i, 0, length, room, now);
    if (part === 0) return start;
    this.waits = 0;
    this.partsOf(i);
    if (part < length) this.cutLength = part;
    return this.writePart(out, start, sent, i, 0, part, now, true);
  }

  /** Writes what fits of bytes [offset, end) of the message at index `i` as a fragment. Returns its length, 0 when nothing fits. */
  protected partThatFits(i: number, offset: number, end: number, room: number, now: Micros): number {
    const left = end - offset;
    const fits = room - this.headerSize(i, offset, Math.min(left, Math.max(0, room)), now, true);
    if (fits >= left) return left;
    return fits < FRAGMENT_BYTES_MIN ? 0 : fits;
  }

  /** Writes bytes [offset, offset + length) of the message at index `i`: a fragment, or the whole message. */
  protected writePart(
    out: Uint8Array,
    start: number,
    sent: SentFrames,
    i: number,
    offset: number,
    length: number,
    now: Micros,
    fragment: boolean,
  ): number {
    const sequence = this.sequences[i];
    const flags = this.flagsOf(i, fragment);
    const at = writeMessageHeader(
      out,
      start,
      flags,
      this.stream,
      sequence,
      offset,
      this.lengths[i],
      this.oldest(sequence),
      this.remaining(i, now),
      length,
    );
    const kind = FrameType.MESSAGE | (flags & (MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT));
    sent.add(kind, this.stream, sequence, offset, length);
    return copy(out, at, this.slabs[i]!.bytes, this.offsets[i] + offset, length);
  }

  private headerSize(i: number, offset: number, length: number, now: Micros, fragment: boolean): number {
    const sequence = this.sequences[i];
    return messageHeaderSize(
      this.flagsOf(i, fragment),
      this.stream,
      sequence,
      offset,
      this.lengths[i],
      this.oldest(sequence),
      this.remaining(i, now),
      length,
    );
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
