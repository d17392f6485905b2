/**
 * Which tickets were used, so that none is used twice, and nothing that came as early data is taken again. [HS-53]
 *
 * It remembers so many of them and no more. An id that has to be forgotten to make room for another is one whose hello would be refused for its
 * age by now, so a hello that was captured comes to nothing whether its ticket is remembered or not. When none can be forgotten, the
 * filter is not sure of any newcomer, and says so: it fails closed. As it did not remember that one either, it is sure of nobody until the
 * hello of that newcomer could not pass for fresh any more, whose early data its client has sent again by then.
 */

import { AgingMap } from '../../base/aging-map.ts';
import { u48 } from '../../base/bytes.ts';
import { MemoryAccount, type MemoryBudget } from '../../base/memory-budget.ts';

export const TicketUse = {
  /** It was not used before. */
  FIRST: 0,
  /** It was. */
  AGAIN: 1,
  /** Nobody can tell: there are too many to remember. */
  UNSURE: 2,
} as const;
export type TicketUse = (typeof TicketUse)[keyof typeof TicketUse];

export class ReplayFilter {
  /** The oldest first. */
  private readonly used = new AgingMap<string, Use>();
  /** Until then a ticket that is not remembered may have been used. */
  private unsureUntil = Number.NEGATIVE_INFINITY;
  private readonly entriesMax: number;
  private readonly windowMs: number;
  private readonly lifetimeMs: number;
  private readonly memory: MemoryAccount;

  /**
   * @param entriesMax - most tickets to remember
   * @param windowMs - for so long after its use a captured hello could pass for a fresh one
   * @param lifetimeMs - no ticket is good for longer
   */
  constructor(memory: MemoryBudget, entriesMax: number, windowMs: number, lifetimeMs: number) {
    this.memory = new MemoryAccount(memory, 0);
    this.memory.holder = this;
    this.entriesMax = entriesMax;
    this.windowMs = windowMs;
    this.lifetimeMs = lifetimeMs;
  }

  get heldBytes(): number {
    return this.used.size * ENTRY_BYTES;
  }

  /** It asks for no room. */
  onRoom(): void {}

  get size(): number {
    return this.used.size;
  }

  /** The ticket with this id is used now, which is remembered. */
  use(id: Uint8Array, nowMs: number): TicketUse {
    const key = keyOf(id);
    const before = this.used.get(key);
    if (before !== undefined) {
      // Another hello, which is refused, so that what came early with it is sent again: it may not pass for fresh later, either.
      this.used.set(key, { ...before, at: nowMs });
      return TicketUse.AGAIN;
    }
    this.forgetBefore(nowMs - this.lifetimeMs);
    const isFull = this.used.size >= this.entriesMax || this.memory.available < ENTRY_BYTES;
    if (isFull && !this.forgetOldest(nowMs - this.windowMs)) {
      this.unsureUntil = nowMs + this.windowMs;
      return TicketUse.UNSURE;
    }
    this.used.set(key, { at: nowMs, earlyOf: NO_HELLO });
    this.memory.take(ENTRY_BYTES);
    return nowMs <= this.unsureUntil ? TicketUse.UNSURE : TicketUse.FIRST;
  }

  /** The early data that came with this ticket, in the hello with this binder, is taken. */
  tookEarly(id: Uint8Array, binder: Uint8Array): void {
    const use = this.used.get(keyOf(id));
    if (use !== undefined) use.earlyOf = u48(binder);
  }

  /** Whether it was taken, of this very hello. */
  hasTakenEarly(id: Uint8Array, binder: Uint8Array): boolean {
    return this.used.get(keyOf(id))?.earlyOf === u48(binder);
  }

  private forgetBefore(time: number): void {
    while (this.forgetOldest(time));
  }

  /** False when there is none that was used before `time`. */
  private forgetOldest(time: number): boolean {
    const { oldest } = this.used;
    if (oldest === null || oldest.value.at >= time) return false;
    this.used.delete(oldest.key);
    this.memory.give(ENTRY_BYTES);
    return true;
  }
}

interface Use {
  /** When it was shown last, in ms of the caller's clock. */
  readonly at: number;
  /** Marks the hello of which early data was taken, by the first bits of its binder. */
  earlyOf: number;
}

function keyOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1');
}

/** No mark. */
const NO_HELLO = -1;
/** An id as a string, what is known of its use, and their place in the table. */
const ENTRY_BYTES = 256;
