/** What has happened, numbered: the last 1,000, and whoever listens hears each. [OPS-5] Strangers can make much of one kind happen, such as refusals; that hides nothing of another. */

import type { EventRecord } from './snapshot.ts';

/** Something that happens; what is left out is nobody and nowhere in particular. */
export interface Happening {
  readonly what: string;
  readonly detail?: string;
  readonly principal?: string;
  readonly address?: string;
  readonly door?: string;
}

export class EventLog {
  private readonly records: EventRecord[] = [];
  private readonly onEvent: (event: EventRecord) => void;
  private last = 0;
  /** In this second: how many, and of each kind; and those that were too many. */
  private taken = 0;
  private readonly takenOf = new Map<string, number>();
  private readonly suppressed = new Map<string, number>();

  /** @param onEvent - hears each that is kept */
  constructor(onEvent: (event: EventRecord) => void) {
    this.onEvent = onEvent;
  }

  /** Takes it, unless this second has brought too many of its kind: a kind has at most half of the room that others leave. */
  add(happening: Happening, at: number): void {
    const { what } = happening;
    const { takenOf, suppressed } = this;
    const taken = takenOf.get(what) ?? 0;
    const room = A_SECOND_MAX - (this.taken - taken);
    if (taken + 1 > room / 2) {
      suppressed.set(what, (suppressed.get(what) ?? 0) + 1);
      return;
    }
    takenOf.set(what, taken + 1);
    this.taken++;
    this.keep(happening, at);
  }

  /** A second is over: what was too much for it is told as one. */
  second(at: number): void {
    const { suppressed } = this;
    this.taken = 0;
    this.takenOf.clear();
    if (suppressed.size === 0) return;
    const counts = [...suppressed].map(([what, count]) => `${count} ${what}`);
    suppressed.clear();
    this.keep({ what: 'suppressed', detail: `more events in one second: ${counts.join(', ')}` }, at);
  }

  /** Those after a number, the oldest first: of more than `limit` the latest. */
  after(number: number, limit: number): EventRecord[] {
    const first = this.last - this.records.length + 1;
    const from = Math.max(number + 1, first, this.last - limit + 1);
    return this.records.slice(from - first);
  }

  private keep({ what, detail = '', principal = '', address = '', door = '' }: Happening, at: number): void {
    const event = {
      number: ++this.last,
      at,
      what,
      principal,
      address,
      door,
      detail: detail.slice(0, DETAIL_CHARS_MAX),
    };
    this.records.push(event);
    if (this.records.length > KEPT) this.records.shift();
    this.onEvent(event);
  }
}

const KEPT = 1_000;
const A_SECOND_MAX = 200;
const DETAIL_CHARS_MAX = 512;
