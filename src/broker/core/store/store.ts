/**
 * What a broker knows beyond its connections: sessions, as MQTT calls the state of a client that outlives a connection of it. A session of today has no
 * name and so ends with its connection.
 */

import type { Subscription } from '../delivery/subscription.ts';

/** What a client has asked for. */
export class Session {
  readonly subscriptions = new Set<Subscription>();
  /** Filters held by all its subscriptions together. */
  filterCount = 0;
}

/** The sessions there are. */
export class SessionTable {
  readonly all = new Set<Session>();

  /** A session for a client that has come. */
  begin(): Session {
    const session = new Session();
    this.all.add(session);
    return session;
  }

  /** Forgets a session. */
  end(session: Session): void {
    this.all.delete(session);
  }
}
