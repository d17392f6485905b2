import type { Clock, TimerHandle } from '../../../src/udp/clock.ts';

/** A clock that stands still until it is told to go on. */
export class StoreClock implements Clock {
  private micros = 0;
  private readonly timers = new Set<{ at: number; callback: () => void }>();

  /** Timers that are set. */
  get pending(): number {
    return this.timers.size;
  }

  now(): number {
    return this.micros;
  }

  /** As the wall clock has it. */
  wallMs(): number {
    return 1_700_000_000_000 + Math.floor(this.micros / 1_000);
  }

  setTimer(at: number, callback: () => void): TimerHandle {
    const timer = { at, callback };
    this.timers.add(timer);
    return timer;
  }

  clearTimer(timer: TimerHandle): void {
    this.timers.delete(timer as { at: number; callback: () => void });
  }

  soon(callback: () => void): void {
    queueMicrotask(callback);
  }

  /** Lets `ms` pass, with all that was to happen in them, and with time for promises between. */
  async pass(ms: number): Promise<void> {
    const end = this.micros + ms * 1_000;
    for (;;) {
      let next: { at: number; callback: () => void } | null = null;
      for (const timer of this.timers)
        if (timer.at <= end && (next === null || timer.at < next.at)) next = timer;
      if (next === null) break;
      this.timers.delete(next);
      this.micros = Math.max(this.micros, next.at);
      next.callback();
      await settled(20);
    }
    this.micros = end;
  }
}

/** Time for promises to settle one another, so many times over. */
export async function settled(rounds = 50): Promise<void> {
  for (let i = 0; i < rounds; i++) await null;
}
