import { type Micros, NEVER } from '../../../base/time.ts';

/**
 * Since when the messages of a queue wait, without a time for each: what one turn leaves behind shares a mark, and a queue that each turn
 * empties has none. There are 32 marks. When they are used up, the two that are nearest to each other become one, with the earlier time: a
 * message may then seem older than it is, by about a fifteenth of what the queue is long, and never younger.
 */
export class QueueTimes {
  /** How many messages had entered the queue by the end of each mark, and when. */
  private readonly ends = new Float64Array(MARKS_MAX);
  private readonly times = new Float64Array(MARKS_MAX);
  private count = 0;

  /** Of all messages that ever entered, `end`, those from `first` on still wait. */
  note(first: number, end: number, now: Micros): void {
    this.forget(first);
    if (this.count > 0 && this.ends[this.count - 1] >= end) return;
    if (this.count === MARKS_MAX) this.merge(now);
    this.ends[this.count] = end;
    this.times[this.count++] = now;
  }

  /** Since when the oldest of them waits, `first`; NEVER where no turn has left it behind yet. */
  since(first: number): Micros {
    this.forget(first);
    return this.count === 0 ? NEVER : this.times[0];
  }

  /** Marks of messages that do not wait any more. */
  private forget(first: number): void {
    const { ends, times } = this;
    let over = 0;
    while (over < this.count && ends[over] <= first) over++;
    if (over === 0) return;
    ends.copyWithin(0, over, this.count);
    times.copyWithin(0, over, this.count);
    this.count -= over;
  }

  /** Makes room for one at `now`. */
  private merge(now: Micros): void {
    const { ends, times } = this;
    let at = 0;
    let shortest = NEVER;
    for (let i = 0; i < MARKS_MAX - 1; i++) {
      const span = (i + 2 < MARKS_MAX ? times[i + 2] : now) - times[i];
      if (span >= shortest) continue;
      at = i;
      shortest = span;
    }
    ends[at] = ends[at + 1];
    ends.copyWithin(at + 1, at + 2, this.count);
    times.copyWithin(at + 1, at + 2, this.count);
    this.count--;
  }
}

const MARKS_MAX = 32;
