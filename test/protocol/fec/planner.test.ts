import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../../src/base/time.ts';
import { ConnectionProtection } from '../../../src/protocol/fec/connection-protection.ts';
import { binomialQuantile, type PlannedPath, planFor } from '../../../src/protocol/fec/planner.ts';
import {
  PlanMode,
  PROTECTION_AUTO,
  PROTECTION_OFF,
  ProtectionMode,
  type ProtectionOptions,
  type ProtectionPlan,
} from '../../../src/protocol/fec/protection.ts';
import { StreamProtection } from '../../../src/protocol/fec/stream-protection.ts';
import { cleanPath, lossyPath } from './planned-path.ts';

interface Case {
  readonly path?: PlannedPath;
  readonly asked?: Partial<ProtectionOptions>;
  readonly ordered?: boolean;
  readonly isBulk?: boolean;
  readonly intervalMs?: number;
  readonly bytes?: number;
  readonly lifetimeMs?: number;
  readonly mayRepair?: boolean;
  readonly halvings?: number;
}

/** The plan for messages of 64 bytes every 10 ms, unless the case says otherwise. */
function plan(of: Case = {}): ProtectionPlan {
  const { path = lossyPath(), ordered = false, isBulk = false, lifetimeMs } = of;
  const stream = new StreamProtection(
    { id: 0, ordered, isBulk },
    { ...PROTECTION_AUTO, ...of.asked },
    new ConnectionProtection(path),
  );
  stream.interval = (of.intervalMs ?? 10) * MILLISECOND;
  stream.bytes = of.bytes ?? 70;
  stream.lifetime = lifetimeMs === undefined ? NEVER : lifetimeMs * MILLISECOND;
  planFor(stream, path, of.mayRepair ?? false, of.halvings ?? 0);
  return stream.plan;
}

const mode = (of: Case): PlanMode => plan(of).mode;
const losing = (rate: number, runPackets = 1): PlannedPath =>
  lossyPath({ rate, rateUpper: rate, runPackets });

describe('nothing is done [FEC-2]', () => {
  test.each<[string, Case]>([
    ['on a path that loses nothing', { path: cleanPath() }],
    ['for who did not ask', { asked: PROTECTION_OFF }],
    ['for bulk transfers', { isBulk: true }],
    ['where fewer are lost than may be late', { path: losing(0.009) }],
    ['where a retransmission is soon enough', { asked: { latencyMs: 100 }, path: losing(0.05) }],
    ['for messages that are too old when they arrive', { lifetimeMs: 20 }],
    ['where it may cost nothing', { asked: { overheadMax: 0 } }],
    ['where nobody takes repairs, and packets are full', { bytes: 1_000 }],
    ['for who sends without a pause', { intervalMs: 0.1 }],
    [
      'before the round trip is known',
      { path: { ...lossyPath(), rtt: { ...lossyPath().rtt, hasSample: false } } },
    ],
  ])('%s', (_, of) => {
    expect(plan(of)).toMatchObject({
      mode: PlanMode.NONE,
      repeats: 0,
      every: 0,
      flushAfter: 0,
      apartShare: 0,
    });
  });
});

describe('messages go again [FEC-2]', () => {
  test('once at 5 %, once and sometimes twice at 10 %, as often as bytes allow at 20 %', () => {
    expect(plan({ path: losing(0.05) })).toMatchObject({
      mode: PlanMode.REPEAT,
      repeats: 1,
      lag: 1,
      apartShare: 0,
    });
    expect(plan()).toMatchObject({ repeats: 1, apartShare: 2 / 7 });
    expect(plan({ path: losing(0.2) })).toMatchObject({ repeats: 1 });
    expect(plan({ path: losing(0.2), asked: { overheadMax: 4 } })).toMatchObject({ repeats: 2 });
  });

  test('later where losses come in runs, as far as packets follow in time', () => {
    expect(plan({ path: losing(0.1, 3), intervalMs: 2 })).toMatchObject({ mode: PlanMode.REPEAT, lag: 6 });
    expect(plan({ path: losing(0.1, 3), intervalMs: 1 })).toMatchObject({ mode: PlanMode.REPEAT, lag: 8 });
    expect(plan({ path: losing(0.1, 3) })).toMatchObject({ lag: 1 });
  });

  test('with a packet of their own where none follows in time, or one is overdue [FEC-7]', () => {
    expect(plan({ intervalMs: 50 }).flushAfter).toBe(6_250);
    expect(plan({ intervalMs: 10 }).flushAfter).toBe(12_500);
    expect(plan({ intervalMs: 5 }).flushAfter).toBe(7_500);
    expect(plan({ intervalMs: 1.2 }).flushAfter).toBe(2_000);
  });

  test('within the lifetime, and the delay that was asked for', () => {
    expect(plan({ lifetimeMs: 31, intervalMs: 50 }).flushAfter).toBe(3_000);
    expect(plan({ asked: { latencyMs: 4 } }).flushAfter).toBe(2_000);
  });
});

