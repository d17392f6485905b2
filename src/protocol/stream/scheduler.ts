import { assert } from '../../base/errors.ts';
import { type Micros, SECOND } from '../../base/time.ts';
import { Priority } from '../wire/frame-type.ts';
import { PriorityClass } from './priority-class.ts';
import { QUANTUM_BYTES, type Schedulable } from './schedulable.ts';

/**
 * Whose bytes go into a packet next. For each packet:
 *
 *     scheduler.beginPacket(now, pacingRate);
 *     while (room is left && (item = scheduler.next()) !== null) {
 *       const bytes = item.write(...);
 *       if (bytes > 0) scheduler.charge(item, bytes);
 *       else scheduler.skip(item);                      // or deactivate it when it has nothing to send
 *     }
 *
 * `system` goes first, within 10 % of the pacing rate; what it has beyond that shares with `media`. `media`, `chat` and `bulk` share by
 * deficit round robin at 4:2:1, byte by byte, also within one packet.
 */
export class Scheduler {
  private readonly system = new PriorityClass();
  /** By {@link Priority}. */
  private readonly classes: readonly PriorityClass[];
  private packet = 0;
  /** Bytes that `system` may send ahead of all others. [SCH-2] */
  private tokens = SYSTEM_BURST_BYTES_MIN;
  private tokensAt: Micros = 0;
  /** Demoted `system` bytes less `media` bytes, each weighted with the items of the other, so that items share alike. */
  private demotedLead = 0;

  private picked: Schedulable | null = null;
  /** The class whose deficit pays for `picked`; null for `system` within its tokens. */
  private payer: PriorityClass | null = null;

  constructor() {
    this.classes = [this.system, new PriorityClass(), new PriorityClass(), new PriorityClass()];
  }

  /** True when no item is active. */
  get idle(): boolean {
    for (let i = 0; i < this.classes.length; i++) if (this.classes[i].count > 0) return false;
    return true;
  }

  /** `item` has something to send. Harmless when it is active already. */
  activate(item: Schedulable): void {
    if (!item.active) this.classes[item.priority].add(item);
  }

  /** `item` has nothing to send, or may not. Harmless when it is not active. */
  deactivate(item: Schedulable): void {
    if (!item.active) return;
    this.classes[item.priority].remove(item);
    if (this.picked === item) this.picked = null;
  }

  /** `item`'s next message has this deadline, NEVER for none. */
  setDeadline(item: Schedulable, deadline: Micros): void {
    if (item.active) this.classes[item.priority].setDeadline(item, deadline);
    else item.deadline = deadline;
  }

  /** A new packet begins: nothing is skipped any more. `rate` is the pacing rate in bytes a second. */
  beginPacket(now: Micros, rate: number): void {
    this.packet++;
    if (now <= this.tokensAt) return;
    const share = (rate * SYSTEM_SHARE) / SECOND;
    const burst = Math.max(SYSTEM_BURST_BYTES_MIN, share * SYSTEM_BURST_TIME);
    this.tokens = Math.min(burst, this.tokens + (now - this.tokensAt) * share);
    this.tokensAt = now;
  }

  /** The item to write next, or null when none is active or each was skipped in this packet. */
  next(): Schedulable | null {
    let item = this.tokens > 0 ? this.system.pick(this.packet) : null;
    this.payer = null;
    if (item === null) item = this.pickByShare();
    this.picked = item;
    return item;
  }

  /** `item`, which {@link next} gave, wrote `bytes`. */
  charge(item: Schedulable, bytes: number): void {
    assert(item === this.picked, 'charge of an item that was not picked');
    this.classes[item.priority].charge(item, bytes);
    if (this.payer === null) {
      this.tokens -= bytes;
      return;
    }
    this.payer.deficit -= bytes;
    if (item.priority === Priority.SYSTEM)
      this.demotedLead += bytes * Math.max(1, this.classes[Priority.MEDIA].count);
    else if (item.priority === Priority.MEDIA) this.demotedLead -= bytes * this.system.count;
  }

  /** `item` can write nothing into the rest of this packet: it is not picked again before the next one. [SCH-1] */
  skip(item: Schedulable): void {
    item.skippedIn = this.packet;
  }

  private pickByShare(): Schedulable | null {
    for (;;) {
      let filler: Schedulable | null = null;
      let fillerPayer: PriorityClass | null = null;
      let isRoundOver = true;
      let anyPickable = false;
      for (let priority: number = Priority.MEDIA; priority <= Priority.BULK; priority++) {
        const sharing = this.classes[priority];
        if (!this.isActive(priority)) continue;
        const item = priority === Priority.MEDIA ? this.pickMedia(sharing) : sharing.pick(this.packet);
        if (item !== null) anyPickable = true;
        if (sharing.deficit > 0) {
          if (item !== null) return this.paidBy(sharing, item);
          isRoundOver = false;
        } else if (item !== null && sharing.deficit > (fillerPayer?.deficit ?? -FILLING_DEBT_BYTES_MAX)) {
          filler = item;
          fillerPayer = sharing;
        }
      }
      // who has its turn fits no more into this packet: another fills it, and owes for that
      if (!isRoundOver) return filler === null ? null : this.paidBy(fillerPayer, filler);
      if (!anyPickable) return null;
      this.beginRound();
    }
  }

  private paidBy(sharing: PriorityClass | null, item: Schedulable): Schedulable {
    this.payer = sharing;
    return item;
  }

  private isActive(priority: number): boolean {
    return this.classes[priority].count > 0 || (priority === Priority.MEDIA && this.system.count > 0);
  }

  /** From `media` or, at the same share, from what `system` has beyond its tokens. [SCH-2] */
  private pickMedia(media: PriorityClass): Schedulable | null {
    if (this.system.count === 0 || media.count === 0) {
      this.demotedLead = 0;
      return media.count > 0 ? media.pick(this.packet) : this.system.pick(this.packet);
    }
    if (this.demotedLead <= 0) return this.system.pick(this.packet) ?? media.pick(this.packet);
    return media.pick(this.packet) ?? this.system.pick(this.packet);
  }

  /** Every class has its next turn. One that could not use its turns does not save them up. */
  private beginRound(): void {
    for (let priority: number = Priority.MEDIA; priority <= Priority.BULK; priority++) {
      const sharing = this.classes[priority];
      const quantum = CLASS_WEIGHTS[priority] * QUANTUM_BYTES;
      const next = Math.min(sharing.deficit + quantum, quantum);
      sharing.deficit = this.isActive(priority) ? next : Math.min(next, 0);
    }
  }
}

/** By {@link Priority}. [SCH-3] */
const CLASS_WEIGHTS = [0, 4, 2, 1];
/** Most that a class can owe for filling packets. */
const FILLING_DEBT_BYTES_MAX = QUANTUM_BYTES;
const SYSTEM_SHARE = 0.1;
/** `system` may save up what it is due in this time. */
const SYSTEM_BURST_TIME: Micros = 50_000;
const SYSTEM_BURST_BYTES_MIN = 4_096;
