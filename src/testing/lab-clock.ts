import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { ScheduledEvent, VirtualClock } from './virtual-clock.ts';

/**
 * A driver's {@link Clock} on virtual time. Its timers are as coarse as Node's: at least 1 ms, and whole milliseconds. Its machine can
 * {@link sleep}: what would happen on it meanwhile happens when it wakes.
 */
export class LabClock implements Clock {
  private readonly clock: VirtualClock;
  private readonly resumeListeners = new Set<() => void>();
  private asleepUntil: Micros = 0;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  now(): Micros {
    return this.clock.now();
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const now = this.clock.now();
    const waitMs = Math.max(1, Math.ceil((at - now) / MILLISECOND));
    return this.schedule(now + waitMs * MILLISECOND, callback);
  }

  clearTimer(timer: TimerHandle): void {
    const { event } = timer as LabTimer;
    if (event !== null) this.clock.cancel(event);
  }

  soon(callback: () => void): void {
    this.schedule(this.clock.now(), callback);
  }

  onResume(callback: () => void): () => void {
    this.resumeListeners.add(callback);
    return () => this.resumeListeners.delete(callback);
  }

  /**
   * The machine sleeps from now on, or its process is stopped: time goes on, and nothing happens here.
   *
   * @param isTold - whether listeners of {@link onResume} hear of it: a stopped process does not
   */
  sleep(ms: number, isTold = true): void {
    this.asleepUntil = this.clock.now() + Math.round(ms * MILLISECOND);
    if (!isTold) return;
    this.clock.schedule(this.asleepUntil, () => {
      for (const callback of [...this.resumeListeners]) callback();
    });
  }

  private schedule(at: Micros, callback: () => void): LabTimer {
    const timer: LabTimer = { event: null };
    const fire = (): void => {
      if (this.clock.now() < this.asleepUntil) timer.event = this.clock.schedule(this.asleepUntil, fire);
      else callback();
    };
    timer.event = this.clock.schedule(at, fire);
    return timer;
  }
}

interface LabTimer {
  event: ScheduledEvent | null;
}
