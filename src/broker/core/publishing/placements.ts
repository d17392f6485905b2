/**
 * What is still to be done of messages that are on their way to a log that is kept elsewhere ({@link AppendFault.PENDING}). Until such a message is placed it is not known whether it is in
 * the log, so nobody is offered it; and what its stream publishes behind it, and goes to no log, waits behind it, or it would get there first. [CLU-30]
 *
 *     LINE     of a publishing stream: what was published on it, in order, from the first message that is not placed yet
 *     LOG      the tickets of its appends, each with the place in a line that waits for it
 *
 * A place is done with when it is known what has become of it and it is the first of its line. While nothing is on its way there are no lines, and a message costs one look at that.
 */

import { Ring } from '../../../base/ring.ts';
import type { Channel } from '../delivery/client.ts';
import type { LogElsewhere, LogPort, StoreEvents } from '../store-port.ts';

/** Does what is left to do of a message: it is at this offset, or for this fault in no log; 0 where it was to go to none. */
export type Placed = (offset: number, isDuplicate: boolean) => void;

interface Place {
  readonly line: Line;
  readonly bytes: number;
  readonly act: Placed;
  isKnown: boolean;
  offset: number;
  isDuplicate: boolean;
}

interface Line {
  readonly channel: Channel;
  readonly places: Ring<Place>;
  bytes: number;
  /** So much is in it that the stream is not read. */
  isHeld: boolean;
}

interface Awaited {
  readonly ticket: number;
  readonly place: Place;
}

/** What it asks of the broker. */
export interface PlacementsOwner {
  failInternally(client: Channel['client'], error: unknown): void;
}

export class Placements implements Partial<StoreEvents> {
  private readonly owner: PlacementsOwner;
  private readonly lines = new Map<Channel, Line>();
  /** Whose first place is being done with: it waits for nothing. */
  private running: Channel | null = null;
  /** Those that can go on. */
  private readonly ready: Line[] = [];
  private readonly awaited = new Map<LogPort, Ring<Awaited>>();

  constructor(owner: PlacementsOwner) {
    this.owner = owner;
  }

  /** Nothing is on its way. */
  get isEmpty(): boolean {
    return this.lines.size === 0;
  }

  /** Something of this stream is on its way, or waits behind that. */
  isUnderWay(channel: Channel): boolean {
    return this.lines.has(channel) && this.running !== channel;
  }

  /**
   * `act` is called when what came before on the stream is done with, and all that was appended to `log` until now is placed: told what has become of the last of it.
   *
   * @param log - null: nothing but its stream is waited for
   * @param bytes - that are kept for it
   */
  await(channel: Channel, log: LogPort | null, bytes: number, act: Placed): void {
    const place = this.join(channel, bytes, act, log === null);
    if (log === null) return;
    const awaited = this.awaited.get(log) ?? new Ring<Awaited>();
    this.awaited.set(log, awaited);
    awaited.push({ ticket: (log.elsewhere as LogElsewhere).lastTicket, place });
  }

  placed(log: LogPort, ticket: number, offset: number, isDuplicate: boolean): void {
    const awaited = this.awaited.get(log);
    if (awaited === undefined) return;
    for (let next = awaited.peek(); next !== undefined && next.ticket <= ticket; next = awaited.peek()) {
      const { place } = next;
      awaited.shift();
      place.isKnown = true;
      place.offset = offset;
      place.isDuplicate = isDuplicate;
      this.goOn(place.line);
    }
  }

  /** A stream that was stopped is not any more. */
  freed(channel: Channel): void {
    const line = this.lines.get(channel);
    if (line !== undefined && !this.ready.includes(line)) this.ready.push(line);
  }

  /** There is something for {@link goOnReady}. */
  get hasReady(): boolean {
    return this.ready.length > 0;
  }

  /** Goes on with a stream that can. */
  goOnReady(): void {
    const line = this.ready.shift();
    if (line !== undefined) this.goOn(line);
  }

  private join(channel: Channel, bytes: number, act: Placed, isKnown: boolean): Place {
    let line = this.lines.get(channel);
    if (line === undefined) {
      line = { channel, places: new Ring(), bytes: 0, isHeld: false };
      this.lines.set(channel, line);
    }
    const place: Place = { line, bytes, act, isKnown, offset: 0, isDuplicate: false };
    line.places.push(place);
    line.bytes += bytes;
    if (!line.isHeld && (line.places.length >= PLACES_MAX || line.bytes >= BYTES_MAX)) {
      line.isHeld = true;
      channel.hold();
    }
    return place;
  }

  /** Does what can be done of a line; what it brings comes behind. */
  private goOn(line: Line): void {
    const { channel, places } = line;
    // One message of a stream that is stopped waits for queues; those behind it wait here. [BRK-18]
    for (let first = places.peek(); first?.isKnown && !channel.stopped; first = places.peek()) {
      places.shift();
      line.bytes -= first.bytes;
      this.running = channel;
      try {
        first.act(first.offset, first.isDuplicate);
      } catch (error) {
        this.owner.failInternally(channel.client, error); // [BRK-40] this client alone pays for it
      }
      this.running = null;
    }
    if (places.length === 0) this.lines.delete(channel);
    if (line.isHeld && places.length * 2 <= PLACES_MAX && line.bytes * 2 <= BYTES_MAX) {
      line.isHeld = false;
      channel.release();
    }
  }
}

/** Messages of a stream that are under way, and their bytes, at which it is no longer read. */
const PLACES_MAX = 4_096;
const BYTES_MAX = 4 * 1024 * 1024;
