import { keepHere } from '../../../base/bytes.ts';
import { RangeSet } from '../../../base/ranges.ts';
import { DeadlineWatch, type Micros, NEVER } from '../../../base/time.ts';
import { Space } from '../../wire/frame-type.ts';
import { varintSize, writeVarint } from '../../wire/varint.ts';
import { MESSAGE_COST } from '../flow-control.ts';
import { Mark, MessageRecords } from './message-records.ts';
import { Outcome, type SendContext } from './send-context.ts';
import type { Slab } from './slab.ts';

/** Messages up to this length share slabs; longer ones have memory of their own. */
const SHARED_BYTES_MAX = 4_096;

/**
 * One sequence space of the sending half of a stream: takes messages in and keeps them until they are settled. What becomes of those
 * that were sent is in {@link OutboxFates}; how they get into packets is in {@link OutboxFrames} and {@link OutboxPacker}.
 */
export class Outbox extends MessageRecords {
  readonly space: Space;
  protected readonly context: SendContext;
  /** Sequence number that the next message to be sent for the first time gets. */
  nextSequence = 0;
  /** Messages that the peer reported as dropped, repetitions counted. */
  reportedDropped = 0;
  /** Messages taken in so far. */
  pushed = 0;
  /** Bytes that were not sent yet, and the fixed cost of their messages. */
  queuedBytes = 0;
  /** When the youngest sent message is sent only up to here, the offset to go on at; else 0. */
  protected cutAt = 0;
  /** Sequences of reliable messages of which something is lost and to be sent again. */
  protected readonly lost = new RangeSet();
  /** Sequences that an ABANDON frame has to tell. */
  protected readonly abandoned = new RangeSet();
  /** Deadlines of messages that wait or are sent. */
  private readonly deadlineWatch = new DeadlineWatch();
  /** Outcome of messages that were abandoned and did not arrive. */
  protected unsettledOutcome: Outcome = Outcome.EXPIRED;
  /** The slab that still takes messages. */
  private open: Slab | null = null;

  constructor(space: Space, context: SendContext) {
    super();
    this.space = space;
    this.context = context;
  }

  /** Takes a message in. `transfer` gives `data` away instead of copying it. */
  push(data: Uint8Array, deadline: Micros, transfer: boolean, trackingId: number): void {
    const length = data.length;
    let i: number;
    if (length > SHARED_BYTES_MAX) {
      const slab = transfer ? this.context.slabs.adopt(data) : this.context.slabs.takeFor(length);
      if (transfer) keepHere(data.buffer);
      else slab.bytes.set(data);
      slab.live = 1;
      i = this.append(slab, 0, length, 0);
    } else {
      const slab = this.openSlab(length);
      const at = writeVarint(slab.bytes, slab.used, length);
      if (length > 0) slab.bytes.set(data, at);
      slab.used = at + length;
      slab.live++;
      i = this.append(slab, at, length, Mark.PREFIXED);
    }
    this.queuedBytes += length + MESSAGE_COST;
    this.pushed++;
    this.context.messages++;
    this.context.messageBytes += length;
    if (trackingId > 0) this.setTrackingId(i, trackingId);
    if (deadline !== NEVER) {
      this.setDeadline(i, deadline);
      this.deadlineWatch.add(deadline);
    }
  }

  /** True while a message waits for its first transmission, or for the rest of it. */
  get hasUnsent(): boolean {
    return this.queued > 0 || this.cutAt > 0;
  }

  get hasLost(): boolean {
    return this.lost.size > 0;
  }

  get hasAbandoned(): boolean {
    return this.abandoned.size > 0;
  }

  /** Of the messages taken in, how many from the first on are settled without a gap. */
  get settledPrefix(): number {
    return this.pushed - this.flight - this.queued;
  }

  /** True when nothing is queued and everything sent is settled. */
  get empty(): boolean {
    return this.flight + this.queued === 0;
  }

  /** Deadline of the message that would be sent next. */
  get headDeadline(): Micros {
    if (this.cutAt > 0) return this.deadlineOf(this.index(this.flight - 1));
    return this.queued > 0 ? this.deadlineOf(this.index(this.flight)) : NEVER;
  }

  /** Earliest time at which {@link expire} may have something to do. */
  get nextTimeout(): Micros {
    return this.deadlineWatch.next;
  }

  /** What the peer must have credit for before the next message goes out, or 0. */
  get headCharge(): number {
    return this.queued > 0 ? this.lengths[this.index(this.flight)] + MESSAGE_COST : 0;
  }

