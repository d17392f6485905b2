import { assert } from '../../base/errors.ts';
import { DeadlineHeap, type Micros, NEVER, SECOND } from '../../base/time.ts';
import { Priority } from '../wire/frame-type.ts';

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
  /** Active items of all classes. */
  private active = 0;
  private packet = 0;
  /** What an item may send in its turn. [SCH-4] */
  private turnBytes = QUANTUM_BYTES;
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
    return this.active === 0;
  }

  /** True when one item is active. */
  get hasOne(): boolean {
    return this.active === 1;
  }

  /** `system` has something to send, and may send it ahead of all others. */
  get hasUrgent(): boolean {
    return this.system.count > 0 && this.tokens > 0;
  }

  /** `item` has something to send. Harmless when it is active already. */
  activate(item: Schedulable): void {
    if (item.active) return;
    this.classes[item.priority].add(item);
    this.active++;
  }

  /** `item` has nothing to send, or may not. Harmless when it is not active. */
  deactivate(item: Schedulable): void {
    if (!item.active) return;
    this.classes[item.priority].remove(item);
    this.active--;
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
    if (rate > 0) {
      const turnBytes = Math.min(QUANTUM_BYTES, Math.floor((rate * TURN_TIME) / SECOND));
      this.turnBytes = Math.max(TURN_BYTES_MIN, turnBytes);
    }
    const share = (rate * SYSTEM_SHARE) / SECOND;
    const burst = Math.max(SYSTEM_BURST_BYTES_MIN, share * SYSTEM_BURST_TIME);
    this.tokens = Math.min(burst, this.tokens + (now - this.tokensAt) * share);
    this.tokensAt = now;
  }

  /** The item to write next, or null when none is active or each was skipped in this packet. */
  next(): Schedulable | null {
    let item = this.tokens > 0 ? this.system.pick(this.packet, this.turnBytes) : null;
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

  /**
   * Of the classes with something left of their turns that with the largest part left goes next: so one that seldom sends waits for nobody's
   * whole turn. Where none of them has anything that fits into this packet any more, another one fills it, and owes for that.
   */
  private pickByShare(): Schedulable | null {
    for (;;) {
      let next: Schedulable | null = null;
      let nextPayer: PriorityClass | null = null;
      let mostLeft = 0;
      let isRoundOver = true;
      let anyPickable = false;
      for (let priority: number = Priority.MEDIA; priority <= Priority.BULK; priority++) {
        const sharing = this.classes[priority];
        if (!this.isActive(priority)) continue;
        sharing.resume();
        const left = sharing.deficit / CLASS_WEIGHTS[priority];
        if (left > 0) isRoundOver = false;
        const item =
          priority === Priority.MEDIA ? this.pickMedia(sharing) : sharing.pick(this.packet, this.turnBytes);
        if (item === null) continue;
        anyPickable = true;
        const owesLess = mostLeft === 0 && sharing.deficit > (nextPayer?.deficit ?? -FILLING_DEBT_BYTES_MAX);
        if (left > mostLeft || (left <= 0 && owesLess)) {
          next = item;
          nextPayer = sharing;
          mostLeft = Math.max(0, left);
        }
      }
      if (!isRoundOver) {
        this.payer = nextPayer;
        return next;
      }
      if (!anyPickable) return null;
      this.beginRound();
    }
  }

  private isActive(priority: number): boolean {
    return this.classes[priority].count > 0 || (priority === Priority.MEDIA && this.system.count > 0);
  }

  /** From `media` or, at the same share, from what `system` has beyond its tokens. [SCH-2] */
  private pickMedia(media: PriorityClass): Schedulable | null {
    const { packet, system, turnBytes } = this;
    if (system.count === 0 || media.count === 0) {
      this.demotedLead = 0;
      return (media.count > 0 ? media : system).pick(packet, turnBytes);
    }
    if (this.demotedLead <= 0) return system.pick(packet, turnBytes) ?? media.pick(packet, turnBytes);
    return media.pick(packet, turnBytes) ?? system.pick(packet, turnBytes);
  }

  /** Every class has its next turn. One that could not use its turns does not save them up. */
  private beginRound(): void {
    for (let priority: number = Priority.MEDIA; priority <= Priority.BULK; priority++) {
      const sharing = this.classes[priority];
      const quantum = CLASS_WEIGHTS[priority] * QUANTUM_BYTES;
      sharing.deficit = Math.min(sharing.deficit + quantum, quantum);
      sharing.unused = 0;
      if (!this.isActive(priority)) sharing.rest();
    }
  }
}

/**
 * What a {@link Scheduler} picks: something that has bytes to send, such as a stream. Its owner extends it, or holds one a stream. All
 * fields but `priority` are the scheduler's, so that neither a table nor an allocation is needed to pick.
 */
export class Schedulable {
  readonly priority: Priority;
  /** Deadline of its next message, NEVER for none; see {@link Scheduler.setDeadline}. */
  deadline: Micros = NEVER;
  /** Place in the heap of its class; -1 outside. */
  heapIndex = -1;
  /** It is in the ring of its class. */
  active = false;
  /** Number of the packet in which it was skipped. */
  skippedIn = 0;
  /** Neighbours in the ring of its class. */
  next: Schedulable = this;
  previous: Schedulable = this;
  /** Bytes it may still send in its turn; below 0 what it sent too much, which leaving and coming back does not forgive. */
  deficit = QUANTUM_BYTES;

