import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import { Bottleneck, type BottleneckOptions } from '../recovery/bottleneck.ts';

const MTU = 1_200;
const MBIT = 0.125;
const RTT = 50 * MILLISECOND;
/** 20 Mbit/s, 50 ms, a queue of a bandwidth-delay product. */
const path: BottleneckOptions = {
  mtu: MTU,
  rate: 20 * MBIT,
  rtt: RTT,
  queueBytes: 125_000,
  congestion: 'bbr',
};
const BDP = 125_000;

function flow(options: Partial<BottleneckOptions> = {}): Bottleneck {
  return new Bottleneck({ ...path, ...options });
}

/** Bytes a microsecond delivered over `seconds`. */
function goodput(link: Bottleneck, seconds: number): number {
  const before = link.deliveredBytes;
  link.run(seconds * SECOND);
  return (link.deliveredBytes - before) / (seconds * SECOND);
}

function controllerOf(link: Bottleneck) {
  return link.recovery.path.congestion;
}

/** Lets time pass until the controller comes to this state. */
function runTo(link: Bottleneck, state: string, within = 20 * SECOND): void {
  const end = link.now + within;
  while (controllerOf(link).state !== state) {
    expect(link.now, `no ${state}`).toBeLessThan(end);
    link.run(MILLISECOND);
  }
}

function statesOf(link: Bottleneck): string[] {
  return link.states.map(({ state }) => state);
}

