import { expect, test } from 'vitest';
import { runFaultySeed } from './faults.ts';
import { Totals } from './totals.ts';

/** Seeds of all shards together; each takes every n-th of them. */
const SEEDS = 1_000;
const SHARDS = 2;
const FAILURES_MAX = 5;
/**
 * Seeds beyond these that found something: lost bytes of the server's hello kept waiting by a window that its probes filled; an honest
 * peer taken for one that stalls, because it heard none of the acknowledgements.
 */
const FOUND = [27_192, 85_161, 98_620];

/** What was thrown in a shard's runs, or they have proved little. Each place throws before and behind what it names. */
const MET = [
  ...['message', 'stream', 'end', 'error', 'stream close', 'close', 'connection', 'listener close'].map(
    (event) => `thrown by a listener: ${event}`,
  ),
  'thrown by a socket',
  ...['packing', 'sealing', 'receiving', 'timeout', 'settling', 'closing', 'calls', 'answering a hello'].map(
    (kind) => `thrown in our code: ${kind}`,
  ),
  'thrown at packing write',
  'thrown at packing onSent',
  'thrown at receiving onMessageFrame',
  'thrown at receiving onAck',
  'thrown again while closing',
  'connections ended by our bug',
];

/** The tests of one shard. More seeds: `npm run sim -- --scenario faults --seeds 10000`. */
export function simulateFaults(shard: number): void {
  const totals = new Totals();

  test(`what fails stays with whoever failed in ${SEEDS / SHARDS} simulated worlds (shard ${shard} of ${SHARDS}) [CON-30] [CON-33] [CON-34]`, {
    timeout: 300_000,
  }, async () => {
    const failures: string[] = [];
    const seeds = shard === 1 ? [...FOUND] : [];
    for (let seed = shard; seed <= SEEDS; seed += SHARDS) seeds.push(seed);
    for (const seed of seeds) {
      if (failures.length === FAILURES_MAX) break;
      try {
        totals.merge(await runFaultySeed(seed));
      } catch (error) {
        failures.push(
          `${(error as Error).message}\n  replay: npm run sim -- --scenario faults --seed ${seed}`,
        );
      }
    }
    expect(failures.join('\n')).toBe('');
  });

  test('in these worlds everything was thrown that can be', () => {
    expect(totals.zeros(MET)).toEqual([]);
  });
}
