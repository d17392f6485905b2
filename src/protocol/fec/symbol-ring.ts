import { SPAN_MAX, SYMBOL_BYTES_MAX, SYMBOL_LENGTH_BYTES } from '../wire/frames/repair.ts';
import { WordMemory } from './gf256.ts';

/**
 * The symbols of the last 64 packet numbers, as they are coded: length as u16, then the bytes. [FEC-20] Each number has its place, which the one 64
 * later takes over; a number that was not kept has nothing. Memory is taken with the first symbol, in places of 128 bytes, which grow when
 * a longer one comes, to 96,256 bytes at most.
 */
export class SymbolRing {
  memory = new WordMemory(0);
  private placeBytes = 0;
  private readonly numbers = new Float64Array(SPAN_MAX).fill(-1);
  private readonly lengths = new Uint16Array(SPAN_MAX);

  /** Memory that is held. */
  get bytes(): number {
    return this.memory.bytes.length;
  }

  has(number: number): boolean {
    return this.numbers[number & PLACE_MASK] === number;
  }

  /** Bytes of a symbol that is kept, with its length in front. */
  codedLength(number: number): number {
    return this.lengths[number & PLACE_MASK];
  }

  /** Where in {@link memory} the symbol of a number is. */
  at(number: number): number {
    return (number & PLACE_MASK) * this.placeBytes;
  }

  /** Copies bytes[start, end), at most 1,500, to the place of a number. */
  keep(number: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const place = number & PLACE_MASK;
    if (length + SYMBOL_LENGTH_BYTES > this.placeBytes) this.grow(placeBytesFor(length));
    const at = place * this.placeBytes;
    const to = this.memory.bytes;
    to[at] = length >> 8;
    to[at + 1] = length;
    const from = at + SYMBOL_LENGTH_BYTES;
    if (length > COPIED_BY_LOOP_MAX) to.set(bytes.subarray(start, end), from);
    else for (let i = 0; i < length; i++) to[from + i] = bytes[start + i];
    for (let i = from + length; (i & 3) !== 0; i++) to[i] = 0;
    this.numbers[place] = number;
    this.lengths[place] = length + SYMBOL_LENGTH_BYTES;
  }

  forget(number: number): void {
    if (this.has(number)) this.numbers[number & PLACE_MASK] = -1;
  }

  /** Forgets all, and gives the memory back. */
  clear(): void {
    this.numbers.fill(-1);
    this.memory = new WordMemory(0);
    this.placeBytes = 0;
  }

  private grow(placeBytes: number): void {
    const grown = new WordMemory(SPAN_MAX * placeBytes);
    for (let place = 0; place < SPAN_MAX; place++) {
      if (this.numbers[place] === -1) continue;
      const at = place * this.placeBytes;
      grown.bytes.set(this.memory.bytes.subarray(at, at + this.lengths[place]), place * placeBytes);
    }
    this.memory = grown;
    this.placeBytes = placeBytes;
  }
}

/** Bytes of the places that hold symbols of `length` bytes: a multiple of 4. */
export function placeBytesFor(length: number): number {
  let bytes = PLACE_BYTES_MIN;
  while (bytes < length + SYMBOL_LENGTH_BYTES) bytes *= 2;
  return Math.min(bytes, PLACE_BYTES_MAX);
}

/** Bytes up to which a loop copies faster than a view of them that is made for it. */
const COPIED_BY_LOOP_MAX = 64;
const PLACE_MASK = SPAN_MAX - 1;
const PLACE_BYTES_MIN = 128;
/** The longest symbol with its length, to a whole word. */
const PLACE_BYTES_MAX = (SYMBOL_BYTES_MAX + SYMBOL_LENGTH_BYTES + 3) & ~3;
