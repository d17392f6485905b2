import { expect, test } from 'vitest';
import { Totals } from '../totals.ts';
import { runClusterSeed } from './run.ts';

/** Seeds of all shards together; each takes every n-th of them. */
const SEEDS = 500;
const SHARDS = 2;
/** After so many failures a shard has said enough. */
const FAILURES_MAX = 5;

/** What a shard's worlds must have met, or they have proved little. */
const MET = [
  ...['break', 'crash', 'cut', 'freeze', 'kill', 'leave', 'move', 'nats', 'stuck', 'takeover'].map(
    (kind) => `weather, ${kind}`,
  ),
  'clients, offline',
  'gaps told',
  'messages delivered',
  'messages redelivered',
  'publishes refused, ERR_JSP_STORE_FAILED',
  'receipts, duplicate',
  'receipts, stored',
  'resumed, recovered false',
  'resumed, recovered true',
];

/** The tests of one shard. More seeds: `npm run sim -- --scenario cluster --seeds 10000`. */
export function simulateClusters(shard: number): void {
  const totals = new Totals();

  test(`brokers that are one keep their promises in ${SEEDS / SHARDS} worlds over a model of NATS (shard ${shard} of ${SHARDS})`, {
    timeout: 300_000,
  }, async () => {
    const failures: string[] = [];
    for (let seed = shard; seed <= SEEDS && failures.length < FAILURES_MAX; seed += SHARDS) {
      try {
        totals.merge(await runClusterSeed(seed));
      } catch (error) {
        failures.push(
          `${(error as Error).message}\n  replay: npm run sim -- --scenario cluster --seed ${seed}`,
        );
      }
    }
    expect(failures.join('\n')).toBe('');
  });

  test('the worlds met what makes promises hard to keep', () => {
    expect(totals.zeros(MET)).toEqual([]);
  });

  test('a world is the same every time', async () => {
    expect((await runClusterSeed(shard)).toObject()).toEqual((await runClusterSeed(shard)).toObject());
  });
}
