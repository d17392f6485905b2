import type { Micros } from '../../base/time.ts';
import type { ConnectionStream } from './connection-stream.ts';

/**
 * Finds streams that have something to send and get nothing through: looks at all of them now and then, and remembers since when nothing
 * moved on those that are not settled. Costs nothing where nobody looks.
 */
export class StallWatch {
  private waiting = new Map<ConnectionStream, Standstill>();

  /** How long the stream has waited that has waited longest, as far as was looked; 0 when none waits. */
  look(streams: Iterable<ConnectionStream>, now: Micros): Micros {
    const before = this.waiting;
    const waiting = new Map<ConnectionStream, Standstill>();
    let longest = 0;
    for (const stream of streams) {
      if (stream.sender.settled) continue;
      const { progress } = stream.sender.mark();
      const known = before.get(stream);
      const standstill = known?.progress === progress ? known : { progress, since: now };
      waiting.set(stream, standstill);
      longest = Math.max(longest, now - standstill.since);
    }
    this.waiting = waiting;
    return longest;
  }
}

interface Standstill {
  readonly progress: number;
  readonly since: Micros;
}
