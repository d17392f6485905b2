import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import { Delivery, Priority } from '../../src/protocol/wire/frame-type.ts';
import { Pressure } from './pressure.ts';
import { measurePriorities } from './priorities.ts';

const { PARTIAL, BEST_EFFORT } = Delivery;

/** 50 bytes a millisecond. */
const SLOW = { delayMs: 20, bitsPerSecond: 400_000, queueBytesMax: 10_000 };

describe('Large messages with a deadline, twice as many as the link carries,', () => {
  test.each([
    ['partial', PARTIAL],
    ['best effort', BEST_EFFORT],
  ])('arrive as far as there is time, instead of all of them half: %s [STR-40]', (_, delivery) => {
    const pressure = new Pressure({ seed: 1, link: SLOW });
    const flow = pressure.flow({ settings: { delivery }, bytes: 8_000, everyMs: 80, lifetimeMs: 300 });
    pressure.run(3_000).restart();
    pressure.run(20_000);
    expect(flow.receivedBytes / 20_000).toBeGreaterThan(30);
  });

  test.each([
    ['partial', PARTIAL],
    ['best effort', BEST_EFFORT],
  ])('cost nothing where the link is too slow for any of them: %s [STR-40]', (_, delivery) => {
    const pressure = new Pressure({ seed: 1, link: SLOW });
    const flow = pressure.flow({ settings: { delivery }, bytes: 60_000, everyMs: 500, lifetimeMs: 800 });
    const { sentBytes } = pressure.run(3_000).sentOnLink;
    pressure.run(20_000);
    expect(flow.agesMs).toEqual([]);
    expect((pressure.sentOnLink.sentBytes - sentBytes) / 20_000).toBeLessThan(0.05 * 50);
  });
});

/** As slow as a bad mobile network, which holds a minute of it. */
const MOBILE = { delayMs: 20, bitsPerSecond: 128_000, queueBytesMax: 1 << 20 };

test('A partial message with time for one try more gets two copies of it: with a fifth of the packets lost, few are too late [STR-41]', () => {
  const pressure = new Pressure({ seed: 1, link: { delayMs: 20, loss: 0.2 }, client: { congestion: 'bbr' } });
  const flow = pressure.flow({
    settings: { delivery: PARTIAL, ordered: false },
    bytes: 800,
    everyMs: 20,
    lifetimeMs: 90,
  });
  pressure.run(2_000).restart();
  pressure.run(40_000);
  // one copy: 2.7 %
  expect(1 - flow.agesMs.length / flow.offered).toBeLessThan(0.02);
});

describe('A game that sends more than the link carries', () => {
  const states = { settings: { delivery: BEST_EFFORT }, bytes: 350, everyMs: 1_000 / 60 };

  test.each([
    ['as it is', MOBILE],
    ['with a short queue', { ...MOBILE, queueBytesMax: 4_000 }],
    ['with jitter', { ...MOBILE, jitterMs: 15 }],
    ['with losses', { ...MOBILE, loss: 0.05 }],
  ])('shows states of at most 150 ms, as many as fit: %s [STR-42] [STR-43]', (_, link) => {
    const pressure = new Pressure({ seed: 2, link });
    const flow = pressure.flow(states);
    pressure.run(3_000).restart();
    pressure.run(15_000);
    const { messagesThinned } = pressure.connections[0].metrics();
    expect(flow.ageMs(0.95)).toBeLessThan(150);
    expect(flow.receivedBytes / 15_000).toBeGreaterThan(0.85 * 16);
    expect(messagesThinned).toBeGreaterThan(0.2 * 60 * 15);
  });

  test('shows states that are seconds old when nothing is to give way', () => {
    const pressure = new Pressure({ seed: 2, link: MOBILE, client: { thinningDelayMs: 0 } });
    const flow = pressure.flow(states);
    pressure.run(3_000).restart();
    pressure.run(10_000);
    expect(flow.ageMs(0.5)).toBeGreaterThan(1_250);
  });

  test.each([500, 1_000, 3_000])(
    'shows no state of before when its path was silent for %i ms [STR-43]',
    (ms) => {
      const pressure = new Pressure({ seed: 2, link: { delayMs: 20, bitsPerSecond: 2e6 } });
      const flow = pressure.flow({ ...states, bytes: 1_000, everyMs: 5 });
      pressure.run(3_000).restart();
      pressure.world.network.cut('server');
      pressure.run(ms);
      pressure.world.network.mend();
      pressure.run(3_000);
      expect(flow.agesMs.length).toBeGreaterThan(100);
      expect(flow.ageMs(1)).toBeLessThan(150);
    },
  );

  test('loses nothing to its queue where all of it fits [STR-42] [STR-43]', () => {
    const pressure = new Pressure({ seed: 2, link: { ...MOBILE, jitterMs: 15 } });
    const flow = pressure.flow({ ...states, bytes: 100 });
    pressure.run(10_000);
    expect(pressure.connections[0].metrics().messagesThinned).toBe(0);
    expect(flow.ageMs(0.99)).toBeLessThan(60);
  });

  test.each([
    ['more than half of what it sends never gives way', 10, 5],
    ['less than half does', 5, 10],
  ])('goes on when its way becomes longer, and %s [STR-42]', (_, everyMs, reliableMs) => {
    const pressure = new Pressure({ seed: 2, link: { delayMs: 10 } });
    const flow = pressure.flow({ settings: { delivery: BEST_EFFORT }, bytes: 100, everyMs });
    pressure.flow({ bytes: 100, everyMs: reliableMs });
    pressure.run(3_000).restart();
    pressure.world.network.connect('client', 'server', { delayMs: 75 });
    pressure.run(30_000);
    expect(flow.agesMs.length / flow.offered).toBeGreaterThan(0.9);
  });

  test('has its messages with a deadline in time when its way becomes longer, though they fit into the window [STR-42]', () => {
    const pressure = new Pressure({ seed: 2, link: { delayMs: 10, bitsPerSecond: 20e6 } });
    const flow = pressure.flow({
      settings: { delivery: PARTIAL },
      bytes: 8_000,
      everyMs: 500,
      lifetimeMs: 400,
    });
    pressure.flow({ bytes: 100, everyMs: 20 });
    pressure.run(5_000).restart();
    pressure.world.network.connect('client', 'server', { delayMs: 60 });
    pressure.run(15_000);
    expect(flow.agesMs.length / flow.offered).toBeGreaterThan(0.6);
  });

  test('keeps its share beside a reliable transfer that fills the queue [STR-42] [SCH-3]', () => {
    const pressure = new Pressure({ seed: 2, link: { ...MOBILE, queueBytesMax: 8_000 } });
    const flow = pressure.flow({ ...states, settings: { delivery: BEST_EFFORT, priority: Priority.MEDIA } });
    const bulk = pressure.flow({ settings: { priority: Priority.BULK }, bytes: 8_000 });
    pressure.run(3_000).restart();
    pressure.run(20_000);
    expect(flow.receivedBytes).toBeGreaterThan(bulk.receivedBytes);
  });
});

