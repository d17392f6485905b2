import type { MemorySource } from '../../base/memory-budget.ts';
import type { Micros } from '../../base/time.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { CAUCHY_CODE, SPAN_MAX, SYMBOL_BYTES_MAX, SYMBOL_LENGTH_BYTES } from '../wire/frames/repair.ts';
import { COEFFICIENTS, EQUATIONS_MAX, type Equation, Equations, UNKNOWNS_MAX } from './equations.ts';
import { coefficient } from './gf256.ts';
import { placeBytesFor, SymbolRing } from './symbol-ring.ts';

/** What became of the repairs of a connection. */
export class RepairCounts {
  /** REPAIRs that came. */
  received = 0;
  /** Those that said nothing new: nothing that they cover was missing, or it is too long ago. */
  useless = 0;
  /** Those that were not looked at: of an unknown code, for lack of memory or of credit for the work, or after too much that was corrupt. */
  ignored = 0;
  /** Symbols that were recovered. */
  recovered = 0;
  /** Symbols and equations that cannot be of what was sent. */
  corrupt = 0;
}

/** The symbol of a packet that has not come. */
export interface RecoveredSymbol {
  readonly number: number;
  /** Its bytes, in memory of their own. */
  readonly bytes: Uint8Array;
  /** Not later than when the packet would have come; -Infinity where that is not known. */
  readonly arrivedAt: Micros;
}

/**
 * Recovers the symbols of packets that were lost: keeps those of the last 64 packet numbers, and what repairs say of the missing ones. Hand
 * in symbols and REPAIRs as they come, then take out with {@link poll} what that has recovered.
 *
 * A peer has no way to make it hold more than `bytesMax`, or work more than 256 KiB and 64 bytes for each byte that came. [FEC-27] [FEC-28]
 */
export class RepairDecoder {
  readonly counts = new RepairCounts();
  private readonly bytesMax: number;
  private readonly memory: MemorySource;
  /** Taken of {@link memory}, ahead of what is held. */
  private reserved = 0;
  private readonly ring = new SymbolRing();
  private readonly equations = new Equations();
  /** The places of ring and equations have room for symbols of so many bytes, with their lengths. */
  private placeBytes = 0;
  /** The newest number that is heard of; the 64 up to it are looked at. */
  private newest = -1;
  /** Who arrived, at the places of the ring, and when. */
  private readonly arrived = new Float64Array(SPAN_MAX).fill(-1);
  private readonly arrivedAt = new Float64Array(SPAN_MAX);
  /** When the nearest of those came whose places others have taken. */
  private earlierAt: Micros = Number.NEGATIVE_INFINITY;
  /** Bytes that may still be worked. */
  private credit = CREDIT_MAX;
  /** Numbers that are recovered and not yet polled. */
  private readonly ready: number[] = [];
  private isOff = false;

  /**
   * @param bytesMax - of memory, as `repair_bytes` has told the peer
   * @param memory - what is taken from: as much as symbols of the longest length so far can need, when there is so much
   */
  constructor(bytesMax: number, memory: MemorySource) {
    this.bytesMax = bytesMax;
    this.memory = memory;
  }

  /** Memory that is held. */
  get charged(): number {
    return this.ring.bytes + this.equations.bytes;
  }

  /** Bytes that were multiplied and added so far. */
  get work(): number {
    return this.equations.work;
  }

  /** A packet with a symbol has come: bytes[start, end). */
  onSymbol(number: number, bytes: Uint8Array, start: number, end: number, now: Micros): void {
    if (this.isOff || number <= this.newest - SPAN_MAX) return;
    this.advance(number);
    this.earn(end - start);
    const place = number & PLACE_MASK;
    this.arrived[place] = number;
    this.arrivedAt[place] = now;
    if (this.ring.has(number) || !this.hasRoom(end - start)) return;
    this.ring.keep(number, bytes, start, end);
    if (this.equations.size > 0) this.substitute(number);
  }

