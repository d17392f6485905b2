import { keepHere } from '../../../base/bytes.ts';
import { RangeSet } from '../../../base/ranges.ts';
import { DeadlineWatch, type Micros, NEVER } from '../../../base/time.ts';
import { FrameType, MessageFlag, Space } from '../../wire/frame-type.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import { varintSize, writeVarint } from '../../wire/varint.ts';
import { MESSAGE_COST } from '../flow-control.ts';
import { Mark, MessageRecords, type Slab } from './message-records.ts';
import { QueueTimes } from './queue-times.ts';
import { Outcome, type SendContext, type SendQueue } from './send-context.ts';

/**
 * One sequence space of the sending half of a stream: takes messages in and keeps them until they are settled. How they get into packets is
 * the affair of the {@link Packetizer}, its one friend, which reads the records; everything that changes them happens here, in one file.
 *
 * Frames are told as acknowledged or lost in any order, more than once, and long after their messages were settled in another way.
 */
export class SendBuffer {
  readonly records = new MessageRecords();
  /** Sequences of reliable messages of which something is lost and to be sent again. */
  readonly lost = new RangeSet();
  /** Sequences that an ABANDON frame has to tell. */
  readonly abandoned = new RangeSet();
  /** Sequence number that the next message to be sent for the first time gets. */
  nextSequence = 0;
  /** When the youngest sent message is sent only up to here, the offset to go on at; else 0. */
  cutAt = 0;
  /** Messages taken in so far. */
  pushed = 0;
  /** Messages among the queued records that are none any more. */
  private voids = 0;
  /** There was a message with a deadline. */
  private hadDeadlines = false;
  /** Messages that the peer reported as dropped, repetitions counted. */
  private reportedDropped = 0;
  private readonly isReliable: boolean;
  private readonly queue: SendQueue;
  private readonly context: SendContext;
  /** Deadlines of messages that wait or are sent. */
  private readonly deadlineWatch = new DeadlineWatch();
  /** Outcome of messages that were abandoned and did not arrive. */
  private abandonedOutcome: Outcome = Outcome.EXPIRED;
  /** Since when messages wait. */
  readonly times = new QueueTimes(this);
  /** The slab that still takes messages. */
  private open: Slab | null = null;

  constructor(space: Space, queue: SendQueue, context: SendContext) {
    this.isReliable = space === Space.RELIABLE;
    this.queue = queue;
    this.context = context;
  }

  /** Takes a message in. `transfer` gives `data` away instead of copying it. */
  push(data: Uint8Array, deadline: Micros, transfer: boolean, trackingId: number): void {
    const { context, queue, records } = this;
    const length = data.length;
    let i: number;
    if (length > SHARED_BYTES_MAX) {
      const slab = transfer ? context.slabs.adopt(data) : context.slabs.takeFor(length);
      if (transfer) keepHere(data.buffer);
      else slab.bytes.set(data);
      slab.live = 1;
      i = records.append(slab, 0, length, queue.mark);
    } else {
      const slab = this.openSlab(length);
      const at = writeVarint(slab.bytes, slab.used, length);
      if (length > 0) slab.bytes.set(data, at);
      slab.used = at + length;
      slab.live++;
      i = records.append(slab, at, length, Mark.PREFIXED | queue.mark);
    }
    queue.bytes += length + MESSAGE_COST;
    this.pushed++;
    context.messages++;
    context.messageBytes += length;
    if (trackingId > 0) records.setTrackingId(i, trackingId);
    if (deadline !== NEVER) {
      records.setDeadline(i, deadline);
      this.hadDeadlines = true;
      this.context.hasThinned = true;
      this.deadlineWatch.add(deadline);
    }
  }

  /** Messages none of which is sent yet. */
  get unsent(): number {
    return this.records.queued - this.voids;
  }

  // ---- what is sent, as the packetizer says ----

