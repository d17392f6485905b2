import { type Micros, NEVER } from '../base/time.ts';

/** Something that will happen; answered by {@link VirtualClock.schedule} to cancel it with. */
export interface ScheduledEvent {
  readonly at: Micros;
}

/**
 * Time as a queue of events. It moves only when the next event is taken, and events of the same time happen in the order in
 * which they were scheduled, so that a run is the same every time.
 */
export class VirtualClock {
  private time: Micros;
  private order = 0;
  private readonly heap: Event[] = [];

  /** @param start - first reading; not 0 by default, so that code which takes 0 for "never" is found out */
  constructor(start: Micros = START) {
    this.time = start;
  }

  now(): Micros {
    return this.time;
  }

  /** Events that are still to happen. */
  get pending(): number {
    return this.heap.length;
  }

  /** When the next event happens, or NEVER. */
  get nextAt(): Micros {
    return this.heap.length === 0 ? NEVER : this.heap[0].at;
  }

  /** Lets `callback` happen at `at`, or now when that has passed. At NEVER it does not happen. */
  schedule(at: Micros, callback: () => void): ScheduledEvent {
    const event = new Event(Math.max(at, this.time), this.order++, callback);
    if (event.at !== NEVER) this.insert(event);
    return event;
  }

  /** Takes an event out. One that has happened, or was cancelled before, is ignored. */
  cancel(scheduled: ScheduledEvent): void {
    const event = scheduled as Event;
    const { heap } = this;
    if (event.index < 0) return;
    const last = heap.pop() as Event;
    if (last !== event) {
      this.place(last, event.index);
      this.sink(last);
      this.rise(last);
    }
    event.index = -1;
  }

  /** Moves to the next event and lets it happen. False when there is none. */
  runNext(): boolean {
    const event = this.heap[0];
    if (event === undefined) return false;
    this.cancel(event);
    this.time = event.at;
    event.callback();
    return true;
  }

  /**
   * Moves to the next point in time and lets all happen that is scheduled for it now. What that adds for the same point in
   * time waits for the next call.
   */
  runInstant(): void {
    const at = this.nextAt;
    const newest = this.order;
    while (this.heap.length > 0 && this.heap[0].at === at && this.heap[0].order < newest) this.runNext();
  }

  /** Moves on to `at`, past which no event may be skipped. */
  advanceTo(at: Micros): void {
    if (at > this.nextAt) throw new RangeError('an event is due before the time to advance to');
    this.time = Math.max(this.time, at);
  }

  private insert(event: Event): void {
    this.heap.push(event);
    event.index = this.heap.length - 1;
    this.rise(event);
  }

  private rise(event: Event): void {
    while (event.index > 0) {
      const parent = this.heap[(event.index - 1) >> 1];
      if (!event.isBefore(parent)) return;
      this.swap(event, parent);
    }
  }

  private sink(event: Event): void {
    const { heap } = this;
    for (;;) {
      const left = 2 * event.index + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const child = heap[right < heap.length && heap[right].isBefore(heap[left]) ? right : left];
      if (!child.isBefore(event)) return;
      this.swap(event, child);
    }
  }

  private swap(a: Event, b: Event): void {
    const index = a.index;
    this.place(a, b.index);
    this.place(b, index);
  }

  private place(event: Event, index: number): void {
    this.heap[index] = event;
    event.index = index;
  }
}

class Event implements ScheduledEvent {
  readonly at: Micros;
  readonly order: number;
  readonly callback: () => void;
  /** Place in the heap; -1 when not in it. */
  index = -1;

  constructor(at: Micros, order: number, callback: () => void) {
    this.at = at;
    this.order = order;
    this.callback = callback;
  }

  isBefore(other: Event): boolean {
    return this.at < other.at || (this.at === other.at && this.order < other.order);
  }
}

const START: Micros = 1_000_000;
