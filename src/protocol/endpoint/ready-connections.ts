import { Ring } from '../../base/ring.ts';
import type { Micros } from '../../base/time.ts';
import type { Connection } from '../connection/connection.ts';
import { ConnectionState } from '../connection/lifecycle.ts';
import type { TransmitBatch } from '../datagram/transmit-batch.ts';

/**
 * The connections of an endpoint that may have something to send, each once. They take turns, in the order in which they became ready, but
 * those that have messages to send go first, and in a batch of their own: no message waits while the acknowledgements of others are packed,
 * sealed and sent. The next batch is for all, or messages that never end would keep acknowledgements away. A turn is a part of the batch, so
 * that none waits while another fills whole batches, but long enough for segmentation to be of use.
 *
 * Whoever is ready, what a batch costs does not grow with how many are.
 */
export class ReadyConnections {
  private readonly ring = new Ring<Connection>();
  private readonly pack: Pack;
  private readonly onPackError: OnPackError;
  /** The latest batch was for those with messages only. */
  private othersWait = false;
  /** One that was asked has more than its turn held. */
  private hasMore = false;

  constructor(pack: Pack, onPackError: OnPackError) {
    this.pack = pack;
    this.onPackError = onPackError;
  }

  get length(): number {
    return this.ring.length;
  }

  add(connection: Connection): void {
    if (connection.entry.isReady || isForgotten(connection)) return;
    connection.entry.isReady = true;
    this.ring.push(connection);
  }

  /** Has them pack until the batch is full or all have had their turn; after a batch of messages the others have theirs with the next call. */
  fill(batch: TransmitBatch, now: Micros): void {
    const before = batch.count;
    const messagesFirst = this.ring.length > 1 && !this.othersWait;
    if (messagesFirst) this.goRounds(batch, now, true);
    this.othersWait = batch.count > before;
    if (!this.othersWait) this.goRounds(batch, now, false);
  }

  /** Asks those that are ready, or only those that have messages, until the batch is full or none has more. */
  private goRounds(batch: TransmitBatch, now: Micros, messagesOnly: boolean): void {
    const before = batch.count;
    do this.hasMore = false;
    while (!this.goRound(batch, now, messagesOnly, before) && this.hasMore);
  }

  /** Asks each that is ready now. True when the batch is full. */
  private goRound(batch: TransmitBatch, now: Micros, messagesOnly: boolean, before: number): boolean {
    const { ring } = this;
    const sharers = ring.length;
    for (let left = messagesOnly ? Math.min(sharers, LOOKS_MAX) : sharers; left > 0; left--) {
      const connection = ring.peek() as Connection;
      if (isForgotten(connection)) {
        ring.shift();
      } else if (messagesOnly && !connection.streams.packer.hasMessages) {
        ring.push(ring.shift() as Connection);
      } else {
        const isFirst = batch.count === before;
        batch.beginTurn(sharers); // [SCH-9] an even part of the batch
        try {
          if (!this.pack(connection, batch, now)) this.takeFirst();
          else {
            // Who had no whole turn because others filled the batch is in front in the next.
            const { isTurnOver } = batch;
            if (isTurnOver || isFirst) ring.push(ring.shift() as Connection);
            if (!isTurnOver || batch.count === batch.datagramsMax) return true;
            this.hasMore = true;
          }
        } catch (error) {
          this.takeFirst();
          if (this.onPackError(connection, error, now)) left++; // what it tells is packed behind the others
        }
      }
    }
    return false;
  }

  private takeFirst(): void {
    (this.ring.shift() as Connection).entry.isReady = false;
  }
}

function isForgotten({ lifecycle }: Connection): boolean {
  return lifecycle.state === ConnectionState.CLOSED;
}

/** Packs what a connection has to send. True when it may have more that the batch has no room for. */
type Pack = (connection: Connection, batch: TransmitBatch, now: Micros) => boolean;
/** {@link Pack} threw. True when the connection is ready once more, to tell that it is over. */
type OnPackError = (connection: Connection, error: unknown, now: Micros) => boolean;

/** So many are looked at for messages before a batch: when thousands are to acknowledge, all of them for each batch would cost more than the batch. */
const LOOKS_MAX = 1_024;
