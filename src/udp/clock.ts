import { performance } from 'node:perf_hooks';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';

/** What {@link Clock.setTimer} answers; only good for {@link Clock.clearTimer} of the same clock. */
export type TimerHandle = object;

/** Where a driver takes its time from: the machine's clock, or the virtual one of the network lab. */
export interface Clock {
  /** Monotonic time in whole microseconds, from an origin of the clock's choice. */
  now(): Micros;
  /** Calls `callback` once, not before `at`. A timer does not keep the process alive. */
  setTimer(at: Micros, callback: () => void): TimerHandle;
  clearTimer(timer: TimerHandle): void;
  /** Calls `callback` once, after what is running now and before later timers, like `setImmediate`. */
  soon(callback: () => void): void;
  /**
   * Calls `callback` once, when what is running now has run with all promises that it settles, and before the event loop goes on. A clock
   * that cannot do that leaves it out; {@link soon} is used then.
   */
  atEndOfTick?(callback: () => void): void;
}

/** The machine's monotonic clock. Its timers are those of Node: at least 1 ms, rounded up to whole milliseconds. */
export class SystemClock implements Clock {
  now(): Micros {
    return Math.floor(performance.now() * 1_000);
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const timer = new SystemTimer(at, callback);
    if (at !== NEVER) arm(timer, this.now());
    return timer;
  }

  clearTimer(timer: TimerHandle): void {
    const { handle } = timer as SystemTimer;
    if (handle !== undefined) clearTimeout(handle);
  }

  soon(callback: () => void): void {
    setImmediate(callback);
  }

  /** A tick runs before promise reactions, but one that is asked for by such a reaction runs when none is left. */
  atEndOfTick(callback: () => void): void {
    void SETTLED.then(() => process.nextTick(callback));
  }
}

/** The one clock of this process that drivers share by default. */
export const systemClock: Clock = new SystemClock();

class SystemTimer {
  readonly at: Micros;
  readonly callback: () => void;
  handle: NodeJS.Timeout | undefined = undefined;

  constructor(at: Micros, callback: () => void) {
    this.at = at;
    this.callback = callback;
  }
}

function arm(timer: SystemTimer, now: Micros): void {
  const waitMs = Math.max(0, Math.ceil((timer.at - now) / MILLISECOND));
  timer.handle = setTimeout(fire, Math.min(waitMs, TIMEOUT_MS_MAX), timer);
  timer.handle.unref();
}

/** Node counts timeouts in whole milliseconds of its loop's cached time and may call up to 1 ms early: look again. */
function fire(timer: SystemTimer): void {
  const now = systemClock.now();
  if (now < timer.at) arm(timer, now);
  else timer.callback();
}

const SETTLED = Promise.resolve();
/** Node turns a longer timeout into 1 ms. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
