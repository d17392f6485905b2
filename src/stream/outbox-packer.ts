import { type Micros, NEVER } from '../base/time.ts';
import { FrameType, MessageFlag, Space } from '../wire/frame-type.ts';
import { varintSize, writeVarint } from '../wire/varint.ts';
import { type FlowCredit, MESSAGE_COST } from './flow-credit.ts';
import { Mark } from './message-records.ts';
import { Outbox } from './outbox.ts';
import { Outcome } from './outcome.ts';
import type { SendContext } from './send-context.ts';
import type { SentFrames } from './sent-frames.ts';

/**
 * Gets the messages of an {@link Outbox} into packets:
 *
 *  1. what is lost comes first, lowest sequence first, cut anew to the room there is;
 *  2. then the rest of a message that is partly sent;
 *  3. then new messages, as many as fit and as both credits allow: small ones as one run, copied from their slab at once.
 */
export class OutboxPacker extends Outbox {
  readonly stream: number;
  private readonly credit: FlowCredit;
  /** Most sequences from the oldest unsettled one on. [STR-12] */
  private readonly spanMax: number;

  constructor(space: Space, context: SendContext, stream: number, credit: FlowCredit, spanMax: number) {
    super(space, context);
    this.stream = stream;
    this.credit = credit;
    this.spanMax = spanMax;
  }

  /** True when something could be sent now. */
  get sendable(): boolean {
    if (this.lost.size > 0 || this.cutAt > 0) return true;
    if (this.queued === 0) return false;
    if (this.space === Space.BEST_EFFORT) return true;
    const charge = this.headCharge;
    return charge <= this.credit.available && charge <= this.context.credit.available && !this.spanFull;
  }

  private get spanFull(): boolean {
    return this.flight > 0 && this.nextSequence - this.sequences[this.head] >= this.spanMax;
  }

  /** Writes lost parts of messages again. Returns the new offset. */
  writeLost(out: Uint8Array, start: number, limit: number, now: Micros, sent: SentFrames): number {
    let at = start;
    while (this.lost.size > 0) {
      const sequence = this.lost.start(0);
      const r = this.find(sequence);
      const i = this.index(r);
      if (this.deadlineOf(i) <= now) {
        this.abandon(r, i);
        continue;
      }
      const before = at;
      if ((this.marks[i] & Mark.PARTS) !== 0) {
        at = this.writeLostPart(out, at, limit, now, sent, i);
      } else if ((this.marks[i] & Mark.LIFETIME) !== 0 || !this.runFits(i, limit - at)) {
        at = this.writeSingle(out, at, limit, now, sent, i);
        if (at > before) this.lost.remove(sequence, sequence + 1);
        if (this.cutLength > 0) this.loseRest(i);
      } else {
        const count = this.planRun(r, this.lost.end(0) - sequence, limit - at, false);
        at = this.writeRun(out, at, r, count, sent);
        this.lost.remove(sequence, sequence + count);
      }
      if (at === before) break;
      this.context.retransmittedBytes += at - before;
    }
    return at;
  }

  /** Writes messages that were not sent before. Returns the new offset. */
  writeNew(out: Uint8Array, start: number, limit: number, now: Micros, sent: SentFrames): number {
    let at = start;
    for (;;) {
      const before = at;
      if (this.cutAt > 0) {
        at = this.writeRest(out, at, limit, now, sent);
      } else {
        if (this.queued === 0) break;
        const i = this.index(this.flight);
        if (this.deadlineOf(i) <= now) {
          this.discard(i);
          this.settleVoid(i, Outcome.EXPIRED);
          this.context.expired++;
          this.absorbVoids();
          continue;
        }
        if ((this.marks[i] & Mark.LIFETIME) === 0 && this.runFits(i, limit - at)) {
          const count = this.planRun(this.flight, this.queued, limit - at, true);
          if (count > 0) at = this.writeNewRun(out, at, count, sent);
          else this.noteBlocked();
        } else {
          at = this.writeNewSingle(out, at, limit, now, sent, i);
        }
      }
      if (at === before) break;
    }
    return at;
  }

