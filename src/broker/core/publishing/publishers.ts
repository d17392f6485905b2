/** What the broker knows of publishing streams beyond what comes on them: what they are owed, what was refused, and how they abbreviate topics. */

import { ReasonCode } from '../../../pubsub/command.ts';
import type { Channel } from '../delivery/client.ts';
import type { Sequences } from '../session/sequences.ts';
import { AppendFault, type LogPort, type StoreEvents, type StoreFailure } from '../store-port.ts';
import { OwedReceipts, Receipts, type StateSafety } from './receipts.ts';
import { type RefusedId, RefusedIds } from './refused-ids.ts';
import { TopicAliases } from './topic-aliases.ts';

/** One publishing stream. */
export class Publisher {
  readonly receipts: Receipts;
  readonly aliases: TopicAliases;
  private readonly channel: Channel;
  private readonly refused: RefusedIds;
  private readonly sequences: Sequences;

  constructor(
    channel: Channel,
    sequences: Sequences,
    refused: RefusedIds,
    safety: StateSafety,
    owed: OwedReceipts,
  ) {
    this.channel = channel;
    this.sequences = sequences;
    this.refused = refused;
    this.receipts = new Receipts(channel, safety, owed);
    this.aliases = new TopicAliases(channel.client.queued);
  }

  /** False for an id that the session has used before, here or on an earlier stream of the class. [BRK-53] */
  isNew(id: number): boolean {
    return this.sequences.isNew(this.channel.priority, id);
  }

  /** The message with this id has been taken. */
  take(id: number): void {
    this.sequences.take(this.channel.priority, id);
    this.refused.taken(this.sequences, this.channel.priority, id);
  }

  /** Says at once that a message was not taken, and says so again if the same id comes again. [BRK-83] */
  refuse(id: number, code: ReasonCode, reason?: string): void {
    this.refused.add(this.sequences, this.channel.priority, id, code);
    this.receipts.refuse(id, code, reason);
  }

  /** Why the message with this id was refused, or undefined. */
  refusalOf(id: number): ReasonCode | undefined {
    return this.refused.codeOf(this.sequences, this.channel.priority, id);
  }
}

/** Changes of what is kept, and how many of the first of them are stored. */
export interface KeptChanges {
  readonly written: number;
  readonly synced: number;
}

export class Publishers implements Partial<StoreEvents> {
  /** What is to be told to publishers, where that is told later. */
  readonly owed = new OwedReceipts();
  /** Told of each stream that was stopped and is not any more. */
  onFree: (channel: Channel) => void = () => {};
  private readonly publishers = new WeakMap<Channel, Publisher>();
  /** Those that wait for a log to store what they have published. */
  private readonly waiting = new Map<LogPort, Set<Publisher>>();
  private readonly refused = new RefusedIds();
  private readonly values: KeptChanges;
  /** Those that wait for last values to be stored. */
  private readonly waitingForState = new Set<Publisher>();
  private readonly safety = { written: 0 };

  /** @param values - where last values are kept */
  constructor(values: KeptChanges) {
    this.values = values;
  }

  /** @param sequences - those of its session */
  of(channel: Channel, sequences: Sequences): Publisher {
    const known = this.publishers.get(channel);
    if (known !== undefined) return known;
    const publisher = new Publisher(channel, sequences, this.refused, this.safety, this.owed);
    this.publishers.set(channel, publisher);
    channel.onFree = () => {
      publisher.receipts.settle();
      this.onFree(channel);
    };
    return publisher;
  }

  /** `publisher` is to hear when `log` has stored more. */
  await(log: LogPort, publisher: Publisher): void {
    let waiting = this.waiting.get(log);
    if (waiting === undefined) {
      waiting = new Set();
      this.waiting.set(log, waiting);
    }
    waiting.add(publisher);
  }

  /** `publisher` is to hear when the last values are stored as they are now. Returns how many changes that are. */
  awaitState(publisher: Publisher): number {
    this.safety.written = Math.max(this.safety.written, this.values.synced);
    if (this.safety.written < this.values.written) this.waitingForState.add(publisher);
    return this.values.written;
  }

  /** What was refused of the messages of a session. */
  refusedOf(sequences: Sequences): readonly RefusedId[] {
    return this.refused.of(sequences);
  }

  /** What was refused of a session before it came here. */
  recallRefused(sequences: Sequences, refused: readonly RefusedId[]): void {
    for (const { sequence, id, code } of refused) this.refused.add(sequences, sequence, id, code);
  }

  /** The stream is gone. */
  close(channel: Channel): void {
    const publisher = this.publishers.get(channel);
    if (publisher === undefined) return;
    this.publishers.delete(channel);
    for (const waiting of this.waiting.values()) waiting.delete(publisher);
    this.waitingForState.delete(publisher);
    publisher.aliases.close();
  }

  stored(log: LogPort): void {
    const waiting = this.waiting.get(log);
    if (waiting === undefined) return;
    for (const publisher of waiting) {
      publisher.receipts.settle();
      if (publisher.receipts.isEmpty) waiting.delete(publisher);
    }
  }

  /** What the log has not stored it will not store. [BRK-83] */
  storeFailed(log: LogPort | null, { fault }: StoreFailure): void {
    if (log === null) {
      // The messages themselves are where they are to be; as last values they are good until the broker ends.
      if (fault === AppendFault.FAILED) this.safety.written = Number.POSITIVE_INFINITY;
      this.stateStored();
      return;
    }
    const code = codeOfFault(fault);
    for (const publisher of this.waiting.get(log) ?? []) {
      for (const id of publisher.receipts.takeUnsafe(log)) publisher.refuse(id, code);
      publisher.receipts.settle();
    }
  }

  stateStored(): void {
    this.safety.written = Math.max(this.safety.written, this.values.synced);
    for (const publisher of this.waitingForState) publisher.receipts.settle();
    if (this.safety.written >= this.values.written) this.waitingForState.clear();
  }
}

/** As which a publisher is told that a log takes nothing. */
export function codeOfFault(fault: AppendFault): ReasonCode {
  return CODES[fault] ?? ReasonCode.STORE_FAILED;
}

const CODES: Partial<Record<AppendFault, ReasonCode>> = {
  [AppendFault.FULL]: ReasonCode.STORE_FULL,
  [AppendFault.TOO_LARGE]: ReasonCode.TOO_LARGE,
  [AppendFault.CONTRADICTION]: ReasonCode.CONTRADICTION,
};
