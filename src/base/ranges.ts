/**
 * A set of whole numbers kept as ascending, disjoint, non-adjacent half-open ranges [start, end). Built for few ranges
 * with most changes near the end: packet numbers, byte ranges, sequences. The list keeps its length when ranges go, so that a set
 * that comes and goes between no range and one, as that of packets to acknowledge does, allocates nothing; and it begins with the room of its first
 * range, for most sets never have more, where the engine would give the first that comes room for seventeen.
 */
export class RangeSet {
  /** Start and end of each range, one after the other. */
  private bounds: number[] = NONE;
  private count = 0;

  /** How many ranges there are. */
  get size(): number {
    return this.count;
  }

  /** Start of the range at `index`, counted from the lowest. */
  start(index: number): number {
    return this.bounds[2 * index];
  }

  /** End (exclusive) of the range at `index`. */
  end(index: number): number {
    return this.bounds[2 * index + 1];
  }

  /** The largest member, or -1 when empty. */
  get largest(): number {
    return this.count === 0 ? -1 : this.bounds[2 * this.count - 1] - 1;
  }

  /** How many numbers are in the set. */
  get total(): number {
    let total = 0;
    for (let i = 0; i < this.count; i++) total += this.bounds[2 * i + 1] - this.bounds[2 * i];
    return total;
  }

  contains(value: number): boolean {
    const i = this.lastStartingAtOrBelow(value);
    return i >= 0 && value < this.bounds[2 * i + 1];
  }

  /** True when all of [start, end) is in the set; true for an empty range. */
  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const i = this.lastStartingAtOrBelow(start);
    return i >= 0 && end <= this.bounds[2 * i + 1];
  }

  /** Adds [start, end). Returns how many numbers were new. */
  add(start: number, end: number): number {
    if (start >= end) return 0;
    const last = this.count - 1;
    if (last >= 0 && start === this.bounds[2 * last + 1]) {
      this.bounds[2 * last + 1] = end;
      return end - start;
    }
    if (last < 0 || start > this.bounds[2 * last + 1]) {
      this.insert(this.count, start, end);
      return end - start;
    }
    let first = this.lastStartingAtOrBelow(start);
    if (first < 0 || this.bounds[2 * first + 1] < start) first++;
    let after = first;
    let low = start;
    let high = end;
    let known = 0;
    while (after < this.count && this.bounds[2 * after] <= end) {
      if (this.bounds[2 * after] < low) low = this.bounds[2 * after];
      if (this.bounds[2 * after + 1] > high) high = this.bounds[2 * after + 1];
      known += this.bounds[2 * after + 1] - this.bounds[2 * after];
      after++;
    }
    if (after === first) {
      this.insert(first, low, high);
    } else {
      this.bounds[2 * first] = low;
      this.bounds[2 * first + 1] = high;
      this.drop(first + 1, after);
    }
    return high - low - known;
  }

  /** Removes [start, end). Returns how many numbers were removed. */
  remove(start: number, end: number): number {
    if (start >= end) return 0;
    let i = this.lastStartingAtOrBelow(start);
    if (i < 0 || this.bounds[2 * i + 1] <= start) i++;
    let removed = 0;
    while (i < this.count && this.bounds[2 * i] < end) {
      const low = this.bounds[2 * i];
      const high = this.bounds[2 * i + 1];
      const from = Math.max(low, start);
      const to = Math.min(high, end);
      removed += to - from;
      if (low < from && to < high) {
        this.bounds[2 * i + 1] = from;
        this.insert(i + 1, to, high);
        return removed;
      }
      if (low < from) {
        this.bounds[2 * i + 1] = from;
        i++;
      } else if (to < high) {
        this.bounds[2 * i] = to;
        i++;
      } else {
        this.drop(i, i + 1);
      }
    }
    return removed;
  }

  /** Removes the lowest range. */
  shiftRange(): void {
    if (this.count > 0) this.drop(0, 1);
  }

  clear(): void {
    this.count = 0;
  }

  private insert(index: number, start: number, end: number): void {
    const { bounds } = this;
    if (bounds === NONE) {
      this.bounds = [start, end];
      this.count = 1;
      return;
    }
    const at = 2 * index;
    for (let i = 2 * this.count++; i > at; i -= 2) {
      bounds[i] = bounds[i - 2];
      bounds[i + 1] = bounds[i - 1];
    }
    bounds[at] = start;
    bounds[at + 1] = end;
  }

  /** Drops the ranges from index `first` to before `after`. */
  private drop(first: number, after: number): void {
    const { bounds } = this;
    const dropped = after - first;
    if (dropped === 0) return;
    this.count -= dropped;
    for (let i = 2 * first; i < 2 * this.count; i++) bounds[i] = bounds[i + 2 * dropped];
  }

  private lastStartingAtOrBelow(value: number): number {
    let low = 0;
    let high = this.count;
    if (high > 0 && this.bounds[2 * high - 2] <= value) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.bounds[2 * middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** What all sets have that never had a member: never written to. */
const NONE: number[] = [];
