/**
 * What a broker knows beyond its connections: sessions, as MQTT calls the state of a client that outlives a connection of it. A session of today has no
 * name and so ends with its connection; the store in memory is all there is.
 */

import type { Subscription } from '../delivery/subscription.ts';

/** What a client has asked for. */
export class Session {
  readonly subscriptions = new Set<Subscription>();
  /** Filters held by all its subscriptions together. */
  filterCount = 0;
}

/** Where sessions are kept. */
export interface Store {
  readonly sessions: Iterable<Session>;
  /** A session for a client that has come. */
  begin(): Session;
  /** Forgets a session. */
  end(session: Session): void;
}

/** Forgets everything with the process. */
export class MemoryStore implements Store {
  readonly sessions = new Set<Session>();

  begin(): Session {
    const session = new Session();
    this.sessions.add(session);
    return session;
  }

  end(session: Session): void {
    this.sessions.delete(session);
  }
}
