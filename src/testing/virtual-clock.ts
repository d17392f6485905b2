import { DeadlineHeap, type HeapItem, type Micros, NEVER } from '../base/time.ts';

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
  private count = 0;
  private readonly byTime = new Map<Micros, Instant>();
  private readonly instants = new DeadlineHeap<Instant>();

  /** @param start - first reading; not 0 by default, so that code which takes 0 for "never" is found out */
  constructor(start: Micros = START) {
    this.time = start;
  }

  now(): Micros {
    return this.time;
  }

  /** Events that are still to happen. */
  get pending(): number {
    return this.count;
  }

  /** When the next event happens, or NEVER. */
  get nextAt(): Micros {
    return this.instants.peek()?.deadline ?? NEVER;
  }

  /** Lets `callback` happen at `at`, or now when that has passed. At NEVER it does not happen. */
  schedule(at: Micros, callback: () => void): ScheduledEvent {
    const event: Event = { at: Math.max(at, this.time), callback };
    if (event.at === NEVER) return event;
    let instant = this.byTime.get(event.at);
    if (instant === undefined) {
      instant = new Instant();
      this.byTime.set(event.at, instant);
      this.instants.set(instant, event.at);
    }
    instant.events.add(event);
    this.count++;
    return event;
  }

  /** Takes an event out. One that has happened, or was cancelled before, is ignored. */
  cancel(event: ScheduledEvent): void {
    const instant = this.byTime.get(event.at);
    if (instant === undefined || !instant.events.delete(event as Event)) return;
    this.count--;
    if (instant.events.size > 0) return;
    this.byTime.delete(event.at);
    this.instants.remove(instant);
  }

  /** Moves to the next event and lets it happen. False when there is none. */
  runNext(): boolean {
    for (const event of this.instants.peek()?.events ?? []) {
      this.cancel(event);
      this.time = event.at;
      event.callback();
      return true;
    }
    return false;
  }

  /**
   * Moves to the next point in time and lets all happen that is scheduled for it now. What that adds for the same point in
   * time waits for the next call.
   */
  runInstant(): void {
    const instant = this.instants.peek();
    if (instant === undefined) return;
    for (const event of [...instant.events]) {
      if (!instant.events.has(event)) continue; // cancelled by one before
      this.cancel(event);
      this.time = event.at;
      event.callback();
    }
  }

  /** Moves on to `at`, past which no event may be skipped. */
  advanceTo(at: Micros): void {
    if (at > this.nextAt) throw new RangeError('an event is due before the time to advance to');
    this.time = Math.max(this.time, at);
  }
}

interface Event extends ScheduledEvent {
  readonly callback: () => void;
}

/** All that is scheduled for one point in time, in the order in which it was. */
class Instant implements HeapItem {
  deadline: Micros = NEVER;
  heapIndex = -1;
  readonly events = new Set<Event>();
}

const START: Micros = 1_000_000;
