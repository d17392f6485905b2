import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../../src/base/time.ts';
import { FlowWindow, Pace, WindowPool } from '../../../src/protocol/stream/flow-control.ts';

/** A window of 1,000 bytes that may grow to 100,000, out of a pool of `poolBytes`. */
function growing(poolBytes = 1_000_000, isShared = false) {
  const held = { bytes: 0 };
  const connection = {
    get used() {
      return held.bytes + 7;
    },
    freed: 7,
  };
  const pool = new WindowPool(poolBytes, connection);
  const pace = new Pace();
  pace.rtt = 100 * MILLISECOND;
  /** Another window of the same pool. */
  const another = () => new FlowWindow(1_000, { bytesMax: 100_000, source: pool, pace, isShared });
  const window = another();
  /** The peer sends `bytes`, which are read `ms` later. */
  const pass = (bytes: number, ms: number) => {
    expect(window.charge(bytes)).toBe(true);
    pace.now += ms * MILLISECOND;
    window.free(bytes);
    return window.due ? window.announce() : 0;
  };
  return { window, another, pool, held, pace, pass };
}

describe('A window', () => {
  test('doubles while a quarter of it is read in less than a round trip, up to its most, and no longer [STR-9]', () => {
    const { window, pool, pass } = growing();
    for (let i = 0; i < 40; i++) pass(Math.ceil(window.windowBytes / 4), 50);
    expect(window.windowBytes).toBe(100_000);
    expect(pool.used).toBe(99_000);
    const slow = growing();
    for (let i = 0; i < 40; i++) slow.pass(250, 150);
    expect(slow.window.windowBytes).toBe(1_000);
    expect(slow.pool.used).toBe(0);
  });

  test('takes half of what is left in the pool at a time, so that others find something [STR-34]', () => {
    const { window, pool, pass } = growing(8_000);
    for (let i = 0; i < 3; i++) pass(Math.ceil(window.windowBytes / 4), 10);
    expect(pool.available).toBeGreaterThan(500);
  });

  test('admits the one message that a blocked peer has, and gives the room back when it was read [STR-9] [STR-10]', () => {
    const { window, pool } = growing();
    window.onBlocked(50_128);
    expect(window.due).toBe(true);
    expect(window.announce()).toBe(50_128);
    expect(pool.used).toBeGreaterThanOrEqual(49_128);
    expect(window.charge(50_128)).toBe(true);
    // Unread, it is all that the stream gets.
    window.onBlocked(100_256);
    expect(window.due).toBe(false);
    window.free(50_128);
    expect(window.announce()).toBeGreaterThanOrEqual(100_256);
    window.charge(50_128);
    window.free(50_128);
    window.announce();
    expect(pool.used).toBeLessThan(10_000);
    window.close();
    expect(pool.used).toBe(0);
  });

  test('waits for its pool, and asks again when others gave something back [STR-34]', () => {
    const { window, pool, held } = growing(60_000);
    pool.take(40_000);
    held.bytes = 40_000;
    window.onBlocked(50_128);
    expect(window.isStarved).toBe(true);
    expect(window.announce()).toBeLessThan(20_000);
    expect(pool.hasRoomAgain).toBe(false);
    pool.give(40_000);
    expect(pool.hasRoomAgain).toBe(true);
    window.retry();
    expect(window.isStarved).toBe(false);
    expect(window.announce()).toBe(50_128);
  });

  test('gets the next message in although others were promised all there is, when they hold none of it [STR-34]', () => {
    const { window, pool, held } = growing(60_000);
    pool.take(60_000);
    held.bytes = 30_000;
    window.onBlocked(50_128);
    expect([window.isStarved, pool.hasRoomAgain]).toEqual([true, false]);
    held.bytes = 5_000; // read by now, and not given back: limits never shrink
    expect(pool.hasRoomAgain).toBe(true);
    pool.retried();
    window.retry();
    expect([window.isStarved, window.announce()]).toEqual([false, 50_128]);
  });

  test('hears of room again although another one asks at each message that is read, and never finds enough [STR-34]', () => {
    const { window, another, pool, held } = growing(60_000);
    const greedy = another();
    pool.take(60_000);
    held.bytes = 40_000;
    window.onBlocked(30_128);
    greedy.onBlocked(90_128);
    expect([window.isStarved, greedy.isStarved, pool.hasRoomAgain]).toEqual([true, true, false]);
    held.bytes -= 20_000; // what the greedy one held is read
    greedy.charge(500);
    greedy.free(500);
    expect(greedy.isStarved).toBe(true);
    expect(pool.hasRoomAgain).toBe(true);
    pool.retried();
    greedy.retry();
    window.retry();
    expect([window.isStarved, window.announce()]).toEqual([false, 30_128]);
    expect([greedy.isStarved, pool.hasRoomAgain]).toEqual([true, false]);
    // The same where something was given back.
    window.onBlocked(window.announced + 50_000);
    pool.give(1_000);
    greedy.free(0);
    expect(pool.hasRoomAgain).toBe(true);
  });

  test('that found too little when the most was held hears of what was read since, though another one asked before [STR-34]', () => {
    const { window, another, pool, held } = growing(60_000);
    const first = another();
    pool.take(60_000);
    held.bytes = 20_000;
    first.onBlocked(90_128);
    held.bytes = 50_000;
    window.onBlocked(30_128);
    expect([window.isStarved, pool.hasRoomAgain]).toEqual([true, false]);
    held.bytes = 30_000;
    expect(pool.hasRoomAgain).toBe(true);
  });

  test('of all streams grows past what is unread, as far as there is room [STR-34]', () => {
    const { window } = growing(10_000, true);
    window.charge(1_000);
    window.onBlocked(1_500);
    expect(window.announce()).toBeGreaterThanOrEqual(1_500);
    window.onBlocked(1_000_000);
    expect(window.announce()).toBeLessThanOrEqual(11_000);
    expect(window.announced).toBeGreaterThan(5_000);
  });

  test('takes a limit equal to the last one as a peer that waits and does not say for how much [STR-10]', () => {
    const { window } = growing();
    window.charge(900);
    window.free(900);
    window.announce();
    window.onBlocked(window.announced);
    expect(window.due).toBe(true);
    const before = window.announced;
    window.onBlocked(before - 1);
    expect(window.announce()).toBeGreaterThan(before);
  });

  test('grows with what comes behind a gap as if that were read, and gives no credit for it [STR-47]', () => {
    const { window, pace } = growing();
    /** The peer sends as much as it may, behind a message that is missing. */
    const fill = () => {
      const bytes = window.announced - window.used;
      window.charge(bytes);
      pace.now += 50 * MILLISECOND;
      window.hold(bytes);
      return bytes;
    };
    expect(fill()).toBe(1_000);
    expect(window.windowBytes).toBe(2_000);
    expect(window.announce()).toBe(2_000); // of the window alone: nothing was freed
    fill();
    expect(window.announce()).toBe(4_000);
    // The gap closes: what counted when it came does not count again when it is read.
    window.release(2_000);
    window.free(2_000);
    expect(window.announce()).toBe(6_000);
    expect(window.windowBytes).toBe(4_000);
  });

  test('does not grow with what the application could read and does not, nor slowly behind a gap [STR-47]', () => {
    const { window, pace } = growing();
    window.charge(1_000);
    pace.now += 10 * MILLISECOND;
    window.hold(1_000);
    window.announce();
    window.release(1_000); // the gap is closed, and nobody reads
    window.charge(1_000);
    window.onBlocked(window.announced + 500);
    expect(window.windowBytes).toBe(2_000);
    expect(window.due).toBe(false);
    const slow = growing();
    slow.window.charge(1_000);
    slow.pace.now += 5_000 * MILLISECOND;
    slow.window.hold(250);
    expect(slow.window.windowBytes).toBe(1_000);
  });

  test('grows behind a gap before what is left of it is too little for two round trips [STR-47]', () => {
    const { window, pace } = growing();
    // A quarter of it takes more than a round trip, so that it is no pace to grow at while all is read.
    for (const bytes of [250, 250, 250]) {
      window.charge(bytes);
      pace.now += 110 * MILLISECOND;
      window.hold(bytes);
    }
    expect(window.windowBytes).toBe(2_000);
  });

  test('grows just before its pace is a quarter a round trip, and what is left of it behind a gap lasts two, and not at that [STR-9] [STR-47]', () => {
    for (const [ms, windowBytes] of [
      [99, 2_000],
      [100, 1_000],
    ]) {
      const { window, pass } = growing();
      pass(250, ms);
      expect(window.windowBytes).toBe(windowBytes);
    }
    for (const [ms, windowBytes] of [
      [299, 2_000],
      [300, 1_000],
    ]) {
      const { window, pace } = growing();
      window.charge(600);
      pace.now += ms * MILLISECOND;
      window.hold(600); // 400 are left, which last two thirds of that
      expect(window.windowBytes).toBe(windowBytes);
    }
  });

  test('admits the next message of a blocked peer when all that is there lies behind a gap [STR-10] [STR-47]', () => {
    const { window } = growing();
    window.charge(900);
    window.onBlocked(50_128);
    expect(window.isStarved).toBe(true);
    window.hold(900);
    window.onBlocked(50_128);
    expect(window.isStarved).toBe(false);
    expect(window.announce()).toBe(50_128);
  });
});
