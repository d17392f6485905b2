import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import { Pacer } from '../../../src/protocol/congestion/pacer.ts';

const MTU = 1_200;
const TEN_PACKETS = { burstPackets: 10, lateTimeMax: 0 };

/** Wakes a sender every `interval`, sends all that is let out, and returns bytes a microsecond. */
function sendEvery(
  pacer: Pacer,
  interval: number,
  wakes: number,
  mtu: number,
  windowBytes = Infinity,
): number {
  let sent = 0;
  for (let wake = 1; wake <= wakes; wake++) {
    const now = wake * interval;
    let room = windowBytes;
    while (room >= mtu && pacer.available(now) >= mtu) {
      pacer.onSent(mtu, now);
      sent += mtu;
      room -= mtu;
    }
  }
  return sent / (wakes * interval);
}

describe('the pacer', () => {
  test('lets everything out until there is an RTT sample [REC-30]', () => {
    const pacer = new Pacer(MTU);
    pacer.onSent(MTU, 0);
    expect(pacer.available(0)).toBe(Infinity);
    expect(pacer.nextSend(5)).toBe(5);
  });

  test('lets a burst of ten packets out, then keeps the rate [REC-30]', () => {
    const pacer = new Pacer(MTU);
    pacer.setRate((1.25 * 120_000) / 100_000, TEN_PACKETS, MTU, 0);
    expect(pacer.available(0)).toBe(10 * MTU);
    for (let i = 0; i < 10; i++) pacer.onSent(MTU, 0);
    expect(pacer.available(0)).toBe(0);
    // 1.25 x 120,000 bytes in 100,000 us are 1.5 bytes a us.
    expect(pacer.nextSend(0)).toBe(800);
    expect(pacer.available(800)).toBe(MTU);
  });

  test('keeps the rate of its controller, whatever it is [REC-30]', () => {
    for (const rate of [0.3, 15, 24]) {
      const pacer = new Pacer(MTU);
      pacer.setRate(rate, TEN_PACKETS, MTU, 0);
      expect(sendEvery(pacer, 1_000, 1_000, MTU) / rate).toBeCloseTo(1, 1);
    }
  });

  test('does not hold back a sender that is woken only once a millisecond [REC-30]', () => {
    for (const rtt of [50, 100, 200, 1_000, 5_000, 20_000]) {
      for (const mtu of [1_200, 16_384, 32_768]) {
        for (const windowPackets of [10, 100, 1_000]) {
          const window = windowPackets * mtu;
          const pacer = new Pacer(mtu);
          pacer.setRate((1.25 * window) / rtt, TEN_PACKETS, mtu, 0);
          // At most one window can be sent between two wakes: the acknowledgements come in between.
          const possible = Math.min(window / rtt, window / 1_000);
          const rate = sendEvery(pacer, 1_000, 200, mtu, window);
          expect(rate, `rtt ${rtt} mtu ${mtu} window ${windowPackets}`).toBeGreaterThan(0.98 * possible);
        }
      }
    }
  });

  test('does not save up for more than a burst', () => {
    const pacer = new Pacer(MTU);
    pacer.setRate((1.25 * 1_200_000) / 100_000, TEN_PACKETS, MTU, 0);
    // 15 bytes a us: 2 ms are more than ten packets.
    expect(pacer.available(60_000_000)).toBe(30_000);
  });

  test('remembers what was sent beyond its allowance', () => {
    const pacer = new Pacer(MTU);
    pacer.setRate((1.25 * 120_000) / 100_000, TEN_PACKETS, MTU, 0);
    for (let i = 0; i < 12; i++) pacer.onSent(MTU, 0);
    expect(pacer.available(0)).toBe(0);
    expect(pacer.nextSend(0)).toBe(2_400);
  });

  test('makes up for a wake-up that came late, as far as the controller wants, and only once [REC-74]', () => {
    for (const [lateTimeMax, bytes] of [
      [0, 25_000],
      [10_000, 25_000 + 12.5 * 5_000],
    ]) {
      const pacer = new Pacer(MTU);
      pacer.setRate(12.5, { burstPackets: 4, lateTimeMax }, MTU, 0);
      pacer.onSent(25_000, 0);
      const at = pacer.nextSend(0);
      expect(at).toBe(96);
      expect(pacer.available(at + 5_000)).toBeLessThanOrEqual(bytes);
      expect(pacer.available(at + 5_000)).toBeGreaterThan(0.98 * Math.min(bytes, 12.5 * 5_096));
      pacer.onSent(pacer.available(at + 5_000), at + 5_000);
      expect(pacer.available(SECOND)).toBe(25_000); // it had nothing to send meanwhile
    }
  });
});
