import { describe, expect, test } from 'vitest';
import type { Progress } from '../../../src/bench/link/measure.ts';
import type { LinkRow, LoadFigures } from '../../../src/bench/link/report.ts';
import { benchLab } from './lab-bench.ts';

function loadOf(row: LinkRow | undefined): LoadFigures {
  if (row?.load === null || row?.load === undefined) throw new Error('the row was not measured');
  return row.load;
}

/** The share of a datagram on this link, which counts no IP headers, that messages can be. */
const GOODPUT_1200 = (1_200 - 38) / 1_200;

describe('a link that is measured', () => {
  test('has within 3 % the goodput, within 5 % the round trips that it was given, idle and under load', async () => {
    const { lab, measure, notes } = await benchLab({
      delayMs: 25,
      bitsPerSecond: 3e6,
      queueBytesMax: 19_000,
    });
    const { report, error } = await measure({ seconds: 1.5 });
    expect([error, report.endedEarly, report.rows.length]).toEqual([null, null, 1]);
    const load = loadOf(report.rows[0]);
    expect(Math.abs(load.goodputBitsPerSecond / (3e6 * GOODPUT_1200) - 1)).toBeLessThan(0.03);
    expect(Math.abs(load.overhead - (1 - (1_200 - 38) / 1_228))).toBeLessThan(0.02);
    expect(report.idle?.p50).toBeGreaterThan(49);
    expect(report.idle?.p50).toBeLessThan(52.5);
    expect(report.rows[0].idle?.p50).toBeLessThan(58); // 3.2 ms each way to write 1,200 bytes
    expect(report.rows[0].idle?.returned).toBe(report.rows[0].idle?.sent);
    expect(load.loaded?.p50).toBeGreaterThan(70); // a queue of 50 ms
    expect(load.intervals.filter(({ isWarmUp }) => !isWarmUp)).toHaveLength(3);
    expect(report.recommendation.queueDelayMaxMs).toBe(10);
    await lab.run(100);
    expect(notes).toEqual([expect.stringMatching(/^measured 10.0.0.2 port \d+: 1 runs in/)]);
  });

  test('tells its loss with an interval that holds what was set, by what was sent and never came', async () => {
    const { measure } = await benchLab({ delayMs: 10, bitsPerSecond: 1.5e6, loss: 0.03 });
    const { report } = await measure({ mtus: [], lossSeconds: 6 });
    const [{ loss, lossRunMean, reordered }] = report.datagrams;
    expect(loss.of).toBeGreaterThan(4_000);
    expect(loss.low).toBeLessThan(0.03);
    expect(loss.high).toBeGreaterThan(0.03);
    expect(loss.high - loss.low).toBeLessThan(0.015);
    expect(lossRunMean).toBeLessThan(1.2);
    expect(reordered.count).toBe(0);
    expect(report.recommendation).toMatchObject({ protection: 'auto' });
  });

  test('tells reordered datagrams from lost ones, and duplicates', async () => {
    const link = { delayMs: 10, bitsPerSecond: 1.5e6, reorder: 0.02, reorderHoldMs: 5, duplicate: 0.01 };
    const { measure } = await benchLab(link);
    const { report } = await measure({ mtus: [], lossSeconds: 3 });
    const [{ duplicated, loss, reordered }] = report.datagrams;
    expect(loss.count).toBe(0);
    expect(reordered.share).toBeGreaterThan(0.01);
    expect(duplicated / loss.of).toBeGreaterThan(0.005);
  });
});

test('another controller is tried where the first leaves much of the path free', async () => {
  // A queue of a fifth of what the path holds: with less, which of the two has more is chance.
  const { measure } = await benchLab({ delayMs: 25, bitsPerSecond: 10e6, queueBytesMax: 12_000 });
  const { report } = await measure({ lossSeconds: 0.5, seconds: 2 });
  expect(report.rows.map(({ congestion }) => congestion)).toEqual(['cubic', 'bbr']);
  expect(loadOf(report.rows[1]).goodputBitsPerSecond).toBeGreaterThan(
    loadOf(report.rows[0]).goodputBitsPerSecond,
  );
  expect(report.recommendation.congestion).toBe('bbr');
});

