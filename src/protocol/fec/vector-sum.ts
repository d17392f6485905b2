/**
 * Sums of products in GF(256), sixteen bytes at a time: the repairs of large packets. A product with a coefficient is the sum of the products of
 * the two halves of a byte, each of which is one of sixteen, and WebAssembly looks sixteen bytes up in a table of sixteen at once
 * (`i8x16.swizzle`). With the symbol copied into its memory that takes 0.2 to 0.25 ns a byte, against 0.85 to 0.9 of {@link multiplyAdd}; below
 * {@link VECTOR_BYTES_MIN} bytes the copy and the call are more than they save. What multiplyAdd does is its slow twin, and what is done where
 * there is no WebAssembly.
 */

import { SYMBOL_BYTES_MAX } from '../wire/frames/repair.ts';
import { multiply } from './gf256.ts';

/** From so many bytes on this is faster. */
export const VECTOR_BYTES_MIN = 256;

/** One sum at a time, which all encoders take turns with. */
export class VectorSum {
  /** Begins with the sum of the last one, and is as long as the longest. */
  private readonly bytes: Uint8Array;
  private readonly multiplyAdd: Exports['multiplyAdd'];

  private constructor(exports: Exports) {
    this.bytes = new Uint8Array(exports.memory.buffer);
    this.multiplyAdd = exports.multiplyAdd;
    for (let factor = 0; factor < 256; factor++) {
      const at = TABLES_AT + factor * TABLE_BYTES;
      for (let half = 0; half < 16; half++) {
        this.bytes[at + half] = multiply(factor, half);
        this.bytes[at + 16 + half] = multiply(factor, half << 4);
      }
    }
  }

  /** Null where there is no WebAssembly with vectors, or no memory for it: it is not needed. */
  static open(): VectorSum | null {
    try {
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE));
      return new VectorSum(exports);
    } catch {
      return null;
    }
  }

  /** Begins a sum of at most {@link SYMBOL_BYTES_MAX} + 2 bytes. */
  begin(): void {
    this.bytes.fill(0, 0, SYMBOL_AT);
  }

  /** sum += factor x from[at, at + length) */
  add(from: Uint8Array, at: number, length: number, factor: number): void {
    const { bytes } = this;
    const end = (SYMBOL_AT + length + 15) & ~15;
    bytes.set(from.subarray(at, at + length), SYMBOL_AT);
    bytes.fill(0, SYMBOL_AT + length, end);
    this.multiplyAdd(0, SYMBOL_AT, end, TABLES_AT + factor * TABLE_BYTES);
  }

  /** The first bytes of the sum, until the next begins. */
  sum(length: number): Uint8Array {
    return this.bytes.subarray(0, length);
  }
}

/** What {@link MODULE} has to offer. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly multiplyAdd: (to: number, from: number, end: number, table: number) => void;
}

/** What is used of it: there are no types of it for programs without a page. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => unknown;
  readonly Instance: new (module: unknown) => { readonly exports: Exports };
};

/** Where the symbol is that is added; the sum is at 0. */
const SYMBOL_AT = (SYMBOL_BYTES_MAX + 2 + 15) & ~15;
/** For each factor: its products with 0 to 15, and with those times 16. */
const TABLES_AT = 2 * SYMBOL_AT;
const TABLE_BYTES = 32;

/** A section: its number, its bytes. */
function section(id: number, ...bytes: readonly number[]): number[] {
  return [id, bytes.length, ...bytes];
}

function text(name: string): number[] {
  return [name.length, ...Array.from(name, (letter) => letter.charCodeAt(0))];
}

const I32 = 0x7f;
const V128 = 0x7b;
const GET = 0x20;
const SET = 0x21;
const TEE = 0x22;
const CONST = 0x41;
const I32_ADD = 0x6a;
/** With 16-byte alignment; an offset follows. */
const LOAD = [0xfd, 0x00, 4];
const STORE = [0xfd, 0x0b, 4];
const SWIZZLE = [0xfd, 0x0e];
const SPLAT = [0xfd, 0x0f];
const AND = [0xfd, 0x4e];
const XOR = [0xfd, 0x51];
const SHIFT_RIGHT = [0xfd, 0x6d];
const [TO, FROM, END, TABLE, LOW, HIGH, DATA] = [0, 1, 2, 3, 4, 5, 6];

/** multiplyAdd(to, from, end, table), all positions in memory, multiples of 16. */
const FUNCTION: readonly number[] = [
  ...[1, 3, V128], // three more locals: low, high, data
  ...[GET, TABLE, ...LOAD, 0, SET, LOW],
  ...[GET, TABLE, ...LOAD, 16, SET, HIGH],
  ...[0x03, 0x40], // loop
  ...[GET, TO, GET, TO, ...LOAD, 0],
  ...[GET, LOW, GET, FROM, ...LOAD, 0, TEE, DATA, CONST, 15, ...SPLAT, ...AND, ...SWIZZLE, ...XOR],
  ...[GET, HIGH, GET, DATA, CONST, 4, ...SHIFT_RIGHT, ...SWIZZLE, ...XOR],
  ...[...STORE, 0],
  ...[GET, TO, CONST, 16, I32_ADD, SET, TO],
  ...[GET, FROM, CONST, 16, I32_ADD, TEE, FROM],
  ...[GET, END, 0x49, 0x0d, 0], // again while from < end
  ...[0x0b, 0x0b],
];

const MODULE = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, 1, 0x60, 4, I32, I32, I32, I32, 0), // one type: four integers to nothing
  ...section(3, 1, 0), // one function of it
  ...section(5, 1, 0, 1), // one memory of 64 KiB
  ...section(7, 2, ...text('memory'), 2, 0, ...text('multiplyAdd'), 0, 0),
  ...section(10, 1, FUNCTION.length, ...FUNCTION),
]);
