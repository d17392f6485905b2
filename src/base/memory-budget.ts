import { type Micros, SECOND } from './time.ts';

/** Memory that the peers of an endpoint take. [CON-50] */
export interface MemoryMetrics {
  /** What all peers make the process keep now. */
  readonly memoryBytes: number;
  /** What is reserved for them: what they have, and what they were promised. */
  readonly memoryReservedBytes: number;
  /** The most that may be reserved: the option `memoryBytesMax`. */
  readonly memoryBytesMax: number;
}

/**
 * Memory that peers may make an endpoint keep. Each connection has an account: what it is sure to need, and what was promised to its peer,
 * is reserved ahead, so that the sum has a bound whatever peers do. Nothing here allocates; it only counts.
 */
export class MemoryBudget {
  readonly bytesMax: number;
  private reservedBytes = 0;
  private readonly accounts = new Set<MemoryAccount>();
  /** Null: there never was one. */
  private waiting: Set<MemoryAccount> | null = null;
  /** The account with the least of those that lately found too little to grow by, and until when that counts. */
  private neediest: MemoryAccount | null = null;
  private neediestUntil: Micros = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Reserved by all accounts. */
  get reserved(): number {
    return this.reservedBytes;
  }

  /** What is not reserved; below 0 when accounts were sure to need more than there is. */
  get available(): number {
    return this.bytesMax - this.reservedBytes;
  }

  metrics(): MemoryMetrics {
    let memoryBytes = 0;
    for (const account of this.accounts) memoryBytes += account.heldBytes;
    return { memoryBytes, memoryReservedBytes: this.reservedBytes, memoryBytesMax: this.bytesMax };
  }

  // ---- for accounts only ----

  open(account: MemoryAccount): void {
    this.accounts.add(account);
  }

  change(bytes: number): void {
    this.reservedBytes += bytes;
    if (bytes < 0 && this.waiting !== null && this.waiting.size > 0 && this.available >= RETRY_BYTES)
      this.retry(this.waiting);
  }

  /** Tells `account` when there is room again. */
  awaitRoom(account: MemoryAccount): void {
    this.waiting ??= new Set();
    this.waiting.add(account);
  }

  /** `account` found too little to grow by. */
  noteNeed(account: MemoryAccount, now: Micros): void {
    const { neediest } = this;
    if (neediest !== null && now < this.neediestUntil && account.reserved > neediest.reserved) return;
    this.neediest = account;
    this.neediestUntil = now + NEED_TIME;
  }

  /** Whether `account` has clearly more than one that found too little. */
  isUnfair(account: MemoryAccount, now: Micros): boolean {
    const { neediest } = this;
    return (
      neediest !== null && now < this.neediestUntil && account.reserved > UNFAIR_FACTOR * neediest.reserved
    );
  }

  forget(account: MemoryAccount): void {
    if (this.neediest === account) this.neediest = null;
    this.waiting?.delete(account);
    this.accounts.delete(account);
  }

  private retry(waiting: Set<MemoryAccount>): void {
    const accounts = [...waiting];
    waiting.clear();
    for (const account of accounts) account.holder?.onRoom();
  }
}

/** Where a window, or a queue, gets bytes beyond those that it has for sure. */
export interface MemorySource {
  /** What can be taken now. */
  readonly available: number;
  /** Whether one that cannot go on without them may have so many bytes now. */
  admits(bytes: number): boolean;
  take(bytes: number): void;
  give(bytes: number): void;
  /** Somebody found too little here. */
  awaitRoom(): void;
  /** A window that would be of use was not to be had. */
  noteNeed(now: Micros): void;
  /** Whether others need what was taken here more: then it is to be given back, bit by bit, and no more is taken to grow. */
  owes(now: Micros): boolean;
}

/** Whose account it is. */
export interface MemoryHolder {
  /** What is held of it now, in bytes. */
  readonly heldBytes: number;
  /** There is room again after {@link MemoryAccount.awaitRoom}. */
  onRoom(): void;
}

/** The part of a {@link MemoryBudget} that one connection has. */
export class MemoryAccount implements MemorySource {
  /** Null: nobody holds anything of it. */
  holder: MemoryHolder | null = null;
  private reservedBytes = 0;
  private isClosed = false;
  private readonly budget: MemoryBudget;

  /** @param bytes - what a connection costs with nothing in it */
  constructor(budget: MemoryBudget, bytes: number) {
    this.budget = budget;
    budget.open(this);
    this.take(bytes);
  }

  /** What is held of it now, in bytes. */
  get heldBytes(): number {
    return this.holder?.heldBytes ?? 0;
  }

