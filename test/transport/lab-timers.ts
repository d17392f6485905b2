import type { Clock, TimerHandle } from '../../src/udp/clock.ts';

/** The timers that wait on the clock of a lab, of those that are set from now on. */
export function timersOf({ clock }: { readonly clock: Clock }): ReadonlySet<TimerHandle> {
  const set = new Set<TimerHandle>();
  const setTimer = clock.setTimer.bind(clock);
  const clearTimer = clock.clearTimer.bind(clock);
  clock.setTimer = (at, callback) => {
    const timer = setTimer(at, () => {
      set.delete(timer);
      callback();
    });
    set.add(timer);
    return timer;
  };
  clock.clearTimer = (timer) => {
    set.delete(timer);
    clearTimer(timer);
  };
  return set;
}
