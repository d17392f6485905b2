import { DISTANCE_CODES } from './flate-codes.ts';

/** Codes of the least total length for how often each symbol is used (Huffman), none longer than a bound. */
export class CodeSet {
  readonly counts: Uint32Array;
  /** By symbol, bits of its code; 0 for one that is not used. */
  readonly bits: Uint8Array;
  /** By symbol, its code, whose first bit is the lowest. */
  readonly codes: Uint16Array;
  private readonly bitsMax: number;
  /** Symbols that are used, from the rarest on, and while codes are made what stands for them. */
  private readonly order: Uint32Array;
  private readonly weights: Uint32Array;
  private readonly ofLength = new Uint16Array(LENGTHS);
  private readonly nextCode = new Uint16Array(LENGTHS);

  constructor(symbols: number, bitsMax: number) {
    this.counts = new Uint32Array(symbols);
    this.bits = new Uint8Array(symbols);
    this.codes = new Uint16Array(symbols);
    this.order = new Uint32Array(symbols);
    this.weights = new Uint32Array(symbols);
    this.bitsMax = bitsMax;
  }

  /** Makes them for the `counts`. */
  make(): void {
    const { counts, bits, ofLength } = this;
    const used = this.sort();
    bits.fill(0);
    if (used === 0) return;
    if (used === 1) {
      bits[this.order[0] & SYMBOL_MASK] = 1;
      // a set of one code is complete only with another, which nobody uses
      if (counts.length !== DISTANCE_CODES) bits[(this.order[0] & SYMBOL_MASK) === 0 ? 1 : 0] = 1;
      return this.assign();
    }
    this.measure(used);
    this.shorten(used);
    // the rarest have the longest
    let k = 0;
    for (let length = this.bitsMax; length > 0; length--) {
      for (let n = ofLength[length]; n > 0; n--) bits[this.order[k++] & SYMBOL_MASK] = length;
    }
    this.assign();
  }

  /** Gives out the codes for their lengths, in the order of length and symbol. */
  assign(): void {
    const { bits, codes, ofLength, nextCode } = this;
    ofLength.fill(0);
    for (let symbol = 0; symbol < bits.length; symbol++) ofLength[bits[symbol]]++;
    ofLength[0] = 0;
    let code = 0;
    for (let length = 1; length <= this.bitsMax; length++) {
      code = (code + ofLength[length - 1]) << 1;
      nextCode[length] = code;
    }
    for (let symbol = 0; symbol < bits.length; symbol++) {
      const length = bits[symbol];
      if (length > 0) codes[symbol] = reversed(nextCode[length]++, length);
    }
  }

  /** Bits of all symbols that were counted. */
  total(counts = this.counts): number {
    let total = 0;
    for (let symbol = 0; symbol < counts.length; symbol++) total += counts[symbol] * this.bits[symbol];
    return total;
  }

  /** One more than the last symbol with a code, at least `least`. */
  usedUpTo(least: number): number {
    let end = this.bits.length;
    while (end > least && this.bits[end - 1] === 0) end--;
    return end;
  }

  /** Puts count and symbol of those that are used in order. Returns how many there are. */
  private sort(): number {
    const { counts, order } = this;
    let used = 0;
    for (let symbol = 0; symbol < counts.length; symbol++) {
      if (counts[symbol] > 0) order[used++] = counts[symbol] * (SYMBOL_MASK + 1) + symbol;
    }
    order.subarray(0, used).sort();
    return used;
  }

  /**
   * Lengths of the codes, without a bound (Moffat, Katajainen: "In-place calculation of minimum-redundancy codes", WADS 1995): counts how many have
   * each length into `ofLength`, of which the last also counts what is longer.
   */
  private measure(used: number): void {
    const { order, weights, ofLength } = this;
    for (let i = 0; i < used; i++) weights[i] = order[i] >>> SYMBOL_BITS;
    // weights of inner nodes, then of each the place of its parent
    weights[0] += weights[1];
    let root = 0;
    let leaf = 2;
    for (let next = 1; next < used - 1; next++) {
      if (leaf >= used || weights[root] < weights[leaf]) {
        weights[next] = weights[root];
        weights[root++] = next;
      } else weights[next] = weights[leaf++];
      if (leaf >= used || (root < next && weights[root] < weights[leaf])) {
        weights[next] += weights[root];
        weights[root++] = next;
      } else weights[next] += weights[leaf++];
    }
    // depths of inner nodes
    weights[used - 2] = 0;
    for (let next = used - 3; next >= 0; next--) weights[next] = weights[weights[next]] + 1;
    // of what each depth has room for, what is no inner node is a leaf
    ofLength.fill(0);
    let room = 1;
    let depth = 0;
    let node = used - 2;
    let left = used;
    while (left > 0) {
      let inner = 0;
      while (node >= 0 && weights[node] === depth) {
        inner++;
        node--;
      }
      const leaves = room - inner;
      ofLength[Math.min(depth, LENGTHS - 1)] += leaves;
      left -= leaves;
      room = 2 * inner;
      depth++;
    }
  }

  /** Makes codes that are too long shorter, and as many others longer as that takes. */
  private shorten(used: number): void {
    const { ofLength, bitsMax } = this;
    if (used <= 1) return;
    for (let length = bitsMax + 1; length < LENGTHS; length++) {
      ofLength[bitsMax] += ofLength[length];
      ofLength[length] = 0;
    }
    // how much of the code space is taken, in units of a longest code
    let taken = 0;
    for (let length = 1; length <= bitsMax; length++) taken += ofLength[length] << (bitsMax - length);
    while (taken > 1 << bitsMax) {
      ofLength[bitsMax]--;
      let length = bitsMax - 1;
      while (ofLength[length] === 0) length--;
      ofLength[length]--;
      ofLength[length + 1] += 2;
      taken--;
    }
  }
}

function reversed(code: number, length: number): number {
  let left = code;
  let result = 0;
  for (let i = 0; i < length; i++) {
    result = (result << 1) | (left & 1);
    left >>>= 1;
  }
  return result;
}

const SYMBOL_BITS = 9;
const SYMBOL_MASK = (1 << SYMBOL_BITS) - 1;
/** Lengths that are told apart while codes are made: the most frequent of 65,536 literals and an end make none of more than 23 bits. */
const LENGTHS = 32;
