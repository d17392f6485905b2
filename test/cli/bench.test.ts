import { describe, expect, test } from 'vitest';
import { jsp, jspTogether } from './jsp.ts';

const KEYS = [
  'workload',
  'size',
  'mtu',
  'seconds',
  'messages',
  'lost',
  'messagesPerSecond',
  'megabitsPerSecond',
  'packetsPerSecond',
  'latencyMicros',
];

interface Result {
  workload: string;
  mtu: number;
  size: number;
  messages: number;
  lost: number;
  megabitsPerSecond: number;
  packetsPerSecond: number;
  overheadPercent: number;
  latencyMicros: Record<string, number> | null;
}

async function bench(...args: string[]): Promise<Result[]> {
  const { exitCode, out, err } = await jsp(['bench', ...args, '--seconds', '0.1', '--json']);
  expect([exitCode, err]).toEqual([0, '']);
  const results = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Result);
  for (const result of results) {
    expect(Object.keys(result)).toEqual(expect.arrayContaining(KEYS));
    expect(result.messages).toBeGreaterThan(0);
  }
  return results;
}

describe('jsp bench', () => {
  test('transport sends messages of the size asked for, and loses none', async () => {
    const [result, ...more] = await bench('transport', '--size', '64', '--mtu', '1200');
    expect(more).toEqual([]);
    expect([result.size, result.mtu, result.lost]).toEqual([64, 1_200, 0]);
  });

  test('shows in its help a list that is the default as one types it', async () => {
    const [fec, lossy] = await jspTogether([
      ['bench', 'fec', '--help'],
      ['bench', 'lossy', '--help'],
    ]);
    expect(fec.out.replaceAll(/\s+/g, ' ')).toContain('repairs behind them (default: 10+2,4+1,20+4)');
    expect(lossy.out.replaceAll(/\s+/g, ' ')).toContain(
      'against loss: off, auto, 10+3, auto:overhead=1.2 (default: off,auto)',
    );
  });

  test('mtu tells the overhead of each size', async () => {
    const results = await bench('mtu', '--mtus', '512,16384');
    expect(results.map(({ mtu }) => mtu)).toEqual([512, 16_384]);
    // Of what its packets could carry, the share that was not the messages' bytes: how much that is depends on what else the machine does.
    for (const { mtu, megabitsPerSecond, packetsPerSecond, overheadPercent } of results) {
      const share = 1 - (megabitsPerSecond * 1e6) / (packetsPerSecond * mtu * 8);
      expect(overheadPercent).toBeCloseTo(Math.max(0, 100 * share), 6);
      expect(overheadPercent).toBeLessThan(100);
    }
  });

  test('latency has percentiles of round trips', async () => {
    for (const { latencyMicros } of await bench('latency')) {
      expect(Object.keys(latencyMicros ?? {})).toEqual(['p50', 'p95', 'p99', 'p999']);
    }
  });
});

describe('jsp bench lossy', () => {
  const few = ['--messages', '200', '--warm-up', '100', '--loss', '0,10', '--protection', 'off,auto'];
  const small = ['bench', 'lossy', ...few];

  test('prints a table and a picture for each order, the same for the same seed', async () => {
    const { exitCode, out, err } = await jsp([...small, '--seed', '3']);
    expect([exitCode, err]).toEqual([0, '']);
    expect(out).toMatch(
      /^ordered\nloss +protection +p50 .*\n0 % +off +25\.0 +25\.0 +25\.0 +25\.0 +0 % +0 % /m,
    );
    expect(out).toMatch(/^ +10 % +off +\|█+/m);
    expect(out).toContain('\nunordered\n');
    expect((await jsp([...small, '--seed', '3'])).out).toBe(out);
  });

  test('prints a line of JSON for each result', async () => {
    const { out } = await jsp([...small, '--order', 'unordered', '--protection', 'off', '--json']);
    const results = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(results.map(({ scenario }) => [scenario.loss, scenario.ordered])).toEqual([
      [0, false],
      [0.1, false],
    ]);
    expect(results[0].oneWayMs).toEqual({ p50: 25, p95: 25, p99: 25, p999: 25, max: 25 });
  });

  test('refuses what is no loss, no protection and no size as an error of usage', async () => {
    const wrong = [
      ['--loss', '100'],
      ['--protection', 'magic'],
      ['--protection', 'off,10+99'],
      ['--protection', 'auto:haste=2'],
      ['--size', '3'],
    ];
    const said = await jspTogether(wrong.map((args) => ['bench', 'lossy', ...args]));
    for (const [i, { exitCode, err }] of said.entries())
      expect([exitCode, err.includes('ERR_JSP_USAGE')], wrong[i].join(' ')).toEqual([2, true]);
  });
});

test('jsp bench qos prints a table of urgent messages and one of a game', async () => {
  const { exitCode, out, err } = await jsp(['bench', 'qos', '--rate', '5', '--queue', '1', '--seconds', '1']);
  expect([exitCode, err]).toEqual([0, '']);
  for (const name of ['cubic', 'bbr'])
    expect(out).toMatch(new RegExp(`^1 BDP +${name} +20\\.\\d +20\\.\\d +\\d`, 'm'));
  expect(out).toMatch(/^states\/s .*oldest shown\n\d/m);
});

test('jsp bench fec tells what a code brings back beside what it should, and that no byte is added where nothing is lost', async () => {
  const { exitCode, out, err } = await jsp([
    'bench',
    'fec',
    '--code',
    '4+1',
    '--loss',
    '5',
    '--run',
    '1',
    '--lost',
    '40',
  ]);
  expect([exitCode, err]).toEqual([0, '']);
  expect(out).toMatch(/^4\+1 +5 % +\d+ +\d+ +[1-9]\d* +\d+\.\d %/m);
  expect(out).toMatch(/^4\+1 +runs of 1 .* 100\.0 % +100\.0 %/m);
  expect(out).toContain('adds where nothing is lost: 0\n');
});
