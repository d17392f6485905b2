/**
 * What a client has in the broker beyond a connection. A session with a name outlives its connections, for as long as its client has asked; one without, or for no time, ends with
 * its connection. [BRK-50]
 */

import type { HeapItem } from '../../../base/time.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { Client } from '../delivery/client.ts';
import { Sequences } from './sequences.ts';

/** The life of a session: its client is connected, or is away, or the session is over. */
export const SessionState = { PRESENT: 0, AWAY: 1, OVER: 2 } as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

export class Session implements HeapItem {
  /** By which logs know it: never used again for another. 0: it ends with its connection, so that no log has to know it. */
  readonly number: number;
  /** Null: it has none. */
  readonly name: string | null;
  /** Differs from that of every other session of the same name. */
  readonly epoch: number;
  /** How long it outlives a connection. */
  expiryMs = 0;
  state: SessionState = SessionState.PRESENT;
  /** Who may take it; null: whoever comes. [BRK-118] */
  owner: PrincipalId | null = null;
  /** Its connection; null while there is none. */
  client: Client | null;
  /** Filters held by all its subscriptions together. */
  filterCount = 0;
  /** Its place among those that are away. */
  deadline = 0;
  heapIndex = -1;
  /** Those of its filters that are to bring last values only where they are new, as hashes; null: none. */
  knownFilters: Set<number> | null = null;
  private taken: Sequences | null = null;

  constructor(client: Client | null, name: string | null = null, number = 0, epoch = 0) {
    this.client = client;
    this.name = name;
    this.number = number;
    this.epoch = epoch;
  }

  /** Which of its QoS 1 messages were taken. */
  get sequences(): Sequences {
    this.taken ??= new Sequences();
    return this.taken;
  }

  /** It begins where the logs end, after a start of the broker. */
  recall(lastIds: readonly number[]): void {
    this.taken ??= new Sequences(lastIds);
  }
}

/** A session whose client may still come back, and how long ago it went away. */
export interface Absence {
  readonly session: Session;
  readonly awayMs: number;
}

/** After a start of the broker: the sessions that may still come back, by number. */
export type RestoredSessions = ReadonlyMap<number, Absence>;

/** What belongs to sessions and follows their life. */
export interface SessionPart {
  /** Its connection is gone; it may come back. Also told before {@link onOver} of a session that was connected. */
  onAway(session: Session): void;
  /** It has a connection again, before it expired. */
  onBack(session: Session): void;
  /** It is over: its client has asked for a clean start, or was away for too long, or has no name. */
  onOver(session: Session): void;
  /** In a cluster: it goes on at another node, with all that the store has of it; here nothing of it is left. [CLU-20] */
  onMoved?(session: Session): void;
}
