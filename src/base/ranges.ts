/**
 * A set of whole numbers kept as ascending, disjoint, non-adjacent half-open ranges [start, end). Built for few ranges
 * with most changes near the end: packet numbers, byte ranges, sequences. The lists keep their length when ranges go, so that a set
 * that comes and goes between no range and one, as that of packets to acknowledge does, allocates nothing; and they begin with room for one
 * range, for most sets never have more, where the engine would give the first that comes room for seventeen.
 */
export class RangeSet {
  private readonly starts: number[] = [0];
  private readonly ends: number[] = [0];
  private count = 0;

  /** How many ranges there are. */
  get size(): number {
    return this.count;
  }

  /** Start of the range at `index`, counted from the lowest. */
  start(index: number): number {
    return this.starts[index];
  }

  /** End (exclusive) of the range at `index`. */
  end(index: number): number {
    return this.ends[index];
  }

  /** The largest member, or -1 when empty. */
  get largest(): number {
    return this.count === 0 ? -1 : this.ends[this.count - 1] - 1;
  }

  /** How many numbers are in the set. */
  get total(): number {
    let total = 0;
    for (let i = 0; i < this.count; i++) total += this.ends[i] - this.starts[i];
    return total;
  }

  contains(value: number): boolean {
    const i = this.lastStartingAtOrBelow(value);
    return i >= 0 && value < this.ends[i];
  }

  /** True when all of [start, end) is in the set; true for an empty range. */
  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const i = this.lastStartingAtOrBelow(start);
    return i >= 0 && end <= this.ends[i];
  }

  /** Adds [start, end). Returns how many numbers were new. */
  add(start: number, end: number): number {
    if (start >= end) return 0;
    const last = this.count - 1;
    if (last >= 0 && start === this.ends[last]) {
      this.ends[last] = end;
      return end - start;
    }
    if (last < 0 || start > this.ends[last]) {
      this.insert(this.count, start, end);
      return end - start;
    }
    let first = this.lastStartingAtOrBelow(start);
    if (first < 0 || this.ends[first] < start) first++;
    let after = first;
    let low = start;
    let high = end;
    let known = 0;
    while (after < this.count && this.starts[after] <= end) {
      if (this.starts[after] < low) low = this.starts[after];
      if (this.ends[after] > high) high = this.ends[after];
      known += this.ends[after] - this.starts[after];
      after++;
    }
    if (after === first) {
      this.insert(first, low, high);
    } else {
      this.starts[first] = low;
      this.ends[first] = high;
      this.drop(first + 1, after);
    }
    return high - low - known;
  }

  /** Removes [start, end). Returns how many numbers were removed. */
  remove(start: number, end: number): number {
    if (start >= end) return 0;
    let i = this.lastStartingAtOrBelow(start);
    if (i < 0 || this.ends[i] <= start) i++;
    let removed = 0;
    while (i < this.count && this.starts[i] < end) {
      const low = this.starts[i];
      const high = this.ends[i];
      const from = Math.max(low, start);
      const to = Math.min(high, end);
      removed += to - from;
      if (low < from && to < high) {
        this.ends[i] = from;
        this.insert(i + 1, to, high);
        return removed;
      }
      if (low < from) {
        this.ends[i] = from;
        i++;
      } else if (to < high) {
        this.starts[i] = to;
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
    const { starts, ends } = this;
    for (let i = this.count++; i > index; i--) {
      starts[i] = starts[i - 1];
      ends[i] = ends[i - 1];
    }
    starts[index] = start;
    ends[index] = end;
  }

  /** Drops the ranges from index `first` to before `after`. */
  private drop(first: number, after: number): void {
    const { starts, ends } = this;
    const dropped = after - first;
    if (dropped === 0) return;
    this.count -= dropped;
    for (let i = first; i < this.count; i++) {
      starts[i] = starts[i + dropped];
      ends[i] = ends[i + dropped];
    }
  }

  private lastStartingAtOrBelow(value: number): number {
    let low = 0;
    let high = this.count;
    if (high > 0 && this.starts[high - 1] <= value) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
