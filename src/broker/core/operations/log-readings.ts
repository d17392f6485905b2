/** Records of logs for an operator, who may have to wait until they are loaded, as no subscription does on his account. */

import type { LogPort, StoredRecord, StoreEvents } from '../store-port.ts';

/** Records, in order; null: they could not be had. */
export type Reader = (records: readonly StoredRecord[] | null) => void;

interface Reading {
  readonly log: LogPort;
  readonly from: number;
  readonly until: number;
  readonly bytesMax: number;
  readonly done: Reader;
}

export class LogReadings implements Partial<StoreEvents> {
  private waiting: Reading[] = [];

  /** Calls `done` with records in [from, until): now, or when they are loaded; some of them at least, and about so many bytes at most. */
  read(log: LogPort, from: number, until: number, bytesMax: number, done: Reader): void {
    if (this.waiting.length >= WAITING_MAX) done(null);
    else this.tryTo({ log, from, until, bytesMax, done });
  }

  loaded(log: LogPort): void {
    const { waiting } = this;
    this.waiting = [];
    for (const reading of waiting) {
      if (reading.log === log) this.tryTo(reading);
      else this.waiting.push(reading);
    }
  }

  /** A log that has failed loads nothing any more. */
  storeFailed(log: LogPort | null): void {
    const { waiting } = this;
    this.waiting = waiting.filter((reading) => reading.log !== log);
    for (const reading of waiting) if (reading.log === log) reading.done(null);
  }

  private tryTo(reading: Reading): void {
    const { log, bytesMax, done } = reading;
    const from = Math.max(reading.from, log.earliest);
    const until = Math.min(reading.until, log.synced);
    const records = from < until ? log.read(from, until, bytesMax) : [];
    if (records === null) this.waiting.push(reading);
    else done(records);
  }
}

const WAITING_MAX = 256;