  /**
   * The reader stands at a REPAIR of the packet `carrying`. False when it covers numbers below 0, a FRAME_ENCODING_ERROR. [FEC-21]
   * The symbol of its own packet is handed in before or behind, as one likes.
   */
  onRepair(reader: FrameReader, carrying: number): boolean {
    const { counts } = this;
    counts.received++;
    const newest = carrying - reader.group;
    const oldest = newest - reader.k + 1;
    if (reader.code === CAUCHY_CODE && oldest < 0) return false;
    if (reader.code !== CAUCHY_CODE || this.isOff) {
      counts.ignored++;
      return true;
    }
    this.earn(reader.dataLength);
    if (carrying - 1 > this.newest) this.advance(carrying - 1);
    if (oldest <= this.newest - SPAN_MAX) counts.useless++;
    else this.take(reader, oldest);
    return true;
  }

  /** The next symbol that is recovered, oldest first of one REPAIR or symbol; null when there is none. */
  poll(): RecoveredSymbol | null {
    for (let number = this.ready.shift(); number !== undefined; number = this.ready.shift()) {
      if (!this.ring.has(number)) continue;
      const start = this.ring.at(number) + SYMBOL_LENGTH_BYTES;
      const end = this.ring.at(number) + this.ring.codedLength(number);
      const bytes = new Uint8Array(this.ring.memory.bytes.subarray(start, end));
      return { number, bytes, arrivedAt: this.arrivalBefore(number) };
    }
    return null;
  }

  /** What was recovered is no symbol: it cannot be read. After the fourth that is corrupt, repairs are ignored for good. [FEC-29] */
  onCorrupt(): void {
    this.counts.corrupt++;
    if (this.counts.corrupt < CORRUPT_MAX) return;
    this.isOff = true;
    this.clear();
  }

  /** Gives memory back when the newest 65 numbers up to `largest` had no symbols. [FEC-26] */
  trim(largest: number): void {
    if (largest - this.newest > SPAN_MAX) this.clear();
  }

  /** Forgets all symbols and equations, and gives their memory back. */
  clear(): void {
    if (this.reserved === 0) return;
    this.memory.give(this.reserved);
    this.reserved = 0;
    this.ring.clear();
    this.equations.clear();
    this.placeBytes = 0;
    this.ready.length = 0;
  }

  // ---- inside ----

  private earn(bytes: number): void {
    this.credit = Math.min(CREDIT_MAX, this.credit + bytes * CREDIT_PER_BYTE);
  }

  /** Looks at the 64 numbers up to this one, and at nothing older. [FEC-25] */
  private advance(number: number): void {
    const first = Math.max(this.newest + 1, number - SPAN_MAX + 1);
    for (let next = first; next <= number; next++) {
      const place = next & PLACE_MASK;
      if (this.arrived[place] !== -1) this.earlierAt = this.arrivedAt[place];
      this.arrived[place] = -1;
      if (this.equations.size > 0) this.equations.forget(place);
    }
    if (number > this.newest) this.newest = number;
  }

  /** Whether a symbol of `length` bytes can be kept, and an equation of it. */
  private hasRoom(length: number): boolean {
    if (length > SYMBOL_BYTES_MAX) return false;
    if (length + SYMBOL_LENGTH_BYTES <= this.placeBytes) return true;
    const placeBytes = placeBytesFor(length);
    const capacity = Math.floor((this.bytesMax - SPAN_MAX * placeBytes) / (COEFFICIENTS + placeBytes));
    if (capacity < 1) return false;
    const equations = Math.min(capacity, EQUATIONS_MAX);
    const more = SPAN_MAX * placeBytes + equations * (COEFFICIENTS + placeBytes) - this.reserved;
    if (!this.memory.admits(more)) return false; // [CON-50]
    this.memory.take(more);
    this.reserved += more;
    this.placeBytes = placeBytes;
    this.equations.resize(equations, placeBytes);
    return true;
  }