  /** Tells which messages the peer need not wait for. [STR-17] */
  writeAbandon(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    let at = start;
    while (this.abandoned.size > 0) {
      const first = this.abandoned.start(0);
      const countMax = Math.min(this.abandoned.end(0) - first, RUN_COUNT_MAX);
      let left = limit - at - (1 + varintSize(this.stream) + varintSize(first) + RUN_COUNT_BYTES);
      const r = this.find(first);
      let count = 0;
      for (let k = r; count < countMax && k < this.flight; k++) {
        const i = this.index(k);
        if ((this.marks[i] & Mark.VOID) !== 0) continue;
        left -= varintSize(this.lengths[i]);
        if (left < 0) break;
        count++;
      }
      if (count === 0) break;
      out[at] = FrameType.ABANDON;
      at = writeVarint(out, at + 1, this.stream);
      at = writeVarint(out, at, first);
      at = writeVarint(out, at, count);
      for (let k = r, done = 0; done < count; k++) {
        const i = this.index(k);
        if ((this.marks[i] & Mark.VOID) !== 0) continue;
        at = writeVarint(out, at, this.lengths[i]);
        done++;
      }
      sent.add(FrameType.ABANDON, this.stream, first, count, 0);
      this.abandoned.remove(first, first + count);
    }
    return at;
  }

  // ---- runs ----

  private runHeaderSize(sequence: number): number {
    return 1 + varintSize(this.stream) + varintSize(sequence) + RUN_COUNT_BYTES;
  }

  /** True when the message at index `i` fits into `room` as a run of one. */
  private runFits(i: number, room: number): boolean {
    const length = this.lengths[i];
    return this.runHeaderSize(this.nextSequence) + varintSize(length) + length <= room;
  }

  /** How many messages from place `r` on go into one run: whole, without lifetime, within `room` and, when `fresh`, within credit. */
  private planRun(r: number, countMax: number, room: number, fresh: boolean): number {
    const max = Math.min(countMax, RUN_COUNT_MAX);
    const charged = fresh && this.space === Space.RELIABLE;
    let left = room - this.runHeaderSize(this.nextSequence);
    let budget = charged ? this.creditLeft() : Number.POSITIVE_INFINITY;
    let limit = max;
    if (charged && this.flight > 0) {
      limit = Math.min(max, this.spanMax - (this.nextSequence - this.sequences[this.head]));
    }
    const { marks, lengths, mask } = this;
    let i = this.index(r);
    let count = 0;
    while (count < limit) {
      if ((marks[i] & NOT_IN_RUN) !== 0) break;
      const length = lengths[i];
      left -= length + varintSize(length);
      if (left < 0) break;
      budget -= length + MESSAGE_COST;
      if (budget < 0) break;
      count++;
      i = (i + 1) & mask;
    }
    return count;
  }

  private writeNewRun(out: Uint8Array, start: number, count: number, sent: SentFrames): number {
    const r = this.flight;
    const { sequences, lengths, mask } = this;
    let sequence = this.nextSequence;
    let bytes = 0;
    let i = this.index(r);
    for (let k = 0; k < count; k++) {
      sequences[i] = sequence++;
      bytes += lengths[i];
      i = (i + 1) & mask;
    }
    this.nextSequence = sequence;
    this.flight += count;
    this.queued -= count;
    const charge = bytes + count * MESSAGE_COST;
    this.queuedBytes -= charge;
    const at = this.writeRun(out, start, r, count, sent);
    if (this.space === Space.RELIABLE) this.charge(charge);
    else this.releaseSent(r, count);
    this.absorbVoids();
    return at;
  }

  /** Writes the messages at [r, r + count), whose sequences are consecutive, as one run. */
  private writeRun(out: Uint8Array, start: number, r: number, count: number, sent: SentFrames): number {
    const first = this.sequences[this.index(r)];
    const type = this.space === Space.RELIABLE ? FrameType.MESSAGES : FrameType.MESSAGES_BEST_EFFORT;
    out[start] = type;
    let at = writeVarint(out, start + 1, this.stream);
    at = writeVarint(out, at, first);
    at = writeVarint(out, at, count);
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
    sent.add(type, this.stream, first, count, 0);
    return at;
  }

  // ---- single messages and fragments ----

  /** Bytes of the message that the last call of {@link writeSingle} sent, when it had to cut it; 0 when it went whole. */
  private cutLength = 0;

