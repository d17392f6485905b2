import type { Clock } from '../udp/clock.ts';

/**
 * How much is taken out of envelopes before the event loop turns, by all streams of a process together: little that came may become much, and
 * others have their turn. Whoever wants more waits, and those who wait go on in the order in which they came.
 */
export class InflatingTurn {
  /** Bytes that may still be taken out. */
  left = BYTES_A_TURN;
  private readonly clock: Clock;
  private readonly waiting = new Set<() => void>();
  private isTurning = false;

  /** Who has the same clock has the same event loop. */
  static of(clock: Clock): InflatingTurn {
    const known = TURNS.get(clock) ?? new InflatingTurn(clock);
    TURNS.set(clock, known);
    return known;
  }

  private constructor(clock: Clock) {
    this.clock = clock;
  }

  get isSpent(): boolean {
    return this.left <= 0;
  }

  /** So many bytes were taken out. */
  spend(bytes: number): void {
    if (bytes === 0) return;
    this.left -= bytes;
    this.turnLater();
  }

  /** Calls `resume` once, when there is something left. */
  wait(resume: () => void): void {
    this.waiting.add(resume);
    this.turnLater();
  }

  private turnLater(): void {
    if (this.isTurning) return;
    this.isTurning = true;
    this.clock.soon(this.turn);
  }

  private readonly turn = (): void => {
    this.isTurning = false;
    this.left = BYTES_A_TURN;
    for (const resume of this.waiting) {
      if (this.isSpent) return this.turnLater();
      this.waiting.delete(resume);
      resume();
    }
  };
}

const TURNS = new WeakMap<Clock, InflatingTurn>();
const BYTES_A_TURN = 4 * 1024 * 1024;
