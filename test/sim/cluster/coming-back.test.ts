import { expect, test } from 'vitest';
import type { ClientPlan, DurablePlan, WeatherEvent } from '../broker/scenario.ts';
import { runClusterSeed, runClusterWorld } from './run.ts';

/** Three brokers; a client at each, with a session that lasts, a durable subscription or one of its own, and a publisher. The world fails where a client ends, a promise is broken, or somebody is not settled in the end. */
async function suffered(weather: WeatherEvent, isBound = false): Promise<Record<string, number>> {
  const durable: DurablePlan = {
    ...{ name: 'd', filter: 'a/#', isShared: false },
    ...{ maxUnacked: 100, ackWaitMs: 30_000, backoffMs: [100], maxDeliveries: 0 },
  };
  const clients = [0, 1, 2].map((number): ClientPlan => {
    const calm = { overflow: 'block', queueMessages: 0, concurrency: 1, handlerMs: 0, failures: 0 } as const;
    const held = number === 0 ? durable : null;
    return {
      ...{ name: `c${number}`, latencyMs: 1, jitterMs: 0, sessionExpiryMs: 120_000, isBound },
      subscriptions: [{ ...calm, filter: 'a/#', qos: 1, durable: held }],
      publishers: [
        { topic: 'a/b', qos: 1, ttlMs: 0, fromMs: 500, everyMs: 400, burst: 1, count: 60, payloadBytes: 20 },
      ],
    };
  });
  const nats = { latencyMs: 1, jitterMs: 0, lost: 0, doubled: 0, overtaken: 0, unacknowledged: 0 };
  const limits = { queueMessagesMax: 1_000, queueBytesPerClientMax: 1 << 24, stallMs: 30_000 };
  const scenario = { seed: 1, durationMs: 30_000, brokers: 3, limits, nats };
  const totals = await runClusterWorld(1, { ...scenario, durables: [durable], clients, weather: [weather] });
  return totals.toObject() as Record<string, number>;
}

/** Each of them ended once, by itself when all was over: in between they were away and came back. */
function expectBack(totals: Record<string, number>, away: number): void {
  expect(totals['clients, closed']).toBe(3);
  expect(totals['clients, offline']).toBeGreaterThanOrEqual(away);
  expect(totals['clients, online']).toBe(totals['clients, offline']);
}

test('of a node that is cut off clients are closed with MOVED, and go on at another one by themselves [CLU-20] [CLU-26]', async () => {
  const totals = await suffered({ kind: 'cut', atMs: 2_000, broker: 0, nearMs: 0, farMs: 0, forMs: 20_000 });
  expectBack(totals, 1);
  expect(totals['clients, offline, MOVED']).toBeGreaterThanOrEqual(1);
});

test('of a node that is killed clients go on at another one by themselves [CLU-26]', async () => {
  const totals = await suffered({ kind: 'crash', atMs: 2_000, broker: 0, downMs: 15_000, noticedMs: 1_000 });
  expectBack(totals, 1);
});

test('of all nodes, when NATS is gone for 15 s, clients are let in without their sessions meanwhile, and come back to them by themselves when it is there again [CLU-22] [CLU-29]', async () => {
  const totals = await suffered({ kind: 'nats', atMs: 2_000, broker: 0, downMs: 15_000 });
  expectBack(totals, 6);
  const letIn = totals['clients let in without a session'];
  expect(letIn).toBeGreaterThanOrEqual(3);
  expect(totals['clients, offline, MOVED']).toBe(3 + letIn);
});

test('clients that know the node alone which is cut off are let in without their sessions, and go on with them when it is not any more [CLU-29]', async () => {
  const cut = { kind: 'cut', atMs: 2_000, broker: 0, nearMs: 0, farMs: 0, forMs: 20_000 } as const;
  const totals = await suffered(cut, true);
  expect(totals['clients let in without a session']).toBe(1);
  expect(totals['clients, offline, MOVED']).toBe(2);
  expectBack(totals, 2);
});

test.each([500_348, 500_926])(
  'a last value does not come back over a newer one, with the node that was cut off between its log and the value (seed %i) [CLU-45]',
  async (seed) => {
    const totals = (await runClusterSeed(seed)).toObject() as Record<string, number>;
    expect(totals.runs).toBe(1);
  },
);

test.each([502_894, 502_908])(
  'a process that takes up a session elsewhere loses nothing to what the node that was cut off stores later (seed %i) [CLT-9]',
  async (seed) => {
    const totals = (await runClusterSeed(seed)).toObject() as Record<string, number>;
    expect(totals.runs).toBe(1);
  },
);
