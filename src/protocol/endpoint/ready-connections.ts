import { Ring } from '../../base/ring.ts';
import type { Micros } from '../../base/time.ts';
import type { Connection } from '../connection/connection.ts';
import { ConnectionState } from '../connection/lifecycle.ts';
import type { TransmitBatch } from '../datagram/transmit-batch.ts';

/**
 * The connections of an endpoint that may have something to send, each once. They take turns, in the order in which they became ready, but
 * those that have messages to send go first, and in a batch of their own: no message waits while the acknowledgements of others are packed,
 * sealed and sent. Not so after a full batch, or messages that fill one batch after the other would keep acknowledgements away.
 */
export class ReadyConnections {
  private readonly ring = new Ring<Connection>();
  private readonly pack: Pack;
  private readonly onPackError: OnPackError;
  /** The latest batch was full before all had packed. */
  private wasFull = false;

  constructor(pack: Pack, onPackError: OnPackError) {
    this.pack = pack;
    this.onPackError = onPackError;
  }

  get length(): number {
    return this.ring.length;
  }

  add(connection: Connection): void {
    if (connection.seat.isReady || isForgotten(connection)) return;
    connection.seat.isReady = true;
    this.ring.push(connection);
  }

  /** Has them pack until the batch is full or all have had their turn; after a batch of messages the others have theirs with the next call. */
  fill(batch: TransmitBatch, now: Micros): void {
    const { ring } = this;
    const before = batch.count;
    const messagesFirst = ring.length > 1 && !this.wasFull;
    this.wasFull = messagesFirst && this.goRound(batch, now, true);
    if (!this.wasFull && batch.count === before) this.wasFull = this.goRound(batch, now, false);
    // Who filled the batch goes to the back, so that it cannot keep others away.
    if (this.wasFull) ring.push(ring.shift() as Connection);
  }

  /** Asks each that is ready now, or only those that have messages. True when the batch is full: who filled it stays in front. */
  private goRound(batch: TransmitBatch, now: Micros, messagesOnly: boolean): boolean {
    const { ring } = this;
    for (let left = ring.length; left > 0; left--) {
      const connection = ring.peek() as Connection;
      if (isForgotten(connection)) {
        ring.shift();
      } else if (messagesOnly && !connection.streams.packer.hasMessages) {
        ring.push(ring.shift() as Connection);
      } else {
        try {
          if (this.pack(connection, batch, now)) return true;
          this.takeFirst();
        } catch (error) {
          this.takeFirst();
          if (this.onPackError(connection, error, now)) left++; // what it tells is packed behind the others
        }
      }
    }
    return false;
  }

  private takeFirst(): void {
    (this.ring.shift() as Connection).seat.isReady = false;
  }
}

function isForgotten({ lifecycle }: Connection): boolean {
  return lifecycle.state === ConnectionState.CLOSED;
}

/** Packs what a connection has to send. True when it may have more that the batch has no room for. */
type Pack = (connection: Connection, batch: TransmitBatch, now: Micros) => boolean;
/** {@link Pack} threw. True when the connection is ready once more, to tell that it is over. */
type OnPackError = (connection: Connection, error: unknown, now: Micros) => boolean;
