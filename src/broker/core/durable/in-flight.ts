/**
 * What a subscription was given and has not settled, in the order of the log. A message takes a place with its first delivery and keeps it through all
 * others until it is settled. [BRK-66]
 *
 *     SENT ── no answer in time, or its holder is gone ──> READY ── delivered again ──> SENT
 *     SENT ── NACK ──> WAITING ── its time has come ──> READY
 *     SENT, READY, WAITING ── deliveries used up, or TERMINATE ──> DYING ── stored as a dead letter ──> settled
 *     any ── ACK, expired, gone from the log ──> settled
 *
 * Columns, not objects: a window of a thousand comes and goes a hundred times a second. Places that are settled in the middle are closed up when the
 * columns are full, so that a place costs a constant time on average.
 */

/** The life of a delivery. */
export const FlightState = { SETTLED: 0, SENT: 1, WAITING: 2, READY: 3, DYING: 4 } as const;
export type FlightState = (typeof FlightState)[keyof typeof FlightState];

/** Messages that are not settled, one behind the other, and that were delivered equally often. */
export interface Run {
  /** Of the first. */
  readonly offset: number;
  count: number;
  readonly attempts: number;
}

/** Nobody has it. */
const NO_HOLDER = 0;

export class InFlight {
  private columns = EMPTY;
  /** Places in use are [start, end); the first is not settled. */
  private start = 0;
  private end = 0;
  private unsettled = 0;
  private ready = 0;
  private waiting = 0;
  /** No place before is READY. */
  private readyFrom = 0;

  /** How many are not settled. */
  get count(): number {
    return this.unsettled;
  }

  /** How many are to be delivered again now. */
  get readyCount(): number {
    return this.ready;
  }

  /** How many are to be delivered again later. */
  get waitingCount(): number {
    return this.waiting;
  }

  /** Offset of the first that is not settled; infinite when there is none. */
  get floor(): number {
    return this.start < this.end ? this.columns.offsets[this.start] : Number.POSITIVE_INFINITY;
  }

  /** Places, settled ones among them, are [first, limit). They stay where they are until the next {@link add} or {@link restore}. */
  get first(): number {
    return this.start;
  }

  get limit(): number {
    return this.end;
  }

  stateAt(place: number): FlightState {
    return this.columns.states[place] as FlightState;
  }

  offsetAt(place: number): number {
    return this.columns.offsets[place];
  }

  /** How often it has been delivered. */
  attemptsAt(place: number): number {
    return this.columns.attempts[place];
  }

  /** When it is answered for at the latest, or to be delivered again. */
  dueAt(place: number): number {
    return this.columns.dueMs[place];
  }

  holderAt(place: number): number {
    return this.columns.holders[place];
  }

  /** True when it was given to `holder` last, or before that. */
  wasGivenTo(place: number, holder: number): boolean {
    return this.columns.holders[place] === holder || this.columns.formerHolders[place] === holder;
  }

  /** Delivered for the first time; `offset` is behind all others. */
  add(offset: number, holder: number, dueMs: number): void {
    const place = this.append(offset, FlightState.SENT, 1);
    this.columns.holders[place] = holder;
    this.columns.dueMs[place] = dueMs;
  }

  /** To be delivered by somebody who cannot take it yet: not settled, as is what is known from before. `offset` is behind all others. */
  restore(offset: number, attempts: number): void {
    this.append(offset, FlightState.READY, attempts);
    this.ready++;
  }

  /** What is not settled, with how often each was delivered: as little as there is to say of a window that came one after another. */
  runs(): Run[] {
    const { offsets, attempts, states } = this.columns;
    const runs: Run[] = [];
    let last: Run | undefined;
    for (let place = this.start; place < this.end; place++) {
      if (states[place] === FlightState.SETTLED) continue;
      if (last?.attempts === attempts[place] && last.offset + last.count === offsets[place]) last.count++;
      else {
        last = { offset: offsets[place], count: 1, attempts: attempts[place] };
        runs.push(last);
      }
    }
    return runs;
  }

  /** The place of `offset`, or -1 when it is not among the unsettled. */
  find(offset: number): number {
    const { offsets, states } = this.columns;
    if (offset === this.floor) return this.start; // the most common: answers come in order
    const place = this.from(offset);
    return place < this.end && offsets[place] === offset && states[place] !== FlightState.SETTLED
      ? place
      : -1;
  }

