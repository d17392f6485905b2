import { expect, test } from 'vitest';
import { Totals } from '../../sim/totals.ts';
import { runInterleaving } from './world.ts';

const SEEDS = 1_000;
const FAILURES_MAX = 5;
const MET = [
  ...['recovered', 'missed some', 'reset', 'gaps', 'slow', 'broken off', 'let go', 'crashes', 'messages'],
  ...['settled', 'redelivered', 'refused by their reader', 'store kept', 'store lost', 'store disk'],
];
const totals = new Totals();

test(`from history to live each message comes once, and what is told of it is true, in ${SEEDS} interleavings of publish, disconnect, resume and retention, by WebSocket and by SSE [GW-40] [GW-43] [GW-44]`, {
  timeout: 300_000,
}, async () => {
  const failures: string[] = [];
  for (let seed = 1; seed <= SEEDS && failures.length < FAILURES_MAX; seed++) {
    try {
      totals.merge(await runInterleaving(seed));
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  expect(failures.join('\n')).toBe('');
});

test('the interleavings met what makes that hard', () => {
  expect(totals.zeros(MET)).toEqual([]);
});

test('an interleaving is the same every time', async () => {
  expect((await runInterleaving(7)).toObject()).toEqual((await runInterleaving(7)).toObject());
});
