/**
 * Latencies counted in a fixed amount of memory, each to within a hundredth of itself (the layout of HdrHistogram: as many counters for each power of
 * two). Those of several processes can be added up, which Node's own histograms cannot be.
 */

/** A histogram as it goes from process to process. */
export interface Counted {
  readonly counts: Float64Array;
  readonly min: number;
  readonly max: number;
}

export class Histogram {
  /** How many were recorded. */
  count = 0;
  private readonly counts = new Float64Array(COUNTERS);
  private min = Number.POSITIVE_INFINITY;
  private max = 0;

  /** @param times - how many there were of it */
  record(micros: number, times = 1): void {
    const value = Math.max(0, micros);
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    this.counts[counterOf(Math.min(Math.round(value * UNITS_A_MICRO), UNITS_MAX))] += times;
    this.count += times;
  }

  /** @param times - what each of the other's stands for */
  add(other: Counted, times = 1): void {
    other.counts.forEach((count, i) => {
      this.counts[i] += count * times;
      this.count += count * times;
    });
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
  }

  clear(): void {
    this.counts.fill(0);
    this.count = 0;
    this.min = Number.POSITIVE_INFINITY;
    this.max = 0;
  }

  get counted(): Counted {
    const { counts, min, max } = this;
    return { counts, min, max };
  }

  /** Microseconds that so large a share of all do not exceed, or by less than a hundredth; the least and the most of all are exact. 0 of none. */
  quantile(share: number): number {
    if (this.count === 0) return 0;
    const rank = Math.max(1, Math.ceil(share * this.count - 1e-9));
    if (rank === this.count) return this.max;
    let seen = 0;
    for (let i = 0; i < COUNTERS; i++) {
      seen += this.counts[i];
      if (seen >= rank) return Math.max(this.min, Math.min(this.max, lastOf(i) / UNITS_A_MICRO));
    }
    return this.max;
  }

  /** All together, µs, to within a hundredth. */
  get sum(): number {
    let sum = 0;
    for (let i = 0; i < COUNTERS; i++) if (this.counts[i] > 0) sum += this.counts[i] * lastOf(i);
    return sum / UNITS_A_MICRO;
  }

  /** How many do not exceed `micros`, as far as the counters tell them apart. */
  countUpTo(micros: number): number {
    const last = counterOf(Math.min(Math.round(micros * UNITS_A_MICRO), UNITS_MAX));
    let seen = 0;
    for (let i = 0; i <= last; i++) seen += this.counts[i];
    return seen;
  }
}

/** Up to twice SHARP each unit has a counter; from there on SHARP of them are for each power of two. */
function counterOf(units: number): number {
  const power = Math.max(0, SHARP_BITS_TOP - Math.clz32(units));
  return power * SHARP + (units >>> power);
}

/** The largest value, in units, that a counter is for. */
function lastOf(counter: number): number {
  const power = Math.max(0, Math.floor(counter / SHARP) - 1);
  return (counter - power * SHARP + 1) * 2 ** power - 1;
}

const UNITS_A_MICRO = 10;
/** Seven minutes. */
const UNITS_MAX = 2 ** 32 - 1;
const SHARP_BITS = 7;
const SHARP = 2 ** SHARP_BITS;
const SHARP_BITS_TOP = 31 - SHARP_BITS;
const COUNTERS = (SHARP_BITS_TOP + 2) * SHARP;
