/**
 * Finds a record that a log has twice, though it is one message: the backplane knows repetitions for some time only. Of each sequence of a session it is kept which ids have come, as
 * long as the log is read in its order; so a late repetition is known, and what comes late and has not come before is not taken for one. [CLU-32]
 *
 * Bounded: those that were not read for the longest are forgotten, and of one the lowest ids.
 */

import { RangeSet } from '../../../base/ranges.ts';
import type { StoredRecord } from '../../core/store-port.ts';

interface Seen {
  /** Ids, as if they went on behind 32 bits. */
  readonly ids: RangeSet;
  last: number;
  /** Offset of the last record. */
  offset: number;
}

export class SeenIds {
  /** Repetitions that were found. */
  readonly repeated = new RangeSet();
  private readonly keptMax: number;
  private young = new Map<number, Seen>();
  private old = new Map<number, Seen>();

  /** @param keptMax - sequences that are kept in mind at least, and twice as many at most */
  constructor(keptMax = KEPT_MAX) {
    this.keptMax = keptMax;
  }

  /** Whether the log has had this message before. */
  isRepeated({ session, sequence, id, offset }: StoredRecord): boolean {
    if (session === 0 || id === 0) return false;
    const seen = this.seenOf(session * SEQUENCES + sequence, id);
    // What lies before was looked at when it came.
    if (offset <= seen.offset) return this.repeated.contains(offset);
    seen.offset = offset;
    const at = seen.last + ((id - seen.last) | 0);
    if (seen.ids.contains(at)) {
      this.repeated.add(offset, offset + 1);
      if (this.repeated.size > REPEATED_MAX) this.repeated.shiftRange();
      return true;
    }
    seen.ids.add(at, at + 1);
    if (seen.ids.size > RANGES_MAX) seen.ids.shiftRange();
    seen.last = Math.max(seen.last, at);
    return false;
  }

  private seenOf(key: number, id: number): Seen {
    const { young, old } = this;
    let seen = young.get(key);
    if (seen !== undefined) return seen;
    seen = old.get(key) ?? { ids: new RangeSet(), last: id, offset: 0 };
    young.set(key, seen);
    if (young.size > this.keptMax) {
      this.old = young;
      this.young = new Map();
    }
    return seen;
  }
}

const SEQUENCES = 4;
const KEPT_MAX = 16_384;
/** Of one sequence: it has more than one where ids were refused, or went to other logs. */
const RANGES_MAX = 64;
const REPEATED_MAX = 4_096;