  /** The REPAIR that the reader stands at covers only numbers that are looked at, from `oldest` on. */
  private take(reader: FrameReader, oldest: number): void {
    const { counts, equations, ring } = this;
    const length = reader.dataLength - reader.r;
    let unknowns = 0;
    for (let i = 0; i < reader.k; i++) {
      if (!covers(reader, i)) continue;
      if (!ring.has(oldest + i)) unknowns++;
      else if (ring.codedLength(oldest + i) > length) return this.onCorrupt(); // shorter than what it is a sum of
    }
    if (unknowns === 0) counts.useless++;
    else if (unknowns > UNKNOWNS_MAX || !this.hasRoom(length - SYMBOL_LENGTH_BYTES)) counts.ignored++;
    else if (equations.workMax(reader.k) > this.credit) counts.ignored++;
    else {
      const before = equations.work;
      equations.insert(this.equationOf(reader, oldest));
      this.credit -= equations.work - before;
      this.settle();
    }
  }

  private equationOf(reader: FrameReader, oldest: number): Equation {
    const { equations, ring } = this;
    const start = reader.dataStart + reader.r;
    const equation = equations.begin(reader.buffer, start, reader.dataStart + reader.dataLength);
    for (let i = 0; i < reader.k; i++) {
      if (!covers(reader, i)) continue;
      const number = oldest + i;
      const factor = coefficient(reader.index, number);
      if (ring.has(number)) {
        equations.subtract(equation, ring.memory, ring.at(number), ring.codedLength(number), factor);
      } else equations.addUnknown(equation, number & PLACE_MASK, factor);
    }
    return equation;
  }

  /** A symbol has come that equations may wait for. */
  private substitute(number: number): void {
    const { equations, ring } = this;
    if (equations.workMax(0) > this.credit) return equations.clear();
    const before = equations.work;
    equations.substitute(number & PLACE_MASK, ring.memory, ring.at(number), ring.codedLength(number));
    this.credit -= equations.work - before;
    this.settle();
  }

  /** Takes out what the equations give. */
  private settle(): void {
    const { equations } = this;
    for (; equations.contradictions > 0; equations.contradictions--) this.onCorrupt();
    for (let equation = equations.solved(); equation !== null; equation = equations.solved()) {
      this.recover(equation);
      if (equations.size > 0) equations.remove(equation);
    }
  }

  /** The parity of the equation is a symbol. */
  private recover(equation: Equation): void {
    const { parity } = this.equations;
    const at = this.equations.parityAt(equation);
    const length = (parity[at] << 8) | parity[at + 1];
    const start = at + SYMBOL_LENGTH_BYTES;
    if (!isSymbol(parity, start, length, at + equation.length)) return this.onCorrupt();
    const number = this.newest - ((this.newest - equation.pivot) & PLACE_MASK);
    this.ring.keep(number, parity, start, start + length);
    if (this.arrived[equation.pivot] === number) return; // it came, and there was no room to keep it
    this.ready.push(number);
    this.counts.recovered++;
  }

  /** When the nearest lower number came, or a higher one before it. */
  private arrivalBefore(number: number): Micros {
    const { arrived, arrivedAt, newest } = this;
    const oldest = Math.max(0, newest - SPAN_MAX + 1);
    let lower = number - 1;
    while (lower >= oldest && arrived[lower & PLACE_MASK] !== lower) lower--;
    let at = lower >= oldest ? arrivedAt[lower & PLACE_MASK] : this.earlierAt;
    for (let higher = number + 1; higher <= newest; higher++) {
      if (arrived[higher & PLACE_MASK] === higher) at = Math.min(at, arrivedAt[higher & PLACE_MASK]);
    }
    return at;
  }
}

/** Whether the REPAIR covers the number `i` behind its oldest. */
function covers({ buffer, dataStart, r }: FrameReader, i: number): boolean {
  return r === 0 || (buffer[dataStart + (i >> 3)] & (1 << (i & 7))) !== 0;
}

/** Whether a symbol of this length can begin at `start`, and is followed by nothing but padding. [FEC-29] */
function isSymbol(parity: Uint8Array, start: number, length: number, end: number): boolean {
  if (length === 0 || start + length > end) return false;
  for (let i = start + length; i < end; i++) if (parity[i] !== 0) return false;
  return true;
}

const PLACE_MASK = SPAN_MAX - 1;
/** Bytes of multiplying and adding that each byte received pays for, and most that can be saved up. [FEC-28] */
const CREDIT_PER_BYTE = 64;
const CREDIT_MAX = 262_144;
/** [FEC-29] */
const CORRUPT_MAX = 4;
