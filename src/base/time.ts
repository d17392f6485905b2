/** Time as the core sees it, what waits for its turn in it, and what may happen so many times in it. */

/**
 * A point in time, or a duration, in whole microseconds. Below the sans-IO line time is handed in by the
 * driver; points count from an origin of the driver's choice and never go back.
 */
export type Micros = number;

/** "Never", as a deadline or timeout. */
export const NEVER: Micros = Number.POSITIVE_INFINITY;
export const MILLISECOND: Micros = 1_000;
export const SECOND: Micros = 1_000_000;

/** What a {@link DeadlineHeap} orders. The heap keeps `heapIndex`; it is -1 while the item is not in it. */
export interface HeapItem {
  deadline: Micros;
  heapIndex: number;
}

/** A binary min-heap on `deadline` whose items know their place, so that a deadline can be moved in O(log n). */
export class DeadlineHeap<T extends HeapItem> {
  private items: T[] = NO_ITEMS as T[];

  get size(): number {
    return this.items.length;
  }

  /** The item with the earliest deadline, or undefined. */
  peek(): T | undefined {
    return this.items[0];
  }

  /** Gives `item` this deadline: adds it, moves it, or takes it out when the deadline is infinite. */
  set(item: T, deadline: Micros): void {
    if (deadline === NEVER) {
      this.remove(item);
      item.deadline = deadline;
      return;
    }
    if (item.heapIndex < 0) {
      item.deadline = deadline;
      item.heapIndex = this.items.length;
      // Most heaps never have more than one, where the engine would give the first that comes room for seventeen.
      if (this.items === NO_ITEMS) this.items = [item];
      else this.items.push(item);
      this.rise(item.heapIndex);
      return;
    }
    const before = item.deadline;
    item.deadline = deadline;
    if (deadline < before) this.rise(item.heapIndex);
    else if (deadline > before) this.sink(item.heapIndex);
  }

  remove(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.items.pop() as T;
    if (last === item) return;
    this.items[index] = last;
    last.heapIndex = index;
    this.rise(index);
    this.sink(last.heapIndex);
  }

  private rise(index: number): void {
    const item = this.items[index];
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.items[parentIndex];
      if (parent.deadline <= item.deadline) break;
      this.items[index] = parent;
      parent.heapIndex = index;
      index = parentIndex;
    }
    this.items[index] = item;
    item.heapIndex = index;
  }

  private sink(index: number): void {
    const item = this.items[index];
    const size = this.items.length;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= size) break;
      if (child + 1 < size && this.items[child + 1].deadline < this.items[child].deadline) child++;
      if (this.items[child].deadline >= item.deadline) break;
      this.items[index] = this.items[child];
      this.items[index].heapIndex = index;
      index = child;
    }
    this.items[index] = item;
    item.heapIndex = index;
  }
}

/** What {@link PutOffDeadlines} orders: `deadline` is where the heap has it, `dueAt` when it is due, which may be later. */
export interface PutOffItem extends HeapItem {
  dueAt: Micros;
}

/**
 * Deadlines that are put off again and again, and hardly ever come: an item stays where it is when it becomes due later, and is moved only when it is the
 * first. Thousands of connections that each send and are acknowledged all the time then touch nothing but themselves, where moving each in the heap would
 * touch others, whose memory is far away.
 */
export class PutOffDeadlines<T extends PutOffItem> {
  private readonly heap = new DeadlineHeap<T>();

  get size(): number {
    return this.heap.size;
  }

  set(item: T, dueAt: Micros): void {
    item.dueAt = dueAt;
    if (item.heapIndex < 0 || dueAt < item.deadline) this.heap.set(item, dueAt);
  }

  /** The item that is due first, or undefined. */
  peek(): T | undefined {
    for (;;) {
      const item = this.heap.peek();
      if (item === undefined || item.dueAt === item.deadline) return item;
      this.heap.set(item, item.dueAt);
    }
  }

  remove(item: T): void {
    item.dueAt = NEVER;
    this.heap.remove(item);
  }
}

/**
 * When to look through a collection for things whose deadline has come: no later than the earliest of them, but not so often that
 * looking takes more than a small part of the time. What is due is found a little late then, which costs memory only: everything
 * that could be sent or read is asked for its own deadline at that moment.
 */
export class DeadlineWatch {
  /** No deadline is earlier. */
  private earliest: Micros = NEVER;
  private notBefore: Micros = 0;

  /** When to look next, or NEVER. */
  get next(): Micros {
    return Math.max(this.earliest, this.notBefore);
  }

  /** A deadline that may be the earliest. */
  add(deadline: Micros): void {
    if (deadline < this.earliest) this.earliest = deadline;
  }

  /** Begins to look: the deadlines that are found are to be added again. */
  clear(): void {
    this.earliest = NEVER;
  }

  /** Looked through `count` things. */
  looked(count: number, now: Micros): void {
    this.notBefore = now + Math.floor(count * PAUSE_MICROS_EACH);
  }
}

/** So many a second, and a few at once after a pause: a token bucket. What strangers make an endpoint do goes through one. */
export class RateLimit {
  private readonly perSecond: number;
  private readonly burst: number;
  private tokens: number;
  private countedAt: Micros = 0;

  constructor(perSecond: number, burst: number) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.tokens = burst;
  }

  /** True when `count` more are allowed now, which are counted. */
  take(now: Micros, count = 1): boolean {
    const passed = Math.max(0, now - this.countedAt);
    this.countedAt = now;
    this.tokens = Math.min(this.burst, this.tokens + (passed * this.perSecond) / SECOND);
    if (this.tokens < count) return false;
    this.tokens -= count;
    return true;
  }
}

const NO_ITEMS: HeapItem[] = [];
/** Looking at one thing takes some 10 ns. */
const PAUSE_MICROS_EACH = 0.25;