describe('BBR', () => {
  test('leaves STARTUP when the rate of delivery grows no more, drains, and goes round [REC-66] [REC-70]', () => {
    const link = flow({ queueBytes: 2 * BDP });
    runTo(link, 'drain');
    expect(link.lostPackets).toBe(0);
    expect(link.now).toBeLessThan(15 * RTT);
    runTo(link, 'probe-cruise');
    // Within 2 % of the bandwidth, and 1 % below it.
    expect(controllerOf(link).pacingRate / path.rate).toBeGreaterThan(0.97);
    expect(controllerOf(link).pacingRate / path.rate).toBeLessThan(1.01);
    expect(link.recovery.path.bytesInFlight).toBeLessThan(1.1 * BDP);
    link.run(4 * SECOND);
    expect(statesOf(link).slice(0, 7)).toEqual([
      'startup',
      'drain',
      'probe-cruise', // what DOWN is for is done
      'probe-refill',
      'probe-up',
      'probe-down',
      'probe-cruise',
    ]);
    const [cruise, refill] = link.states.slice(2);
    expect(refill.at - cruise.at).toBeGreaterThan(2 * SECOND - RTT);
    expect(refill.at - cruise.at).toBeLessThan(3 * SECOND + RTT);
  });

  test('fills the link and leaves the queue empty, however large it is [REC-67] [REC-74]', () => {
    for (const queueBytes of [BDP / 4, BDP, 8 * BDP]) {
      const link = flow({ queueBytes });
      link.run(3 * SECOND);
      expect(goodput(link, 8) / path.rate, `${queueBytes}`).toBeGreaterThan(0.95);
      expect(link.recovery.path.rtt.smoothed).toBeLessThan(2.2 * RTT);
      expect(link.lostPackets / link.sentPackets).toBeLessThan(0.01);
    }
  });

  test('on a path below a packet keeps four packets in flight, at the rate of the path [REC-74]', () => {
    const link = flow({ rate: 0.064 * MBIT, queueBytes: 20_000 });
    link.run(10 * SECOND);
    expect(goodput(link, 40) / (0.064 * MBIT)).toBeGreaterThan(0.93);
    expect(link.windowMin).toBeGreaterThanOrEqual(4 * MTU);
  });

  test('finds ten times the bandwidth within a second of probing for it [REC-70] [REC-73]', () => {
    const link = flow({ rate: 10 * MBIT });
    link.run(3 * SECOND);
    link.change({ rate: 100 * MBIT, queueBytes: 625_000 });
    runTo(link, 'probe-up');
    link.run(SECOND);
    expect(goodput(link, 1) / (100 * MBIT)).toBeGreaterThan(0.9);
  });

  test('finds it on a path that loses 1 %, too, where the losses of a probe are a packet or two: with each of 24 seeds [REC-72] [REC-73]', () => {
    for (let seed = 1; seed <= 24; seed++) {
      const link = flow({ rate: 2 * MBIT, queueBytes: 12_500, loss: 0.01, seed });
      link.run(SECOND);
      link.change({ rate: 20 * MBIT, queueBytes: 125_000 });
      link.run(4 * SECOND);
      expect(goodput(link, 1) / (20 * MBIT), `seed ${seed}`).toBeGreaterThan(0.9);
    }
  });

  test('comes down to a tenth of the bandwidth: by its losses at once, for good with the next two cycles [REC-67] [REC-73]', () => {
    const link = flow({ rate: 100 * MBIT, queueBytes: 625_000 });
    link.run(4 * SECOND);
    link.change({ rate: 10 * MBIT, queueBytes: 62_500 });
    link.run(2 * SECOND);
    expect(controllerOf(link).pacingRate).toBeLessThan(30 * MBIT);
    link.run(6 * SECOND);
    const { lostPackets, sentPackets } = link;
    expect(goodput(link, 10) / (10 * MBIT)).toBeGreaterThan(0.95);
    expect((link.lostPackets - lostPackets) / (link.sentPackets - sentPackets)).toBeLessThan(0.02);
    expect(controllerOf(link).pacingRate).toBeLessThan(13 * MBIT);
  });

  test('conforms to a policer, and does not take its drops for those of the path [REC-71]', () => {
    for (const [queueBytes, drops] of [
      [16_384, 0.01],
      [131_072, 0.04],
      [1_048_576, 0.06],
    ] as const) {
      const link = flow({ polices: true, queueBytes });
      link.run(6 * SECOND);
      const { lostPackets, sentPackets } = link;
      expect(goodput(link, 10) / path.rate).toBeGreaterThan(0.75);
      expect((link.lostPackets - lostPackets) / (link.sentPackets - sentPackets)).toBeLessThan(drops);
    }
  });

  for (const [loss, share] of [
    [0.001, 0.95],
    [0.01, 0.95],
    [0.05, 0.94],
    [0.1, 0.92],
    [0.2, 0.85],
  ] as const) {
    test(`delivers what a path can that loses ${100 * loss} % [REC-71] [REC-72] [REC-74]`, () => {
      // The losses are before the bottleneck, which can be filled all the same.
      const link = flow({ loss, seed: 2 });
      link.run(4 * SECOND);
      expect(goodput(link, 8) / path.rate).toBeGreaterThan(share);
      expect(Math.abs(controllerOf(link).lossFloor - loss)).toBeLessThan(0.02 + loss / 4);
    });
  }

  test('forgets the floor of a path that loses no more [REC-71]', () => {
    const link = flow({ loss: 0.1 });
    link.run(6 * SECOND);
    expect(controllerOf(link).lossFloor).toBeGreaterThan(0.07);
    link.change({ loss: 0 });
    link.run(16 * SECOND);
    expect(controllerOf(link).lossFloor).toBeLessThan(0.02);
  });

  test('takes a loss of nearly a third for congestion, whoever is to blame [REC-71]', () => {
    const link = flow({ loss: 0.32 });
    link.run(20 * SECOND);
    expect(controllerOf(link).lossFloor).toBe(0);
    expect(goodput(link, 5) / path.rate).toBeLessThan(0.3);
  });

  test('keeps what it found with jitter that reorders: losses that were none are undone [REC-76]', () => {
    const jump = { from: 2 * SECOND, until: 2 * SECOND + 30 * MILLISECOND };
    const link = flow({
      rate: 100 * MBIT,
      queueBytes: 5_000_000,
      jitter: (_, now) => (now >= jump.from && now < jump.until ? 25_000 : 0),
    });
    link.run(2 * SECOND);
    const { pacingRate, window } = controllerOf(link);
    link.run(SECOND / 4);
    expect(link.lostPackets).toBeGreaterThan(0);
    expect(link.spuriousPackets).toBe(link.lostPackets);
    expect(controllerOf(link).pacingRate).toBeGreaterThan(0.98 * pacingRate);
    expect(controllerOf(link).window).toBeGreaterThanOrEqual(0.98 * window);
  });

  test('gets through a cut: a window of four packets after it, and the model of before [REC-77]', () => {
    const link = flow();
    link.run(2 * SECOND);
    link.change({ loss: 1 });
    link.run(3 * SECOND);
    link.change({ loss: 0 });
    link.windowMin = Number.POSITIVE_INFINITY;
    link.run(2 * SECOND);
    expect(link.windowMin).toBeLessThanOrEqual(5 * MTU);
    link.run(8 * SECOND);
    expect(goodput(link, 5) / path.rate).toBeGreaterThan(0.9);
  });

  describe('with an application that has little to send', () => {
    test('stays in STARTUP with the window it had, and is not slow when there is more [REC-66]', () => {
      const link = flow({ offered: 1 / 10_000 });
      link.run(20 * SECOND);
      expect(statesOf(link)).toEqual(['startup']);
      expect(link.windowMin).toBeGreaterThanOrEqual(12_000);
      link.offersAll = true;
      link.run(SECOND);
      expect(goodput(link, 2) / path.rate).toBeGreaterThan(0.93);
    });

    test('stays in UP, and its window stays bounded [REC-66]', () => {
      const link = flow();
      runTo(link, 'probe-up');
      link.change({ offered: 1 / 5_000 });
      link.run(RTT);
      link.windowMax = 0;
      link.run(4 * SECOND);
      expect(controllerOf(link).state).toBe('probe-up');
      expect(link.windowMax).toBeLessThan(2.6 * BDP);
    });

    test('leaves STARTUP when it loses more than any floor [REC-66] [REC-72]', () => {
      const thin = { offered: 1 / 1_000, seed: 3 };
      const lossy = flow({ ...thin, loss: 0.1 });
      lossy.run(5 * SECOND);
      expect(statesOf(lossy)).toEqual(['startup']);
      const hopeless = flow({ ...thin, loss: 0.45 });
      hopeless.run(5 * SECOND);
      expect(statesOf(hopeless).slice(0, 2)).toEqual(['startup', 'drain']);
    });

    test('has no PROBE_RTT, which would hold back what it sends [REC-68]', () => {
      const link = flow();
      link.run(SECOND);
      link.change({ offered: 1 / 2_000 });
      link.run(30 * SECOND);
      expect(statesOf(link)).not.toContain('probe-rtt');
    });

    test('has none when it comes back from a pause, and begins at the bandwidth [REC-68] [REC-75]', () => {
      const link = flow();
      link.run(3 * SECOND);
      link.change({ offered: 1e-9 });
      link.run(8 * SECOND);
      expect(link.recovery.path.bytesInFlight).toBe(0);
      link.offersAll = true;
      link.change({});
      link.run(MILLISECOND);
      expect(link.recovery.path.pacer.rate / path.rate).toBeGreaterThan(0.95);
      link.run(SECOND);
      expect(statesOf(link)).not.toContain('probe-rtt');
      expect(goodput(link, 1) / path.rate).toBeGreaterThan(0.93);
    });

    test('looks for more at once after it had little to send for long [REC-75]', () => {
      const link = flow();
      link.run(3 * SECOND);
      runTo(link, 'probe-cruise');
      link.change({ offered: 1 / 20_000 });
      runTo(link, 'probe-up'); // where a sender with little to send stays
      runToCruiseByLoss(link);
      link.run(2 * SECOND);
      link.change({ rate: 100 * MBIT, queueBytes: 625_000 });
      link.offersAll = true;
      link.run(SECOND / 2);
      expect(statesOf(link).slice(-3)).toContain('probe-up');
    });
  });

  describe('in PROBE_RTT', () => {
    /** A path that becomes longer by a millisecond in two seconds: no round trip is as short as one before. */
    const GROWING = (_number: number, now: Micros): Micros => now / 2_000;

    test('is not while every cycle shows the same shortest round trip again: no queue stands [REC-68]', () => {
      const link = flow({ queueBytes: 2 * BDP });
      link.run(20 * SECOND);
      expect(statesOf(link)).not.toContain('probe-rtt');
      expect(statesOf(link).filter((state) => state === 'probe-down').length).toBeGreaterThan(5);
    });

    test('lasts no longer than 200 ms and two round trips, with half of the path in flight [REC-68]', () => {
      const link = flow({ queueBytes: 2 * BDP, jitter: GROWING });
      link.run(10 * SECOND);
      const at = link.states.findIndex(({ state }) => state === 'probe-rtt');
      expect(at).toBeGreaterThan(0);
      const [begun, ended] = link.states.slice(at);
      expect(begun.at).toBeGreaterThan(5 * SECOND);
      expect(ended.state).toBe('probe-cruise');
      expect(ended.at - begun.at).toBeGreaterThan(200 * MILLISECOND);
      expect(ended.at - begun.at).toBeLessThan(200 * MILLISECOND + 2 * RTT);
    });

    test('keeps to half of the path as it was known before, whatever a standing queue says [REC-68]', () => {
      const link = flow({ queueBytes: 4 * BDP });
      link.run(4 * SECOND);
      // Somebody else's packets stand in the queue from now on.
      link.change({ jitter: () => 60 * MILLISECOND });
      runTo(link, 'probe-rtt');
      expect(controllerOf(link).window).toBeLessThan(0.6 * BDP);
    });

    test('ends below the smallest window, too [REC-68]', () => {
      const link = flow({ rate: 0.5 * MBIT, queueBytes: 20_000 });
      for (let probes = 0; probes < 3; probes++) {
        runTo(link, 'probe-rtt');
        runTo(link, 'probe-refill', SECOND); // on so slow a path it comes in the way of UP
      }
    });

    test('puts no probe off: one that it came in the way of begins again behind it [REC-68]', () => {
      const next: Record<string, Set<string>> = { 'probe-up': new Set(), 'probe-cruise': new Set() };
      for (const [rate, seed] of [
        [2, 1],
        [2, 2],
        [5, 1],
        [5, 2],
      ]) {
        const link = flow({ rate: rate * MBIT, queueBytes: 20_000, loss: 0.01, seed, jitter: GROWING });
        link.run(20 * SECOND);
        const states = statesOf(link);
        for (const [at, state] of states.entries()) {
          if (state === 'probe-rtt' && at + 1 < states.length) next[states[at - 1]]?.add(states[at + 1]);
        }
      }
      expect(next).toEqual({
        'probe-up': new Set(['probe-refill']),
        'probe-cruise': new Set(['probe-cruise']),
      });
    });

    test('returns to a STARTUP that was not over [REC-68]', () => {
      // A rate that grows all the time, and a delay that was shorter once.
      const jitter = (_: number, now: number) => (now > SECOND ? 50 * MILLISECOND : 0);
      const link = flow({ rate: 0.4 * MBIT, queueBytes: 1_000_000, rtt: 500 * MILLISECOND, jitter });
      for (let rate = 0.4 * MBIT; link.now < 9 * SECOND && statesOf(link).length < 2; rate *= 1.4) {
        link.change({ rate });
        link.run(SECOND / 2);
      }
      expect(statesOf(link).slice(0, 2)).toEqual(['startup', 'probe-rtt']);
      runTo(link, 'startup', 3 * SECOND);
    });
  });

  test('makes up for acknowledgements that come in bunches [REC-65] [REC-69]', () => {
    const link = flow({ ackBunches: 40 * MILLISECOND });
    link.run(3 * SECOND);
    expect(goodput(link, 8) / path.rate).toBeGreaterThan(0.94);
    expect(controllerOf(link).pacingRate / path.rate).toBeLessThan(1.3);
    expect(controllerOf(link).window).toBeGreaterThan(2.05 * BDP);
  });

  test('keeps its rate in a process whose timers come 4 ms late [REC-74]', () => {
    const link = flow({ timerGranularity: 5 * MILLISECOND, ackBunches: 5 * MILLISECOND });
    link.run(3 * SECOND);
    expect(goodput(link, 8) / path.rate).toBeGreaterThan(0.93);
  });

  test('fills a path of 100 us from 1 ms timers, and concludes nothing from its times [REC-78]', () => {
    const link = new Bottleneck({
      mtu: 16_384,
      rate: 1_000,
      rtt: 100,
      queueBytes: 20_000_000,
      congestion: 'bbr',
      timerGranularity: 1_000,
    });
    link.run(SECOND / 10);
    expect(goodput(link, 0.4) / 1_000).toBeGreaterThan(0.95);
    expect(statesOf(link)).toEqual(['startup']);
  });

  test('slows down for a mark of a router, whatever the floor, and ends STARTUP with it [REC-79]', () => {
    const young = flow();
    young.run(3 * RTT);
    expect(controllerOf(young).state).toBe('startup');
    controllerOf(young).onEcnCongestion(young.now, 1, young.now);
    young.run(RTT);
    expect(controllerOf(young).state).not.toBe('startup');

    const link = flow({ loss: 0.1 });
    link.run(4 * SECOND);
    runTo(link, 'probe-cruise');
    const { pacingRate } = controllerOf(link);
    controllerOf(link).onEcnCongestion(link.now, 1, link.now);
    link.run(3 * RTT);
    expect(controllerOf(link).state).toBe('probe-cruise');
    expect(controllerOf(link).pacingRate).toBeLessThan(0.999 * pacingRate);
  });

  test('gives way when another takes half of the link, and takes it back [REC-67] [REC-70]', () => {
    const link = flow();
    link.run(3 * SECOND);
    link.change({ rate: 10 * MBIT });
    link.run(6 * SECOND);
    expect(goodput(link, 4) / (10 * MBIT)).toBeGreaterThan(0.95);
    link.change({ rate: 20 * MBIT });
    link.run(5 * SECOND);
    expect(goodput(link, 4) / (20 * MBIT)).toBeGreaterThan(0.9);
  });
});

/** Losses end an UP that the application would prolong. */
function runToCruiseByLoss(link: Bottleneck): void {
  link.change({ loss: 0.5 });
  runTo(link, 'probe-down', 8 * SECOND);
  link.change({ loss: 0 });
}