  /**
   * The next `count` queued messages get their sequences and count as sent, the last of them up to `cutAt` only, unless that is 0.
   * Returns what they are charged. [STR-2]
   */
  sendNext(count: number, cutAt: number): number {
    const { records } = this;
    const { sequences, lengths, mask } = records;
    let sequence = this.nextSequence;
    let charge = count * MESSAGE_COST;
    let i = records.index(records.flight);
    for (let k = 0; k < count; k++) {
      sequences[i] = sequence++;
      charge += lengths[i];
      i = (i + 1) & mask;
    }
    this.nextSequence = sequence;
    records.flight += count;
    records.queued -= count;
    this.queue.bytes -= charge;
    if (cutAt > 0) {
      this.queue.bytes += lengths[records.index(records.flight - 1)] - cutAt;
      this.cutAt = cutAt;
    }
    return charge;
  }

  /** The next `length` bytes of the message that is partly sent are sent. */
  sendMore(length: number): void {
    const { records } = this;
    const total = records.lengths[records.index(records.flight - 1)];
    this.queue.bytes -= length;
    this.cutAt = this.cutAt + length === total ? 0 : this.cutAt + length;
  }

  /** Lets go of a message's bytes; harmless when it was done before. */
  releaseBytes(i: number): void {
    const { slabs } = this.records;
    const slab = slabs[i];
    if (slab === null) return;
    slabs[i] = null;
    if (--slab.live > 0) return;
    if (slab === this.open) this.open = null;
    this.context.slabs.give(slab);
  }

  // ---- deadlines ----

  /** Earliest time at which {@link expire} may have something to do. */
  get nextTimeout(): Micros {
    return this.deadlineWatch.next;
  }

  /** Ends the lifetime of messages whose deadline has come. */
  expire(now: Micros): void {
    const { deadlineWatch, records } = this;
    if (now < deadlineWatch.next) return;
    deadlineWatch.clear();
    const count = records.flight + records.queued;
    deadlineWatch.looked(count, now);
    for (let r = 0; r < count; r++) {
      const i = records.index(r);
      const marks = records.marks[i];
      if ((marks & Mark.LIFETIME) === 0 || (marks & (Mark.SETTLED | Mark.ABANDONED)) !== 0) continue;
      const deadline = records.deadlineOf(i);
      if (deadline > now) deadlineWatch.add(deadline);
      else if (r >= records.flight) this.discard(i, Outcome.EXPIRED);
      else if (this.isReliable || this.isCut(r)) this.expireSent(r, i);
    }
    this.absorbVoids();
    records.dropSettled();
  }

  /** Ends the lifetime of a sent message that is too late to be sent again; false when it is not. */
  expireIfLate(r: number, i: number, now: Micros): boolean {
    if ((this.records.marks[i] & Mark.LIFETIME) === 0) return false;
    if (!this.isTooLate(i, this.bytesLeftOf(r, i), now)) return false;
    this.expireSent(r, i);
    return true;
  }

  /** Ends the lifetime of what would be sent next, if that is too late. */
  expireNext(now: Micros): void {
    const { records } = this;
    if (!this.hadDeadlines && this.voids === 0) return;
    if (this.cutAt > 0) {
      const r = records.flight - 1;
      if (!this.expireIfLate(r, records.index(r), now)) return;
    }
    this.absorbVoids();
    while (records.queued > 0) {
      const i = records.index(records.flight);
      if (!this.isTooLate(i, records.lengths[i], now)) break;
      this.discard(i, Outcome.EXPIRED);
      this.absorbVoids();
    }
    records.dropSettled();
  }

  /** What was not sent and is longer than `bytesMax` leaves the queue: nobody else hears of it. [STR-46] */
  takeLonger(bytesMax: number): UnsentMessage[] {
    const { records } = this;
    const taken: UnsentMessage[] = [];
    for (let r = records.flight; r < records.flight + records.queued; r++) {
      const i = records.index(r);
      const slab = records.slabs[i];
      const length = records.lengths[i];
      if (slab === null || length <= bytesMax) continue;
      const at = records.offsets[i];
      taken.push({ data: slab.bytes.slice(at, at + length), tracking: records.trackingIdOf(i) });
      records.setTrackingId(i, 0);
      this.discard(i, Outcome.DROPPED);
    }
    if (taken.length === 0) return taken;
    this.absorbVoids();
    records.dropSettled();
    return taken;
  }

