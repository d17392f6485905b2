/**
 * A set of whole numbers kept as ascending, disjoint, non-adjacent half-open ranges [start, end). Built for few ranges
 * with most changes near the end: packet numbers, byte ranges, sequences.
 */
export class RangeSet {
  private starts: number[] = [];
  private ends: number[] = [];

  /** How many ranges there are. */
  get size(): number {
    return this.starts.length;
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
    return this.size === 0 ? -1 : this.ends[this.size - 1] - 1;
  }

  /** How many numbers are in the set. */
  get total(): number {
    let total = 0;
    for (let i = 0; i < this.size; i++) total += this.ends[i] - this.starts[i];
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
    const last = this.size - 1;
    if (last >= 0 && start === this.ends[last]) {
      this.ends[last] = end;
      return end - start;
    }
    if (last < 0 || start > this.ends[last]) {
      this.starts.push(start);
      this.ends.push(end);
      return end - start;
    }
    let first = this.lastStartingAtOrBelow(start);
    if (first < 0 || this.ends[first] < start) first++;
    let after = first;
    let low = start;
    let high = end;
    let known = 0;
    while (after < this.size && this.starts[after] <= end) {
      if (this.starts[after] < low) low = this.starts[after];
      if (this.ends[after] > high) high = this.ends[after];
      known += this.ends[after] - this.starts[after];
      after++;
    }
    this.starts.splice(first, after - first, low);
    this.ends.splice(first, after - first, high);
    return high - low - known;
  }

  /** Removes [start, end). Returns how many numbers were removed. */
  remove(start: number, end: number): number {
    if (start >= end) return 0;
    let i = this.lastStartingAtOrBelow(start);
    if (i < 0 || this.ends[i] <= start) i++;
    let removed = 0;
    while (i < this.size && this.starts[i] < end) {
      const low = this.starts[i];
      const high = this.ends[i];
      const from = Math.max(low, start);
      const to = Math.min(high, end);
      removed += to - from;
      if (low < from && to < high) {
        this.ends[i] = from;
        this.starts.splice(i + 1, 0, to);
        this.ends.splice(i + 1, 0, high);
        return removed;
      }
      if (low < from) {
        this.ends[i] = from;
        i++;
      } else if (to < high) {
        this.starts[i] = to;
        i++;
      } else {
        this.starts.splice(i, 1);
        this.ends.splice(i, 1);
      }
    }
    return removed;
  }

  /** Removes the lowest range. */
  shiftRange(): void {
    this.starts.shift();
    this.ends.shift();
  }

  clear(): void {
    this.starts.length = 0;
    this.ends.length = 0;
  }

  private lastStartingAtOrBelow(value: number): number {
    let low = 0;
    let high = this.starts.length;
    if (high > 0 && this.starts[high - 1] <= value) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
