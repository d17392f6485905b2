import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { Cubic } from '../../../src/protocol/congestion/cubic.ts';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';
import { CubicTwin } from './cubic-twin.ts';
import { Driven } from './driven.ts';

const MTU = 1_200;

function rttOf(sample: number): RttEstimator {
  const rtt = new RttEstimator();
  for (let i = 0; i < 2; i++) rtt.update(sample, 0, i);
  return rtt;
}

/** A controller at `packets` packets. */
function cubicAt(packets: number, windowBytesMax = Number.POSITIVE_INFINITY): Driven {
  const cubic = new Driven(new Cubic(), MTU, windowBytesMax);
  cubic.window = packets * MTU;
  return cubic;
}

/** One round trip in which the whole window is acknowledged, `each` packets an ACK. */
function round(cubic: Driven, now: number, rtt: RttEstimator, each = 2): void {
  const packets = Math.floor(cubic.window / MTU);
  for (let p = 0; p < packets; p += each) {
    const at = now + Math.floor((rtt.latest * p) / packets);
    cubic.onAcked(Math.min(each, packets - p) * MTU, at - rtt.latest, at, rtt, false);
  }
}

describe('CUBIC', () => {
  test('keeps seven tenths of the window at a loss, once a recovery period [REC-27] [REC-28]', () => {
    const cubic = cubicAt(100);
    expect(cubic.onLost(MTU, 10, 20)).toBe(true);
    expect(cubic.window).toBeCloseTo(70 * MTU);
    expect(cubic.onLost(MTU, 20, 30)).toBe(false);
    expect(cubic.window).toBeCloseTo(70 * MTU);
  });

  test('is back at the old window after K, flat around it, then probes [REC-27]', () => {
    const cubic = cubicAt(1_000);
    const rtt = rttOf(100_000);
    cubic.onLost(MTU, 0, 0);
    const k = Math.cbrt((0.3 * 1_000) / 0.4);
    const windows: number[] = [];
    for (let now = 100_000; now < 20_000_000; now += 100_000) {
      round(cubic, now, rtt, 10);
      windows.push(cubic.window / MTU);
    }
    const at = (seconds: number) => windows[Math.round(seconds * 10) - 1];
    expect(at(k)).toBeGreaterThan(990);
    expect(at(k)).toBeLessThan(1_005);
    expect(at(k + 1) - at(k - 1)).toBeLessThan(5);
    expect(at(k + 6)).toBeGreaterThan(1_050);
  });

  test('grows at once where it does not know of a larger window any more, as after persistent congestion [REC-22] [REC-27]', () => {
    const cubic = cubicAt(1_000);
    const rtt = rttOf(100_000);
    cubic.onLost(MTU, 0, 0);
    let now = 0;
    const next = () => {
      now += 100_000;
      round(cubic, now, rtt, 10);
    };
    for (let i = 0; i < 5; i++) next();
    cubic.onPersistentCongestion();
    expect(cubic.window).toBe(2 * MTU);
    while (cubic.isSlowStart) next();
    const before = cubic.window / MTU;
    for (let i = 0; i < 80; i++) next();
    expect(cubic.window / MTU).toBeGreaterThan(before + 0.9 * 0.4 * 8 ** 3);
  });

  for (const [name, packets, rttMicros, lossEvery] of [
    ['on a long fat path', 2_000, 100_000, 80],
    ['in the Reno-friendly region', 20, 5_000, 30],
    ['in between', 200, 40_000, 120],
  ] as const) {
    test(`agrees with RFC 9438 computed segment by segment ${name} [REC-27]`, () => {
      const random = new Prng(7);
      const cubic = cubicAt(packets);
      const twin = new CubicTwin(packets);
      const rtt = rttOf(rttMicros);
      let now = rttMicros;
      for (let event = 0; event < 6; event++) {
        cubic.onLost(MTU, now, now);
        twin.onCongestion();
        const rounds = lossEvery + random.between(0, lossEvery);
        for (let r = 0; r < rounds; r++) {
          const count = Math.floor(cubic.window / MTU);
          for (let p = 0; p < count; p++) {
            const at = now + 1 + Math.floor((rttMicros * p) / count);
            cubic.onAcked(MTU, at, at, rtt, false);
            twin.onAckedSegment(at / 1e6, rttMicros / 1e6);
          }
          now += rttMicros;
          expect(cubic.window / MTU / twin.cwnd).toBeCloseTo(1, 6);
        }
      }
    });
  }

  test('gives way faster when the window ends below the last maximum [REC-28]', () => {
    const rtt = rttOf(100_000);
    const cubic = cubicAt(2_000);
    cubic.onLost(MTU, 1, 1);
    cubic.onLost(MTU, 2, 2);
    // 1,400 packets are below W_max = 2,000: the new W_max is 1,190, reached after cbrt((1,190 - 980) / 0.4) s.
    const k = Math.cbrt(210 / 0.4);
    for (let now = 100_000; now < k * 1e6; now += 100_000) round(cubic, now, rtt, 10);
    expect(cubic.window / MTU).toBeGreaterThan(1_185);
    expect(cubic.window / MTU).toBeLessThan(1_195);
  });

  test('does not let idle time count as elapsed [REC-29]', () => {
    const rtt = rttOf(100_000);
    const busy = cubicAt(500);
    const idle = cubicAt(500);
    busy.onLost(MTU, 0, 0);
    idle.onLost(MTU, 0, 0);
    let now = 100_000;
    for (let r = 0; r < 10; r++, now += 100_000) {
      round(busy, now, rtt);
      round(idle, now, rtt);
    }
    const pause = 60_000_000;
    idle.onPacketSent(MTU, 0, now + pause);
    for (let r = 0; r < 10; r++, now += 100_000) {
      round(busy, now, rtt);
      round(idle, now + pause, rtt);
    }
    expect(idle.window / busy.window).toBeCloseTo(1, 1);
  });

  test('lets the time count in which something was in flight, whatever is sent meanwhile [REC-29]', () => {
    const rtt = rttOf(100_000);
    const [quiet, sending] = [cubicAt(500), cubicAt(500)];
    let now = 100_000;
    for (const cubic of [quiet, sending]) cubic.onLost(MTU, 0, 0);
    for (let r = 0; r < 40; r++, now += 100_000) {
      for (const cubic of [quiet, sending]) round(cubic, now, rtt);
      for (let i = 0; i < 50; i++) sending.onPacketSent(MTU, MTU, now + 100_000 + i);
    }
    expect(sending.window).toBe(quiet.window);
  });

  test('does not let application-limited time count as elapsed [REC-25] [REC-29]', () => {
    const rtt = rttOf(100_000);
    const cubic = cubicAt(500);
    cubic.onLost(MTU, 0, 0);
    let now = 100_000;
    for (let r = 0; r < 10; r++, now += 100_000) round(cubic, now, rtt);
    const before = cubic.window;
    for (let r = 0; r < 600; r++, now += 100_000) cubic.onAcked(MTU, now - 100_000, now, rtt, true);
    expect(cubic.window).toBe(before);
    round(cubic, now, rtt);
    expect(cubic.window / before).toBeLessThan(1.05);
  });

  test('does not let it count after the undo of a loss either [REC-23] [REC-29]', () => {
    const rtt = rttOf(100_000);
    const windows = [false, true].map((hasSpuriousLoss) => {
      const cubic = cubicAt(500);
      cubic.onLost(MTU, 0, 0);
      let now = 100_000;
      for (let r = 0; r < 10; r++, now += 100_000) round(cubic, now, rtt);
      for (let r = 0; r < 300; r++, now += 100_000) cubic.onAcked(MTU, now - 100_000, now, rtt, true);
      if (hasSpuriousLoss) {
        cubic.onLost(MTU, now - 1, now);
        cubic.onAllSpurious();
      }
      for (let r = 0; r < 5; r++, now += 100_000) round(cubic, now, rtt);
      return cubic.window;
    });
    expect(windows[1] / windows[0]).toBeCloseTo(1, 1);
  });

  test('takes a loss back that was none [REC-23]', () => {
    const rtt = rttOf(100_000);
    const cubic = cubicAt(500);
    const twin = cubicAt(500);
    for (const controller of [cubic, twin]) {
      controller.onLost(MTU, 0, 0);
      for (let r = 1; r < 30; r++) round(controller, r * 100_000, rtt);
    }
    const before = cubic.window;
    cubic.onLost(MTU, 2_900_000, 3_000_000);
    cubic.onAllSpurious();
    expect(cubic.window).toBe(before);
    for (const controller of [cubic, twin]) round(controller, 3_100_000, rtt);
    expect(cubic.window).toBe(twin.window);
    cubic.onAllSpurious();
    expect(cubic.window).toBe(twin.window);
  });

  test('starts over in slow start after persistent congestion, with two packets [REC-22]', () => {
    const cubic = cubicAt(500);
    cubic.onLost(MTU, 0, 0);
    cubic.onPersistentCongestion();
    expect(cubic.window).toBe(2 * MTU);
    expect(cubic.isSlowStart).toBe(true);
    cubic.onAllSpurious();
    expect(cubic.window).toBe(2 * MTU);
  });

  test('stays between its bounds', () => {
    const cubic = cubicAt(10, 30 * MTU);
    const rtt = rttOf(10_000);
    for (let r = 1; r < 200; r++) round(cubic, r * 10_000, rtt);
    expect(cubic.window).toBe(30 * MTU);
    for (let now = 3_000_000; now < 3_000_050; now++) cubic.onLost(MTU, now, now);
    expect(cubic.window).toBe(2 * MTU);
  });

  test('follows the packet size [REC-33]', () => {
    const cubic = cubicAt(10);
    cubic.onPacketSize(8_000);
    expect(cubic.window).toBe(80_000);
    cubic.onLost(MTU, 1, 2);
    cubic.onPacketSize(1_200);
    expect(cubic.window).toBeCloseTo(56_000);
  });
});
