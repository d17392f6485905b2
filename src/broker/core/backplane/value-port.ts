/**
 * Last values of topics that all nodes of a cluster have. Each change has its place in one order, in which every node hears of all changes; so all nodes have the
 * same values when they have heard of the same changes, whoever made them. [CLU-40]
 *
 * A value whose message is in a log is as old as that is there: an earlier one never takes the place of a later one, however late its node gets to writing it. [CLU-45]
 */

import type { LogPort } from '../store-port.ts';

/** Where the message of a last value is. */
export interface LogPlace {
  readonly log: string;
  readonly epoch: number;
  readonly offset: number;
}

/** @param offset - not above 0: it is in none */
export function placeOf(log: Pick<LogPort, 'name' | 'epoch'> | null, offset: number): LogPlace | null {
  return log === null || offset <= 0 ? null : { log: log.name, epoch: log.epoch, offset };
}

/** Negative: the first is earlier in their log; undefined: they are of different logs, or in none. */
export function comparePlaces(a: LogPlace | null, b: LogPlace | null): number | undefined {
  if (a === null || b === null || a.log !== b.log || a.epoch !== b.epoch) return undefined;
  return a.offset - b.offset;
}

export interface ValuePort {
  /** Every change that was made before this node came has been told, or another one that took its place. */
  readonly isComplete: boolean;
  /** Changes that this node has made since it began, and so many of the first of them are done with: stored, or something later is. */
  readonly written: number;
  readonly synced: number;
  /** Every change that was stored before {@link mark} gave this number, or a lower one, has been told. */
  readonly current: number;
  /** The longest record that can be kept. */
  readonly recordBytesMax: number;

  /** Changes what a topic has, and goes on trying while the engine cannot be reached. Returns the number of the change, {@link written}. The bytes are the port's. */
  put(change: MadeChange): number;

  /** A number for what is stored by now: when {@link current} is as high, all of that has been told. It never falls. */
  mark(): number;
}

/** A change as a node makes it. */
export interface MadeChange {
  readonly topic: string;
  /** Null: it has nothing any more. */
  readonly record: Uint8Array | null;
  /** Of the message; of what takes a value away by itself, that of the value. */
  readonly place: LogPlace | null;
  /** That of the change which it takes the place of; 0: it is not known, or there is none. */
  readonly revision: number;
  /** Only if that is the latest change of the topic: else nothing becomes of it, and nothing is told. */
  readonly isConditional: boolean;
}

/** What becomes of the values. */
export interface ValueEvents {
  /** A topic has another value, or none: the next change in the order. */
  valueChanged(change: ValueChange): void;
  /** A change of this node has its place in the order, and all before that are told. */
  valuePlaced(topic: string, number: number, revision: number): void;
  /** A change of this node counts no more: it has no place in the order, for something later was there before it, or something later has replaced it. [CLU-45] */
  valueOutdone(topic: string, number: number, latest: LatestChange): void;
  /** Everything is told once more, for changes may not have come: what is not told until `valuesComplete` is not there any more. {@link ValuePort.isComplete} is false until then. */
  valuesReread(): void;
  /** {@link ValuePort.isComplete} has become true. */
  valuesComplete(): void;
  /** {@link ValuePort.synced} has moved. */
  valuesStored(): void;
}

/** What a topic has; null: nothing. `to come`: it is told next. */
export type LatestChange = ValueChange | null | 'to come';

export interface ValueChange {
  readonly topic: string;
  readonly record: Uint8Array | null;
  /** Where its message is. */
  readonly place: LogPlace | null;
  /** Its place in the order: above that of every earlier change, and above 0. */
  readonly revision: number;
  /** Who has made it. */
  readonly node: string;
  /** Under which this node has made it since it began; 0: another one has, or this one before it began. */
  readonly number: number;
  /** It was made only in the place of one certain change. */
  readonly isConditional: boolean;
}
