/**
 * In which order messages of two streams arrive: a transport keeps none between them, so a message that belongs behind what another stream has brought is not sent before the
 * client has taken that. The broker asks with MARK how much was taken, and the client answers with MARKED. [BRK-39]
 */

import { Ring } from '../../../base/ring.ts';

/** What the client has taken of a stream, as far as it was asked: it answers a MARK when it has taken everything before. [BRK-39] */
export class Marks {
  /** Messages that were queued or sent. */
  offered = 0;
  /** Numbers of the last MARK, and of the last that was answered. */
  last = 0;
  confirmed = 0;
  private offeredAtLast = 0;

  /** Something was offered since the last MARK. */
  get isDue(): boolean {
    return this.offered !== this.offeredAtLast;
  }

  /** The client was asked, and has not answered. */
  get isAwaited(): boolean {
    return this.confirmed !== this.last;
  }

  /** The number of the next MARK, which is about to be queued. */
  next(): number {
    this.offeredAtLast = this.offered;
    this.last++;
    return this.last;
  }

  /** The client has answered. */
  confirm(mark: number): void {
    if (mark > this.confirmed && mark <= this.last) this.confirmed = mark;
  }
}

/** A stream behind which a message of another one belongs. */
export interface Gated {
  /** Asks the client to say when it has taken everything so far. Returns the number it will say. */
  mark(): number;
  hasTaken(mark: number): boolean;
}

/** A message that has to wait until the client has taken what another stream brought before it. */
interface Gate {
  /** Its place in the queue, once those that wait have entered it. */
  place: number;
  readonly behind: Gated;
  readonly mark: number;
}

/** The messages of one stream that have to wait for other streams, in the order of their places. */
export class Gates {
  private readonly gates = new Ring<Gate>(2);

  get isEmpty(): boolean {
    return this.gates.length === 0;
  }

  /** The message that gets this place in the queue goes behind what `behind` has brought until now. */
  add(place: number, behind: Gated): void {
    this.gates.push({ place, behind, mark: behind.mark() });
  }

  /** True when the next message of the queue has to wait. Forgets gates that are open. */
  areShut(queue: { isPast(place: number): boolean }): boolean {
    const { gates } = this;
    for (let gate = gates.peek(); gate !== undefined; gate = gates.peek()) {
      if (!queue.isPast(gate.place)) return false;
      if (!gate.behind.hasTaken(gate.mark)) return true;
      gates.shift();
    }
    return false;
  }

  /** A message that was to get this place will not enter the queue: those behind it move up. */
  closeUp(place: number): void {
    for (let i = 0; i < this.gates.length; i++) {
      const gate = this.gates.peek(i);
      if (gate !== undefined && gate.place > place) gate.place--;
    }
  }
}
