/** What the logs have of the sessions' sequences ({@link SessionIds}), and of which sessions the next checkpoint is to write that. [STO-20] */

import { NO_IDS } from '../core/store/memory-store.ts';
import type { LogRecord } from '../core/store-port.ts';
import { NO_LOG, type ReadRecord } from './format.ts';
import { type Origin, SessionIds } from './session-ids.ts';

export class PublishedIds {
  private readonly sessions = new Map<number, SessionIds>();
  /** Sessions that have changed since the last checkpoint. */
  private changed = new Set<number>();
  private readonly origin: Origin = { log: NO_LOG, id: 0, hasGap: false, before: 0 };

  lastIds(session: number): readonly number[] {
    return this.sessions.get(session)?.lastIds() ?? NO_IDS;
  }

  /** A record is to come into a log. Null: the log has it, or a newer one of its sequence. Else its origin, which is good until the next call. */
  take(log: number, session: number, sequence: number, id: number): Origin | null {
    if (!this.of(session).take(log, sequence, id, this.origin)) return null;
    this.changed.add(session);
    return this.origin;
  }

  /** A record of a log was refused after it had been taken: the last that is stored of this sequence is `stored`, or none (0). */
  takeBack(log: number, { session, sequence, id }: LogRecord, stored: number): void {
    const found = this.sessions.get(session);
    if (found === undefined) return;
    found.takeBack(log, sequence, id, stored);
    this.changed.add(session);
  }

  /** A record was found in a log that is being read, in the order of its offsets. */
  replay(log: number, session: number, sequence: number, id: number): void {
    this.of(session).replay(log, sequence, id);
    this.changed.add(session);
  }

  /** When all logs were read: this record goes on from another one, which its log is to have. */
  checkOrigin({ session, sequence, id, originLog, originId, hasGap }: ReadRecord): void {
    const found = this.sessions.get(session);
    if (found === undefined) return;
    if (hasGap) found.addGap(sequence, originId, id);
    if (originId !== 0) found.checkOrigin(sequence, originLog, originId);
  }

  /** When all origins were checked: this record was found, whichever order it came in. */
  fillGap({ session, sequence, id }: LogRecord): void {
    this.sessions.get(session)?.fillGap(sequence, id);
  }

  /** There are gaps in what the logs have. */
  get hasGaps(): boolean {
    for (const { hasGaps } of this.sessions.values()) if (hasGaps) return true;
    return false;
  }

  /** A later id of the sequence is in a log, and this one is in none. */
  isMissing(session: number, sequence: number, id: number): boolean {
    return this.sessions.get(session)?.isMissing(sequence, id) ?? false;
  }

  /** Since the last checkpoint. */
  get hasChanged(): boolean {
    return this.changed.size > 0;
  }

  /** What is known of a log is not so any more: it is to be read anew. */
  forgetLog(log: number): void {
    for (const [session, found] of this.sessions) if (found.forgetLog(log)) this.changed.add(session);
  }

  forget(session: number): void {
    this.sessions.delete(session);
    this.changed.delete(session);
  }

  has(session: number): boolean {
    return this.sessions.has(session);
  }

  /** What has changed since the last time, as values of the state. */
  takeChanged(): [session: number, value: Uint8Array][] {
    const { changed } = this;
    this.changed = new Set();
    const values: [number, Uint8Array][] = [];
    for (const session of changed) {
      const found = this.sessions.get(session);
      if (found !== undefined) values.push([session, found.encode()]);
    }
    return values;
  }

  /** What was taken as changed is to be taken once more. */
  changeAgain(sessions: readonly number[]): void {
    for (const session of sessions) if (this.sessions.has(session)) this.changed.add(session);
  }

  /** Takes a value of an earlier checkpoint; one that is none is as if it were not there. */
  restore(session: number, value: Uint8Array): void {
    const decoded = SessionIds.decode(value);
    if (decoded !== null) this.sessions.set(session, decoded);
  }

  private of(session: number): SessionIds {
    let found = this.sessions.get(session);
    if (found === undefined) {
      found = new SessionIds();
      this.sessions.set(session, found);
    }
    return found;
  }
}
