/** What claims are kept in: values by name, each with a revision, which rises with every change and by which a change goes on from the one before, or fails. */

/** What a name has. Revision 0: it never had anything. */
export interface BucketEntry {
  readonly revision: number;
  /** Null: nothing now. */
  readonly value: Uint8Array | null;
}

/** Why a change has failed: another one came before it; or it is not known whether it has. */
export const WriteFault = { CONFLICT: -1, UNKNOWN: -2 } as const;

export interface ClaimBucket {
  /** `done` is told what the name has; null: that cannot be known now. */
  read(key: string, done: (found: BucketEntry | null) => void): void;
  /**
   * Changes what a name has, where that has this revision.
   *
   * @param value - null: it is to have nothing
   * @param done - told the new revision, or a {@link WriteFault}
   */
  write(key: string, value: Uint8Array | null, revision: number, done: (outcome: number) => void): void;
  /** Tells of each name that has something; false in the end when not all were told, or when `each` has had enough. */
  scan(each: (key: string, entry: BucketEntry) => boolean, done: (isWhole: boolean) => void): void;
}

/** Time for who keeps claims. */
export interface ClaimTime {
  /** Calls `act` in so many ms. Returns how to prevent that. */
  after(ms: number, act: () => void): () => void;
}
