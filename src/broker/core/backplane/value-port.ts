/**
 * Last values of topics that all nodes of a cluster have. Each change has its place in one order, in which every node hears of all changes; so all nodes have the
 * same values when they have heard of the same changes, whoever made them. [CLU-40]
 */
export interface ValuePort {
  /** Every change that was made before this node came has been told, or another one that took its place. */
  readonly isComplete: boolean;
  /** Changes that this node has made since it began, and so many of the first of them are stored. */
  readonly written: number;
  readonly synced: number;
  /** Every change that was stored before {@link mark} gave this number, or a lower one, has been told. */
  readonly current: number;
  /** The longest record that can be kept. */
  readonly recordBytesMax: number;

  /**
   * Changes what a topic has, and goes on trying while the engine cannot be reached. Returns the number of the change, {@link written}. The bytes are the port's.
   *
   * @param record - null: it has nothing any more
   * @param ifRevision - only if the latest change of the topic is the one with this revision; else nothing becomes of it, and nothing is told. 0: in any case
   */
  put(topic: string, record: Uint8Array | null, ifRevision: number): number;

  /** A number for what is stored by now: when {@link current} is as high, all of that has been told. It never falls. */
  mark(): number;
}

/** What becomes of the values. */
export interface ValueEvents {
  /** A topic has another value, or none: the next change in the order. */
  valueChanged(change: ValueChange): void;
  /** Everything is told once more, for changes may not have come: what is not told until `valuesComplete` is not there any more. {@link ValuePort.isComplete} is false until then. */
  valuesReread(): void;
  /** {@link ValuePort.isComplete} has become true. */
  valuesComplete(): void;
  /** {@link ValuePort.synced} has moved. */
  valuesStored(): void;
}

export interface ValueChange {
  readonly topic: string;
  readonly record: Uint8Array | null;
  /** Its place in the order: above that of every earlier change, and above 0. */
  readonly revision: number;
  /** Who has made it. */
  readonly node: string;
  /** Under which this node has made it since it began; 0: another one has, or this one before it began. */
  readonly number: number;
  /** It was made only in the place of one certain change. */
  readonly isConditional: boolean;
}
