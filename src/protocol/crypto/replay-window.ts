/**
 * Which packet numbers of a space were opened already. [PKT-9]
 *
 * A circular bitmap over the last numbers up to the largest. It starts at 64 numbers and doubles, up to 8,192, only when a
 * number that never came would fall out of it: while everything comes in order, 64 numbers say as much as all.
 */
export class ReplayWindow {
  /** The largest number marked, or -1. */
  largest = -1;
  private bits: Int32Array;

  constructor() {
    // Numbers below 0 count as seen, so that a young window has no holes.
    this.bits = new Int32Array(WINDOW_MIN / 32).fill(-1);
  }

  /** How many numbers the bitmap spans now. */
  get span(): number {
    return this.bits.length * 32;
  }

  /** True when `number` was marked, or is too old to know. */
  seen(number: number): boolean {
    if (number > this.largest) return false;
    const { bits } = this;
    const span = bits.length * 32;
    if (number <= this.largest - span) return true;
    const index = number & (span - 1);
    return (bits[index >>> 5] & (1 << (index & 31))) !== 0;
  }

  /** Records a number whose packet was opened. */
  mark(number: number): void {
    if (number > this.largest) this.advance(number);
    const span = this.bits.length * 32;
    if (number <= this.largest - span) return;
    const index = number & (span - 1);
    this.bits[index >>> 5] |= 1 << (index & 31);
  }

  /** Moves the upper edge to `number`; the numbers between are not seen yet. */
  private advance(number: number): void {
    while (this.span < WINDOW_MAX && this.wouldForget(number)) this.grow();
    const { bits } = this;
    const span = bits.length * 32;
    if (number - this.largest >= span) {
      bits.fill(0);
    } else {
      for (let n = this.largest + 1; n <= number; n++) {
        const index = n & (span - 1);
        bits[index >>> 5] &= ~(1 << (index & 31));
      }
    }
    this.largest = number;
  }

  /** True when a number that was not seen would leave the span if `number` became the largest. */
  private wouldForget(number: number): boolean {
    const span = this.bits.length * 32;
    const step = number - this.largest;
    if (step > span) return true;
    for (let n = this.largest - span + 1; n <= number - span; n++) {
      const index = n & (span - 1);
      if ((this.bits[index >>> 5] & (1 << (index & 31))) === 0) return true;
    }
    return false;
  }

  private grow(): void {
    const old = this.bits;
    const span = old.length * 32;
    // What the old bitmap had no room for was seen, or it would have grown before.
    const bits = new Int32Array(old.length * 2).fill(-1);
    for (let n = this.largest - span + 1; n <= this.largest; n++) {
      const from = n & (span - 1);
      const to = n & (2 * span - 1);
      if ((old[from >>> 5] & (1 << (from & 31))) === 0) bits[to >>> 5] &= ~(1 << (to & 31));
    }
    this.bits = bits;
  }
}

const WINDOW_MIN = 64;
const WINDOW_MAX = 8192;
