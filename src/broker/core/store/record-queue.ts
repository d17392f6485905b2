/**
 * Records in memory, in the order of their offsets: new ones come behind, and the oldest leave in front. It has no bound of its own: each owner says how many
 * bytes it may be. A log in memory is nothing else; one on the disk has its newest records here.
 */

import type { StoredRecord } from '../store-port.ts';

export class RecordQueue<T extends StoredRecord = StoredRecord> {
  /** Offset of the record that comes next. */
  next: number;
  /** What the records that are here are charged. */
  bytes = 0;
  private readonly overheadBytes: number;
  /** From {@link start} on those that are here; before, places of those that have left, which are given back now and then. */
  private records: (T | null)[] = [];
  private start = 0;

  /**
   * @param next - offset of the first record that comes
   * @param overheadBytes - what a record is charged beside its command
   */
  constructor(next: number, overheadBytes: number) {
    this.next = next;
    this.overheadBytes = overheadBytes;
  }

  get length(): number {
    return this.records.length - this.start;
  }

  /** Offset of the oldest record; {@link next} where there is none. */
  get from(): number {
    return this.next - this.length;
  }

  get oldest(): T | undefined {
    return this.records[this.start] ?? undefined;
  }

  /** The record of an offset that is here. */
  at(offset: number): T {
    return this.records[this.records.length + offset - this.next] as T;
  }

  /** @param record - its offset is {@link next}, the low half of which becomes the id of its PUBLISH */
  push(record: T): void {
    setId(record.command, record.offset);
    this.records.push(record);
    this.bytes += this.bytesOf(record);
    this.next++;
  }

  /** The oldest record leaves: there is one. */
  dropOldest(): void {
    const { records } = this;
    this.bytes -= this.bytesOf(records[this.start] as T);
    records[this.start++] = null;
    if (this.start < PLACES_MIN || this.start * 2 < records.length) return;
    this.records = records.slice(this.start);
    this.start = 0;
  }

  /** Records from `offset` on leave, and their offsets are given again. */
  takeBack(offset: number): void {
    for (let i = offset; i < this.next; i++) this.bytes -= this.bytesOf(this.at(i));
    this.records.length -= this.next - offset;
    this.next = offset;
  }

  /** Records from `from` on, below `until`, which are here: at least one, and no more than about `bytesMax` bytes of them. */
  read(from: number, until: number, bytesMax: number): T[] {
    const { records } = this;
    const found: T[] = [];
    let bytes = 0;
    const end = records.length + until - this.next;
    for (let i = records.length + from - this.next; i < end; i++) {
      const record = records[i] as T;
      bytes += record.command.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(record);
    }
    return found;
  }

  /** Offset of the first record taken at `timeMs` or later; `until` where all before that are older. */
  firstAt(timeMs: number, until: number): number {
    let low = this.from;
    let high = until;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.at(middle).publishedAt < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private bytesOf({ command }: T): number {
    return command.length + this.overheadBytes;
  }
}

function setId(command: Uint8Array, offset: number): void {
  const id = offset >>> 0;
  command[4] = id >>> 24;
  command[5] = id >>> 16;
  command[6] = id >>> 8;
  command[7] = id;
}

/** Records that have left and whose places are kept. */
const PLACES_MIN = 1_024;
