/**
 * Ids that were refused: a client that has not heard so sends the same message again, and must not be told that it is a repetition of one that was taken. [BRK-83] Of each
 * session the latest are kept, as many as can wait for an answer; and of all sessions a bounded number, those first whose latest refusal is the oldest.
 */

import type { ReasonCode } from '../../../pubsub/command.ts';
import type { Sequences } from '../session/sequences.ts';

/** An id of a session's sequence, and why its message was refused. */
export interface RefusedId {
  readonly sequence: number;
  readonly id: number;
  readonly code: ReasonCode;
}

export class RefusedIds {
  /** The one with the oldest latest refusal first. */
  private readonly bySession = new Map<Sequences, Map<number, ReasonCode>>();
  private cost = 0;

  add(sequences: Sequences, sequence: number, id: number, code: ReasonCode): void {
    const codes = this.bySession.get(sequences) ?? new Map<number, ReasonCode>();
    this.forget(sequences);
    codes.set(sequence * IDS + id, code);
    if (codes.size > IDS_OF_SESSION_MAX) codes.delete(first(codes.keys()) as number);
    this.bySession.set(sequences, codes);
    this.cost += costOf(codes);
    while (this.cost > COST_MAX) this.forget(first(this.bySession.keys()) as Sequences);
  }

  /** Why it was refused; undefined: it was not, or too long ago. */
  codeOf(sequences: Sequences, sequence: number, id: number): ReasonCode | undefined {
    return this.bySession.get(sequences)?.get(sequence * IDS + id);
  }

  /** All that is known of a session, the oldest first. */
  of(sequences: Sequences): RefusedId[] {
    const codes = this.bySession.get(sequences) ?? [];
    return Array.from(codes, ([key, code]) => ({ sequence: Math.floor(key / IDS), id: key % IDS, code }));
  }

  /** A message was taken with this id: one that was refused with it has been forgotten, with all that its log had taken behind. */
  taken(sequences: Sequences, sequence: number, id: number): void {
    if (this.bySession.size === 0) return;
    if (this.bySession.get(sequences)?.delete(sequence * IDS + id)) this.cost--;
  }

  private forget(sequences: Sequences): void {
    const codes = this.bySession.get(sequences);
    if (codes === undefined) return;
    this.bySession.delete(sequences);
    this.cost -= costOf(codes);
  }
}

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item;
  return undefined;
}

/** In ids: a session costs about as much as some of them. */
function costOf(codes: ReadonlyMap<number, ReasonCode>): number {
  return codes.size + 16;
}

const IDS = 2 ** 32;
/** As many as can wait for their PUBLISHED. */
export const IDS_OF_SESSION_MAX = 4_096;
/** Of all sessions: about 8 MB. */
const COST_MAX = 200_000;
