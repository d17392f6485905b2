import type { Channel } from './channel.ts';
import type { QueueOwner } from './delivery-queue.ts';
import type { Peer } from './link.ts';

/** One connected client and its streams. */
export class Session implements QueueOwner {
  readonly peer: Peer;
  readonly channels = new Set<Channel>();
  /** Filters held by all its streams together. */
  filterCount = 0;
  queuedBytes = 0;
  readonly queuedBytesMax: number;
  closed = false;

  /** @param queuedBytesMax - charged bytes at which all queues of the client are full [BRK-38] */
  constructor(peer: Peer, queuedBytesMax: number) {
    this.peer = peer;
    this.queuedBytesMax = queuedBytesMax;
  }
}