  private writeNewSingle(
    out: Uint8Array,
    start: number,
    limit: number,
    now: Micros,
    sent: SentFrames,
    i: number,
  ): number {
    const length = this.lengths[i];
    const reliable = this.space === Space.RELIABLE;
    if (reliable) {
      if (length + MESSAGE_COST > this.creditLeft()) {
        this.noteBlocked();
        return start;
      }
      if (this.spanFull) return start;
    }
    this.sequences[i] = this.nextSequence;
    const at = this.writeSingle(out, start, limit, now, sent, i);
    if (at === start) return start;
    this.nextSequence++;
    this.flight++;
    this.queued--;
    if (reliable) this.charge(length + MESSAGE_COST);
    this.cutAt = this.cutLength;
    this.queuedBytes -= MESSAGE_COST + (this.cutAt === 0 ? length : this.cutAt);
    if (this.cutAt === 0) {
      if (!reliable) this.releaseBytes(i);
      this.absorbVoids();
    }
    return at;
  }

  /** Writes the message at index `i` whole, or the first part of it. */
  private writeSingle(
    out: Uint8Array,
    start: number,
    limit: number,
    now: Micros,
    sent: SentFrames,
    i: number,
  ): number {
    this.cutLength = 0;
    const length = this.lengths[i];
    const remaining = this.remaining(i, now);
    const whole = this.wholeSize(i, remaining);
    if (whole <= limit - start) return this.writeWhole(out, start, sent, i, remaining);
    if (!this.mayCut(whole, limit - start)) return start;
    const room = this.fragmentRoom(i, 0, limit - start, remaining);
    if (room < FRAGMENT_BYTES_MIN) return start;
    const part = Math.min(room, length);
    this.partsOf(i);
    this.cutLength = part < length ? part : 0;
    return this.writeFragment(out, start, sent, i, 0, part, remaining);
  }

  /** Goes on with the youngest sent message, which is partly sent. */
  private writeRest(out: Uint8Array, start: number, limit: number, now: Micros, sent: SentFrames): number {
    const r = this.flight - 1;
    const i = this.index(r);
    if (this.deadlineOf(i) <= now) {
      this.abandon(r, i);
      this.absorbVoids();
      return this.queued > 0 ? this.writeNew(out, start, limit, now, sent) : start;
    }
    const left = this.lengths[i] - this.cutAt;
    const remaining = this.remaining(i, now);
    const part = Math.min(left, this.fragmentRoom(i, this.cutAt, limit - start, remaining));
    if (part < Math.min(left, FRAGMENT_BYTES_MIN)) return start;
    const at = this.writeFragment(out, start, sent, i, this.cutAt, part, remaining);
    this.queuedBytes -= part;
    this.cutAt = part === left ? 0 : this.cutAt + part;
    if (this.cutAt === 0) {
      if (this.space === Space.BEST_EFFORT) this.releaseBytes(i);
      this.absorbVoids();
    }
    return at;
  }

  private writeLostPart(
    out: Uint8Array,
    start: number,
    limit: number,
    now: Micros,
    sent: SentFrames,
    i: number,
  ): number {
    const { lost } = this.partsOf(i);
    const offset = lost.start(0);
    const left = lost.end(0) - offset;
    const remaining = this.remaining(i, now);
    const part = Math.min(left, this.fragmentRoom(i, offset, limit - start, remaining));
    if (part < Math.min(left, FRAGMENT_BYTES_MIN)) return start;
    const at = this.writeFragment(out, start, sent, i, offset, part, remaining);
    lost.remove(offset, offset + part);
    if (lost.size === 0) this.lost.remove(this.sequences[i], this.sequences[i] + 1);
    return at;
  }

  /** A lost whole message was just sent as a first fragment: the rest of it is lost as well. */
  private loseRest(i: number): void {
    this.partsOf(i).lost.add(this.cutLength, this.lengths[i]);
    this.lost.add(this.sequences[i], this.sequences[i] + 1);
  }

  private remaining(i: number, now: Micros): number {
    const deadline = this.deadlineOf(i);
    return deadline === NEVER ? -1 : deadline - now;
  }

  private wholeSize(i: number, remaining: number): number {
    const length = this.lengths[i];
    return this.headerSize(this.sequences[i], remaining) + varintSize(length) + length;
  }

  private headerSize(sequence: number, remaining: number): number {
    const lifetime = remaining < 0 ? 0 : varintSize(remaining);
    return 1 + varintSize(this.stream) + varintSize(sequence) + lifetime;
  }