  /** The `count` oldest of what was not sent leave the queue for newer ones. [STR-42] [STR-43] */
  giveWay(count: number): void {
    const { records } = this;
    for (let k = 0; k < count; k++) {
      const i = records.index(records.flight + k);
      if ((records.marks[i] & Mark.VOID) !== 0) continue;
      this.context.thinned++;
      this.discard(i, Outcome.DROPPED);
    }
    this.absorbVoids();
    records.dropSettled();
  }

  /** Gives up everything: what was not sent vanishes, what was sent is abandoned. */
  reset(): void {
    const { records } = this;
    this.abandonedOutcome = Outcome.DROPPED;
    const count = records.flight + records.queued;
    for (let r = 0; r < count; r++) {
      const i = records.index(r);
      if ((records.marks[i] & (Mark.SETTLED | Mark.ABANDONED)) !== 0) continue;
      if (r < records.flight) this.abandon(r, i);
      else this.discard(i, Outcome.DROPPED);
    }
    this.deadlineWatch.clear();
    this.absorbVoids();
    records.dropSettled();
  }

  /** What was sent was thrown away unread: it counts as never sent, and its sequences are free again. [HS-58] */
  recall(): void {
    const { queue, records } = this;
    if (this.cutAt > 0) queue.bytes += this.cutAt - records.lengths[records.index(records.flight - 1)];
    for (let r = 0; r < records.flight; r++) {
      const i = records.index(r);
      if (this.isAbandoned(i)) this.report(i, this.abandonedOutcome);
      records.forgetParts(i);
      if ((records.marks[i] & (Mark.SETTLED | Mark.ABANDONED)) === 0) {
        queue.bytes += records.lengths[i] + MESSAGE_COST;
      } else {
        records.marks[i] |= Mark.VOID | Mark.SETTLED;
        this.voids++;
      }
    }
    records.queued += records.flight;
    records.flight = 0;
    this.nextSequence = 0;
    this.cutAt = 0;
    this.lost.clear();
    this.abandoned.clear();
    this.absorbVoids();
    records.dropSettled();
  }

  // ---- what became of frames ----

  /** A packet with this MESSAGE, MESSAGES or ABANDON is acknowledged. */
  onFrameAcked(frame: SentFrame): void {
    const { type, sequence } = frame;
    if (type >= FrameType.MESSAGES) this.onAcked(sequence, frame.count);
    else if (type === FrameType.ABANDON) this.onAbandonAcked(sequence, frame.count);
    else if ((type & MessageFlag.FRAGMENT) === 0) this.onAcked(sequence, 1);
    else this.onFragmentAcked(sequence, frame.offset, frame.length);
  }

  /** A packet with this MESSAGE, MESSAGES or ABANDON is lost. */
  onFrameLost(frame: SentFrame, now: Micros): void {
    const { type, sequence } = frame;
    if (type >= FrameType.MESSAGES) this.onLost(sequence, frame.count, now);
    else if (type === FrameType.ABANDON) this.onAbandonLost(sequence, frame.count);
    else if ((type & MessageFlag.FRAGMENT) === 0) this.onLost(sequence, 1, now);
    else this.onFragmentLost(sequence, frame.offset, frame.length, now);
  }

  /**
   * The peer gave up [first, first + count): they need no more work. False when it may not say so: they were not sent, or it says too
   * much. [STR-18]
   */
  onDropped(first: number, count: number, now: Micros): boolean {
    this.reportedDropped += count;
    if (first + count > this.nextSequence) return false;
    if (this.reportedDropped > DROPPED_SLACK + DROPPED_FACTOR * this.nextSequence) return false;
    const { context, records } = this;
    const end = first + count;
    for (let r = records.find(first); r < records.flight; r++) {
      const i = records.index(r);
      if (records.sequences[i] >= end) break;
      if ((records.marks[i] & Mark.SETTLED) !== 0) continue;
      // [STR-27] The peer may well have dropped it because its time was over.
      const isExpired = records.deadlineOf(i) <= now;
      if (isExpired) context.expired++;
      else context.dropped++;
      this.settle(r, i, isExpired ? Outcome.EXPIRED : Outcome.DROPPED);
    }
    this.lost.remove(first, end);
    this.abandoned.remove(first, end);
    records.dropSettled();
    return true;
  }

