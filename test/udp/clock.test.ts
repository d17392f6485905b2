import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { MILLISECOND, NEVER, SECOND } from '../../src/base/time.ts';
import { SystemClock, systemClock, type TimeSource } from '../../src/udp/clock.ts';

describe('system clock', () => {
  test('time is whole microseconds and does not go back', () => {
    let last = systemClock.now();
    for (let i = 0; i < 1_000; i++) {
      const now = systemClock.now();
      expect(Number.isInteger(now)).toBe(true);
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });

  test('a timer never fires before its time', async () => {
    for (let i = 0; i < 10; i++) {
      const at = systemClock.now() + 2 * MILLISECOND + i * 130;
      // A timer does not keep the process alive, so something else must.
      const alive = setTimeout(() => {}, 1_000);
      await new Promise<void>((done) => systemClock.setTimer(at, done));
      clearTimeout(alive);
      expect(systemClock.now()).toBeGreaterThanOrEqual(at);
    }
  });

  test('a cleared timer, and one at NEVER, do not fire', async () => {
    const fired: string[] = [];
    systemClock.clearTimer(
      systemClock.setTimer(systemClock.now() + MILLISECOND, () => fired.push('cleared')),
    );
    const never = systemClock.setTimer(NEVER, () => fired.push('never'));
    await new Promise((done) => setTimeout(done, 10));
    systemClock.clearTimer(never);
    expect(fired).toEqual([]);
  });

  test('timers that are cleared in any order, twice, or after they fired, leave the others as they are', async () => {
    const clock = new SystemClock();
    const fired: number[] = [];
    const at = clock.now() + 5 * MILLISECOND;
    const timers = Array.from({ length: 20 }, (_, i) => clock.setTimer(at, () => fired.push(i)));
    const cleared = [19, 0, 7, 7, 18, 3, 0, 11];
    for (const i of cleared) clock.clearTimer(timers[i]);
    const left = timers.map((_, i) => i).filter((i) => !cleared.includes(i));
    await new Promise<void>((done) => {
      const look = () => (fired.length >= left.length ? done() : setTimeout(look, 1));
      look();
    });
    for (const timer of timers) clock.clearTimer(timer);
    expect(fired.sort((a, b) => a - b)).toEqual(left);
    await new Promise<void>((done) => {
      clock.setTimer(clock.now(), done);
      setTimeout(() => {}, 100);
    });
  });

  test('soon is after what runs now, and before timers', async () => {
    const order: string[] = [];
    const both = new Promise<void>((done) => {
      // Not so soon that it is due by the end of this tick, should the process have to wait meanwhile.
      systemClock.setTimer(systemClock.now() + 100 * MILLISECOND, () => {
        order.push('timer');
        done();
      });
      setTimeout(() => {}, 200);
    });
    systemClock.soon(() => order.push('soon'));
    order.push('now');
    await both;
    expect(order).toEqual(['now', 'soon', 'timer']);
  });

  test('the end of a tick comes after the promises of the tick, and before the event loop goes on', async () => {
    const order: string[] = [];
    const later = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) await null;
      order.push('promises');
    };
    await new Promise<void>((done) => {
      setImmediate(() => {
        setImmediate(() => {
          order.push('loop');
          done();
        });
        new SystemClock().atEndOfTick(() => order.push('end of tick'));
        void later();
        process.nextTick(() => order.push('ticks'));
      });
    });
    expect(order).toEqual(['ticks', 'promises', 'end of tick', 'loop']);
  });
});

describe('the clock of a machine that sleeps [CON-16]', () => {
  /** A machine whose uptime runs on when its monotonic time stands still. */
  class Machine implements TimeSource {
    asleepMs = 0;
    setMs = 0;
    monotonicMs(): number {
      return performance.now();
    }
    uptimeMs(): number {
      return performance.now() + this.asleepMs + this.setMs + 1e6;
    }
  }

  test('jumps on when it wakes: timers that are due fire, others wait for what is left, and it tells', async () => {
    const machine = new Machine();
    const clock = new SystemClock(machine);
    const told: string[] = [];
    const forget = clock.onResume(() => told.push('resumed'));
    const start = clock.now();
    const fired = new Promise<void>((done) => clock.setTimer(start + 3_600 * SECOND, done));
    const late = clock.setTimer(start + 9_000 * SECOND, () => told.push('too early'));
    machine.asleepMs += 3_600_000;
    clock.look();
    expect(told).toEqual(['resumed']);
    expect(clock.now() - start).toBeGreaterThanOrEqual(3_600 * SECOND);
    expect(clock.now() - start).toBeLessThan(3_660 * SECOND);
    await fired;
    forget();
    machine.asleepMs += 60_000;
    clock.look();
    expect(clock.now() - start).toBeGreaterThanOrEqual(3_660 * SECOND);
    expect(told).toEqual(['resumed']);
    clock.clearTimer(late);
  });

  test('calls a timer once, and looks no more when it has none', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const machine = new Machine();
    const clock = new SystemClock(machine);
    let fired = 0;
    for (let i = 0; i < 3; i++) clock.setTimer(clock.now() + (i + 1) * 100 * MILLISECOND, () => fired++);
    machine.asleepMs += 10_000;
    clock.look();
    vi.advanceTimersByTime(400); // in which they were due before
    expect(fired).toBe(3);
    for (let i = 0; i < 3; i++) {
      const timer = clock.setTimer(clock.now() + 3_600 * SECOND, () => {});
      expect(vi.getTimerCount()).toBe(2); // and the one that looks
      clock.clearTimer(timer);
      vi.advanceTimersByTime(1_000);
      expect(vi.getTimerCount()).toBe(0);
    }
  });

  test('looks by itself, once a second', async () => {
    const machine = new Machine();
    const clock = new SystemClock(machine);
    const timer = clock.setTimer(clock.now() + 3_600 * SECOND, () => {});
    const resumed = new Promise<void>((done) => clock.onResume(done));
    machine.asleepMs += 10_000;
    await resumed;
    clock.clearTimer(timer);
  });

  test.each([-5_000_000, -900, 900, 1_500, Number.NaN])(
    'takes an uptime that is off by %d ms for no sleep',
    (offMs) => {
      const machine = new Machine();
      const clock = new SystemClock(machine);
      let told = 0;
      clock.onResume(() => told++);
      const timer = clock.setTimer(clock.now() + 3_600 * SECOND, () => told++);
      const before = clock.now();
      machine.setMs = offMs;
      clock.look();
      clock.look();
      clock.clearTimer(timer);
      expect(clock.now() - before).toBeLessThan(60 * SECOND);
      expect(told).toBe(0);
    },
  );

  test('of this machine has not slept while this test ran', () => {
    const before = performance.now();
    const start = systemClock.now();
    const timer = systemClock.setTimer(start + 3_600 * SECOND, () => {});
    (systemClock as SystemClock).look();
    systemClock.clearTimer(timer);
    expect(systemClock.now() - start).toBeLessThan((performance.now() - before + 2) * MILLISECOND);
  });
});