  /** The first place whose offset is `offset` or more; {@link limit} when there is none. */
  from(offset: number): number {
    const { offsets } = this.columns;
    let low = this.start;
    let high = this.end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (offsets[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first that is READY, or -1. */
  nextReady(): number {
    if (this.ready === 0) return -1;
    const { states } = this.columns;
    for (let place = Math.max(this.start, this.readyFrom); place < this.end; place++) {
      if (states[place] !== FlightState.READY) continue;
      this.readyFrom = place;
      return place;
    }
    return -1;
  }

  /** A READY one is delivered again. */
  resend(place: number, holder: number, dueMs: number): void {
    const { columns } = this;
    this.move(place, FlightState.SENT);
    if (columns.attempts[place] < ATTEMPTS_MAX) columns.attempts[place]++;
    if (columns.holders[place] !== NO_HOLDER) columns.formerHolders[place] = columns.holders[place];
    columns.holders[place] = holder;
    columns.dueMs[place] = dueMs;
  }

  /** The time to answer begins anew. */
  prolong(place: number, dueMs: number): void {
    this.columns.dueMs[place] = dueMs;
  }

  /** Not before that time again. */
  delay(place: number, untilMs: number): void {
    this.move(place, FlightState.WAITING);
    this.waiting++;
    this.columns.dueMs[place] = untilMs;
  }

  /** To be delivered again as soon as somebody takes it. */
  release(place: number): void {
    if (this.columns.states[place] === FlightState.READY) return;
    this.move(place, FlightState.READY);
    if (place < this.readyFrom) this.readyFrom = place;
    this.ready++;
  }

  /** Not to be delivered again; it is settled when its dead letter is stored. */
  condemn(place: number): void {
    this.move(place, FlightState.DYING);
  }

  settle(place: number): void {
    this.move(place, FlightState.SETTLED);
    this.unsettled--;
    if (place > this.start) return;
    const { states } = this.columns;
    let start = place + 1;
    while (start < this.end && states[start] === FlightState.SETTLED) start++;
    this.start = start;
    if (start === this.end) {
      this.start = 0;
      this.end = 0;
      this.readyFrom = 0;
    }
  }

  /** Gives memory back that nothing uses. */
  shrink(): void {
    if (this.unsettled === 0) this.columns = EMPTY;
  }

  private move(place: number, state: FlightState): void {
    const { states } = this.columns;
    if (states[place] === FlightState.READY) this.ready--;
    else if (states[place] === FlightState.WAITING) this.waiting--;
    states[place] = state;
  }

  private append(offset: number, state: FlightState, attempts: number): number {
    if (this.end === this.columns.states.length) this.makeRoom();
    const { columns } = this;
    const place = this.end++;
    columns.offsets[place] = offset;
    columns.states[place] = state;
    columns.attempts[place] = attempts;
    columns.dueMs[place] = 0;
    columns.holders[place] = NO_HOLDER;
    columns.formerHolders[place] = NO_HOLDER;
    this.unsettled++;
    return place;
  }

  /** Closes up the settled places, in larger columns where that does not make enough room. */
  private makeRoom(): void {
    const from = this.columns;
    const capacity = from.states.length;
    const to =
      this.unsettled * 2 > capacity || capacity === 0 ? new Columns(capacity * 2 || CAPACITY_MIN) : from;
    let place = 0;
    for (let old = this.start; old < this.end; old++) {
      if (from.states[old] === FlightState.SETTLED) continue;
      to.offsets[place] = from.offsets[old];
      to.states[place] = from.states[old];
      to.attempts[place] = from.attempts[old];
      to.dueMs[place] = from.dueMs[old];
      to.holders[place] = from.holders[old];
      to.formerHolders[place] = from.formerHolders[old];
      place++;
    }
    this.columns = to;
    this.start = 0;
    this.end = place;
    this.readyFrom = 0;
  }
}

class Columns {
  readonly offsets: Float64Array;
  readonly dueMs: Float64Array;
  readonly holders: Uint32Array;
  readonly formerHolders: Uint32Array;
  readonly attempts: Uint16Array;
  readonly states: Uint8Array;

  constructor(capacity: number) {
    this.offsets = new Float64Array(capacity);
    this.dueMs = new Float64Array(capacity);
    this.holders = new Uint32Array(capacity);
    this.formerHolders = new Uint32Array(capacity);
    this.attempts = new Uint16Array(capacity);
    this.states = new Uint8Array(capacity);
  }
}

/** Shared by all that have nothing in flight. */
const EMPTY = new Columns(0);
const CAPACITY_MIN = 16;
const ATTEMPTS_MAX = 0xffff;
