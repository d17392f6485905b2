/**
 * Which messages of a session the broker has taken. A session numbers its QoS 1 messages in four sequences, one a class of streams, each strictly rising;
 * so the last number of each tells a message from its repetition, however long ago it was, without a window. [BRK-53]
 */

import { isAfter } from '../../../pubsub/acknowledgement.ts';
import { SEQUENCES } from '../../../pubsub/session-commands.ts';

export class Sequences {
  private readonly last: number[];

  /** @param last - the last number taken of each sequence; 0 for none */
  constructor(last: readonly number[] = NONE) {
    this.last = [last[0], last[1], last[2], last[3]];
  }

  /** True for a number that is behind the last one that was taken: around the end of 32 bits, too. */
  isNew(sequence: number, id: number): boolean {
    const last = this.last[sequence];
    return last === 0 || isAfter(id, last);
  }

  /** The message was taken: it, and what is numbered before it, is a repetition from now on. */
  take(sequence: number, id: number): void {
    this.last[sequence] = id;
  }

  /** What was taken behind these was lost. */
  goBackTo(lastIds: readonly number[]): void {
    for (let i = 0; i < SEQUENCES; i++) this.last[i] = lastIds[i];
  }

  /** The last number taken of each sequence; 0 for none. */
  get lastIds(): readonly number[] {
    return this.last;
  }
}

const NONE: readonly number[] = [0, 0, 0, 0];
