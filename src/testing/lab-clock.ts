import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { ScheduledEvent, VirtualClock } from './virtual-clock.ts';

/** A driver's {@link Clock} on virtual time. Its timers are as coarse as Node's: at least 1 ms, and whole milliseconds. */
export class LabClock implements Clock {
  private readonly clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  now(): Micros {
    return this.clock.now();
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const now = this.clock.now();
    const waitMs = Math.max(1, Math.ceil((at - now) / MILLISECOND));
    return this.clock.schedule(now + waitMs * MILLISECOND, callback);
  }

  clearTimer(timer: TimerHandle): void {
    this.clock.cancel(timer as ScheduledEvent);
  }

  soon(callback: () => void): void {
    this.clock.schedule(this.clock.now(), callback);
  }
}
