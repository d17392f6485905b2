/**
 * What the core asks of a store. It asks synchronously and is answered from memory; what the store does with the disk it does behind this, and what has
 * become of it the core hears when it polls ({@link StorePort.tell}). So the core stays free of I/O.
 */

import { PublishFlag } from '../../pubsub/command.ts';

/**
 * Why a log takes no record: it is full (of records that it may not drop, or the disk is), it has failed and takes none until the broker starts anew, or
 * it has a record of this sequence with this id or a newer one. Of a log that is kept elsewhere: the record is on its way there ({@link StoreEvents.placed}
 * follows), that place cannot be reached, or does not take records of this length, or has another message of this name.
 */
export const AppendFault = {
  FULL: -1,
  FAILED: -2,
  DUPLICATE: -3,
  PENDING: -4,
  UNREACHABLE: -5,
  TOO_LARGE: -6,
  CONTRADICTION: -7,
} as const;
export type AppendFault = (typeof AppendFault)[keyof typeof AppendFault];

/** What a record keeps of the flags of its PUBLISH, beside QoS 1: some readers want to know of RETAIN. [BRK-131] */
export const STORED_FLAGS = PublishFlag.RETAIN | PublishFlag.PROPERTIES | PublishFlag.COMPRESSED;

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
  /** Wall clock, as if nobody had set it since the broker began, ms: from then on it is not delivered; 0 = never. */
  readonly expiresAt: number;
  /** Wall clock, ms: when the broker took it. */
  readonly publishedAt: number;
}

export interface StoredRecord extends LogRecord {
  readonly offset: number;
}

/**
 * Records in the order of their offsets, which rise by one and are never given to another record once {@link LogPort.synced} is above them. There are holes
 * where a repair has lost records: what {@link LogPort.read} answers then goes on behind the hole.
 */
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
  /** Bytes that its records take. */
  readonly bytes: number;
  /** Of a log that is kept elsewhere. Undefined: this broker alone writes it, and knows where it ends. */
  readonly elsewhere?: LogElsewhere | undefined;

  /** Takes a record. Returns its offset, or why it takes none. */
  append(record: LogRecord): number;

  /**
   * Records from `from` (which is not below {@link earliest}) on, below `until` and {@link synced}: at least one, and no more than about `bytesMax` bytes of
   * them; none only where nothing is left there. Null: they are being loaded, and {@link StoreEvents.loaded} follows.
   */
  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null;

  /** Offset of the first record taken at this time (wall clock, ms) or later. Null: it is being found, and {@link StoreEvents.loaded} follows. */
  firstAt(timeMs: number): number | null;
}

/**
 * What is more to be said of a log that is kept elsewhere, where other brokers write it, too: what is appended takes its time (PENDING), and its head is not known but by asking. Of two
 * records with the same message id, or the same session, sequence and id, it takes the first itself.
 */
export interface LogElsewhere {
  /** Number of the last append that was answered with PENDING, and of the last of them that was told of as placed; the first is 1. */
  readonly lastTicket: number;
  readonly placedTicket: number;
  /** Offset of the next record that comes, from whichever broker, which is {@link LogPort.head} now. Null: it is being asked for, and {@link StoreEvents.loaded} follows. */
  headNow(): number | null;
  /** Whether somebody reads what comes: as long as somebody does, {@link StoreEvents.stored} tells of what others have appended, too. */
  follow(isRead: boolean): void;
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
  /** There is something to {@link tell}. */
  readonly hasNews: boolean;
  /** Tells what has happened since the last time. What the listener does meanwhile is news of the next time. */
  tell(events: StoreEvents): void;
  /** Of the messages of this session in the logs: the last id of each of its sequences, 0 for none. */
  lastIds(session: number): readonly number[];
  /** A later id of the sequence is in a log, and this one is in none: it was refused, or its message was not to be stored. */
  isMissing(session: number, sequence: number, id: number): boolean;
  /** The session is over: its ids are not asked for any more. */
  forgetSession(session: number): void;
}

/** What a store tells. */
export interface StoreEvents {
  /** {@link LogPort.synced} has moved. */
  stored(log: LogPort): void;
  /**
   * What has become of an append that was answered with PENDING: in the order of these appends. One that was placed is stored.
   *
   * @param offset - or the fault for which it is in no log
   * @param isDuplicate - it is the offset of an earlier record, for which this one was known as a repetition
   */
  placed(log: LogPort, ticket: number, offset: number, isDuplicate: boolean): void;
  /** {@link StatePort.synced} has moved. */
  stateStored(): void;
  /** What was being loaded or found in this log is there: ask again, now. */
  loaded(log: LogPort): void;
  /** {@link LogPort.earliest} has moved. */
  trimmed(log: LogPort): void;
  /** {@link LogPort.epoch} has changed while the broker runs: of a log that is kept elsewhere, which was lost there, or is shorter than it was. */
  begunAnew?(log: LogPort): void;
  /** A log, or the state (null), takes nothing more; of a log, what was not stored yet is gone, and {@link LogPort.head} is {@link LogPort.synced} again. */
  storeFailed(log: LogPort | null, failure: StoreFailure): void;
}

export interface StoreFailure {
  /** FULL: the disk is; the log takes records again when there is room. FAILED: for good. */
  readonly fault: AppendFault;
  /** A sentence for people. */
  readonly message: string;
  readonly cause: unknown;
}

/** A log as its owner configures it. */
export interface LogOptions {
  /** At most 64 letters, digits, dots, dashes and underscores. */
  name: string;
  /** What it stores: topics that match one of these, as in a subscription, and no log before it. The log `default` has none: it takes what no other does. */
  filters?: readonly string[] | undefined;
  /** Records older than so many ms are dropped. Default: 7 days. */
  maxAgeMs?: number | undefined;
  /** Most bytes of all its records. Default: 4 GiB on disk, 64 MiB in memory. */
  maxBytes?: number | undefined;
  /** Most records. Default: no bound of its own. */
  maxMessages?: number | undefined;
  /** What gives way when it is full: the `old` records, or the `new` one, which is refused. Default `old`. */
  discard?: 'old' | 'new' | undefined;
  /**
   * When a record counts as stored: when the disk has it (`always`, the default); or as soon as the system has it (`interval`), which survives the end of
   * the process, but of the last `syncIntervalMs` not that of the machine.
   */
  sync?: 'always' | 'interval' | undefined;
}
