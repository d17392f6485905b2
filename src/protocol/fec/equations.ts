import { SPAN_MAX } from '../wire/frames/repair.ts';
import { inverse, multiplyAdd, scale, WordMemory } from './gf256.ts';

/**
 * What repairs say of symbols that have not come: linear equations over GF(256), solved as far as they go (Gauss-Jordan). Each has a pivot,
 * an unknown that is in no other equation and whose coefficient is 1; when nothing but the pivot is left in it, its parity is that symbol.
 *
 * An unknown is named by its place, the packet number mod 64. An equation is one stretch of memory, the coefficients of 64 places and then
 * the parity, so that one operation adds all of it to another. There are at most 32, in at most 32 unknowns: for a new one the oldest make
 * way. [FEC-27]
 */
export class Equations {
  /** Bytes that were multiplied and added so far. */
  work = 0;
  /** Equations that contradicted the others or what came: no sums of what was sent can. */
  contradictions = 0;
  private memory = new WordMemory(0);
  /** Bytes of an equation at most. */
  private rowBytes = COEFFICIENTS;
  private capacity = 0;
  /** Those that are open, the oldest first, then those that are free. */
  private rows: Equation[] = [];
  private count = 0;
  private readonly seen = new Uint8Array(SPAN_MAX);

  /** How many are open. */
  get size(): number {
    return this.count;
  }

  /** Memory that is held. */
  get bytes(): number {
    return this.memory.bytes.length;
  }

  /** The most work that one call of {@link insert} or {@link substitute} makes, with `terms` symbols to subtract before. */
  workMax(terms: number): number {
    return (2 * (this.count + 1) + terms) * this.rowBytes;
  }

  /** Makes room for `capacity` equations with parity of so many bytes, when there is a first one. Those that are open are forgotten. */
  resize(capacity: number, parityBytesMax: number): void {
    this.clear();
    this.capacity = capacity;
    this.rowBytes = COEFFICIENTS + parityBytesMax;
  }

  /** Forgets all equations, and gives their memory back. */
  clear(): void {
    this.count = 0;
    this.rows = [];
    this.memory = new WordMemory(0);
  }

  // ---- a new equation: begun, filled, inserted ----

  /** Begins an equation with its parity, bytes[start, end). */
  begin(bytes: Uint8Array, start: number, end: number): Equation {
    if (this.rows.length === 0) this.allocate();
    if (this.count === this.capacity) this.remove(this.rows[0]);
    const equation = this.rows[this.count];
    const { at } = equation;
    const to = this.memory.bytes;
    to.fill(0, at, at + this.rowBytes);
    to.set(bytes.subarray(start, end), at + COEFFICIENTS);
    equation.length = end - start;
    return equation;
  }

  /** The equation that was begun has this unknown. */
  addUnknown(equation: Equation, place: number, coefficient: number): void {
    this.memory.bytes[equation.at + place] = coefficient;
  }

  /** The equation has a symbol that is known, no longer than its parity: from[fromAt, fromAt + length). */
  subtract(equation: Equation, from: WordMemory, fromAt: number, length: number, coefficient: number): void {
    multiplyAdd(this.memory, equation.at + COEFFICIENTS, from, fromAt, length, coefficient);
    this.work += length;
  }

  /** Takes the equation that was begun among those that are open. */
  insert(equation: Equation): void {
    const { rows } = this;
    for (let i = 0; i < this.count; i++) this.eliminate(equation, rows[i]);
    this.count++;
    this.takePivot(equation);
    while (this.count > 1 && this.unknowns() > UNKNOWNS_MAX) this.remove(rows[0]);
  }

  // ---- what comes ----

  /** The symbol of a place has come: from[fromAt, fromAt + length). */
  substitute(place: number, from: WordMemory, fromAt: number, length: number): void {
    for (let i = this.count - 1; i >= 0; i--) {
      const equation = this.rows[i];
      const coefficient = this.coefficientOf(equation, place);
      if (coefficient === 0) continue;
      this.memory.bytes[equation.at + place] = 0;
      if (length > equation.length) this.contradict(equation);
      else {
        this.subtract(equation, from, fromAt, length, coefficient);
        if (equation.pivot === place) this.takePivot(equation);
      }
    }
  }