  /** What the connection has reserved now, in bytes. */
  get reserved(): number {
    return this.reservedBytes;
  }

  /**
   * Half of what is left for one, and an eighth of all left alone: so there is always something for another, for newcomers and for what is
   * sure to be needed, and the greediest gets no more first.
   */
  get available(): number {
    const { available, bytesMax } = this.budget;
    return Math.max(0, Math.floor((available - bytesMax / 8) / 2));
  }

  admits(bytes: number): boolean {
    return bytes <= this.available;
  }

  /** Takes bytes, also where there is too little: what is sure to be needed. */
  take(bytes: number): void {
    if (this.isClosed) return;
    this.reservedBytes += bytes;
    this.budget.change(bytes);
  }

  give(bytes: number): void {
    if (this.isClosed) return;
    this.reservedBytes -= bytes;
    this.budget.change(-bytes);
  }

  awaitRoom(): void {
    if (!this.isClosed) this.budget.awaitRoom(this);
  }

  noteNeed(now: Micros): void {
    if (!this.isClosed) this.budget.noteNeed(this, now);
  }

  owes(now: Micros): boolean {
    return this.budget.isUnfair(this, now);
  }

  /** The connection is forgotten. What an application still reads of it changes nothing here. */
  close(): void {
    this.holder = null;
    this.budget.forget(this);
    this.give(this.reservedBytes);
    this.isClosed = true;
  }
}

/**
 * What a connection keeps beyond what its windows and budgets are charged with: objects of messages, datagrams that small ones keep alive, bit
 * maps, the peer's streams. It is reserved in steps, as it is kept, and given back as it goes, so that nothing which is really in use is
 * promised to anybody. Every connection has {@link SURE_OVERHEAD_BYTES}; the last of what there is goes to what lets things go on. [CON-53]
 */
export class Overhead {
  /** What is kept. */
  used = 0;
  private reserved: number;
  private readonly source: MemorySource | null;

  /** @param source - where it is reserved; null when there is enough for all */
  constructor(source: MemorySource | null) {
    this.source = source;
    this.reserved = source === null ? Number.POSITIVE_INFINITY : SURE_OVERHEAD_BYTES;
    source?.take(SURE_OVERHEAD_BYTES);
  }

  /**
   * Whether so many bytes more can be kept; reserves what is lacking, if it is to be had.
   *
   * @param isUrgent - other memory is free again once this has come
   */
  admits(bytes: number, isUrgent: boolean): boolean {
    const left = this.reserved - this.used - (isUrgent ? 0 : URGENT_BYTES);
    return bytes <= left || this.reserve(bytes - left);
  }

  /** So many bytes are kept now, that were asked for with {@link admits}; what was not is reserved if it can be. */
  add(bytes: number): void {
    this.used += bytes;
    if (this.used > this.reserved) this.reserve(this.used - this.reserved);
  }

  /** So many bytes are not kept any more. */
  drop(bytes: number): void {
    this.used -= bytes;
    if (this.reserved - this.used > SPARE_BYTES_MAX) this.giveBack(STEP_BYTES);
  }

  /** Gives back all that is not in use, but for what is sure. */
  relax(): void {
    this.giveBack(0);
  }

  private reserve(bytes: number): boolean {
    const { source } = this;
    if (source === null) return true;
    const more = source.admits(bytes + STEP_BYTES) ? bytes + STEP_BYTES : bytes;
    if (!source.admits(more)) return false;
    source.take(more);
    this.reserved += more;
    return true;
  }

  private giveBack(spareBytes: number): void {
    const { source } = this;
    const spare = this.reserved - Math.max(SURE_OVERHEAD_BYTES, this.used + spareBytes);
    if (source === null || spare <= 0) return;
    this.reserved -= spare;
    source.give(spare);
  }
}

/** Every connection has so much beside what its windows and budgets have, whatever others use. */
export const SURE_OVERHEAD_BYTES = 16_384;
/** So much of it only for what lets things go on: the beginnings of a few messages that all others wait for. */
const URGENT_BYTES = 4_096;
/** So much is reserved ahead, and so much more than is in use is not kept. */
const STEP_BYTES = 16_384;
const SPARE_BYTES_MAX = 3 * STEP_BYTES;
/** With less room than this it is not worth asking again. */
const RETRY_BYTES = 65_536;
/** So long a need counts that is not told again: a few round trips, since windows grow by them. */
const NEED_TIME: Micros = SECOND;
/** Near enough to the same. */
const UNFAIR_FACTOR = 1.25;
