/** What is kept in memory of a consumer with a name while nobody holds it; all else is its record in the store. [BRK-69] */

import type { HeapItem } from '../../../base/time.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { LogPort } from '../store-port.ts';
import type { DurableRecord } from './durable-record.ts';

export class IdleDurable implements HeapItem {
  readonly name: string;
  /** Null: its log is not there any more. */
  readonly log: LogPort | null;
  readonly position: number;
  readonly unsettled: number;
  readonly owner: PrincipalId | null;
  /** By which logs know its dead letters. */
  readonly number: number;
  /** Number of the session with which it is over; 0: of none. */
  readonly session: number;
  deadline = Number.POSITIVE_INFINITY;
  heapIndex = -1;

  constructor(
    name: string,
    log: LogPort | null,
    { position, unsettled, owner, number, session }: DurableRecord,
  ) {
    this.name = name;
    this.log = log;
    this.position = position;
    this.owner = owner;
    this.number = number;
    this.session = session;
    this.unsettled = unsettled.reduce((sum, { count }) => sum + count, 0);
  }

  /** Records of its log that it has not settled, as far as that is there. */
  get lag(): number {
    const { log } = this;
    return log === null
      ? 0
      : Math.max(0, log.synced - Math.max(this.position, log.earliest)) + this.unsettled;
  }
}
