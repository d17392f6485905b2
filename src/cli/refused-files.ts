/** What one can do about files that a receiver does not take, as each end is told it. */

import type { RefusalName } from '../files/index.ts';

interface Advice {
  readonly sender?: string;
  readonly receiver?: string;
}

const ADVICE: Readonly<Partial<Record<RefusalName, Advice>>> = {
  name: {
    sender:
      'rename it, or have the receiver take it with --system-names where only another system reserves that name',
    receiver: '--system-names takes names that only other systems reserve',
  },
  exists: {
    sender:
      'rename it, or start "jsp receive" with --overwrite to replace what is there, or with --rename to keep both',
    receiver: '--overwrite replaces what is there, --rename keeps both',
  },
  collision: {
    sender: 'rename one of the two: case and the way accents are written do not tell names apart',
  },
  limit: {
    sender: '"jsp receive" takes more with a larger --max-bytes or --max-files',
    receiver: 'a larger --max-bytes or --max-files takes more',
  },
  noSpace: {
    sender: 'send it again when the receiver has room: what has arrived stays',
    receiver: 'make room on the disk, and have it sent again',
  },
  mismatch: { sender: 'send it again' },
  busy: { sender: 'send it again when the other transfer is over' },
  path: {
    sender: 'a folder on the way is a link or a file at the receiver: send into another folder',
    receiver: 'a folder on the way is a link or a file here: nothing is written through it',
  },
};

/** Says of each kind of refusal once what to do. */
export class RefusalAdvice {
  private readonly end: keyof Advice;
  private readonly said = new Set<RefusalName>();

  constructor(end: keyof Advice) {
    this.end = end;
  }

  /** Null where nothing helps, or it was said before. */
  about(refusal: RefusalName): string | null {
    const advice = ADVICE[refusal]?.[this.end];
    if (advice === undefined || this.said.has(refusal)) return null;
    this.said.add(refusal);
    return advice;
  }
}
