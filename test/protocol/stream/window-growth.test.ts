import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../../src/base/time.ts';
import { FlowWindow, Pace, WindowPool } from '../../../src/protocol/stream/flow-control.ts';

/** A window of 1,000 bytes that may grow to 100,000, out of a pool of `poolBytes`. */
function growing(poolBytes = 1_000_000, isShared = false) {
  const held = { bytes: 0 };
  const pool = new WindowPool(poolBytes, () => held.bytes);
  const pace = new Pace();
  pace.rtt = 100 * MILLISECOND;
  const window = new FlowWindow(1_000, { bytesMax: 100_000, source: pool, pace, isShared });
  /** The peer sends `bytes`, which are read `ms` later. */
  const pass = (bytes: number, ms: number) => {
    expect(window.charge(bytes)).toBe(true);
    pace.now += ms * MILLISECOND;
    window.free(bytes);
    return window.due ? window.announce() : 0;
  };
  return { window, pool, held, pace, pass };
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
});
