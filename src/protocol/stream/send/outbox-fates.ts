import type { Micros } from '../../../base/time.ts';
import { Space } from '../../wire/frame-type.ts';
import { Mark } from './message-records.ts';
import { Outbox } from './outbox.ts';
import { Outcome } from './send-context.ts';

/**
 * What becomes of the messages of an {@link Outbox} that were sent. Frames are told as acknowledged or lost in any order, more than
 * once, and long after their messages were settled in another way.
 */
export class OutboxFates extends Outbox {
  /** Whole messages [first, first + count) are acknowledged. */
  onAcked(first: number, count: number): void {
    const end = first + count;
    for (let r = this.find(first); r < this.flight; r++) {
      const i = this.index(r);
      if (this.sequences[i] >= end) break;
      if ((this.marks[i] & Mark.SETTLED) === 0) this.settle(r, i, Outcome.ACKNOWLEDGED);
    }
    if (this.lost.size > 0) this.lost.remove(first, end);
    if (this.abandoned.size > 0) this.abandoned.remove(first, end);
    this.dropSettled();
  }

  onFragmentAcked(sequence: number, offset: number, length: number): void {
    const r = this.placeOf(sequence);
    if (r < 0) return;
    const i = this.index(r);
    const parts = this.partsOf(i);
    parts.ackedBytes += parts.acked.add(offset, offset + length);
    if (parts.lost.remove(offset, offset + length) > 0 && parts.lost.size === 0) {
      this.lost.remove(sequence, sequence + 1);
    }
    if (parts.ackedBytes === this.lengths[i]) this.onAcked(sequence, 1);
  }

  /** Whole messages [first, first + count) are lost. */
  onLost(first: number, count: number, now: Micros): void {
    const end = first + count;
    for (let r = this.find(first); r < this.flight; r++) {
      const i = this.index(r);
      if (this.sequences[i] >= end) break;
      if ((this.marks[i] & (Mark.SETTLED | Mark.ABANDONED)) === 0)
        this.loseBytes(r, i, 0, this.lengths[i], now);
    }
    this.dropSettled();
  }

  onFragmentLost(sequence: number, offset: number, length: number, now: Micros): void {
    const r = this.placeOf(sequence);
    if (r < 0) return;
    const i = this.index(r);
    if ((this.marks[i] & Mark.ABANDONED) === 0) this.loseBytes(r, i, offset, length, now);
    this.dropSettled();
  }

  /** The peer knows that [first, first + count) will not come. */
  onAbandonAcked(first: number, count: number): void {
    const end = first + count;
    for (let r = this.find(first); r < this.flight; r++) {
      const i = this.index(r);
      if (this.sequences[i] >= end) break;
      const marks = this.marks[i];
      if ((marks & Mark.ABANDONED) !== 0 && (marks & Mark.SETTLED) === 0)
        this.settle(r, i, this.unsettledOutcome);
    }
    this.abandoned.remove(first, end);
    this.dropSettled();
  }

  onAbandonLost(first: number, count: number): void {
    const end = first + count;
    for (let r = this.find(first); r < this.flight; r++) {
      const i = this.index(r);
      if (this.sequences[i] >= end) break;
      const marks = this.marks[i];
      if ((marks & Mark.ABANDONED) !== 0 && (marks & Mark.SETTLED) === 0) {
        this.abandoned.add(this.sequences[i], this.sequences[i] + 1);
      }
    }
  }

  /** The peer gave up [first, first + count), which were sent: they need no more work. */
  onDropped(first: number, count: number, now: Micros): void {
    const end = first + count;
    for (let r = this.find(first); r < this.flight; r++) {
      const i = this.index(r);
      if (this.sequences[i] >= end) break;
      if ((this.marks[i] & Mark.SETTLED) !== 0) continue;
      // [STR-27] The peer may well have dropped it because its time was over.
      const isExpired = this.deadlineOf(i) <= now;
      if (isExpired) this.context.expired++;
      else this.context.dropped++;
      this.settle(r, i, isExpired ? Outcome.EXPIRED : Outcome.DROPPED);
    }
    this.lost.remove(first, end);
    this.abandoned.remove(first, end);
    this.dropSettled();
  }

  /** [STR-28] [STR-29] */
  private loseBytes(r: number, i: number, offset: number, length: number, now: Micros): void {
    if (this.space === Space.BEST_EFFORT) {
      this.context.lost++;
      this.settle(r, i, Outcome.LOST);
    } else if (this.deadlineOf(i) <= now) {
      this.expireSent(r, i);
    } else {
      const sequence = this.sequences[i];
      this.lost.add(sequence, sequence + 1);
      if ((this.marks[i] & Mark.PARTS) === 0) return;
      const parts = this.partsOf(i);
      if (!parts.acked.covers(offset, offset + length)) parts.lost.add(offset, offset + length);
      else if (parts.lost.size === 0) this.lost.remove(sequence, sequence + 1);
    }
  }

  /** Place of the unsettled sent record with this sequence number, or -1. */
  private placeOf(sequence: number): number {
    const r = this.find(sequence);
    if (r >= this.flight) return -1;
    const i = this.index(r);
    return this.sequences[i] === sequence && (this.marks[i] & Mark.SETTLED) === 0 ? r : -1;
  }
}