describe('repairs ride along [FEC-2]', () => {
  const repairs = (of: Case): ProtectionPlan => plan({ mayRepair: true, ...of });

  test('of an ordered stream in every packet, of an unordered one that sends often in as many as needed', () => {
    expect(repairs({ ordered: true })).toMatchObject({ mode: PlanMode.WINDOW, every: 1, span: 6 });
    expect(repairs({ ordered: true, intervalMs: 1.5 })).toMatchObject({ mode: PlanMode.WINDOW, every: 1 });
    expect(repairs({ intervalMs: 1.5 })).toMatchObject({ mode: PlanMode.WINDOW, every: 2, span: 8 });
  });

  test('a share of them by itself where one packet follows in time and does not bring enough, as the bytes allow [FEC-52]', () => {
    const apart = (of: Case): number => repairs({ ordered: true, ...of }).apartShare;
    const costing = (overheadMax: number): number => apart({ asked: { overheadMax } });
    expect([costing(0.67), costing(0.9), costing(1.2)]).toEqual([expect.closeTo(0.03, 2), 1 / 2, 1]);
    expect([apart({ intervalMs: 6 }), apart({ intervalMs: 20 }), apart({ halvings: 1 })]).toEqual([0, 0, 0]);
    expect(apart({ path: losing(0.001), asked: { residual: 0.0005 } })).toBe(0);
  });

  test('not of an unordered stream whose messages hardly have a packet behind them, or whose losses come in runs', () => {
    expect(mode({ mayRepair: true })).toBe(PlanMode.REPEAT);
    expect(mode({ mayRepair: true, intervalMs: 2, path: losing(0.1, 3) })).toBe(PlanMode.REPEAT);
  });

  test('behind messages that fill packets, in blocks where these were asked for', () => {
    expect(mode({ mayRepair: true, bytes: 400 })).toBe(PlanMode.BURST);
    const asked = { mode: ProtectionMode.BLOCK, data: 10, parity: 2 };
    const block = { mode: PlanMode.BLOCK, span: 10, repairs: 2 };
    expect(repairs({ asked })).toMatchObject(block);
    expect(repairs({ asked, path: cleanPath() })).toMatchObject(block);
    expect(mode({ asked })).toBe(PlanMode.NONE);
  });
});

test('what window and pacer hold back is halved, and at last ends [FEC-4]', () => {
  const asked = { overheadMax: 4, residual: 0.0001, latencyMs: 40 };
  expect([0, 1, 2].map((halvings) => plan({ asked, halvings }).repeats)).toEqual([3, 1, 0]);
  const window = { ordered: true, mayRepair: true, asked: { overheadMax: 4 } };
  expect([0, 1, 2, 3].map((halvings) => plan({ ...window, halvings }).every)).toEqual([1, 2, 4, 0]);
  expect(mode({ ...window, halvings: 3 })).toBe(PlanMode.NONE);
});

test('what is planned costs no more than was asked, whatever the path and the stream [FEC-3]', () => {
  const any = fc.record({
    rate: fc.double({ min: 0, max: 1, noNaN: true }),
    more: fc.double({ min: 0, max: 0.2, noNaN: true }),
    runPackets: fc.double({ min: 1, max: 50, noNaN: true }),
    rttMs: fc.double({ min: 0.01, max: 3_000, noNaN: true }),
    intervalMs: fc.oneof(fc.double({ min: 0, max: 20, noNaN: true }), fc.constant(Number.POSITIVE_INFINITY)),
    bytes: fc.nat(1_200),
    overheadMax: fc.double({ min: 0, max: 4, noNaN: true }),
    residual: fc.double({ min: 0.0001, max: 0.5, noNaN: true }),
    latencyMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000 })),
    ordered: fc.boolean(),
    mayRepair: fc.boolean(),
    halvings: fc.nat(4),
  });
  fc.assert(
    fc.property(any, ({ rate, more, runPackets, rttMs, overheadMax, residual, latencyMs, ...stream }) => {
      const path = lossyPath({ rate, rateUpper: Math.min(1, rate + more), runPackets }, rttMs);
      const found = plan({ ...stream, path, asked: { overheadMax, residual, latencyMs } });
      const bytesMax = overheadMax * (stream.bytes + 55) + 1e-6;
      if (found.mode === PlanMode.REPEAT) {
        expect(found.repeats).toBeGreaterThan(0);
        expect(found.repeats).toBeLessThanOrEqual(3);
        expect(found.repeats * stream.bytes).toBeLessThanOrEqual(bytesMax);
        expect(found.lag).toBeGreaterThan(0);
        expect(found.flushAfter).toBeGreaterThan(0);
      } else if (found.mode === PlanMode.WINDOW) {
        expect([1, 2, 3, 4, 6]).toContain(found.every);
        expect((stream.bytes + 12) / found.every).toBeLessThanOrEqual(bytesMax);
        expect(found.span).toBeGreaterThanOrEqual(6);
        expect(found.span).toBeLessThanOrEqual(32);
      }
      for (const value of Object.values(found)) expect(Number.isFinite(value)).toBe(true);
    }),
  );
});

test('the quantile of a binomial is that of its sums', () => {
  const choose = (n: number, k: number): number => (k === 0 ? 1 : (choose(n - 1, k - 1) * n) / k);
  for (const n of [1, 2, 5, 20]) {
    for (const p of [0.01, 0.1, 0.5]) {
      for (const q of [0, 0.3, 0.9, 0.99, 0.9999]) {
        let x = 0;
        let sum = 0;
        for (; x <= n; x++) {
          sum += choose(n, x) * p ** x * (1 - p) ** (n - x);
          if (sum >= q) break;
        }
        expect(binomialQuantile(n, p, q)).toBe(Math.min(x, n));
      }
    }
  }
});
