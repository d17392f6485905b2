import type { FrameWriter } from '../wire/frame-writer.ts';
import {
  CAUCHY_CODE,
  maskSize,
  ROWS,
  repairHeaderSize,
  SPAN_MAX,
  SYMBOL_BYTES_MAX,
  writeRepairHeader,
  XOR_ROW,
} from '../wire/frames/repair.ts';
import { coefficient, multiplyAdd, WordMemory } from './gf256.ts';
import { SymbolRing } from './symbol-ring.ts';
import { VECTOR_BYTES_MIN, VectorSum } from './vector-sum.ts';

/**
 * Makes the repairs of a connection: keeps the symbols of the last 64 packet numbers, and writes sums of them. A repair covers whichever of
 * them it is asked to; with the same window for r repairs over k symbols, any k of the k + r packets give all symbols, as in a
 * Reed-Solomon block.
 */
export class RepairEncoder {
  private readonly ring = new SymbolRing();
  private readonly cover = new Cover();
  /** The row of the next repair. */
  private row = 0;
  /** For each row the newest number that it has covered. */
  private readonly covered = new Float64Array(ROWS).fill(-1);
  private readonly vectors: () => VectorSum | null;

  /** @param vectors - what sums of large symbols are made with; null: with what all sums can be made with */
  constructor(vectors: () => VectorSum | null = sharedVectors) {
    this.vectors = vectors;
  }

  /** Memory that is held for symbols: at most 96,256 bytes. */
  get charged(): number {
    return this.ring.bytes;
  }

  /** Keeps bytes[start, end), the symbol of a packet. False when it is too long to be protected. [FEC-24] */
  keep(number: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start > SYMBOL_BYTES_MAX || end <= start) return false;
    this.ring.keep(number, bytes, start, end);
    return true;
  }

  /** Whether the symbol of a number can be covered. */
  has(number: number): boolean {
    return this.ring.has(number);
  }

  /** The packet is settled: repairs that are written from now on do not cover it. */
  forget(number: number): void {
    this.ring.forget(number);
  }

  /** Bytes that a REPAIR in the packet `carrying` takes that covers all that is kept of [from, to]; 0 when nothing of it is. */
  size(carrying: number, from: number, to: number): number {
    const { cover } = this;
    if (!cover.find(this.ring, Math.max(0, from, carrying - SPAN_MAX + 1), Math.min(to, carrying - 1)))
      return 0;
    return repairHeaderSize(carrying - cover.newest, cover.dataLength) + cover.dataLength;
  }

  /**
   * Writes a REPAIR of all that is kept of [from, to] and no more than 63 numbers before the packet that carries it.
   * @param carrying - number of the packet that it is written into
   * @param isXor - a repair that is the sum: cheaper, and no weaker with the others of the same window, of which only one may be so
   * @returns how many symbols it covers; 0: nothing was written, for nothing is kept of them, or there is no room
   */
  write(w: FrameWriter, carrying: number, from: number, to: number, isXor = false): number {
    const { cover, ring } = this;
    const size = this.size(carrying, from, to);
    if (size === 0 || size > w.room) return 0;
    const row = isXor ? XOR_ROW : this.takeRow(cover);
    if (row < 0) return 0;
    const { newest, oldest, count, span, dataLength } = cover;
    const r = count === span ? 0 : maskSize(span);
    writeRepairHeader(w, {
      code: CAUCHY_CODE,
      group: carrying - newest,
      index: row,
      k: span,
      r,
      length: dataLength,
    });
    w.out.fill(0, w.at, w.at + r);
    for (let number = oldest; r > 0 && number <= newest; number++) {
      const bit = number - oldest;
      if (ring.has(number)) w.out[w.at + (bit >> 3)] |= 1 << (bit & 7);
    }
    w.at += r;
    w.bytes(this.parity(row));
    return count;
  }

  /** Forgets all symbols, and gives their memory back. */
  clear(): void {
    this.ring.clear();
  }

  /** The sum of what is covered, with the coefficients of this row; until the next one is made. */
  private parity(row: number): Uint8Array {
    const { cover, ring } = this;
    const { newest, oldest, longest } = cover;
    const vectors = longest < VECTOR_BYTES_MIN ? null : this.vectors();
    const words = scratch();
    if (vectors !== null) vectors.begin();
    else words.words.fill(0, 0, (longest + 3) >> 2);
    for (let number = oldest; number <= newest; number++) {
      if (!ring.has(number)) continue;
      const at = ring.at(number);
      const length = ring.codedLength(number);
      const factor = coefficient(row, number);
      if (vectors !== null) vectors.add(ring.memory.bytes, at, length, factor);
      else multiplyAdd(words, 0, ring.memory, at, length, factor);
    }
    return vectors === null ? words.bytes.subarray(0, longest) : vectors.sum(longest);
  }

  /** The next row; -1 when it has covered one of these numbers before. [FEC-23] */
  private takeRow({ oldest, newest }: Cover): number {
    const { row, covered } = this;
    if (covered[row] >= oldest) return -1;
    covered[row] = newest;
    this.row = (row + 1) % ROWS;
    return row;
  }
}

/** Which symbols a repair covers. */
class Cover {
  oldest = 0;
  newest = 0;
  /** Symbols. */
  count = 0;
  /** Bytes of the longest, with its length. */
  longest = 0;

  /** Numbers from the oldest to the newest. */
  get span(): number {
    return this.newest - this.oldest + 1;
  }

  /** Bytes of mask and parity. */
  get dataLength(): number {
    return this.longest + (this.count === this.span ? 0 : maskSize(this.span));
  }

  /** Takes all that the ring has of [from, to]. False when it has nothing. */
  find(ring: SymbolRing, from: number, to: number): boolean {
    this.count = 0;
    this.longest = 0;
    for (let number = to; number >= from; number--) {
      if (!ring.has(number)) continue;
      if (this.count === 0) this.newest = number;
      this.oldest = number;
      this.count++;
      this.longest = Math.max(this.longest, ring.codedLength(number));
    }
    return this.count > 0;
  }
}

/** Where parity is summed up: all encoders take turns. */
function scratch(): WordMemory {
  parityMemory ??= new WordMemory(SYMBOL_BYTES_MAX + 4);
  return parityMemory;
}

/** The one of this thread, made for the first large symbol. */
function sharedVectors(): VectorSum | null {
  if (vectorSum === undefined) vectorSum = VectorSum.open();
  return vectorSum;
}

let parityMemory: WordMemory | null = null;
let vectorSum: VectorSum | null | undefined;
