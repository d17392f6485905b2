/**
 * Packets that a second implementation recovers from REPAIR frames, written from spec/protection.md alone: it shares no code with `src/`. All that
 * is known is solved anew with each repair, by Gaussian elimination.
 */
import { decodeFrames, type Frame, Malformed, symbolIn, u16 } from './second-codec.ts';

/** Products by the polynomial 0x11d. [FEC-22] */
function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    if ((b >> bit) & 1) product ^= a << bit;
  }
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit) & 1) product ^= 0x11d << (bit - 8);
  return product;
}

function inverse(a: number): number {
  for (let b = 1; b < 256; b++) if (times(a, b) === 1) return b;
  throw new Error('0 has no inverse');
}

const INVERSES = Array.from({ length: 256 }, (_, a) => (a === 0 ? 0 : inverse(a)));

/** c(i, j) [FEC-22] */
function coefficient(row: number, number: number): number {
  return row === 255 ? 1 : INVERSES[row ^ (128 + (number % 128))];
}

function addTimes(to: Uint8Array, bytes: Uint8Array, factor: number): void {
  for (let i = 0; i < bytes.length; i++) to[i] ^= times(bytes[i], factor);
}

interface Repair {
  readonly row: number;
  readonly numbers: readonly number[];
  readonly parity: Buffer;
}

/** A packet that was recovered: what its symbol holds. */
export interface Recovered {
  readonly number: number;
  readonly frames: readonly Frame[];
}

export class Repairs {
  /** Symbols as they are coded, without the zeros behind, by packet number. [FEC-20] */
  private readonly symbols = new Map<number, Buffer>();
  private repairs: Repair[] = [];
  /** Up to which numbers are kept. [FEC-25] */
  private newest = -1;

  /** A packet with the S bit came. [FEC-41] */
  keep(number: number, payload: Buffer): void {
    this.put(number, symbolIn(payload));
  }

  private put(number: number, symbol: Buffer): void {
    this.newest = Math.max(this.newest, number);
    this.symbols.set(number, Buffer.concat([u16(symbol.length), symbol]));
  }

  /** A REPAIR came in the packet with this number. What follows from it is recovered. [FEC-21] */
  take(frame: Frame, carrier: number): Recovered[] {
    const { group, row, span, maskBytes, data } = frame as unknown as Record<
      'group' | 'row' | 'span' | 'maskBytes',
      number
    > & { data: Buffer };
    if (frame.code !== 1) return [];
    const newest = carrier - group;
    const oldest = newest - span + 1;
    if (oldest < 0) throw new Malformed('a span that begins below 0');
    const isCovered = (i: number): boolean => maskBytes === 0 || ((data[i >> 3] >> (i & 7)) & 1) === 1;
    const numbers = Array.from({ length: span }, (_, i) => oldest + i).filter((_, i) => isCovered(i));
    this.repairs.push({ row, numbers, parity: data.subarray(maskBytes) });
    this.newest = Math.max(this.newest, carrier - 1);
    const least = this.newest - 63;
    this.repairs = this.repairs.filter(({ numbers: [first] }) => first >= least);
    for (const number of [...this.symbols.keys()]) if (number < least) this.symbols.delete(number);
    return this.solve();
  }

  private solve(): Recovered[] {
    const unknown = [...new Set(this.repairs.flatMap(({ numbers }) => numbers))].filter(
      (n) => !this.symbols.has(n),
    );
    const bytes = Math.max(0, ...this.repairs.map(({ parity }) => parity.length));
    const rows = this.repairs.map(({ row, numbers, parity }) => {
      const right = new Uint8Array(bytes);
      right.set(parity);
      const left = unknown.map((number) => (numbers.includes(number) ? coefficient(row, number) : 0));
      for (const number of numbers) {
        const symbol = this.symbols.get(number);
        if (symbol !== undefined) addTimes(right, symbol, coefficient(row, number));
      }
      return { left: Uint8Array.from(left), right };
    });
    const solved: Recovered[] = [];
    for (let column = 0, top = 0; column < unknown.length; column++) {
      const pivot = rows.findIndex(({ left }, i) => i >= top && left[column] !== 0);
      if (pivot < 0) continue;
      [rows[top], rows[pivot]] = [rows[pivot], rows[top]];
      const scale = INVERSES[rows[top].left[column]];
      for (const part of [rows[top].left, rows[top].right]) part.set(part.map((byte) => times(byte, scale)));
      for (const [i, { left, right }] of rows.entries()) {
        const factor = left[column];
        if (i === top || factor === 0) continue;
        addTimes(left, rows[top].left, factor);
        addTimes(right, rows[top].right, factor);
      }
      top++;
    }
    for (const { left, right } of rows) {
      const columns = [...left.keys()].filter((column) => left[column] !== 0);
      if (columns.length !== 1) continue;
      const found = this.read(unknown[columns[0]], Buffer.from(right));
      if (found !== null) solved.push(found);
    }
    return solved;
  }

  /** [FEC-29] [FEC-44] Null for what cannot be the symbol of a packet. */
  private read(number: number, coded: Buffer): Recovered | null {
    const length = coded.readUInt16BE(0);
    const rest = coded.subarray(2 + length);
    if (length === 0 || length > coded.length - 2 || rest.some((byte) => byte !== 0)) return null;
    const symbol = Buffer.from(coded.subarray(2, 2 + length));
    let frames: Frame[];
    try {
      frames = decodeFrames(symbol);
    } catch {
      return null;
    }
    if (frames.some(({ type }) => type === 0x16)) return null;
    this.put(number, symbol);
    return { number, frames: frames.filter(({ type }) => !NOT_TAKEN.has(type)) };
  }
}

/** PADDING, PING, ACK, HEARTBEAT, PATH_CHALLENGE, PATH_RESPONSE, CONNECTION_CLOSE: of the packet, or of its moment. [FEC-44] */
const NOT_TAKEN = new Set([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x17, 0x18, 0x19, 0x1c]);
