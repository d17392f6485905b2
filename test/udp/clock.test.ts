import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../src/base/time.ts';
import { SystemClock, systemClock } from '../../src/udp/clock.ts';

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

  test('soon is after what runs now, and before timers', async () => {
    const order: string[] = [];
    const both = new Promise<void>((done) => {
      systemClock.setTimer(systemClock.now() + 5 * MILLISECOND, () => {
        order.push('timer');
        done();
      });
      setTimeout(() => {}, 20);
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
