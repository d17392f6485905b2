import { expect, test } from 'vitest';
import { Totals } from '../totals.ts';
import { runBrokerSeed } from './run.ts';

/** Seeds of all shards together; each takes every n-th of them. */
const SEEDS = 1_000;
const SHARDS = 2;
/** After so many failures a shard has said enough. */
const FAILURES_MAX = 5;

/** What a shard's worlds must have met, or they have proved little. */
const MET = [
  'weather, break',
  'weather, clock',
  'weather, crash',
  'weather, freeze',
  'weather, kill',
  'weather, stuck',
  'weather, takeover',
  'clients, offline',
  'dead letters',
  'gaps told',
  'handlers that failed',
  'messages delivered',
  'messages redelivered',
  'missed, expired',
  'missed, policy',
  'publishes refused, ERR_JSP_EXPIRED',
  'publishes that met back-pressure',
  'kills with a disk',
  'power cuts',
  'receipts, duplicate',
  'receipts, inMemory',
  'receipts, stored',
  'resumed, recovered false',
  'resumed, recovered true',
  'subscriptions lost',
];

/** The tests of one shard. More seeds: `npm run sim -- --scenario broker --seeds 10000`. */
export function simulateBrokers(shard: number): void {
  const totals = new Totals();

  test(`a broker and its clients keep their promises in ${SEEDS / SHARDS} worlds (shard ${shard} of ${SHARDS})`, {
    timeout: 300_000,
  }, async () => {
    const failures: string[] = [];
    for (let seed = shard; seed <= SEEDS && failures.length < FAILURES_MAX; seed += SHARDS) {
      try {
        totals.merge(await runBrokerSeed(seed));
      } catch (error) {
        failures.push(
          `${(error as Error).message}\n  replay: npm run sim -- --scenario broker --seed ${seed}`,
        );
      }
    }
    expect(failures.join('\n')).toBe('');
  });

  test('the worlds met what makes promises hard to keep', () => {
    expect(totals.zeros(MET)).toEqual([]);
  });

  test('a world is the same every time', async () => {
    expect((await runBrokerSeed(shard)).toObject()).toEqual((await runBrokerSeed(shard)).toObject());
  });
}
