/**
 * Records of a log that a node has in memory: stretches of it, each with all records that the log has there. The newest one follows what comes; the others were read for those
 * who are behind, and the one that was not used for the longest leaves when there are too many bytes.
 */

import type { StoredRecord } from '../../core/store-port.ts';

/** All records in [from, next). */
class Window {
  from: number;
  next: number;
  bytes = 0;
  private records: StoredRecord[];
  private start = 0;

  constructor(from: number, next: number, records: StoredRecord[] = []) {
    this.from = from;
    this.next = next;
    this.records = records;
    for (const record of records) this.bytes += bytesOf(record);
  }

  holds(offset: number): boolean {
    return this.from <= offset && offset < this.next;
  }

  push(record: StoredRecord): void {
    this.records.push(record);
    this.bytes += bytesOf(record);
  }

  /** Drops the oldest until there are at most so many bytes. */
  shrink(bytesMax: number): void {
    const { records } = this;
    while (this.bytes > bytesMax && this.start < records.length) {
      const record = records[this.start++];
      this.bytes -= bytesOf(record);
      this.from = record.offset + 1;
    }
    if (this.start < PLACES_MIN || this.start * 2 < records.length) return;
    this.records = records.slice(this.start);
    this.start = 0;
  }

  /** Adds those from `from` on below `until` to `found`, until there are so many bytes of them; at least one. Returns the bytes. */
  take(from: number, until: number, bytesMax: number, found: StoredRecord[]): number {
    const { records } = this;
    let bytes = 0;
    for (let i = this.place(from); i < records.length && records[i].offset < until; i++) {
      const charge = bytesOf(records[i]);
      if (found.length > 0 && bytes + charge > bytesMax) break;
      found.push(records[i]);
      bytes += charge;
    }
    return bytes;
  }

  /** Of the first record at `offset` or behind it. */
  private place(offset: number): number {
    const { records } = this;
    let low = this.start;
    let high = records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (records[middle].offset < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class Windows {
  /** What comes; null: nobody is told. */
  private tail: Window | null = null;
  private readonly others: Window[] = [];
  private bytesOfOthers = 0;
  private readonly tailBytesMax: number;
  private readonly bytesMax: number;

  /** @param bytesMax - of all stretches but the newest one */
  constructor(tailBytesMax = TAIL_BYTES_MAX, bytesMax = BYTES_MAX) {
    this.tailBytesMax = tailBytesMax;
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.bytesOfOthers + (this.tail?.bytes ?? 0);
  }

  /** Offset of the record that comes next; -1: none is told of. */
  get tailNext(): number {
    return this.tail?.next ?? -1;
  }

  /** From now on what comes is told of, from `from` on; null: not any more. */
  follow(from: number | null): void {
    if (this.tail !== null && this.tail.next > this.tail.from) this.keep(this.tail);
    this.tail = from === null ? null : new Window(from, from);
  }

  /** What is at `offset`, up to which there is nothing else; null: nothing that can be read. */
  arrived(record: StoredRecord | null, offset: number): void {
    const { tail } = this;
    if (tail === null || offset < tail.next) return;
    if (record !== null) tail.push(record);
    tail.next = offset + 1;
    tail.shrink(this.tailBytesMax);
  }

  /** A stretch was read: all that is in [from, next). */
  add(from: number, next: number, records: readonly StoredRecord[]): void {
    if (next > from) this.keep(new Window(from, next, [...records]));
  }

  /** Records from `from` on below `until`, or as much of them as is here; null: what is at `from` is not. Empty: there are none. */
  read(from: number, until: number, bytesMax: number): StoredRecord[] | null {
    const found: StoredRecord[] = [];
    let at = from;
    while (at < until) {
      const window = this.windowAt(at);
      if (window === null) return at === from ? null : found.length > 0 ? found : null;
      window.take(at, until, bytesMax, found);
      if (found.length > 0) return found;
      at = window.next; // nothing is left there
    }
    return found;
  }

  /** Where what is here from `offset` on ends. */
  endOf(offset: number): number {
    let at = offset;
    for (let window = this.windowAt(at); window !== null; window = this.windowAt(at)) at = window.next;
    return at;
  }

  private windowAt(offset: number): Window | null {
    if (this.tail?.holds(offset)) return this.tail;
    const { others } = this;
    for (let i = others.length - 1; i >= 0; i--) {
      const window = others[i];
      if (!window.holds(offset)) continue;
      if (i < others.length - 1) {
        others.splice(i, 1);
        others.push(window); // used last
      }
      return window;
    }
    return null;
  }

  private keep(window: Window): void {
    const { others } = this;
    others.push(window);
    this.bytesOfOthers += window.bytes + WINDOW_BYTES;
    while (this.bytesOfOthers > this.bytesMax && others.length > 1) {
      const gone = others.shift() as Window;
      this.bytesOfOthers -= gone.bytes + WINDOW_BYTES;
    }
  }
}

function bytesOf({ command }: StoredRecord): number {
  return command.length + RECORD_BYTES;
}

const RECORD_BYTES = 240;
const WINDOW_BYTES = 256;
const TAIL_BYTES_MAX = 8 * 1024 * 1024;
const BYTES_MAX = 32 * 1024 * 1024;
const PLACES_MIN = 64;
