/**
 * A first-in first-out queue on a circular array that doubles when full. It has no bound of its own: each owner
 * says what bounds it. Until something is put into it, it has no array of its own either: most of a broker's are always empty.
 */
export class Ring<T> {
  private items: (T | undefined)[] = NOTHING;
  private head = 0;
  private count = 0;
  private readonly firstCapacity: number;

  /** @param capacity - first size, a power of two */
  constructor(capacity = 8) {
    this.firstCapacity = capacity;
  }

  get length(): number {
    return this.count;
  }

  push(item: T): void {
    if (this.count === this.items.length) this.grow();
    this.items[(this.head + this.count) & (this.items.length - 1)] = item;
    this.count++;
  }

  /** Takes the oldest item, or undefined when empty. */
  shift(): T | undefined {
    if (this.count === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head] = undefined;
    this.head = (this.head + 1) & (this.items.length - 1);
    this.count--;
    return item;
  }

  /** The item at `index` from the oldest, or undefined: before the oldest there is nothing. */
  peek(index = 0): T | undefined {
    return index >= 0 && index < this.count
      ? this.items[(this.head + index) & (this.items.length - 1)]
      : undefined;
  }

  /** Puts `item` in the place of the one at `index` from the oldest, which there is. */
  put(index: number, item: T): void {
    this.items[(this.head + index) & (this.items.length - 1)] = item;
  }

  clear(): void {
    // What was taken out has left its place empty: most that are cleared are empty, and `fill` costs a call out of compiled code.
    if (this.count > 0) this.items.fill(undefined);
    this.head = 0;
    this.count = 0;
  }

  private grow(): void {
    const old = this.items;
    const grown: (T | undefined)[] = new Array(old.length * 2 || this.firstCapacity);
    for (let i = 0; i < this.count; i++) grown[i] = old[(this.head + i) & (old.length - 1)];
    for (let i = this.count; i < grown.length; i++) grown[i] = undefined;
    this.items = grown;
    this.head = 0;
  }
}

/** Of the same kind to the engine as the arrays that come after it. */
const NOTHING: undefined[] = new Array<undefined>(1).fill(undefined);
NOTHING.length = 0;
