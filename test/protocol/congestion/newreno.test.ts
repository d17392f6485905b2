import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { NewReno } from '../../../src/protocol/congestion/loss-based.ts';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';
import { Driven } from './driven.ts';

const MTU = 1_200;

function newReno(windowBytesMax = Number.POSITIVE_INFINITY): Driven {
  return new Driven(new NewReno(), MTU, windowBytesMax);
}

function rttOf(sample: number): RttEstimator {
  const rtt = new RttEstimator();
  rtt.update(sample, 0, 0);
  return rtt;
}

describe('NewReno', () => {
  test('begins with ten packets, or what RFC 9002 allows of them [REC-24]', () => {
    const window = (mtu: number) => new Driven(new NewReno(), mtu).window;
    expect(window(1_200)).toBe(12_000);
    expect(window(1_472)).toBe(14_720);
    expect(window(512)).toBe(5_120);
    expect(window(32_768)).toBe(327_680);
  });

  test('grows by what is acknowledged in slow start', () => {
    const reno = newReno();
    reno.onAcked(6_000, 10, 20, rttOf(40_000), false);
    expect(reno.window).toBe(18_000);
    expect(reno.isSlowStart).toBe(true);
  });

  test('halves the window once a recovery period and then grows a packet a window [REC-26]', () => {
    const reno = newReno();
    expect(reno.onLost(MTU, 100, 200)).toBe(true);
    expect(reno.window).toBe(6_000);
    expect(reno.onLost(MTU, 200, 250)).toBe(false);
    expect(reno.window).toBe(6_000);
    reno.onAcked(6_000, 300, 400, rttOf(40_000), false);
    expect(reno.window).toBe(7_200);
    expect(reno.onLost(MTU, 201, 500)).toBe(true);
    expect(reno.window).toBe(3_600);
  });

  test('grows for those packets only that were sent after the recovery period began [REC-26]', () => {
    const reno = newReno();
    reno.onLost(MTU, 100, 200);
    reno.onAcked(6_000, 200, 300, rttOf(40_000), false);
    expect(reno.window).toBe(6_000);
    reno.onAcked(3_000, 201, 400, rttOf(40_000), false);
    expect(reno.window).toBe(6_600);
  });

  test('never goes below two packets [REC-24]', () => {
    const reno = newReno();
    for (let now = 1; now < 100; now++) reno.onLost(MTU, now, now);
    expect(reno.window).toBe(2 * MTU);
  });

  test('does not grow while the application is the limit [REC-25]', () => {
    const reno = newReno();
    reno.onAcked(6_000, 10, 20, rttOf(40_000), true);
    expect(reno.window).toBe(12_000);
  });

  test('never grows above its bound', () => {
    const reno = newReno(20_000);
    for (let i = 0; i < 100; i++) reno.onAcked(6_000, i, i, rttOf(40_000), false);
    expect(reno.window).toBe(20_000);
  });

  test('returns to the window before a loss that was none [REC-23]', () => {
    const reno = newReno();
    reno.onLost(MTU, 100, 200);
    expect(reno.state).toBe('recovery');
    reno.onAllSpurious();
    expect(reno.window).toBe(12_000);
    expect(reno.state).toBe('slow-start');
    // Packets of that time that are really lost still count.
    expect(reno.onLost(MTU, 150, 400)).toBe(true);
  });

  test('grows by an acknowledgement that was read with those by which it lost something and had it back [REC-23]', () => {
    const reno = newReno();
    reno.onLost(MTU, 100, 200);
    reno.onAllSpurious();
    reno.onAcked(MTU, 150, 200, rttOf(40_000), false);
    expect(reno.window).toBe(12_000 + MTU);
  });

  test('has packets leave at 1.25 windows a round trip, in slow start at 2, and at once before there is an RTT sample [REC-30]', () => {
    const reno = newReno();
    expect(reno.pacingRate).toBe(Infinity);
    reno.onAcked(MTU, 10, 20, rttOf(40_000), true);
    expect(reno.pacingRate).toBe((2 * 12_000) / 40_000);
    reno.onLost(MTU, 100, 200);
    expect(reno.pacingRate).toBe((1.25 * 6_000) / 40_000);
  });

  test('follows the packet size [REC-33]', () => {
    const reno = newReno();
    reno.onPacketSize(16_384);
    expect(reno.window).toBe(163_840);
    reno.onLost(MTU, 1, 2);
    reno.onPacketSize(65_507);
    expect(reno.window).toBe(2 * 65_507);
  });

  test('agrees with RFC 9002 appendix B computed packet by packet', () => {
    const random = new Prng(42);
    const reno = newReno();
    const twin = new AppendixB(MTU);
    const rtt = rttOf(1_000);
    let now = 1_000;
    for (let round = 0; round < 2_000; round++) {
      now += 1_000;
      if (random.chance(0.02)) {
        const sentTime = now - random.between(0, 3_000);
        reno.onLost(MTU, sentTime, now);
        twin.onLost(sentTime, now);
      }
      const packets = random.between(1, Math.max(1, Math.min(4, Math.floor(reno.window / MTU / 4))));
      const sentTime = now - random.between(0, 2_000);
      reno.onAcked(packets * MTU, sentTime, now, rtt, false);
      for (let i = 0; i < packets; i++) twin.onAcked(sentTime);
      expect(reno.window / twin.window).toBeGreaterThan(0.99);
      expect(reno.window / twin.window).toBeLessThan(1.01);
      twin.window = reno.window;
    }
  });
});

/** RFC 9002 appendix B.5 and B.6, as written. */
class AppendixB {
  window: number;
  private threshold = Number.POSITIVE_INFINITY;
  private recoveryStart = 0;
  private readonly mtu: number;

  constructor(mtu: number) {
    this.mtu = mtu;
    this.window = Math.min(10 * mtu, Math.max(2 * mtu, 14_720));
  }

  onAcked(sentTime: number): void {
    if (sentTime <= this.recoveryStart) return;
    if (this.window < this.threshold) this.window += this.mtu;
    else this.window += (this.mtu * this.mtu) / this.window;
  }

  onLost(sentTime: number, now: number): void {
    if (sentTime <= this.recoveryStart) return;
    this.recoveryStart = now;
    this.threshold = this.window * 0.5;
    this.window = Math.max(this.threshold, 2 * this.mtu);
  }
}
