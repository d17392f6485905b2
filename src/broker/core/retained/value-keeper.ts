/** Where last values are kept beside the memory of this process: in its store, or in its cluster. */

import type { LogPlace } from '../backplane/value-port.ts';
import type { StatePort } from '../store-port.ts';

/** A value, as far as it matters for keeping it. */
export interface KeptValue {
  readonly topic: string;
  /** In a cluster: that of the change by which it came to be; 0: that is not known yet. */
  readonly revision: number;
  /** In a cluster: where its message is; null: in no log, or nobody knows any more. */
  readonly place: LogPlace | null;
  /** Whose it is, and which node looks after it (null: this one). */
  readonly ownership: { readonly node: string | null } | null;
}

export interface ValueKeeper {
  /** False: topics may have values that are not known here yet. */
  readonly isComplete: boolean;
  /** The longest record that can be kept. */
  readonly recordBytesMax: number;
  /** Changes that it was told of, and how many of the first of them are stored. */
  readonly written: number;
  readonly synced: number;
  /** Whether another node is there, which looks after what it has kept. */
  hasNode(node: string): boolean;
  /** What it has when the broker begins. */
  entries(): Iterable<readonly [topic: string, record: Uint8Array]>;
  /** @param revision - of what it takes the place of; 0: nothing, or it is not known */
  put(topic: string, record: Uint8Array, place: LogPlace | null, revision: number): void;
  /** A publisher has taken the value away. @param place - of its message */
  remove(topic: string, place: LogPlace | null, revision: number): void;
  /** Its time to live is over. */
  expire(value: KeptValue): void;
  /** Whoever owned it is gone. True: then it is; else `RetainedValues.left` is called, once it is so for everybody. */
  leave(value: KeptValue): boolean;
}

/** Those of a broker that is alone. */
export class StoredValues implements ValueKeeper {
  readonly isComplete = true;
  readonly recordBytesMax = Number.POSITIVE_INFINITY;
  private readonly state: StatePort;

  constructor(state: StatePort) {
    this.state = state;
  }

  get written(): number {
    return this.state.written;
  }

  get synced(): number {
    return this.state.synced;
  }

  *entries(): Iterable<readonly [topic: string, record: Uint8Array]> {
    for (const [key, record] of [...this.state.entries(RETAINED_KEYS)]) {
      yield [key.slice(RETAINED_KEYS.length), record];
    }
  }

  hasNode(): boolean {
    return false;
  }

  put(topic: string, record: Uint8Array): void {
    this.state.put(RETAINED_KEYS + topic, record);
  }

  remove(topic: string): void {
    this.state.delete(RETAINED_KEYS + topic);
  }

  expire({ topic }: KeptValue): void {
    this.remove(topic);
  }

  leave({ topic }: KeptValue): boolean {
    this.remove(topic);
    return true;
  }
}

const RETAINED_KEYS = 'retained/';
