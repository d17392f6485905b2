import type { Micros } from '../../../base/time.ts';
import { Space } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import { type FlowCredit, MESSAGE_COST } from '../flow-control.ts';
import { Mark } from './message-records.ts';
import { OutboxFrames } from './outbox-frames.ts';
import { Outcome, type SendContext } from './send-context.ts';

/**
 * Decides which messages of a space go into a packet:
 *
 *  1. what is lost comes first, lowest sequence first, cut anew to the room there is;
 *  2. then the rest of a message that is partly sent;
 *  3. then new messages, as many as fit and as both credits allow; they get their sequence now. [STR-2]
 */
export class OutboxPacker extends OutboxFrames {
  private readonly credit: FlowCredit;
  /** Most sequences from the oldest unsettled one on. [STR-12] */
  private readonly spanMax: number;
  /** Its messages may use the connection's credit to the last byte. [STR-34] */
  private readonly usesReserve: boolean;

  constructor(
    space: Space,
    context: SendContext,
    stream: number,
    credit: FlowCredit,
    spanMax: number,
    usesReserve: boolean,
  ) {
    super(space, context, stream);
    this.credit = credit;
    this.spanMax = spanMax;
    this.usesReserve = usesReserve;
  }

  /** True when something could be sent now. If that is for lack of credit, the credit notes it, so that a BLOCKED is owed. */
  get sendable(): boolean {
    if (this.lost.size > 0 || this.abandoned.size > 0 || this.cutAt > 0) return true;
    return this.queued > 0 && !this.isBlocked();
  }

  /** Writes lost messages and parts of messages again. [STR-28] */
  writeLost(w: FrameWriter): void {
    while (this.lost.size > 0) {
      const sequence = this.lost.start(0);
      const r = this.find(sequence);
      const i = this.index(r);
      if (this.isTooLate(i, w.now)) {
        this.expireSent(r, i);
        continue;
      }
      const before = w.at;
      if ((this.marks[i] & Mark.PARTS) !== 0) this.writeLostPart(w, i);
      else if (this.runFits(i, w.room)) this.writeLostRun(w, r, sequence);
      else this.writeLostSingle(w, i);
      if (w.at === before) break;
      this.context.retransmittedBytes += w.at - before;
    }
  }

  /** Writes messages that were not sent before. */
  writeNew(w: FrameWriter): void {
    for (;;) {
      this.expireNext(w.now);
      const before = w.at;
      if (this.cutAt > 0) {
        this.writeRest(w);
      } else if (this.queued > 0) {
        const i = this.index(this.flight);
        if (this.isBlocked()) break;
        if (this.runFits(i, w.room)) this.writeNewRun(w);
        else this.writeNewSingle(w, i);
      }
      if (w.at === before) break;
    }
  }

  // ---- again ----

  private writeLostRun(w: FrameWriter, r: number, sequence: number): void {
    const countMax = this.lost.end(0) - sequence;
    const count = this.planRun(r, countMax, w.room, Number.POSITIVE_INFINITY, 0);
    this.lost.remove(sequence, sequence + count);
    this.writeRun(w, r, count);
  }

  private writeLostSingle(w: FrameWriter, i: number): void {
    const start = w.at;
    this.writeSingle(w, i);
    if (w.at === start) return;
    const sequence = this.sequences[i];
    // what was whole when it was lost may have to be cut now; the rest of it is lost as well
    if (this.cutLength > 0) this.partsOf(i).lost.add(this.cutLength, this.lengths[i]);
    else this.lost.remove(sequence, sequence + 1);
  }

  private writeLostPart(w: FrameWriter, i: number): void {
    const { lost } = this.partsOf(i);
    const offset = lost.start(0);
    const length = this.partThatFits(w, i, offset, lost.end(0));
    if (length === 0) return;
    lost.remove(offset, offset + length);
    const sequence = this.sequences[i];
    if (lost.size === 0) this.lost.remove(sequence, sequence + 1);
    this.writePart(w, i, offset, length, true);
  }

