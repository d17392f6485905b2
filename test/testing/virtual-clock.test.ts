import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NEVER } from '../../src/base/time.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

describe('virtual clock', () => {
  test('events happen by time, and at one time in the order they were scheduled', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.boolean())), (wanted) => {
        const clock = new VirtualClock(0);
        const happened: number[] = [];
        const events = wanted.map(([at], i) => clock.schedule(at, () => happened.push(i)));
        for (const [i, [, cancelled]] of wanted.entries()) if (cancelled) clock.cancel(events[i]);
        while (clock.runNext());
        const expected = wanted
          .map(([at, cancelled], i) => ({ at, cancelled, i }))
          .filter(({ cancelled }) => !cancelled)
          .sort((a, b) => a.at - b.at || a.i - b.i);
        expect(happened).toEqual(expected.map(({ i }) => i));
      }),
    );
  });

  test('time stands still but for events', () => {
    const clock = new VirtualClock(100);
    const seen: number[] = [];
    clock.schedule(250, () => seen.push(clock.now()));
    expect(clock.now()).toBe(100);
    clock.runNext();
    expect(seen).toEqual([250]);
    expect(clock.now()).toBe(250);
  });

  test('what is scheduled for the past happens now', () => {
    const clock = new VirtualClock(100);
    expect(clock.schedule(40, () => {}).at).toBe(100);
  });

  test('an event at NEVER does not happen', () => {
    const clock = new VirtualClock();
    clock.cancel(clock.schedule(NEVER, () => {}));
    expect(clock.pending).toBe(0);
    expect(clock.runNext()).toBe(false);
  });

  test('an event can be cancelled twice, or after it happened, without harm to others', () => {
    const clock = new VirtualClock(0);
    const happened: string[] = [];
    const first = clock.schedule(1, () => happened.push('first'));
    const second = clock.schedule(2, () => happened.push('second'));
    clock.schedule(3, () => happened.push('third'));
    clock.runNext();
    clock.cancel(first);
    clock.cancel(second);
    clock.cancel(second);
    while (clock.runNext());
    expect(happened).toEqual(['first', 'third']);
  });

  test('an instant is what was scheduled for it before it began', () => {
    const clock = new VirtualClock(0);
    const happened: string[] = [];
    clock.schedule(5, () => {
      happened.push('a');
      clock.schedule(5, () => happened.push('c'));
    });
    clock.schedule(5, () => happened.push('b'));
    clock.schedule(6, () => happened.push('later'));
    clock.runInstant();
    expect(happened).toEqual(['a', 'b']);
    clock.runInstant();
    expect(happened).toEqual(['a', 'b', 'c']);
    expect(clock.now()).toBe(5);
  });

  test('no event can be skipped', () => {
    const clock = new VirtualClock(0);
    clock.schedule(10, () => {});
    expect(() => clock.advanceTo(11)).toThrow(RangeError);
    clock.advanceTo(10);
    expect(clock.now()).toBe(10);
  });
});
