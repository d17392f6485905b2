import { expect, test } from 'vitest';
import { Totals } from '../totals.ts';
import { runBrokerSeed } from './run.ts';

/** More seeds: `npm run sim -- --scenario workers --seeds 10000`. */
const SEEDS = 120;
const FAILURES_MAX = 5;

const totals = new Totals();

test('a broker of two workers, which crash, keeps the promises of one without [BRK-134] [BRK-136]', {
  timeout: 300_000,
}, async () => {
  const failures: string[] = [];
  for (let seed = 1; seed <= SEEDS && failures.length < FAILURES_MAX; seed++) {
    try {
      totals.merge(await runBrokerSeed(seed, 2));
    } catch (error) {
      failures.push(
        `${(error as Error).message}\n  replay: npm run sim -- --scenario workers --seed ${seed}`,
      );
    }
  }
  expect(failures.join('\n')).toBe('');
});

test('the worlds met what makes promises hard to keep', () => {
  expect(totals.zeros(['workers crashed', 'weather, crash', 'publishes that met back-pressure'])).toEqual([]);
});
