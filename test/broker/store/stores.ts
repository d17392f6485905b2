/** What tests of the store have in common: records, and a store on a disk in memory. */

import { Prng } from '../../../src/base/random.ts';
import type { LogOptions, LogPort, LogRecord, StoredRecord } from '../../../src/broker/core/store-port.ts';
import type { DiskStore } from '../../../src/broker/store/disk-store.ts';
import { type OpenOptions, type OpenResult, openStore } from '../../../src/broker/store/open-store.ts';
import type { StoreSurroundings } from '../../../src/broker/store/surroundings.ts';
import { FaultyFileSystem } from './faulty-file-system.ts';
import { StoreClock, settled } from './store-clock.ts';

export const DIRECTORY = '/store';

export interface Published {
  session?: number;
  sequence?: number;
  id?: number;
  topic?: string;
  payload?: Uint8Array | string;
  publishedAt?: number;
  expiresAt?: number;
}

/** A record as the core makes one. */
export function recordOf(published: Published = {}): LogRecord {
  const {
    session = 0,
    sequence = 0,
    id = 0,
    topic = 'a/b',
    payload = '',
    publishedAt = 0,
    expiresAt = 0,
  } = published;
  const name = Buffer.from(topic);
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const command = new Uint8Array(8 + name.length + body.length);
  command[0] = 1;
  command[1] = 1;
  command[3] = name.length;
  command.set(name, 8);
  command.set(body, 8 + name.length);
  return { command, topicEnd: 8 + name.length, session, sequence, id, expiresAt, publishedAt };
}

export function payloadOf(record: StoredRecord): string {
  return Buffer.from(record.command.subarray(record.topicEnd)).toString();
}

/** A disk, a clock, and what it takes to open stores on them. */
export class Bench {
  files: FaultyFileSystem;
  readonly clock = new StoreClock();
  readonly random: Prng;
  settings: Partial<StoreSurroundings> = {};
  logs: readonly LogOptions[] = [];

  constructor(seed = 1) {
    this.random = new Prng(seed);
    this.files = new FaultyFileSystem(this.random.fork());
  }

  open(options: Partial<OpenOptions> = {}): Promise<OpenResult> {
    return openStore({ directory: DIRECTORY, logs: this.logs, ...options }, this.surroundings());
  }

  surroundings(): Partial<StoreSurroundings> {
    return {
      files: this.files,
      clock: this.clock,
      wallMs: () => this.clock.wallMs(),
      random: () => this.random.uint32() + 1,
      boot: 'one',
      ...this.settings,
    };
  }
}

/** All that a log has. */
export async function allOf(log: LogPort, from = log.earliest): Promise<StoredRecord[]> {
  const found: StoredRecord[] = [];
  let next = from;
  for (let waits = 0; next < log.synced; ) {
    const records = log.read(next, log.synced, 10_000);
    if (records === null) {
      if (++waits > 1_000) throw new Error(`${log.name} is never loaded`);
      await settled(100);
      continue;
    }
    waits = 0;
    if (records.length === 0) break;
    found.push(...records);
    next = records[records.length - 1].offset + 1;
  }
  return found;
}

/** Appends, and waits until it is stored. */
export async function stored(
  store: DiskStore,
  log: LogPort,
  records: readonly LogRecord[],
): Promise<number[]> {
  const offsets = records.map((record) => log.append(record));
  await store.idle();
  return offsets;
}
