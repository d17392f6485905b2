import type { Channel } from './channel.ts';
import type { Peer } from './link.ts';

/** One connected client and its streams. */
export class Session {
  readonly peer: Peer;
  readonly channels = new Set<Channel>();
  /** Filters held by all its streams together. */
  filterCount = 0;
  closed = false;

  constructor(peer: Peer) {
    this.peer = peer;
  }
}
