import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock } from '../udp/clock.ts';

/** A connection that spares the radio of its machine. */
export interface Sparing {
  /** Something is sent anyway: what would be sent soon only to be heard of is sent now. */
  onRadioAwake(): void;
}

/**
 * The connections of a machine that spare its radio, in whatever sockets: when one of them sends, heartbeats of the others that would be due
 * soon go with it, so that the radio wakes once for all. [CON-65] Who has the same clock is on the same machine.
 */
export class Radio {
  private readonly connections = new Set<Sparing>();
  private toldAt: Micros = Number.NEGATIVE_INFINITY;

  static of(clock: Clock): Radio {
    const known = RADIOS.get(clock) ?? new Radio();
    RADIOS.set(clock, known);
    return known;
  }

  join(connection: Sparing): void {
    this.connections.add(connection);
  }

  leave(connection: Sparing): void {
    this.connections.delete(connection);
  }

  /** Something was sent. The others hear of it, but not of each datagram while there are many. */
  onSent(now: Micros): void {
    if (now < this.toldAt + TOLD_APART || this.connections.size === 0) return;
    this.toldAt = now;
    for (const connection of this.connections) connection.onRadioAwake();
  }
}

const RADIOS = new WeakMap<Clock, Radio>();
/** A radio stays awake for seconds. */
const TOLD_APART: Micros = 100 * MILLISECOND;
