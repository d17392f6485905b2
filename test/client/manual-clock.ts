import { MILLISECOND, type Micros } from '../../src/base/time.ts';
import type { Clock, TimerHandle } from '../../src/udp/clock.ts';

/** A clock that moves when the test says so. */
export class ManualClock implements Clock {
  private time: Micros = 1_000_000;
  private timers: { at: Micros; callback: () => void }[] = [];

  now(): Micros {
    return this.time;
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const timer = { at, callback };
    this.timers.push(timer);
    return timer;
  }

  clearTimer(timer: TimerHandle): void {
    this.timers = this.timers.filter((t) => t !== timer);
  }

  soon(callback: () => void): void {
    this.setTimer(this.time, callback);
  }

  /** Timers that wait. */
  get pending(): number {
    return this.timers.length;
  }

  /** How long until the next timer, in ms; NaN without one. */
  get nextInMs(): number {
    const next = Math.min(...this.timers.map(({ at }) => at));
    return Number.isFinite(next) ? (next - this.time) / MILLISECOND : Number.NaN;
  }

  /** What is running takes so long: timers wait until it is over. */
  spend(ms: number): void {
    this.time += ms * MILLISECOND;
  }

  advance(ms: number): void {
    this.time += ms * MILLISECOND;
    const due = this.timers.filter((t) => t.at <= this.time);
    this.timers = this.timers.filter((t) => t.at > this.time);
    for (const timer of due) timer.callback();
  }
}