  /** Data bytes of a fragment of the message at `i` from `offset` on that fit into `room`; may be negative. */
  private fragmentRoom(i: number, offset: number, room: number, remaining: number): number {
    const total = this.lengths[i];
    const oldest = this.sequences[i] - this.sequences[this.head];
    const header =
      this.headerSize(this.sequences[i], remaining) +
      varintSize(offset) +
      varintSize(total) +
      varintSize(oldest);
    const left = room - header;
    return left - varintSize(Math.max(0, left));
  }

  /** True when a message that takes `whole` bytes in one piece may be cut to `room`. [STR-20] */
  private mayCut(whole: number, room: number): boolean {
    const empty = this.context.packetRoom;
    if (whole > empty) return true;
    if (this.space === Space.RELIABLE) return room >= CUT_ROOM_MIN;
    return room * 4 >= empty * 3;
  }

  private writeWhole(out: Uint8Array, start: number, sent: SentFrames, i: number, remaining: number): number {
    const sequence = this.sequences[i];
    const length = this.lengths[i];
    const kind = FrameType.MESSAGE | (this.space === Space.BEST_EFFORT ? MessageFlag.BEST_EFFORT : 0);
    out[start] = kind | (remaining < 0 ? 0 : MessageFlag.LIFETIME);
    let at = writeVarint(out, start + 1, this.stream);
    at = writeVarint(out, at, sequence);
    if (remaining >= 0) at = writeVarint(out, at, remaining);
    at = writeVarint(out, at, length);
    at = copy(out, at, this.slabs[i]!.bytes, this.offsets[i], length);
    sent.add(kind, this.stream, sequence, 0, length);
    return at;
  }

  private writeFragment(
    out: Uint8Array,
    start: number,
    sent: SentFrames,
    i: number,
    offset: number,
    length: number,
    remaining: number,
  ): number {
    const sequence = this.sequences[i];
    const space = this.space === Space.BEST_EFFORT ? MessageFlag.BEST_EFFORT : 0;
    const kind = FrameType.MESSAGE | MessageFlag.FRAGMENT | space;
    const oldest = this.flight === 0 ? sequence : this.sequences[this.head];
    out[start] = kind | (remaining < 0 ? 0 : MessageFlag.LIFETIME);
    let at = writeVarint(out, start + 1, this.stream);
    at = writeVarint(out, at, sequence);
    at = writeVarint(out, at, offset);
    at = writeVarint(out, at, this.lengths[i]);
    at = writeVarint(out, at, sequence - oldest);
    if (remaining >= 0) at = writeVarint(out, at, remaining);
    at = writeVarint(out, at, length);
    at = copy(out, at, this.slabs[i]!.bytes, this.offsets[i] + offset, length);
    sent.add(kind, this.stream, sequence, offset, length);
    return at;
  }

  // ---- credit ----

  private creditLeft(): number {
    return Math.min(this.credit.available, this.context.credit.available);
  }

  private charge(bytes: number): void {
    this.credit.used += bytes;
    this.context.credit.used += bytes;
  }

  /** A message has to wait for credit. */
  private noteBlocked(): void {
    const charge = this.headCharge;
    if (charge > this.credit.available) this.credit.blocked = true;
    if (charge > this.context.credit.available) this.context.credit.blocked = true;
  }

  /** Best-effort messages are never sent again: their bytes are free once they are in a packet. */
  private releaseSent(r: number, count: number): void {
    for (let k = 0; k < count; k++) this.releaseBytes(this.index(r + k));
  }
}

function copy(out: Uint8Array, at: number, from: Uint8Array, start: number, length: number): number {
  if (length > 0) out.set(from.subarray(start, start + length), at);
  return at + length;
}

const NOT_IN_RUN = Mark.LIFETIME | Mark.PARTS | Mark.ABANDONED | Mark.SETTLED | Mark.VOID;
/** The count of a run takes at most two bytes. */
const RUN_COUNT_BYTES = 2;
const RUN_COUNT_MAX = 0x3fff;
/** With less room than this a reliable message waits for the next packet rather than be cut. */
const CUT_ROOM_MIN = 256;
/** No fragment is shorter, unless it ends what is to be sent. */
const FRAGMENT_BYTES_MIN = 64;
