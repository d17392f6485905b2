import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../../src/base/time.ts';
import { PacketReport } from '../../../src/protocol/congestion/delivery-rate.ts';
import type { Path } from '../../../src/protocol/path/path.ts';
import { pathOf } from './path-of.ts';

const MTU = 1_200;

describe('What a path lets out', () => {
  test('leaves some packets to who may have them all, of the window and of the pacer [SCH-7]', () => {
    const path = pathOf({ mtu: MTU, congestion: 'cubic' });
    expect(path.allowance(0, 2)).toBe(10 * MTU - 2 * MTU);
    path.bytesInFlight = 8 * MTU;
    expect(path.allowance(0)).toBe(2 * MTU);
    expect(path.allowance(0, 2)).toBe(0);
    expect(path.nextSend(0)).toBe(0);
    expect(path.nextSend(0, 2)).toBe(NEVER);
    path.bytesInFlight = 0;
    path.rtt.update(100 * MILLISECOND, 0, 0);
    path.onSettled(-1, 0);
    for (let k = 0; k < 8; k++) path.pacer.onSent(MTU, 0);
    expect(path.allowance(0, 2)).toBe(0);
    const at = path.nextSend(0, 2);
    expect(at).toBeGreaterThan(path.nextSend(0));
    expect(path.allowance(at - 1, 2)).toBeLessThan(MTU);
    expect(path.allowance(at, 2)).toBeGreaterThanOrEqual(MTU);
  });

  test('leaves no more than a quarter of a small window [SCH-7]', () => {
    const path = pathOf({ mtu: MTU, congestion: 'cubic' });
    path.congestion.limitWindow(2 * MTU);
    expect(path.allowance(0, 2)).toBe(1.5 * MTU);
    expect(path.nextSend(0, 2)).toBe(0);
  });

  test('is bounded by the queue that it may make, where it is told to be [SCH-6]', () => {
    const path = pathOf({ mtu: MTU, congestion: 'cubic', queueDelayMax: 5 * MILLISECOND });
    const free = pathOf({ mtu: MTU, congestion: 'cubic' });
    for (const one of [path, free]) {
      knowsItsRate(one);
      one.rtt.update(40 * MILLISECOND, 0, 0);
      for (let k = 1; k <= 12; k++) {
        const now = k * 60 * MILLISECOND;
        one.onPacketSent(8 * MTU, now - 55 * MILLISECOND);
        one.rtt.update(55 * MILLISECOND, 0, now);
        one.onPacketAcked(
          Object.assign(new PacketReport(), { bytes: 8 * MTU, sentTime: now - 55 * MILLISECOND }),
          now,
        );
        one.onSettled(-1, now);
      }
    }
    // not in one burst
    expect(path.allowance(1_000 * MILLISECOND)).toBe(4 * MTU);
    expect(free.allowance(1_000 * MILLISECOND)).toBe(10 * MTU);
    // 8 packets arrive each 60 ms, which is the rate; three quarters of the bound on top of 40 ms, less what the last packet takes beyond the bound
    const window = (8 * MTU * 45) / 60 - MTU;
    path.onPacketSent(4 * MTU, 1_000 * MILLISECOND);
    // a window and a tenth in a round trip
    const rate = (1.1 * window) / path.rtt.smoothed;
    expect(path.nextSend(1_000 * MILLISECOND)).toBe(1_000 * MILLISECOND + Math.ceil(MTU / rate));
    expect(path.allowance(2_000 * MILLISECOND)).toBeCloseTo(window - 4 * MTU, -1);
  });

  test('waits for the pacer alone with nothing in flight, although the window for a short queue is smaller than a packet [SCH-6]', () => {
    const path = pathOf({ mtu: 8_972, congestion: 'cubic', queueDelayMax: 5 * MILLISECOND });
    knowsItsRate(path);
    path.rtt.update(40 * MILLISECOND, 0, 0);
    for (let k = 1; k <= 12; k++) {
      const now = k * 60 * MILLISECOND;
      const sentTime = now - 55 * MILLISECOND;
      path.onPacketSent(600, sentTime);
      path.rtt.update(55 * MILLISECOND, 0, now);
      path.onPacketAcked(Object.assign(new PacketReport(), { bytes: 600, sentTime }), now);
      path.onSettled(-1, now);
    }
    const now = 1_000 * MILLISECOND;
    expect(path.allowance(now)).toBeLessThan(8_972);
    while (path.allowance(now) > 0) path.pacer.onSent(8_972, now);
    const at = path.nextSend(now);
    expect(at).toBeLessThan(NEVER);
    expect(path.allowance(at)).toBeGreaterThan(0);
  });
});

/** The controller is through with slow start, before which a bound on the queue does not begin. [SCH-6] */
function knowsItsRate(path: Path): void {
  Object.defineProperty(path.congestion, 'isSlowStart', { value: false });
}
