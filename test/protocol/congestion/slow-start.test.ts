import { describe, expect, test } from 'vitest';
import { SlowStart } from '../../../src/protocol/congestion/loss-based.ts';

/** Acknowledges `acks` packets of 1,000 bytes over one round trip; returns by how much the window grew. */
function round(slowStart: SlowStart, index: number, rtt: number, acks = 20): number {
  let grown = 0;
  const began = index * 1_000_000;
  for (let i = 0; i < acks; i++) {
    const now = began + rtt + i;
    grown += slowStart.grow(1_000, now - rtt, now, rtt);
  }
  return grown;
}

describe('slow start [REC-31]', () => {
  test('doubles while the round-trip time is steady', () => {
    const slowStart = new SlowStart();
    for (let r = 0; r < 20; r++) expect(round(slowStart, r, 40_000)).toBe(20_000);
    expect(slowStart.isFinished).toBe(false);
  });

  test('slows to a quarter when a round is slower by an eighth, and ends five rounds later', () => {
    const slowStart = new SlowStart();
    round(slowStart, 0, 40_000);
    // Eight samples tell; the rest of the round grows at a quarter.
    expect(round(slowStart, 1, 45_000)).toBe(8_000 + 12 * 250);
    for (let r = 2; r < 6; r++) {
      expect(round(slowStart, r, 46_000)).toBe(5_000);
      expect(slowStart.isFinished).toBe(false);
    }
    round(slowStart, 6, 46_000);
    expect(slowStart.isFinished).toBe(true);
  });

  test('goes on when the rise was a hiccup', () => {
    const slowStart = new SlowStart();
    round(slowStart, 0, 40_000);
    round(slowStart, 1, 60_000);
    round(slowStart, 2, 41_000);
    expect(round(slowStart, 3, 41_000)).toBe(20_000);
    expect(slowStart.isFinished).toBe(false);
  });

  test('ignores rises below 4 ms and needs no more than 16 ms', () => {
    const short = new SlowStart();
    round(short, 0, 1_000);
    expect(round(short, 1, 4_900)).toBe(20_000);
    const long = new SlowStart();
    round(long, 0, 400_000);
    expect(round(long, 1, 416_000)).toBeLessThan(20_000);
  });

  test('does not judge a round by fewer than eight samples', () => {
    const slowStart = new SlowStart();
    round(slowStart, 0, 40_000);
    expect(round(slowStart, 1, 80_000, 7)).toBe(7_000);
  });
});
