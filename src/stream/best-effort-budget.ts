import type { Segment } from './segment.ts';

/**
 * Memory for the best-effort messages of a connection that are incomplete or unread. At its limit the oldest give way, and their
 * owners are told.
 */
export class BestEffortBudget {
  readonly bytesMax: number;
  used = 0;
  private oldest: Segment | null = null;
  private newest: Segment | null = null;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Takes `bytes` for `segment`, evicting older ones; false when that is more than there is at all. */
  admit(segment: Segment, bytes: number): boolean {
    if (bytes > this.bytesMax) return false;
    while (this.used + bytes > this.bytesMax) this.evictOldest();
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
  }

  private evictOldest(): void {
    const segment = this.oldest!;
    this.release(segment);
    segment.owner.onEvicted(segment);
  }
}
