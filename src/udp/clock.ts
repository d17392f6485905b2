import { uptime } from 'node:os';
import { performance } from 'node:perf_hooks';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';

/** What {@link Clock.setTimer} answers; only good for {@link Clock.clearTimer} of the same clock. */
export type TimerHandle = object;

/** Where a driver takes its time from: the machine's clock, or the virtual one of the network lab. */
export interface Clock {
  /** Monotonic time in whole microseconds, from an origin of the clock's choice. It includes the time that the machine sleeps. */
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
  /** Calls `callback` each time the machine has woken up from a sleep. Returns a function that ends this. */
  onResume?(callback: () => void): () => void;
}

/** Where {@link SystemClock} takes its time from. */
export interface TimeSource {
  /** Monotonic, without the time that the machine sleeps where the system can leave it out. */
  monotonicMs(): number;
  /** Time since the machine was started, with the time that it sleeps; may be as coarse as a second. */
  uptimeMs(): number;
}

/**
 * The machine's clock. Its timers are those of Node: at least 1 ms, rounded up to whole milliseconds.
 *
 * The monotonic time of Linux and macOS stands still while the machine sleeps, and with it all timers of Node: after eight hours with the
 * lid closed nothing would seem to have happened. So as long as there are timers it is compared, once a second, with the machine's
 * uptime, which goes on. Setting the wall clock changes neither. [CON-16]
 */
export class SystemClock implements Clock {
  private readonly source: TimeSource;
  /**
   * In no order, each at its place. Not a Set: one that is filled and emptied all the time makes new tables, of which each leads to the next, so that once the collector
   * has kept one it keeps all that follow with what was in them. A scavenge of a client that asked took 5 ms instead of 1.
   */
  private readonly timers: SystemTimer[] = [];
  private readonly resumeListeners = new Set<() => void>();
  private watch: NodeJS.Timeout | null = null;
  private slept: Micros = 0;
  private seenMonotonicMs = 0;
  private seenUptimeMs = 0;

  constructor(source: TimeSource = SYSTEM_TIME) {
    this.source = source;
  }

  now(): Micros {
    return Math.floor(this.source.monotonicMs() * 1_000) + this.slept;
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const timer = new SystemTimer(this, at, callback);
    if (at === NEVER) return timer;
    timer.place = this.timers.push(timer) - 1;
    this.arm(timer);
    if (this.watch === null) this.startWatch();
    return timer;
  }

  clearTimer(timer: TimerHandle): void {
    const { handle } = timer as SystemTimer;
    this.forget(timer as SystemTimer);
    if (handle !== undefined) clearTimeout(handle);
  }

  soon(callback: () => void): void {
    setImmediate(callback);
  }

  /** A tick runs before promise reactions, but one that is asked for by such a reaction runs when none is left. */
  atEndOfTick(callback: () => void): void {
    void SETTLED.then(() => process.nextTick(callback));
  }

  onResume(callback: () => void): () => void {
    this.resumeListeners.add(callback);
    return () => this.resumeListeners.delete(callback);
  }

  /** Looks whether the machine has slept since the last look; if so time jumps on, timers that are due fire, and listeners are told. */
  look(): void {
    const asleepMs =
      this.source.uptimeMs() - this.seenUptimeMs - (this.source.monotonicMs() - this.seenMonotonicMs);
    this.see();
    // An uptime that goes back, or cannot be read, is no sleep.
    if (!(asleepMs >= SLEEP_MS_MIN)) return;
    this.slept += Math.round(asleepMs * MILLISECOND);
    for (const timer of this.timers) {
      clearTimeout(timer.handle);
      this.arm(timer);
    }
    for (const callback of [...this.resumeListeners]) callback();
  }

  /** Node counts timeouts in whole milliseconds of its loop's cached time and may call up to 1 ms early: look again. */
  fire(timer: SystemTimer): void {
    if (this.now() < timer.at) return this.arm(timer);
    this.forget(timer);
    timer.callback();
  }

  private forget(timer: SystemTimer): void {
    const { timers } = this;
    const { place } = timer;
    if (timers[place] !== timer) return;
    timer.place = -1;
    const last = timers.pop() as SystemTimer;
    if (last === timer) return;
    timers[place] = last;
    last.place = place;
  }

  private arm(timer: SystemTimer): void {
    const waitMs = Math.max(0, Math.ceil((timer.at - this.now()) / MILLISECOND));
    timer.handle = setTimeout(fire, Math.min(waitMs, TIMEOUT_MS_MAX), timer);
    timer.handle.unref();
  }

  private startWatch(): void {
    this.see();
    this.watch = setInterval(() => {
      this.look();
      if (this.timers.length > 0 || this.watch === null) return;
      clearInterval(this.watch);
      this.watch = null;
    }, LOOK_EVERY_MS);
    this.watch.unref();
  }

  private see(): void {
    this.seenMonotonicMs = this.source.monotonicMs();
    this.seenUptimeMs = this.source.uptimeMs();
  }
}

const SYSTEM_TIME: TimeSource = {
  monotonicMs: () => performance.now(),
  uptimeMs: () => {
    try {
      return uptime() * 1_000;
    } catch {
      return Number.NaN; // a system that does not tell: its sleep goes unnoticed
    }
  },
};

/** The one clock of this process that drivers share by default. */
export const systemClock: Clock = new SystemClock();

/** The time of day, in ms since 1970. A clock of its own has a time of its own: the lab's begins at 0. */
export function unixMs(clock: Clock): number {
  return clock === systemClock ? Date.now() : Math.floor(clock.now() / MILLISECOND);
}

/** The time of day at the origin of a clock. */
export function epochMs(clock: Clock): number {
  return unixMs(clock) - Math.floor(clock.now() / MILLISECOND);
}

class SystemTimer {
  readonly clock: SystemClock;
  readonly at: Micros;
  readonly callback: () => void;
  handle: NodeJS.Timeout | undefined = undefined;
  /** Among the timers of its clock; -1: it is not set. */
  place = -1;

  constructor(clock: SystemClock, at: Micros, callback: () => void) {
    this.clock = clock;
    this.at = at;
    this.callback = callback;
  }
}

function fire(timer: SystemTimer): void {
  timer.clock.fire(timer);
}

const SETTLED = Promise.resolve();
/** Node turns a longer timeout into 1 ms. */
export const TIMEOUT_MS_MAX = 2 ** 31 - 1;
const LOOK_EVERY_MS = 1_000;
/** A shorter sleep does no harm, and could be the coarseness of an uptime in whole seconds. */
const SLEEP_MS_MIN = 2_000;
