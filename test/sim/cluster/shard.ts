import { expect, test } from 'vitest';
import { Totals } from '../totals.ts';
import { runClusterSeed, runClusterWorld, runGroupsSeed } from './run.ts';
import { barePlanOf } from './scenario.ts';

/** Seeds of all shards together; each takes every n-th of them. */
const SEEDS = 500;
const GROUPS_SEEDS = 60;
/** Worlds that once showed a fault: a process whose session had messages refused gave their ids to its own. */
const KEPT_GROUPS_SEEDS = [2_359, 2_660];
/**
 * The same: a durable subscription was SUBSCRIBED, and its node cut off before anybody else could know of it; one that was to be handed over was taken by force and came back, and what the handover
 * had waited for took it from its new subscriber, who was given messages by a cursor that was not kept any more.
 */
const KEPT_SEEDS = [3_785, 202_243];
const SHARDS = 2;
/** After so many failures a shard has said enough. */
const FAILURES_MAX = 5;

/** What a shard's worlds must have met, or they have proved little. */
const MET = [
  ...['break', 'crash', 'cut', 'die', 'freeze', 'kill', 'leave', 'move', 'nats', 'stuck', 'takeover'].map(
    (kind) => `weather, ${kind}`,
  ),
  'clients, offline',
  'gaps told',
  'last values seen',
  'messages delivered',
  'messages redelivered',
  'publishes refused, ERR_JSP_STORE_FAILED',
  'receipts, duplicate',
  'receipts, stored',
  'resumed, recovered false',
  'resumed, recovered true',
  'wills left',
  'wills owed',
];

const MET_WITH_GROUPS = ['crash', 'cut', 'leave', 'move', 'nats']
  .map((kind) => `weather, ${kind}`)
  .concat('messages redelivered', 'receipts, stored');

/** Runs seeds of a scenario. Returns what has failed, and how to see it again. */
async function failuresOf(
  scenario: string,
  run: (seed: number) => Promise<Totals>,
  seeds: readonly number[],
  totals: Totals,
): Promise<string> {
  const failures: string[] = [];
  for (const seed of seeds) {
    if (failures.length === FAILURES_MAX) break;
    try {
      totals.merge(await run(seed));
    } catch (error) {
      failures.push(
        `${(error as Error).message}\n  replay: npm run sim -- --scenario ${scenario} --seed ${seed}`,
      );
    }
  }
  return failures.join('\n');
}

/** Every n-th, up to the last. */
function seedsOf(shard: number, last: number): number[] {
  return Array.from({ length: Math.ceil((last - shard + 1) / SHARDS) }, (_, i) => shard + i * SHARDS);
}

/** The tests of one shard. More seeds: `npm run sim -- --scenario cluster --seeds 10000`. */
export function simulateClusters(shard: number): void {
  const totals = new Totals();

  test(`brokers that are one keep their promises in ${SEEDS / SHARDS} worlds over a model of NATS (shard ${shard} of ${SHARDS})`, {
    timeout: 900_000, // a world that goes on after it would be in the virtual time of the next test
  }, async () => {
    expect(await failuresOf('cluster', runClusterSeed, seedsOf(shard, SEEDS), totals)).toBe('');
    const kept = KEPT_SEEDS[shard - 1];
    await runClusterWorld(kept, barePlanOf(kept));
  });

  test(`so they do in ${GROUPS_SEEDS / SHARDS} worlds with shared groups (shard ${shard} of ${SHARDS})`, {
    timeout: 900_000, // a world that goes on after it would be in the virtual time of the next test
  }, async () => {
    const met = new Totals();
    const seeds = [KEPT_GROUPS_SEEDS[shard - 1], ...seedsOf(shard, GROUPS_SEEDS)];
    expect(await failuresOf('groups', runGroupsSeed, seeds, met)).toBe('');
    expect(met.zeros(MET_WITH_GROUPS)).toEqual([]);
  });

  test('the worlds met what makes promises hard to keep', () => {
    expect(totals.zeros(MET)).toEqual([]);
  });

  test('a world is the same every time', async () => {
    expect((await runClusterSeed(shard)).toObject()).toEqual((await runClusterSeed(shard)).toObject());
  });
}
