/** How a broker's store is asked for: on a disk, or in memory; and what of both is told. */

import { JspError } from '../../base/errors.ts';
import { checkOptions, type OptionTable, oneOf, text, whole } from '../../base/options.ts';
import { filterFault } from '../../pubsub/topic.ts';
import { MemoryStore } from '../core/store/memory-store.ts';
import { DEFAULT_LOG, withDefaultLog } from '../core/store/retention.ts';
import type { LogOptions, StorePort } from '../core/store-port.ts';
import type { DiskStore } from './disk-store.ts';
import { NAME_BYTES_MAX } from './format.ts';
import { type OpenOptions, openStore, type RecoveryReport } from './open-store.ts';
import { systemSurroundings } from './surroundings.ts';

/** A store on the disk. */
export interface StoreOptions {
  /** Its folder, which is made where there is none. One broker at a time has it. */
  directory: string;
  /** Of logs that do not say: `always` (the default) acknowledges what the disk has, `interval` what the system has. */
  sync?: 'always' | 'interval' | undefined;
  /** A log that does not wait for the disk is on it after so many ms at the latest. Default 1,000; 1 to 3,600,000. */
  syncIntervalMs?: number | undefined;
  /** What a start does when something that was stored is damaged: `refuse` (the default), or `quarantine`: as `jsp store repair` does. */
  onCorruption?: 'refuse' | 'quarantine' | undefined;
  /** What the broker does when a disk fails: `readOnly` (the default) goes on and refuses what is to be stored; `close` ends it with ERR_JSP_STORE_FAILED. */
  onFailure?: 'readOnly' | 'close' | undefined;
  /** A store of at most so many bytes is read from end to end when it opens; of a larger one its last segments. Default 256 MiB. */
  verifyBytes?: number | undefined;
}

export const STORE_OPTIONS: OptionTable<StoreOptions> = {
  directory: text,
  sync: oneOf(['always', 'interval']),
  syncIntervalMs: whole(1, 3_600_000),
  onCorruption: oneOf(['refuse', 'quarantine']),
  onFailure: oneOf(['readOnly', 'close']),
  verifyBytes: whole(0, Number.MAX_SAFE_INTEGER),
};

export const LOG_OPTIONS: OptionTable<LogOptions> = {
  name: (value) =>
    typeof value === 'string' && value.length <= NAME_BYTES_MAX && /^[A-Za-z0-9._-]+$/.test(value)
      ? null
      : `a name of at most ${NAME_BYTES_MAX} letters, digits, dots, dashes and underscores`,
  filters: (value) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string' && filterFault(each) === null)
      ? null
      : 'a list of filters',
  maxAgeMs: whole(1, Number.MAX_SAFE_INTEGER),
  maxBytes: whole(1_024, Number.MAX_SAFE_INTEGER),
  maxMessages: whole(1, Number.MAX_SAFE_INTEGER),
  discard: oneOf(['old', 'new']),
  sync: oneOf(['always', 'interval']),
};

/** What a broker stands on. */
export interface BrokerStore {
  readonly port: StorePort;
  /** Null: it is in memory. */
  readonly disk: DiskStore | null;
  readonly recovery: RecoveryReport | null;
  /** Writes what waits, and lets others have the directory. */
  close(): Promise<void>;
}

/**
 * Opens what the options of a broker ask for.
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID; and what {@link openStore} throws
 */
export async function openBrokerStore(
  options: StoreOptions | undefined,
  logs: readonly LogOptions[] = [],
): Promise<BrokerStore> {
  checkLogs(logs);
  if (options === undefined) {
    // Offsets of a store in memory begin anew with each: readers know by the epoch.
    const port = new MemoryStore(logs, systemSurroundings().random());
    return { port, disk: null, recovery: null, close: async () => {} };
  }
  checkOptions('store', options, STORE_OPTIONS);
  const { directory, sync, syncIntervalMs, onCorruption, verifyBytes } = options;
  const asked: OpenOptions = {
    directory,
    onCorruption,
    logs: withDefaultLog(logs).map((log) => ({ ...log, sync: log.sync ?? sync })),
  };
  const { store, report, unlock } = await openStore(asked, {
    ...(syncIntervalMs === undefined ? {} : { syncIntervalMs }),
    ...(verifyBytes === undefined ? {} : { verifyBytes }),
  });
  const close = async () => {
    try {
      await store.close();
    } finally {
      unlock();
    }
  };
  return { port: store, disk: store, recovery: report, close };
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkLogs(logs: readonly LogOptions[]): void {
  if (!Array.isArray(logs)) throw invalid('logs must be a list');
  if (logs.length > LOGS_MAX) throw invalid(`logs must be at most ${LOGS_MAX}`);
  const names = new Set<string>();
  for (const log of logs) {
    checkOptions('logs', log, LOG_OPTIONS);
    if (typeof log.name !== 'string') throw invalid('each of logs must have a name');
    if (names.has(log.name)) throw invalid(`logs has "${log.name}" twice`);
    names.add(log.name);
    const filters = log.filters?.length ?? 0;
    if (log.name === DEFAULT_LOG && filters > 0)
      throw invalid(`log "${DEFAULT_LOG}" takes what no other does, and has no filters`);
    if (log.name !== DEFAULT_LOG && filters === 0)
      throw invalid(`log "${log.name}" must have filters: without them it stores nothing`);
  }
}

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', message);
}

const LOGS_MAX = 64;