describe('sizes', () => {
  test.each(['up', 'down', 'both'] as const)(
    'are exact %s, whatever the server does by itself; those that do not arrive are told, and the largest that does is found',
    async (direction) => {
      const { measure } = await benchLab({ delayMs: 5, bitsPerSecond: 4e6, mtu: 1_272 });
      const { report, error } = await measure({
        direction,
        congestion: ['cubic'],
        mtus: [512, 1_100, 1_400, 1_472],
        seconds: 0.3,
        omitSeconds: 0.3,
      });
      expect(error).toBe(null);
      const ways = direction === 'both' ? ['up', 'down'] : [direction];
      expect(report.rows.map((row) => [row.asked, row.mtu, row.direction, row.carried])).toEqual(
        [512, 1_100, 1_400, 1_472].flatMap((size) =>
          ways.map((way) => (size > 1_272 ? [size, 0, way, 'no'] : [size, size, way, 'unknown'])),
        ),
      );
      for (const row of report.rows.filter(({ mtu }) => mtu > 0)) {
        const { datagramsPerSecond, wireBitsPerSecond } = loadOf(row);
        const meanBytes = wireBitsPerSecond / 8 / datagramsPerSecond - 28;
        expect(meanBytes).toBeLessThanOrEqual(row.mtu);
        if (direction !== 'both') expect(meanBytes).toBeGreaterThan(0.9 * row.mtu);
      }
      expect(report.pathMtu).toMatchObject({ bytes: 1_272, notBytes: 1_273, larger: 'vanish' });
      expect(report.recommendation.mtu).toBe(1_100);
      expect(report.recommendation.warnings[0]).toContain('1,400 bytes and more do not arrive');
      expect(report.recommendation.warnings[0]).toContain('1,272');
    },
  );

  test('that the library finds are measured with auto', async () => {
    const { measure } = await benchLab({ delayMs: 5, bitsPerSecond: 4e6, mtu: 1_410 });
    const { report } = await measure({ direction: 'down', mtus: ['auto'], seconds: 0.3 });
    expect(report.rows.map(({ asked, mtu }) => [asked, mtu])).toEqual([['auto', 1_400]]);
  });
});

describe('a fixed rate', () => {
  test('sends best-effort datagrams at it, with their loss, order, jitter and one-way delay, also between clocks that differ', async () => {
    const link = { delayMs: 15, jitterMs: 4, loss: 0.05 };
    const { measure } = await benchLab(link, { aheadMicros: 5_000_000 });
    const settings = {
      bitsPerSecond: 1e6,
      delivery: 'bestEffort',
      congestion: ['bbr'],
      seconds: 2,
      omitSeconds: 0.5,
    } as const;
    const { report } = await measure(settings);
    const load = loadOf(report.rows[0]);
    expect(load.goodputBitsPerSecond / 1e6).toBeGreaterThan(0.9);
    expect(load.goodputBitsPerSecond / 1e6).toBeLessThan(1);
    expect(load.loss.share).toBeGreaterThan(0.02);
    expect(load.heldBack).toBe(0);
    expect(load.retransmittedBytes).toBe(0);
    expect(load.jitterMs).toBeGreaterThan(0.5);
    expect(load.jitterMs).toBeLessThan(4);
    const { clocks } = report;
    if (clocks.kind !== 'estimated') throw new Error(`clocks are ${clocks.kind}`);
    expect(Math.abs(clocks.serverAheadMs - 5_000)).toBeLessThan(clocks.uncertaintyMs);
    expect(load.oneWayMs?.p50).toBeGreaterThan(13);
    expect(load.oneWayMs?.p50).toBeLessThan(21);
  });

  test('above what the path carries is held back, and told', async () => {
    const { measure } = await benchLab({ delayMs: 5, bitsPerSecond: 1e6, queueBytesMax: 10_000 });
    const settings = {
      bitsPerSecond: 4e6,
      delivery: 'bestEffort',
      congestion: ['cubic'],
      seconds: 1,
      omitSeconds: 1,
    } as const;
    const { report } = await measure(settings);
    expect(loadOf(report.rows[0]).heldBack).toBeGreaterThan(0.5);
    expect(loadOf(report.rows[0]).goodputBitsPerSecond).toBeGreaterThan(0.8e6);
  });
});

describe('a measurement that ends early', () => {
  test('has what was measured by then, when it is stopped', async () => {
    const stop = new AbortController();
    const { measure } = await benchLab({ delayMs: 5, bitsPerSecond: 4e6 });
    const onProgress = (progress: Progress): void => {
      if (progress.type === 'row') stop.abort(new Error('stopped by SIGINT'));
    };
    const settings = { mtus: [600, 1_200], seconds: 0.3, omitSeconds: 0.1 };
    const { report, error } = await measure(settings, { onProgress, signal: stop.signal });
    expect(error?.message).toBe('stopped by SIGINT');
    expect([report.endedEarly, report.rows.length]).toEqual(['stopped by SIGINT', 1]);
  });

  test('has it also when the server goes', async () => {
    const { measure, server } = await benchLab({ delayMs: 5, bitsPerSecond: 4e6 });
    const onProgress = (progress: Progress): void => {
      if (progress.type === 'row') void server.close();
    };
    const { report, error } = await measure(
      { mtus: [600, 1_200], seconds: 0.3, omitSeconds: 0.1 },
      { onProgress },
    );
    expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_JSP_/) as string });
    expect(report.rows).toHaveLength(1);
  });
});
