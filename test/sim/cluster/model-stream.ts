/** A stream of JetStream as a log of the cluster stands on it: records by sequence, retention, and for a while the ids of what it has taken. */

import { RecordQueue } from '../../../src/broker/core/store/record-queue.ts';
import { type Retention, retentionOf } from '../../../src/broker/core/store/retention.ts';
import {
  AppendFault,
  type LogOptions,
  type LogRecord,
  type StoredRecord,
} from '../../../src/broker/core/store-port.ts';

export interface StreamOptions extends LogOptions {
  /** For so long it knows the id of a record. */
  readonly duplicateWindowMs?: number | undefined;
}

/** What has become of a record: where it stands, also when it came before; or why it was not taken. */
export interface StreamAnswer {
  readonly offset: number;
  readonly isDuplicate: boolean;
}

export class ModelStream {
  readonly name: string;
  readonly epoch: number;
  /** Told when it has taken something, or dropped something. */
  onMoved: (earliest: number, head: number) => void = () => {};
  private readonly retention: Retention;
  private readonly duplicateWindowMs: number;
  private readonly records = new RecordQueue(1, 0);
  private readonly ids = new Map<string, { offset: number; atMs: number }>();
  /** By session: ids by sequence, in the order in which they came. */
  private readonly idsOf = new Map<number, { sequence: number; id: number }[]>();

  constructor(options: StreamOptions, epoch: number) {
    this.name = options.name;
    this.epoch = epoch;
    this.retention = retentionOf(options, BYTES_MAX);
    this.duplicateWindowMs = options.duplicateWindowMs ?? 120_000;
  }

  get earliest(): number {
    return this.records.from;
  }

  get head(): number {
    return this.records.next;
  }

  get bytes(): number {
    return this.records.bytes;
  }

  /** @param id - of the record, by which it is known when it comes again; null: it has none */
  append(record: LogRecord, id: string | null, nowMs: number): StreamAnswer {
    for (const [known, { atMs }] of this.ids) {
      if (atMs + this.duplicateWindowMs > nowMs) break;
      this.ids.delete(known);
    }
    const before = id === null ? undefined : this.ids.get(id);
    if (before !== undefined) return { offset: before.offset, isDuplicate: true };
    const { bytesMax, messagesMax, discardsOld } = this.retention;
    const isFull =
      this.records.bytes + record.command.length > bytesMax || this.records.length >= messagesMax;
    if (isFull && !discardsOld) return { offset: AppendFault.FULL, isDuplicate: false };
    if (isFull) this.records.dropOldest();
    const offset = this.records.next;
    this.records.push({ ...record, command: Uint8Array.from(record.command), offset });
    if (id !== null) this.ids.set(id, { offset, atMs: nowMs });
    const { session, sequence } = record;
    if (session !== 0)
      this.idsOf.set(session, [...(this.idsOf.get(session) ?? []), { sequence, id: record.id }]);
    this.onMoved(this.earliest, this.head);
    return { offset, isDuplicate: false };
  }

  /** The last id of each sequence of a session. */
  lastIds(session: number): ReadonlyMap<number, number> {
    return new Map((this.idsOf.get(session) ?? []).map(({ sequence, id }) => [sequence, id]));
  }

  /** Drops all records before `offset`. */
  trim(offset: number): void {
    while (this.records.length > 0 && this.records.from < offset) this.records.dropOldest();
    this.onMoved(this.earliest, this.head);
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] {
    return this.records.read(Math.max(from, this.earliest), Math.min(until, this.head), bytesMax);
  }

  firstAt(timeMs: number): number {
    return this.records.firstAt(timeMs, this.records.next);
  }
}

const BYTES_MAX = 64 * 1024 * 1024;
