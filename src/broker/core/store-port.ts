/**
 * What the core asks of a store. It asks synchronously and is answered from memory; what the store does with the disk it does behind this, and the driver
 * tells the core of it (`BrokerCore.stored`, `stateStored`, `loaded`, `trimmed`, `storeFailed`). So the core stays free of I/O.
 */

/** Why a log takes no record. */
export const AppendFault = { FULL: -1, FAILED: -2 } as const;
export type AppendFault = (typeof AppendFault)[keyof typeof AppendFault];

/** A message as a log keeps it. */
export interface LogRecord {
  /** The PUBLISH as it is delivered. The log writes the low half of its offset into the id; nobody else changes it any more. */
  readonly command: Uint8Array;
  /** End of the topic in {@link command}. */
  readonly topicEnd: number;
  /** Number of the session that published it, and in which of its sequences under which id; session 0: none. */
  readonly session: number;
  readonly sequence: number;
  readonly id: number;
  /** Wall clock, ms: from then on it is not delivered; 0 = never. */
  readonly expiresAt: number;
  /** Wall clock, ms: when the broker took it. */
  readonly publishedAt: number;
}

export interface StoredRecord extends LogRecord {
  readonly offset: number;
}

/** Records in the order of their offsets, which rise by one and are never given twice. */
export interface LogPort {
  readonly name: string;
  /** What it stores; that of the default log is empty: it takes what no other does. */
  readonly filters: readonly string[];
  /** Changes when offsets could mean other records than before. */
  readonly epoch: number;
  /** What it has stored survives the process. */
  readonly isDurable: boolean;
  /** Offset of the first record that it still has; {@link head} when it has none. */
  readonly earliest: number;
  /** Offset of the next record that comes. */
  readonly head: number;
  /** All records below are stored: they may be acknowledged and delivered. */
  readonly synced: number;

  /** Takes a record. Returns its offset, or why it takes none. */
  append(record: LogRecord): number;

  /**
   * Records from `from` (which is not below {@link earliest}) on, below `until`: at least one, and no more than about `bytesMax` bytes of them.
   * Null: they are being loaded, and `BrokerCore.loaded` follows.
   */
  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null;

  /** Offset of the first record taken at this time (wall clock, ms) or later. Null: it is being found, and `BrokerCore.loaded` follows. */
  firstAt(timeMs: number): number | null;
}

/** Small values by name, all of them in memory, bounded by those who put them. */
export interface StatePort {
  get(key: string): Uint8Array | undefined;
  put(key: string, value: Uint8Array): void;
  delete(key: string): void;
  entries(prefix: string): Iterable<readonly [key: string, value: Uint8Array]>;
  /** Changes ever made, and how many of them are stored. */
  readonly written: number;
  readonly synced: number;
}

export interface StorePort {
  /** The default log first. */
  readonly logs: readonly LogPort[];
  readonly state: StatePort;
  /** Of the messages of this session in the logs: the last id of each of its sequences, 0 for none. */
  lastIds(session: number): readonly number[];
  /** The session is over: its ids are not asked for any more. */
  forgetSession(session: number): void;
}
