import { expect, test } from 'vitest';
import { Totals } from '../../sim/totals.ts';
import { runStoreSeed } from './simulation.ts';

const SEEDS = 2_000;
const FAILURES_MAX = 5;

/** What the worlds must have met, or they have proved little. */
const MET = [
  'disk failedReads',
  'disk failedSyncs',
  'disk full',
  'disk lostNames',
  'disk shortWrites',
  'disk tornSectors',
  'flips',
  'found damaged',
  'found duplicate',
  'found missing',
  'found stored',
  'found torn',
  'lives ended by close',
  'lives ended by flip',
  'lives ended by flip after kill',
  'lives ended by kill',
  'lives ended by power cut',
  'reads from memory',
  'reads from the disk',
  'sent again',
  'told failed: log',
  'told failed: state',
  'told full: log',
  'told full: state',
];

const totals = new Totals();

// More seeds: npm run sim -- --scenario store --seeds 100000
test(`what was told of as stored is there after power cuts, kills, full disks, failing syncs and reads and flipped bits, in ${SEEDS} worlds [STO-9] [STO-10] [STO-17] [STO-18] [STO-19] [STO-20] [STO-21]`, {
  timeout: 300_000,
}, async () => {
  const failures: string[] = [];
  for (let seed = 1; seed <= SEEDS && failures.length < FAILURES_MAX; seed++) {
    try {
      totals.merge(await runStoreSeed(seed));
    } catch (error) {
      failures.push(`${(error as Error).message}\n  replay: npm run sim -- --scenario store --seed ${seed}`);
    }
  }
  expect(failures.join('\n')).toBe('');
});

test('the worlds met what makes promises hard to keep', () => {
  expect(totals.zeros(MET)).toEqual([]);
});