  /** Whole messages [first, first + count). */
  private onAcked(first: number, count: number): void {
    const { records } = this;
    const end = first + count;
    for (let r = records.find(first); r < records.flight; r++) {
      const i = records.index(r);
      if (records.sequences[i] >= end) break;
      if ((records.marks[i] & Mark.SETTLED) === 0) this.settle(r, i, Outcome.ACKNOWLEDGED);
    }
    if (this.lost.size > 0) this.lost.remove(first, end);
    if (this.abandoned.size > 0) this.abandoned.remove(first, end);
    records.dropSettled();
  }

  private onFragmentAcked(sequence: number, offset: number, length: number): void {
    const { records } = this;
    const r = this.unsettledPlaceOf(sequence);
    if (r < 0) return;
    const i = records.index(r);
    const parts = records.partsOf(i);
    parts.ackedBytes += parts.acked.add(offset, offset + length);
    if (parts.lost.remove(offset, offset + length) > 0 && parts.lost.size === 0) {
      this.lost.remove(sequence, sequence + 1);
    }
    if (parts.ackedBytes === records.lengths[i]) this.onAcked(sequence, 1);
  }

  /** Whole messages [first, first + count). */
  private onLost(first: number, count: number, now: Micros): void {
    const { records } = this;
    const end = first + count;
    for (let r = records.find(first); r < records.flight; r++) {
      const i = records.index(r);
      if (records.sequences[i] >= end) break;
      if ((records.marks[i] & (Mark.SETTLED | Mark.ABANDONED)) !== 0) continue;
      this.loseBytes(r, i, 0, records.lengths[i], now);
    }
    records.dropSettled();
  }

  private onFragmentLost(sequence: number, offset: number, length: number, now: Micros): void {
    const { records } = this;
    const r = this.unsettledPlaceOf(sequence);
    if (r < 0) return;
    const i = records.index(r);
    if ((records.marks[i] & Mark.ABANDONED) === 0) this.loseBytes(r, i, offset, length, now);
    records.dropSettled();
  }

  /** The peer knows that [first, first + count) will not come. */
  private onAbandonAcked(first: number, count: number): void {
    const { records } = this;
    const end = first + count;
    for (let r = records.find(first); r < records.flight; r++) {
      const i = records.index(r);
      if (records.sequences[i] >= end) break;
      if (this.isAbandoned(i)) this.settle(r, i, this.abandonedOutcome);
    }
    this.abandoned.remove(first, end);
    records.dropSettled();
  }

  private onAbandonLost(first: number, count: number): void {
    const { records } = this;
    const end = first + count;
    for (let r = records.find(first); r < records.flight; r++) {
      const i = records.index(r);
      const sequence = records.sequences[i];
      if (sequence >= end) break;
      if (this.isAbandoned(i)) this.abandoned.add(sequence, sequence + 1);
    }
  }

  /** [STR-28] [STR-29] A reliable message is sent again, if that is of use yet; a best-effort one is not. */
  private loseBytes(r: number, i: number, offset: number, length: number, now: Micros): void {
    const { records } = this;
    if (length === records.lengths[i] && records.loseCopy(i)) return; // [FEC-6] it is lost with the last packet that has it
    if (!this.isReliable) {
      this.context.lost++;
      this.settle(r, i, Outcome.LOST);
      return;
    }
    if ((records.marks[i] & Mark.PARTS) !== 0) {
      const parts = records.partsOf(i);
      if (parts.acked.covers(offset, offset + length)) return;
      parts.lost.add(offset, offset + length);
    }
    const sequence = records.sequences[i];
    this.lost.add(sequence, sequence + 1);
    this.expireIfLate(r, i, now);
  }

  // ---- the end of a message ----

  /** What is left to send of the message at index `i` would arrive at or after its deadline. [STR-16] [STR-40] */
  private isTooLate(i: number, bytesLeft: number, now: Micros): boolean {
    const { deadlines, packetRoom } = this.context;
    return deadlines.isTooLate(this.records.deadlineOf(i), Math.max(0, bytesLeft - packetRoom), now);
  }