  /** Ends the lifetime of messages whose deadline has come. */
  expire(now: Micros): void {
    const { deadlineWatch } = this;
    if (now < deadlineWatch.next) return;
    deadlineWatch.clear();
    const count = this.flight + this.queued;
    deadlineWatch.looked(count, now);
    for (let r = 0; r < count; r++) {
      const i = this.index(r);
      const marks = this.marks[i];
      if ((marks & Mark.LIFETIME) === 0 || (marks & (Mark.SETTLED | Mark.ABANDONED)) !== 0) continue;
      const deadline = this.deadlineOf(i);
      if (deadline > now) {
        deadlineWatch.add(deadline);
      } else if (r >= this.flight) {
        this.discard(i, Outcome.EXPIRED);
      } else if (this.space === Space.RELIABLE || this.isCut(r)) {
        this.expireSent(r, i);
      }
    }
    this.absorbVoids();
    this.dropSettled();
  }

  /** Gives up everything: what was not sent vanishes, what was sent is abandoned. */
  reset(): void {
    this.unsettledOutcome = Outcome.DROPPED;
    const count = this.flight + this.queued;
    for (let r = 0; r < count; r++) {
      const i = this.index(r);
      if ((this.marks[i] & (Mark.SETTLED | Mark.ABANDONED)) !== 0) continue;
      if (r < this.flight) this.abandon(r, i);
      else this.discard(i, Outcome.DROPPED);
    }
    this.deadlineWatch.clear();
    this.absorbVoids();
    this.dropSettled();
  }

  /** The deadline of a sent message has come before it was acknowledged. */
  protected expireSent(r: number, i: number): void {
    this.context.expired++;
    this.abandon(r, i);
  }

  /** Sends no more of a sent message. A reliable one stays until the peer knows; it may yet prove to have arrived. [STR-17] */
  private abandon(r: number, i: number): void {
    if (this.space === Space.BEST_EFFORT) {
      this.settle(r, i, this.unsettledOutcome);
      return;
    }
    const sequence = this.sequences[i];
    this.endCut(r, i);
    this.releaseBytes(i);
    this.marks[i] |= Mark.ABANDONED;
    this.lost.remove(sequence, sequence + 1);
    this.abandoned.add(sequence, sequence + 1);
  }

  /** Void records that have come to the front of the queue count as sent, so that they are dropped in their turn. */
  protected absorbVoids(): void {
    while (this.queued > 0 && this.cutAt === 0) {
      const i = this.index(this.flight);
      if ((this.marks[i] & Mark.VOID) === 0) return;
      this.sequences[i] = this.nextSequence;
      this.flight++;
      this.queued--;
    }
  }

  /** A message that was not sent leaves the queue, without a trace in the sequence numbers. */
  protected discard(i: number, outcome: Outcome): void {
    if (outcome === Outcome.EXPIRED) this.context.expired++;
    this.queuedBytes -= this.lengths[i] + MESSAGE_COST;
    this.releaseBytes(i);
    this.report(i, outcome);
    this.marks[i] |= Mark.VOID | Mark.SETTLED;
  }

  /** Lets go of a message's bytes; harmless when it was done before. */
  protected releaseBytes(i: number): void {
    const slab = this.slabs[i];
    if (slab === null) return;
    this.slabs[i] = null;
    if (--slab.live > 0) return;
    if (slab === this.open) this.open = null;
    this.context.slabs.give(slab);
  }

  protected settle(r: number, i: number, outcome: Outcome): void {
    this.endCut(r, i);
    this.releaseBytes(i);
    this.report(i, outcome);
    this.marks[i] |= Mark.SETTLED;
  }

  private report(i: number, outcome: Outcome): void {
    if ((this.marks[i] & Mark.TRACKED) !== 0) {
      this.context.outcomes.push((this.trackingIds as Float64Array)[i], outcome);
    }
  }

  /** True when the record at `r` is the one that is partly sent. */
  protected isCut(r: number): boolean {
    return this.cutAt > 0 && r === this.flight - 1;
  }

  /** If the record at `r` is the one that is partly sent, its rest is not sent. */
  private endCut(r: number, i: number): void {
    if (!this.isCut(r)) return;
    this.queuedBytes -= this.lengths[i] - this.cutAt;
    this.cutAt = 0;
  }

  private openSlab(length: number): Slab {
    const need = length + varintSize(length);
    const open = this.open;
    if (open !== null && open.used + need <= open.bytes.length) return open;
    this.open = this.context.slabs.takeShared(open === null, need);
    return this.open;
  }
}
