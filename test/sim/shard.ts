import { expect, test } from 'vitest';
import { runSeed } from './run.ts';
import { KEPT_SEEDS } from './scenario.ts';
import { Totals } from './totals.ts';

/** Seeds of all shards together; each takes every n-th of them, so that their work is alike. */
const SEEDS = 3_600;
const SHARDS = 2;
/** After so many failures a shard has said enough. */
const FAILURES_MAX = 5;

/** What a shard's runs must have met, or they have proved little. */
const MET = [
  'link droppedLoss',
  'link droppedBurst',
  'link droppedQueue',
  'link droppedBlackHole',
  'link overtook',
  'link duplicated',
  'link corrupted',
  'link marked',
  'packetsLost',
  'packetsSpuriouslyLost',
  'packetsUnopened',
  'packetsReplayed',
  'ptoCount',
  'retransmittedBytes',
  'messagesExpired',
  'messagesLost',
  'messagesLate',
  'messagesEvicted',
  'dataBlocked',
  'streamsBlocked',
  'turns with a blocked stream',
  'turns with an unread message',
  'packetSizeProbes',
  'congestionMarks',
  'ecnCapable',
  'repeatsSent',
  'repeatsUsed',
  'repairsSent',
  'packetsRecovered',
  'packetsRecoveredByPeer',
  'messagesCompressed',
  'messagesInflated',
  'compressionSkippedNotAgreed',
  'compressionSkippedIncompressible',
  'compressionSkippedCostly',
];

/** The tests of one shard. More seeds: `npm run sim -- --seeds 10000`; one of them again: `npm run sim -- --seed 123`. */
export function simulate(shard: number): void {
  const totals = new Totals();

  test(`every promise holds in ${SEEDS / SHARDS} simulated worlds (shard ${shard} of ${SHARDS})`, {
    timeout: 300_000,
  }, () => {
    const failures: string[] = [];
    const seeds = KEPT_SEEDS.filter((_, i) => i % SHARDS === shard - 1);
    for (let seed = shard; seed <= SEEDS; seed += SHARDS) seeds.push(seed);
    for (const seed of seeds) {
      if (failures.length === FAILURES_MAX) break;
      try {
        totals.merge(runSeed(seed));
      } catch (error) {
        failures.push(`${(error as Error).message}\n  replay: npm run sim -- --seed ${seed}`);
      }
    }
    expect(failures.join('\n')).toBe('');
  });

  test('the worlds met what makes promises hard to keep', () => {
    expect(totals.zeros(MET)).toEqual([]);
  });

  test('at least a fifth of the worlds used real encryption', () => {
    const real = totals.of('runs, real crypto');
    expect(real / (real + totals.of('runs, null crypto'))).toBeGreaterThanOrEqual(0.2);
  });
}