describe('Beside transfers that fill the path, whatever the queue holds,', () => {
  test.each([
    ['cubic', 0.25, 9],
    ['cubic', 0.25, 111], // what slow start loses takes from the rate
    ['cubic', 1, 82],
    ['bbr', 0.25, 15], // the first time that it looks for more, the queue overflows where nothing bounds it yet
    ['bbr', 1, 132], // its look at the shortest round trip takes from the rate
  ] as const)(
    'an urgent message takes at most 1.5 times as long as alone, and the others share: %s, %f BDP [SCH-2] [SCH-3] [SCH-7] [SCH-10]',
    (congestion, queue, seed) => {
      const { system, shareError, waitP99, goodputMbps } = measurePriorities({ seed, congestion, queue });
      expect(system).toBeLessThan(1.5);
      expect(shareError).toBeLessThan(0.05);
      expect(waitP99).toBeLessThan(5);
      expect(goodputMbps).toBeGreaterThan(18);
    },
  );

  test.each([
    ['media beside a transfer', Priority.MEDIA, Priority.BULK, 1, 1e6],
    ['media beside a transfer', Priority.MEDIA, Priority.BULK, 1, 128_000],
    ['chat beside a transfer', Priority.CHAT, Priority.BULK, 1, 1e6],
    ['chat beside three that are no less to it', Priority.CHAT, Priority.CHAT, 3, 1e6],
  ])(
    'what sends less than its share waits for packets of others, not for long turns: %s [SCH-3] [SCH-4]',
    (_, priority, ofOthers, others, bitsPerSecond) => {
      const link = { delayMs: 20, bitsPerSecond, queueBytesMax: 8_000 };
      const pressure = new Pressure({ seed: 3, link, client: { congestion: 'cubic' } });
      const flow = pressure.flow({ settings: { priority }, bytes: 200, everyMs: 100 });
      for (let i = 0; i < others; i++) pressure.flow({ settings: { priority: ofOthers }, bytes: 8_000 });
      pressure.run(4_000).restart();
      pressure.run(20_000);
      const packetMs = (1_500 * 8_000) / bitsPerSecond;
      expect(flow.waitMs(0.5)).toBeLessThan((1 + others) * packetMs);
      expect(flow.waitMs(0.95)).toBeLessThan(2 * (1 + others) * packetMs);
    },
  );

  test.each(['cubic', 'bbr'] as const)(
    'so it does where it is told which queue there may be: %s [SCH-6]',
    (congestion) => {
      const { system } = measurePriorities({ seed: 1, congestion, queue: 1, queueDelayMaxMs: 5 });
      const { system: unbounded } = measurePriorities({ seed: 1, congestion, queue: 1, queueDelayMaxMs: 0 });
      expect(system).toBeLessThan(1.5);
      expect(unbounded).toBeGreaterThan(2);
    },
  );

  const messages = { settings: { priority: Priority.SYSTEM }, bytes: 100, everyMs: 20 };

  test('what makes way for urgent messages keeps its share beside others who fill the queue [SCH-10]', () => {
    const link = { delayMs: 20, bitsPerSecond: 20e6, queueBytesMax: 100_000 };
    const shareOf = (queueDelayMaxMs: number | null) => {
      const pressure = new Pressure({ seed: 1, link, client: { queueDelayMaxMs } });
      pressure.flow(messages);
      const ours = pressure.flow({ bytes: 6_000 });
      pressure.run(1_000);
      const others = pressure.flow({ bytes: 6_000 }, pressure.connect());
      pressure.run(3_000).restart();
      pressure.run(12_000);
      return ours.receivedBytes / (ours.receivedBytes + others.receivedBytes);
    };
    expect(shareOf(null)).toBeGreaterThan(0.8 * shareOf(0));
  });

  test('it keeps most of its rate where the path itself swings by more than the queue may be long [SCH-6] [SCH-10]', () => {
    const link = { delayMs: 20, jitterMs: 10, bitsPerSecond: 20e6, queueBytesMax: 100_000 };
    const pressure = new Pressure({ seed: 2, link, back: { delayMs: 20, jitterMs: 10 } });
    pressure.flow(messages);
    const flow = pressure.flow({ bytes: 6_000 });
    pressure.run(3_000).restart();
    pressure.run(8_000);
    expect((8 * flow.receivedBytes) / 8e6).toBeGreaterThan(14);
  });

  test.each(['cubic', 'bbr'] as const)(
    '%s finds the rate of a path that swings with urgent messages from the start [SCH-6] [SCH-10]',
    (congestion) => {
      const link = { delayMs: 20, jitterMs: 10, bitsPerSecond: 20e6, queueBytesMax: 100_000 };
      const back = { delayMs: 20, jitterMs: 10 };
      const pressure = new Pressure({ seed: 3, link, back, client: { congestion } });
      pressure.flow({ ...messages, everyMs: 1_000 });
      const flow = pressure.flow({ bytes: 6_000 });
      pressure.run(4_000);
      expect((8 * flow.receivedBytes) / 4e6).toBeGreaterThan(14);
    },
  );

  test('it makes way for the first urgent messages after long, and no more 10 s after the last [SCH-10]', () => {
    const link = { delayMs: 20, bitsPerSecond: 20e6, queueBytesMax: 100_000 };
    const pressure = new Pressure({ seed: 1, link });
    pressure.flow({ bytes: 6_000 });
    pressure.run(4_000);
    const queueMs = () => (pressure.connections[0].path.rtt.smoothed - 40_000) / MILLISECOND;
    expect(queueMs()).toBeGreaterThan(20);
    const urgent = pressure.flow(messages);
    pressure.run(1_000).restart();
    pressure.run(2_000);
    expect(urgent.ageMs(0.99)).toBeLessThan(30);
    expect(queueMs()).toBeLessThan(8);
    pressure.stop(urgent);
    pressure.run(14_000);
    expect(queueMs()).toBeGreaterThan(20);
  });

  test('a bounded queue leaves a transfer its rate when the way becomes longer, again and again [SCH-6]', () => {
    const link = { delayMs: 10, bitsPerSecond: 20e6 };
    const pressure = new Pressure({ seed: 2, link, client: { queueDelayMaxMs: 5 } });
    const flow = pressure.flow({ bytes: 4_000 });
    pressure.run(5_000);
    pressure.world.network.connect('client', 'server', { ...link, delayMs: 40 }, { delayMs: 40 });
    pressure.run(15_000).restart();
    pressure.run(10_000);
    expect(flow.receivedBytes / 10_000 / 2_500).toBeGreaterThan(0.6);
  });

  test('an urgent message does not wait at the sender, where the queue is what it is, either [SCH-7]', () => {
    const { waitP99, shareError } = measurePriorities({
      seed: 1,
      congestion: 'cubic',
      queue: 1,
      queueDelayMaxMs: 0,
    });
    expect(waitP99).toBeLessThan(5);
    expect(shareError).toBeLessThan(0.05);
  });

  test('shares are kept on a path that loses, for what is sent again counts [SCH-8]', () => {
    const link = { delayMs: 10, bitsPerSecond: 20e6, loss: 0.02 };
    const pressure = new Pressure({ seed: 1, link });
    const flows = [Priority.MEDIA, Priority.CHAT, Priority.BULK].map((priority) =>
      pressure.flow({ settings: { priority }, bytes: 6_000 }),
    );
    pressure.run(1_000).restart();
    pressure.run(15_000);
    const total = flows.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0);
    flows.forEach(({ receivedBytes }, i) => {
      const due = [4, 2, 1][i] / 7;
      expect(Math.abs(receivedBytes / total - due)).toBeLessThan(0.05 * due);
    });
  });
});
