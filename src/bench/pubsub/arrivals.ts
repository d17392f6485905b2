import type { PubsubLoad } from './load.ts';

/** What a subscriber got of one publisher. */
export interface ArrivalCounts {
  /** Different messages. */
  delivered: number;
  /** Messages that had come before. */
  doubled: number;
  /** Of the doubled, those that the broker said it might have delivered before. */
  redelivered: number;
  /** Messages behind a later one of their publisher and topic. */
  disordered: number;
}

/** Which messages came to one subscriber: each is known by its publisher and its number there. */
export class Arrivals {
  private readonly topics: number;
  private readonly of: (OfPublisher | undefined)[];

  constructor(load: PubsubLoad) {
    this.topics = load.topics;
    this.of = new Array<OfPublisher | undefined>(load.publishers).fill(undefined);
  }

  /** @param number - from 1 on */
  take(publisher: number, number: number, isRedelivered: boolean): void {
    if (publisher >= this.of.length) return; // not of this run
    let from = this.of[publisher];
    if (from === undefined) {
      from = new OfPublisher(this.topics);
      this.of[publisher] = from;
    }
    from.take(number, isRedelivered);
  }

  get counts(): ArrivalCounts {
    const sum = { delivered: 0, doubled: 0, redelivered: 0, disordered: 0 };
    for (const from of this.of) if (from !== undefined) addCounts(sum, from.counts);
    return sum;
  }

  /** By publisher: which numbers came, a bit each. */
  get seen(): (Uint8Array | undefined)[] {
    return this.of.map((from) => from?.seen);
  }
}

export function addCounts(to: ArrivalCounts, more: ArrivalCounts): void {
  to.delivered += more.delivered;
  to.doubled += more.doubled;
  to.redelivered += more.redelivered;
  to.disordered += more.disordered;
}

/** How many messages came to two or more of a shared group. */
export function overlapOf(members: readonly (readonly (Uint8Array | undefined)[])[]): number {
  let overlap = 0;
  const publishers = Math.max(0, ...members.map(({ length }) => length));
  for (let publisher = 0; publisher < publishers; publisher++) {
    const seen = members.map((member) => member[publisher] ?? new Uint8Array(0));
    const all = new Uint8Array(Math.max(...seen.map(({ length }) => length)));
    for (const bits of seen) {
      bits.forEach((byte, i) => {
        overlap += bitsIn(all[i] & byte);
        all[i] |= byte;
      });
    }
  }
  return overlap;
}

class OfPublisher {
  seen = new Uint8Array(1_024);
  readonly counts: ArrivalCounts = { delivered: 0, doubled: 0, redelivered: 0, disordered: 0 };
  /** The latest number on each topic. */
  private readonly latest: Uint32Array;

  constructor(topics: number) {
    this.latest = new Uint32Array(topics);
  }

  take(number: number, isRedelivered: boolean): void {
    const { counts } = this;
    const at = number >>> 3;
    if (at >= this.seen.length) this.grow(at);
    const bit = 1 << (number & 7);
    if ((this.seen[at] & bit) !== 0) {
      counts.doubled++;
      if (isRedelivered) counts.redelivered++;
      return;
    }
    this.seen[at] |= bit;
    counts.delivered++;
    const topic = number % this.latest.length;
    if (number < this.latest[topic]) counts.disordered++;
    else this.latest[topic] = number;
  }

  private grow(at: number): void {
    const seen = new Uint8Array(Math.max(at + 1, 2 * this.seen.length));
    seen.set(this.seen);
    this.seen = seen;
  }
}

function bitsIn(byte: number): number {
  let bits = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) bits++;
  return bits;
}