  constructor(priority: Priority) {
    this.priority = priority;
  }
}

/**
 * The active items of one priority. They take turns by deficit round robin, except that up to half of what the class sends goes to
 * the item whose next message has the earliest deadline. [SCH-4] [SCH-5]
 */
class PriorityClass {
  /** Active items. */
  count = 0;
  /** Bytes that are left of the turn of the class in this round; below 0 what it sent too much. */
  deficit = 0;
  /** Those that were left when it had nothing to send any more: they are there for it until the round is over. */
  unused = 0;
  /** The item whose turn it is. */
  private head: Schedulable | null = null;
  /** Those with a deadline; null: none ever had one. */
  private urgent: DeadlineHeap<Schedulable> | null = null;
  /** Bytes sent by deadline less bytes sent by turn. Above 0 it is the turn's time. */
  private urgentLead = 0;
  private pickedByDeadline = false;
  private pickedToFill = false;

  add(item: Schedulable): void {
    const head = this.head;
    if (head === null) {
      item.next = item;
      item.previous = item;
      this.head = item;
    } else {
      item.next = head;
      item.previous = head.previous;
      head.previous.next = item;
      head.previous = item;
    }
    item.active = true;
    this.count++;
    this.setDeadline(item, item.deadline);
  }

  remove(item: Schedulable): void {
    this.urgent?.remove(item);
    if (item.next === item) this.head = null;
    else if (this.head === item) this.head = item.next;
    item.previous.next = item.next;
    item.next.previous = item.previous;
    item.next = item;
    item.previous = item;
    item.active = false;
    this.count--;
    if (this.count > 0) return;
    this.rest();
    this.urgentLead = 0;
  }

  /** It has nothing to send. */
  rest(): void {
    if (this.deficit <= 0) return;
    this.unused += this.deficit;
    this.deficit = 0;
  }

  /** It has something to send. */
  resume(): void {
    this.deficit += this.unused;
    this.unused = 0;
  }

  setDeadline(item: Schedulable, deadline: Micros): void {
    if (this.urgent === null && deadline === NEVER) {
      item.deadline = NEVER;
      return;
    }
    this.urgent ??= new DeadlineHeap();
    this.urgent.set(item, deadline);
  }

  /** The item to serve now, or null when each was skipped in this packet. A turn is of so many bytes. */
  pick(packet: number, turnBytes: number): Schedulable | null {
    this.pickedByDeadline = false;
    this.pickedToFill = false;
    const urgent = this.urgentLead <= 0 ? this.urgent?.peek() : undefined;
    if (urgent !== undefined && urgent.skippedIn !== packet) {
      this.pickedByDeadline = true;
      return urgent;
    }
    return this.pickByTurn(packet, turnBytes);
  }

  /** The item that {@link pick} gave last sent `bytes`. */
  charge(item: Schedulable, bytes: number): void {
    item.deficit = Math.max(item.deficit - bytes, Math.min(item.deficit, -DEBT_BYTES_MAX));
    if (this.urgent === null || this.urgent.size === 0) {
      this.urgentLead = 0;
      return;
    }
    const lead = this.urgentLead + (this.pickedByDeadline ? bytes : -bytes);
    this.urgentLead = Math.max(lead, -URGENT_CREDIT_BYTES_MAX);
  }

  private pickByTurn(packet: number, turnBytes: number): Schedulable | null {
    let item = this.head;
    if (item === null) return null;
    let skipped = 0;
    while (skipped < this.count) {
      if (item.skippedIn === packet) {
        // it keeps its turn for the next packet; another fills this one, and owes for that
        skipped++;
        this.pickedToFill ||= item.deficit > 0;
      } else if (item.deficit > 0) {
        return item;
      } else if (this.pickedToFill) {
        if (item.deficit > -FILLING_DEBT_BYTES_MAX) return item;
        // it has filled as much as it may before the others catch up: rather a little room stays empty
        skipped++;
      } else {
        // its turn is over; this is for the next one
        skipped = 0;
        item.deficit += turnBytes;
        if (this.head === item) this.head = item.next;
      }
      item = item.next;
    }
    return null;
  }
}

/** A turn of an item is what goes out in this time, for who comes waits for a turn of each of the others; but about a packet at least, and no more than a whole one. */
const TURN_TIME: Micros = 5_000;
const TURN_BYTES_MIN = 1_500;
/** A whole turn of an item, and of the class with the least weight. */
const QUANTUM_BYTES = 16_384;
/** Most that an item, or a class, can owe for filling packets in which there was no room for the one whose turn it was. */
const FILLING_DEBT_BYTES_MAX = QUANTUM_BYTES;
/** By {@link Priority}. [SCH-3] */
const CLASS_WEIGHTS = [0, 4, 2, 1];
const SYSTEM_SHARE = 0.1;
/** `system` may save up what it is due in this time. */
const SYSTEM_BURST_TIME: Micros = 50_000;
const SYSTEM_BURST_BYTES_MIN = 4_096;
/** Most that an item can owe for what it sent by deadline or in too large a packet. */
const DEBT_BYTES_MAX = 131_072;
/** Most that service by deadline can catch up on after it had nothing to send. */
const URGENT_CREDIT_BYTES_MAX = 16_384;
