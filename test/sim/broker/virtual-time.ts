/** Virtual time for all that runs in this process meanwhile, whichever clock it looks at: so a run is the same every time, and takes no time. */

import { performance } from 'node:perf_hooks';
import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import type { ScheduledEvent, VirtualClock } from '../../../src/testing/virtual-clock.ts';

/** A wall clock that can be set. */
export class WallClock {
  /** Ahead of virtual time, ms. */
  offsetMs = Date.UTC(2026, 0, 1);
  private readonly clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  readonly now = (): number => Math.floor(this.clock.now() / MILLISECOND) + this.offsetMs;
}

/** What a patched timer answers. */
class VirtualTimer {
  event: ScheduledEvent | null = null;
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return false;
  }
}

/** Runs `run` while timers, clocks and random numbers of this process are those of the simulation. */
export async function inVirtualTime<T>(
  clock: VirtualClock,
  wall: WallClock,
  random: Prng,
  run: () => Promise<T>,
): Promise<T> {
  const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis;
  const { now: dateNow } = Date;
  const { random: mathRandom } = Math;
  const performanceNow = Object.getOwnPropertyDescriptor(performance, 'now');
  const start = (callback: (...args: unknown[]) => void, ms: number, args: unknown[], repeats: boolean) => {
    const timer = new VirtualTimer();
    const arm = () => {
      const waitMs = Math.max(1, Math.trunc(Number(ms) || 0));
      timer.event = clock.schedule(clock.now() + waitMs * MILLISECOND, () => {
        timer.event = null;
        if (repeats) arm();
        callback(...args);
      });
    };
    arm();
    return timer;
  };
  const stop = (timer: unknown) => {
    if (timer instanceof VirtualTimer && timer.event !== null) clock.cancel(timer.event);
  };
  Object.assign(globalThis, {
    setTimeout: (callback: () => void, ms: number, ...args: unknown[]) => start(callback, ms, args, false),
    setInterval: (callback: () => void, ms: number, ...args: unknown[]) => start(callback, ms, args, true),
    clearTimeout: stop,
    clearInterval: stop,
  });
  Date.now = wall.now;
  Math.random = () => random.float();
  Object.defineProperty(performance, 'now', {
    value: () => clock.now() / MILLISECOND,
    configurable: true,
    writable: true,
  });
  try {
    return await run();
  } finally {
    Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
    Date.now = dateNow;
    Math.random = mathRandom;
    if (performanceNow === undefined) Reflect.deleteProperty(performance, 'now');
    else Object.defineProperty(performance, 'now', performanceNow);
  }
}
