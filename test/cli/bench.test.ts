import { describe, expect, test } from 'vitest';
import { jsp } from './jsp.ts';

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

  test('mtu tells the overhead of each size', async () => {
    const results = await bench('mtu', '--mtus', '512,16384');
    expect(results.map(({ mtu }) => mtu)).toEqual([512, 16_384]);
    for (const { overheadPercent } of results) expect(overheadPercent).toBeLessThan(30);
  });

  test('latency has percentiles of round trips', async () => {
    for (const { latencyMicros } of await bench('latency')) {
      expect(Object.keys(latencyMicros ?? {})).toEqual(['p50', 'p95', 'p99', 'p999']);
    }
  });
});
