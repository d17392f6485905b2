import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import { Bottleneck, type BottleneckOptions } from './bottleneck.ts';

const MBIT = 0.125;

/** Bytes a microsecond delivered over `duration`, after `warmUp`. */
function goodput(link: Bottleneck, duration: number, warmUp = 0): number {
  link.run(warmUp);
  const before = link.deliveredBytes;
  link.run(duration);
  return (link.deliveredBytes - before) / duration;
}

const dsl: Omit<BottleneckOptions, 'congestion'> = {
  mtu: 1_200,
  rate: 10 * MBIT,
  rtt: 40_000,
  queueBytes: 50_000,
};

describe('over a bottleneck link', () => {
  for (const congestion of ['newreno', 'cubic'] as const) {
    describe(congestion, () => {
      test('fills the link, and its window stays around what path and queue hold', () => {
        const link = new Bottleneck({ ...dsl, congestion });
        expect(goodput(link, 30 * SECOND, 5 * SECOND) / dsl.rate).toBeGreaterThan(0.95);
        const pathBytes = dsl.rate * dsl.rtt + dsl.queueBytes;
        expect(link.recovery.path.congestion.window).toBeGreaterThan(0.4 * pathBytes);
        expect(link.recovery.path.congestion.window).toBeLessThan(1.1 * pathBytes);
        expect(link.lostPackets / link.sentPackets).toBeLessThan(0.01);
        expect(link.timeouts).toBe(0);
      });

      test('makes good use of a link with a queue of eight packets', () => {
        const link = new Bottleneck({ ...dsl, congestion, queueBytes: 10_000 });
        expect(goodput(link, 30 * SECOND, 5 * SECOND) / dsl.rate).toBeGreaterThan(0.7);
      });

      test('fills a loopback-like path from a driver with 1 ms timers [REC-30]', () => {
        const link = new Bottleneck({
          mtu: 16_384,
          rate: 1_000,
          rtt: 100,
          queueBytes: 4_000_000,
          congestion,
          timerGranularity: 1_000,
        });
        expect(goodput(link, SECOND / 2, SECOND / 10) / 1_000).toBeGreaterThan(0.95);
      });

      test('does not grow its window when the application offers a trickle [REC-25]', () => {
        const link = new Bottleneck({ ...dsl, congestion, offered: 1 / 20_000 });
        link.run(30 * SECOND);
        expect(link.windowMax).toBe(12_000);
        expect(link.deliveredBytes).toBeGreaterThan(1_490 * 1_200);
      });

      test('does not grow its window for bursts that only the pacer spreads, and pays for none of it afterwards [REC-25]', () => {
        const path = { mtu: 1_200, rate: 10 * MBIT, rtt: 100_000, queueBytes: 125_000, congestion };
        const link = new Bottleneck({ ...path, bursts: { packets: 20, every: 200_000 } });
        link.run(120 * SECOND);
        expect(link.deliveredBytes).toBeGreaterThan(590 * 20 * 1_200);
        // A burst meets the second half of the one before it once, at the start: 30 packets are in flight then.
        expect(link.windowMax).toBeLessThanOrEqual(2 * 30 * 1_200);
        expect(link.lostPackets).toBe(0);
        link.offersAll = true;
        link.run(10 * SECOND);
        const control = new Bottleneck(path);
        control.run(10 * SECOND);
        expect(control.lostPackets).toBeGreaterThan(0);
        expect(link.lostPackets).toBeLessThanOrEqual(1.2 * control.lostPackets);
      });

      test('gets its window back after a jump in delay that only looked like loss [REC-23]', () => {
        const jump = { from: 2 * SECOND, until: 2 * SECOND + 3_000 };
        const link = new Bottleneck({
          ...dsl,
          rate: 100 * MBIT,
          queueBytes: 5_000_000,
          congestion,
          jitter: (_, now) => (now >= jump.from && now < jump.until ? 15_000 : 0),
          offered: 1 / 400,
        });
        link.run(2 * SECOND);
        const { window } = link.recovery.path.congestion;
        link.run(SECOND / 2);
        expect(link.lostPackets).toBeGreaterThan(0);
        expect(link.spuriousPackets).toBe(link.lostPackets);
        expect(link.recovery.path.congestion.window).toBeGreaterThanOrEqual(window);
      });

      test('survives a cut of the line: probes back off, then the transfer goes on [REC-13] [REC-22]', () => {
        const link = new Bottleneck({ ...dsl, congestion });
        link.run(2 * SECOND);
        link.isCut = true;
        const before = link.sentPackets;
        link.run(20 * SECOND);
        expect(link.timeouts).toBeGreaterThan(4);
        expect(link.timeouts).toBeLessThan(9);
        expect(link.sentPackets - before).toBeLessThan(2 * 9 + 90);
        link.isCut = false;
        link.run(20 * SECOND);
        expect(goodput(link, 5 * SECOND) / dsl.rate).toBeGreaterThan(0.9);
      });
    });
  }

  test('NewReno follows the square-root law at 1 % loss', () => {
    // Mathis et al., 1997: packets a round trip = sqrt(3 / (2 p)), 12.2 at 1 %.
    const law = Math.sqrt(3 / (2 * 0.01));
    for (const seed of [1, 2, 3]) {
      const link = new Bottleneck({
        ...dsl,
        rate: 1_000 * MBIT,
        queueBytes: 10_000_000,
        congestion: 'newreno',
        loss: 0.01,
        seed,
      });
      const packetsPerRtt = (goodput(link, 100 * SECOND, 5 * SECOND) * dsl.rtt) / dsl.mtu;
      expect(packetsPerRtt / law, `seed ${seed}`).toBeGreaterThan(0.75);
      expect(packetsPerRtt / law, `seed ${seed}`).toBeLessThan(1.1);
    }
  });

  test('CUBIC outruns NewReno on a long fat path with rare loss', () => {
    const path = { ...dsl, rate: 1_000 * MBIT, rtt: 100_000, queueBytes: 10_000_000, loss: 0.0002, seed: 5 };
    const rate = (congestion: 'cubic' | 'newreno') =>
      goodput(new Bottleneck({ ...path, congestion }), 60 * SECOND, 5 * SECOND);
    expect(rate('cubic')).toBeGreaterThan(1.5 * rate('newreno'));
  });

  test('is repeatable: one seed, one outcome', () => {
    const run = () => {
      const link = new Bottleneck({ ...dsl, congestion: 'cubic', loss: 0.02, seed: 9 });
      link.run(10 * SECOND);
      return [link.deliveredBytes, link.sentPackets, link.recovery.path.congestion.window];
    };
    expect(run()).toEqual(run());
  });
});