  /** Bytes of a sent message that are lost, or were not sent yet: what is still to leave for it to arrive. */
  private bytesLeftOf(r: number, i: number): number {
    const { records } = this;
    const unsent = this.isCut(r) ? records.lengths[i] - this.cutAt : 0;
    return (records.marks[i] & Mark.PARTS) === 0
      ? records.lengths[i]
      : records.partsOf(i).lost.total + unsent;
  }

  /** The deadline of a sent message has come before it was acknowledged. */
  private expireSent(r: number, i: number): void {
    this.context.expired++;
    this.abandon(r, i);
  }

  /** Sends no more of a sent message. A reliable one stays until the peer knows; it may yet prove to have arrived. [STR-17] */
  private abandon(r: number, i: number): void {
    if (!this.isReliable) return this.settle(r, i, this.abandonedOutcome);
    const { records } = this;
    const sequence = records.sequences[i];
    this.endCut(r, i);
    this.releaseBytes(i);
    records.marks[i] |= Mark.ABANDONED;
    this.lost.remove(sequence, sequence + 1);
    this.abandoned.add(sequence, sequence + 1);
  }

  /** A message that was not sent leaves the queue, without a trace in the sequence numbers. */
  private discard(i: number, outcome: Outcome): void {
    const { records } = this;
    if (outcome === Outcome.EXPIRED) this.context.expired++;
    this.queue.bytes -= records.lengths[i] + MESSAGE_COST;
    this.releaseBytes(i);
    this.report(i, outcome);
    records.marks[i] |= Mark.VOID | Mark.SETTLED;
    this.voids++;
  }

  private settle(r: number, i: number, outcome: Outcome): void {
    this.endCut(r, i);
    this.releaseBytes(i);
    this.report(i, outcome);
    this.records.marks[i] |= Mark.SETTLED;
  }

  private report(i: number, outcome: Outcome): void {
    const trackingId = this.records.trackingIdOf(i);
    if (trackingId > 0) this.context.outcomes.push(trackingId, outcome);
  }

  /** Void records that have come to the front of the queue count as sent, so that they are dropped in their turn. */
  private absorbVoids(): void {
    const { records } = this;
    while (records.queued > 0 && this.cutAt === 0) {
      const i = records.index(records.flight);
      if ((records.marks[i] & Mark.VOID) === 0) return;
      records.sequences[i] = this.nextSequence;
      records.flight++;
      records.queued--;
      this.voids--;
    }
  }

  /** True when the record at `r` is the one that is partly sent. */
  private isCut(r: number): boolean {
    return this.cutAt > 0 && r === this.records.flight - 1;
  }

  /** If the record at `r` is the one that is partly sent, its rest is not sent. */
  private endCut(r: number, i: number): void {
    if (!this.isCut(r)) return;
    this.queue.bytes -= this.records.lengths[i] - this.cutAt;
    this.cutAt = 0;
  }

  private isAbandoned(i: number): boolean {
    return (this.records.marks[i] & (Mark.ABANDONED | Mark.SETTLED)) === Mark.ABANDONED;
  }

  /** Place of the unsettled sent record with this sequence number, or -1. */
  private unsettledPlaceOf(sequence: number): number {
    const { records } = this;
    const r = records.find(sequence);
    if (r >= records.flight) return -1;
    const i = records.index(r);
    return records.sequences[i] === sequence && (records.marks[i] & Mark.SETTLED) === 0 ? r : -1;
  }

  private openSlab(length: number): Slab {
    const need = length + varintSize(length);
    const { open } = this;
    if (open !== null && open.used + need <= open.bytes.length) return open;
    this.open = this.context.slabs.takeShared(open === null, need);
    return this.open;
  }
}

/** A message that was taken in, and that cannot be sent. */
export interface UnsentMessage {
  /** A copy. */
  readonly data: Uint8Array;
  /** The number that its outcome is told by; 0 for none. */
  readonly tracking: number;
}

/** Messages up to this length share slabs; longer ones have memory of their own. */
const SHARED_BYTES_MAX = 4_096;
/** A peer that reports more dropped messages than this, and than so many times those that were sent, only makes work. */
const DROPPED_SLACK = 65_536;
const DROPPED_FACTOR = 8;
