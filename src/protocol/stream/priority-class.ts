import { DeadlineHeap, type Micros } from '../../base/time.ts';
import { QUANTUM_BYTES, type Schedulable } from './schedulable.ts';

/**
 * The active items of one priority. They take turns by deficit round robin, except that up to half of what the class sends goes to
 * the item whose next message has the earliest deadline. [SCH-4] [SCH-5]
 */
export class PriorityClass {
  /** Active items. */
  count = 0;
  /** Bytes that the class may send before others have their turn; below 0 what it sent too much. */
  deficit = 0;
  /** The item whose turn it is. */
  private head: Schedulable | null = null;
  private readonly urgent = new DeadlineHeap<Schedulable>();
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
    this.urgent.set(item, item.deadline);
  }

  remove(item: Schedulable): void {
    this.urgent.remove(item);
    if (item.next === item) this.head = null;
    else if (this.head === item) this.head = item.next;
    item.previous.next = item.next;
    item.next.previous = item.previous;
    item.next = item;
    item.previous = item;
    item.active = false;
    this.count--;
    if (this.count > 0) return;
    this.deficit = Math.min(this.deficit, 0);
    this.urgentLead = 0;
  }

  setDeadline(item: Schedulable, deadline: Micros): void {
    this.urgent.set(item, deadline);
  }

  /** The item to serve now, or null when each was skipped in this packet. */
  pick(packet: number): Schedulable | null {
    this.pickedByDeadline = false;
    this.pickedToFill = false;
    const urgent = this.urgentLead <= 0 ? this.urgent.peek() : undefined;
    if (urgent !== undefined && urgent.skippedIn !== packet) {
      this.pickedByDeadline = true;
      return urgent;
    }
    return this.pickByTurn(packet);
  }

  /** The item that {@link pick} gave last sent `bytes`. */
  charge(item: Schedulable, bytes: number): void {
    item.deficit = Math.max(item.deficit - bytes, Math.min(item.deficit, -DEBT_BYTES_MAX));
    if (this.urgent.size === 0) {
      this.urgentLead = 0;
      return;
    }
    const lead = this.urgentLead + (this.pickedByDeadline ? bytes : -bytes);
    this.urgentLead = Math.max(lead, -URGENT_CREDIT_BYTES_MAX);
  }

  private pickByTurn(packet: number): Schedulable | null {
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
        item.deficit += QUANTUM_BYTES;
        if (this.head === item) this.head = item.next;
      }
      item = item.next;
    }
    return null;
  }
}

/** Most that an item can owe for what it sent by deadline or in too large a packet. */
const DEBT_BYTES_MAX = 131_072;
/** Most that an item can owe for filling packets in which there was no room for the one whose turn it was. */
const FILLING_DEBT_BYTES_MAX = QUANTUM_BYTES;
/** Most that service by deadline can catch up on after it had nothing to send. */
const URGENT_CREDIT_BYTES_MAX = 16_384;
