/** What a log of a cluster asks of the engine that keeps it, which answers by {@link LogStreamListener}, later and in any order that is not told otherwise. */

import type { AppendFault, StoredRecord } from '../../core/store-port.ts';

export interface LogStream {
  /** Null: nobody listens yet. */
  listener: LogStreamListener | null;
  /** What is asked is answered; else it is lost. */
  readonly isUp: boolean;
  /** Of one record, as it is handed over. */
  readonly recordBytesMax: number;
  /** Takes a record, in the order of the calls; `answered` follows, if nothing is lost. */
  append(ticket: number, body: Uint8Array, name: string): void;
  /** What readers know of offsets is not so any more: the log gets another epoch, which `looked` tells. */
  beginAnew(): void;
  /** Asks where the log begins and ends: `looked` follows. */
  look(): void;
  /** Asks for records in [from, until), which is stored; about so many bytes of them: `read` follows. */
  read(from: number, until: number, bytesMax: number): void;
  /** Asks for the first record of a time (wall clock, ms): `found` follows. */
  find(timeMs: number): void;
  /** From now on `arrived` is told of each record from `from` on; null: of none any more. */
  follow(from: number | null): void;
}

/** What is known of where a log is, when it was asked. */
export interface LogExtent {
  readonly epoch: number;
  readonly earliest: number;
  readonly head: number;
  readonly bytes: number;
}

export interface LogStreamListener {
  up(): void;
  down(): void;
  /** A record is stored at this offset, now or, as one of its name, before. */
  placed(ticket: number, offset: number, isDuplicate: boolean): void;
  /** A record is not stored, for good: `fault`; or null: it was not taken, and may be when it is handed over again. */
  refused(ticket: number, fault: AppendFault | null, reason: string): void;
  /** Null: it could not be had. */
  looked(extent: LogExtent | null): void;
  /** All records from `from` on that are below `next`; null: they could not be had. */
  read(from: number, records: readonly StoredRecord[] | null, next: number): void;
  /** Null: it could not be had; infinite: there is none. */
  found(timeMs: number, offset: number | null): void;
  /** The next record, behind which `next` is; null: what is there is none that can be read. In the order of offsets. */
  arrived(record: StoredRecord | null, offset: number): void;
}