  /** The symbol of a place will not be asked for any more: what speaks of it is forgotten. */
  forget(place: number): void {
    for (let i = this.count - 1; i >= 0; i--) {
      if (this.coefficientOf(this.rows[i], place) !== 0) this.remove(this.rows[i]);
    }
  }

  // ---- what is solved ----

  /** An equation that has nothing but its pivot left, or null. */
  solved(): Equation | null {
    for (let i = 0; i < this.count; i++) {
      if (this.isSolved(this.rows[i])) return this.rows[i];
    }
    return null;
  }

  /** Memory that has the parity of an equation, from {@link parityAt} on. */
  get parity(): Uint8Array {
    return this.memory.bytes;
  }

  parityAt(equation: Equation): number {
    return equation.at + COEFFICIENTS;
  }

  remove(equation: Equation): void {
    const { rows } = this;
    const i = rows.indexOf(equation);
    this.count--;
    rows.copyWithin(i, i + 1, this.count + 1);
    rows[this.count] = equation;
  }

  // ---- inside ----

  private allocate(): void {
    const { capacity, rowBytes } = this;
    this.memory = new WordMemory(capacity * rowBytes);
    this.rows = Array.from({ length: capacity }, (_, i) => new Equation(i * rowBytes));
  }

  private coefficientOf(equation: Equation, place: number): number {
    return this.memory.bytes[equation.at + place];
  }

  /** Takes the pivot of `by` out of an equation. */
  private eliminate(equation: Equation, by: Equation): void {
    const coefficient = this.coefficientOf(equation, by.pivot);
    if (coefficient === 0) return;
    const length = COEFFICIENTS + by.length;
    multiplyAdd(this.memory, equation.at, this.memory, by.at, length, coefficient);
    this.work += length;
    equation.length = Math.max(equation.length, by.length);
  }

  /** Gives an open equation a pivot that no other has; one without unknowns is removed. */
  private takePivot(equation: Equation): void {
    const pivot = this.firstUnknown(equation);
    if (pivot < 0) {
      if (this.isNought(equation)) this.remove(equation);
      else this.contradict(equation);
      return;
    }
    equation.pivot = pivot;
    const coefficient = this.coefficientOf(equation, pivot);
    if (coefficient !== 1) {
      scale(this.memory, equation.at, COEFFICIENTS + equation.length, inverse(coefficient));
      this.work += COEFFICIENTS + equation.length;
    }
    for (let i = 0; i < this.count; i++) {
      if (this.rows[i] !== equation) this.eliminate(this.rows[i], equation);
    }
  }

  private contradict(equation: Equation): void {
    this.contradictions++;
    this.remove(equation);
  }

  private firstUnknown({ at }: Equation): number {
    const { bytes } = this.memory;
    for (let place = 0; place < SPAN_MAX; place++) if (bytes[at + place] !== 0) return place;
    return -1;
  }

  private isSolved({ at, pivot }: Equation): boolean {
    const { bytes } = this.memory;
    for (let place = 0; place < SPAN_MAX; place++) {
      if (bytes[at + place] !== 0 && place !== pivot) return false;
    }
    return true;
  }

  private isNought({ at, length }: Equation): boolean {
    const { bytes } = this.memory;
    const end = at + COEFFICIENTS + length;
    for (let i = at + COEFFICIENTS; i < end; i++) if (bytes[i] !== 0) return false;
    return true;
  }

  /** Unknowns in all open equations. */
  private unknowns(): number {
    const { seen } = this;
    const { bytes } = this.memory;
    seen.fill(0);
    for (let i = 0; i < this.count; i++) {
      const { at } = this.rows[i];
      for (let place = 0; place < SPAN_MAX; place++) if (bytes[at + place] !== 0) seen[place] = 1;
    }
    let unknowns = 0;
    for (let place = 0; place < SPAN_MAX; place++) unknowns += seen[place];
    return unknowns;
  }
}

/** One equation: its coefficients and its parity are in the memory of {@link Equations}. */
export class Equation {
  readonly at: number;
  /** Bytes of parity. */
  length = 0;
  /** The place of the unknown that only this equation has. */
  pivot = 0;

  constructor(at: number) {
    this.at = at;
  }
}

export const UNKNOWNS_MAX = 32;
/** A byte for each place. */
export const COEFFICIENTS = SPAN_MAX;
export const EQUATIONS_MAX = 32;
