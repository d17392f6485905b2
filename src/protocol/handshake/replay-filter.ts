/**
 * Which tickets were used, so that none is used twice, and nothing that came as early data is taken again. [HS-53]
 *
 * It remembers so many of them and no more. An id that has to be forgotten to make room for another is one whose hello would be refused for its
 * age by now, so a hello that was captured comes to nothing whether its ticket is remembered or not. When none can be forgotten, the
 * filter is not sure of any newcomer, and says so: it fails closed.
 */

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
  /** When each ticket was used, in ms of the caller's clock; the oldest first. */
  private readonly used = new Map<string, number>();
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
    this.memory.held = () => this.used.size * ENTRY_BYTES;
    this.entriesMax = entriesMax;
    this.windowMs = windowMs;
    this.lifetimeMs = lifetimeMs;
  }

  get size(): number {
    return this.used.size;
  }

  /** The ticket with this id is used now, which is remembered. */
  use(id: Uint8Array, nowMs: number): TicketUse {
    const key = keyOf(id);
    if (this.used.has(key)) return TicketUse.AGAIN;
    this.forgetBefore(nowMs - this.lifetimeMs);
    const isFull = this.used.size >= this.entriesMax || this.memory.available < ENTRY_BYTES;
    if (isFull && !this.forgetOldest(nowMs - this.windowMs)) return TicketUse.UNSURE;
    this.used.set(key, nowMs);
    this.memory.take(ENTRY_BYTES);
    return TicketUse.FIRST;
  }

  private forgetBefore(time: number): void {
    while (this.forgetOldest(time));
  }

  /** False when there is none that was used before `time`. */
  private forgetOldest(time: number): boolean {
    for (const [key, usedAt] of this.used) {
      if (usedAt >= time) return false;
      this.used.delete(key);
      this.memory.give(ENTRY_BYTES);
      return true;
    }
    return false;
  }
}

function keyOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1');
}

/** An id as a string, its time, and their place in the table. */
const ENTRY_BYTES = 128;
