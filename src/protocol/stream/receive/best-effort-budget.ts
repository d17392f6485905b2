import type { MemorySource } from '../../../base/memory-budget.ts';
import type { Segment } from './segment.ts';

/**
 * Memory for the best-effort messages of a connection that are incomplete or unread. At its limit the oldest give way, and their
 * owners are told.
 */
export class BestEffortBudget {
  readonly bytesMax: number;
  used = 0;
  /** What is reserved of `source`, besides what is there for sure. */
  private taken = 0;
  private readonly source: MemorySource | null;
  private oldest: Segment | null = null;
  private newest: Segment | null = null;

  /** @param source - where what exceeds {@link SURE_BYTES} comes from; null when all of `bytesMax` is there for sure */
  constructor(bytesMax: number, source: MemorySource | null = null) {
    this.bytesMax = bytesMax;
    this.source = source;
  }

  /** Takes `bytes` for `segment`, evicting older ones; false when that is more than there is at all. */
  admit(segment: Segment, bytes: number): boolean {
    if (bytes > this.bytesMax) return false;
    const bytesMax = this.reserve(this.used + bytes);
    if (bytes > bytesMax) return false;
    while (this.used + bytes > bytesMax) this.evictOldest();
    segment.charged = bytes;
    this.used += bytes;
    segment.older = this.newest;
    segment.newer = null;
    if (this.newest === null) this.oldest = segment;
    else this.newest.newer = segment;
    this.newest = segment;
    return true;
  }

  /** Gives a part of a segment's bytes back; it stays in its place. */
  shrink(segment: Segment, bytes: number): void {
    segment.charged -= bytes;
    this.used -= bytes;
  }

  /** Gives back all that `segment` has. Harmless when it has nothing. */
  release(segment: Segment): void {
    if (segment !== this.oldest && segment.older === null) return;
    this.used -= segment.charged;
    segment.charged = 0;
    if (segment.older === null) this.oldest = segment.newer;
    else segment.older.newer = segment.newer;
    if (segment.newer === null) this.newest = segment.older;
    else segment.newer.older = segment.older;
    segment.older = null;
    segment.newer = null;
    if (this.used === 0 && this.taken > 0) {
      this.source?.give(this.taken);
      this.taken = 0;
    }
  }

  /** Reserves memory for `bytes` altogether, as far as there is some. Returns for how many there is. */
  private reserve(bytes: number): number {
    const { source } = this;
    if (source === null) return this.bytesMax;
    if (bytes > SURE_BYTES + this.taken) {
      const wanted = Math.min(this.bytesMax, bytes + STEP_BYTES) - SURE_BYTES - this.taken;
      const more = Math.min(wanted, Math.floor(source.available));
      if (more > 0) {
        source.take(more);
        this.taken += more;
      }
    }
    return Math.min(this.bytesMax, SURE_BYTES + this.taken);
  }

  private evictOldest(): void {
    const segment = this.oldest!;
    this.release(segment);
    segment.owner.onEvicted(segment);
  }
}

/** Every connection has so much, whatever others use. */
export const SURE_BYTES = 16_384;
/** So much is reserved ahead. */
const STEP_BYTES = 65_536;