  // ---- for the first time ----

  private writeNewRun(w: FrameWriter): void {
    const reliable = this.space === Space.RELIABLE;
    const budget = reliable ? this.creditLeft : Number.POSITIVE_INFINITY;
    const countMax = reliable ? Math.min(this.queued, this.spanLeft) : this.queued;
    const r = this.flight;
    const count = this.planRun(r, countMax, w.room, budget, MESSAGE_COST);
    const { sequences, lengths, mask } = this;
    let sequence = this.nextSequence;
    let charge = count * MESSAGE_COST;
    let i = this.index(r);
    for (let k = 0; k < count; k++) {
      sequences[i] = sequence++;
      charge += lengths[i];
      i = (i + 1) & mask;
    }
    this.nextSequence = sequence;
    this.flight += count;
    this.queued -= count;
    this.queuedBytes -= charge;
    this.writeRun(w, r, count);
    if (reliable) this.charge(charge);
    else for (let k = 0; k < count; k++) this.releaseBytes(this.index(r + k));
  }

  private writeNewSingle(w: FrameWriter, i: number): void {
    const start = w.at;
    this.sequences[i] = this.nextSequence;
    this.writeSingle(w, i);
    if (w.at === start) return;
    this.nextSequence++;
    this.flight++;
    this.queued--;
    const length = this.lengths[i];
    if (this.space === Space.RELIABLE) this.charge(length + MESSAGE_COST);
    this.cutAt = this.cutLength;
    this.queuedBytes -= MESSAGE_COST + (this.cutAt === 0 ? length : this.cutAt);
    this.afterWhole(i);
  }

  /** Goes on with the youngest sent message, which is partly sent. */
  private writeRest(w: FrameWriter): void {
    const i = this.index(this.flight - 1);
    const total = this.lengths[i];
    const offset = this.cutAt;
    const length = this.partThatFits(w, i, offset, total);
    if (length === 0) return;
    this.writePart(w, i, offset, length, true);
    this.queuedBytes -= length;
    this.cutAt = offset + length === total ? 0 : offset + length;
    this.afterWhole(i);
  }

  /** Best-effort messages are never sent again: their bytes are free once all of them are in packets. */
  private afterWhole(i: number): void {
    if (this.cutAt === 0 && this.space === Space.BEST_EFFORT) this.releaseBytes(i);
  }

  /** What would be sent next is not sent if its deadline has come. [STR-16] */
  private expireNext(now: Micros): void {
    if (this.cutAt > 0) {
      const r = this.flight - 1;
      if (!this.isTooLate(this.index(r), now)) return;
      this.expireSent(r, this.index(r));
    }
    this.absorbVoids();
    while (this.queued > 0) {
      const i = this.index(this.flight);
      if (!this.isTooLate(i, now)) break;
      this.discard(i, Outcome.EXPIRED);
      this.absorbVoids();
    }
    this.dropSettled();
  }

  // ---- credit ----

  private get creditLeft(): number {
    return Math.min(this.credit.available, this.context.credit.available - this.reserve);
  }

  private get reserve(): number {
    return this.usesReserve ? 0 : this.context.reserveBytes;
  }

  private get spanLeft(): number {
    return this.flight === 0 ? this.spanMax : this.spanMax - (this.nextSequence - this.sequences[this.head]);
  }

  /** [STR-8] */
  private charge(bytes: number): void {
    this.credit.used += bytes;
    this.context.credit.used += bytes;
  }

  /** True when the message at the front of the queue has to wait for credit. [STR-10] */
  private isBlocked(): boolean {
    if (this.space === Space.BEST_EFFORT) return false;
    const charge = this.headCharge;
    const ofConnection = this.context.credit;
    const onStream = charge > this.credit.available;
    const onConnection = charge + this.reserve > ofConnection.available;
    if (onStream) this.credit.block(this.credit.used + charge);
    if (onConnection) ofConnection.block(ofConnection.used + charge + this.reserve);
    return onStream || onConnection || this.spanLeft <= 0;
  }
}
