import type { Channel } from './channel.ts';
import type { QueueOwner } from './delivery-queue.ts';
import type { Peer } from './link.ts';

/** What all queues of a broker may hold together, in charged bytes. [BRK-41] */
export interface QueueBudget {
  usedBytes: number;
  readonly bytesMax: number;
}

/** One connected client and its streams. */
export class Session implements QueueOwner {
  readonly peer: Peer;
  readonly channels = new Set<Channel>();
  /** Filters held by all its streams together. */
  filterCount = 0;
  /** Streams that the broker has opened to it. */
  laneCount = 0;
  /** Bytes handed to the transport that had not left when it was last asked. */
  transportBytes = 0;
  closed = false;
  private queued = 0;
  private readonly bytesMax: number;
  private readonly budget: QueueBudget;

  /**
   * @param bytesMax - charged bytes at which all queues of the client are full, and bytes that its transport may hold [BRK-38]
   * @param budget - shared by all clients of the broker
   */
  constructor(peer: Peer, bytesMax: number, budget: QueueBudget) {
    this.peer = peer;
    this.bytesMax = bytesMax;
    this.budget = budget;
  }

  /** Charged bytes in all its queues. */
  get queuedBytes(): number {
    return this.queued;
  }

  set queuedBytes(bytes: number) {
    this.budget.usedBytes += bytes - this.queued;
    this.queued = bytes;
  }

  /** Its own bound, or what is left of the broker's if that is less: so the clients that hold the most are full first. [BRK-41] */
  get queuedBytesMax(): number {
    const { bytesMax, usedBytes } = this.budget;
    return Math.min(this.bytesMax, Math.max(0, bytesMax - usedBytes));
  }

  /** Whether a message of this length may go to the transport now, where one stream takes it. Small ones always may. [BRK-38] */
  takes(length: number): boolean {
    return (
      length <= SMALL_BYTES_MAX || this.transportBytes === 0 || this.transportBytes + length <= this.bytesMax
    );
  }
}

const SMALL_BYTES_MAX = 16_384;
