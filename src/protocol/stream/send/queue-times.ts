import { type Micros, NEVER } from '../../../base/time.ts';

/**
 * Since when the messages of a queue wait, without a time for each: what one turn leaves behind shares a mark, and a queue that each turn
 * empties has none. There are 32 marks. When they are used up, the two that are nearest to each other become one, with the earlier time: a
 * message may then seem older than it is, by about a fifteenth of what the queue is long, and never younger.
 */
export class QueueTimes {
  private readonly queue: CountedQueue;
  /** How many messages had entered the queue by the end of each mark, and when; made with the first. */
  private ends: Float64Array = NONE;
  private times: Float64Array = NONE;
  private count = 0;

  constructor(queue: CountedQueue) {
    this.queue = queue;
  }

  /** A turn is over: what still waits has waited since now, unless it did before. */
  note(now: Micros): void {
    const { first } = this;
    const { pushed } = this.queue;
    this.forget(first);
    if (first === pushed || (this.count > 0 && this.ends[this.count - 1] >= pushed)) return;
    if (this.ends === NONE) {
      this.ends = new Float64Array(MARKS_MAX);
      this.times = new Float64Array(MARKS_MAX);
    }
    if (this.count === MARKS_MAX) this.merge(now);
    this.ends[this.count] = pushed;
    this.times[this.count++] = now;
  }

  /** Since when the oldest message waits that is not wholly sent; NEVER where none waits, or no turn has left it behind yet. */
  get since(): Micros {
    this.forget(this.first);
    return this.count === 0 ? NEVER : this.times[0];
  }

  /** The number of the oldest that waits, among all that ever entered. */
  private get first(): number {
    const { cutAt, pushed, records } = this.queue;
    return pushed - records.queued - (cutAt > 0 ? 1 : 0);
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

/** What is counted of a queue: messages that ever entered, those that wait, and whether one before them is partly sent. */
interface CountedQueue {
  readonly pushed: number;
  readonly cutAt: number;
  readonly records: { readonly queued: number };
}

const MARKS_MAX = 32;
const NONE = new Float64Array(0);
