import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PubsubResult } from '../../src/bench/pubsub/run.ts';
import { Jsp, jsp } from './jsp.ts';
import { NearBroker } from './near-broker.ts';

let near: NearBroker;

beforeAll(async () => {
  near = await NearBroker.start();
});
afterAll(() => near.close());

test('jsp bench pubsub counts what became of every message, and how late it was', async () => {
  const args = [
    '--pubs',
    '2',
    '--subs',
    '3',
    '--topics',
    '4',
    '--rate',
    '1000',
    '--seconds',
    '0.3',
    '--warm-up',
    '0.2',
  ];
  const { exitCode, out } = await jsp(['bench', 'pubsub', near.url, ...args, '--json']);
  const result = JSON.parse(out) as PubsubResult;
  expect(exitCode).toBe(0);
  expect(result.offered).toBeGreaterThanOrEqual(299);
  const { published } = result;
  expect(published).toBeGreaterThan(0);
  expect(result).toMatchObject({
    acknowledged: published,
    expected: 3 * published,
    delivered: 3 * published,
  });
  expect(result).toMatchObject({ lost: 0, doubled: 0, disordered: 0, failures: [] });
  const { min, p50, p99, p9999, max } = result.latencyMicros ?? { min: 0, p50: 0, p99: 0, p9999: 0, max: 0 };
  expect([min, p50, p99, p9999, max]).toEqual([min, p50, p99, p9999, max].sort((a, b) => a - b));
  expect(min).toBeGreaterThan(0);
  const shares = result.distribution.map(([, share]) => share);
  // Several may have been as fast as the fastest.
  expect(shares[0]).toBeLessThan(0.1);
  expect(shares.at(-1)).toBe(1);
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
});

test('jsp bench pubsub starts a broker of its own, and shows tables and a picture', async () => {
  const args = [
    '--subs',
    '2',
    '--share',
    '--qos',
    '1',
    '--durable',
    '--rate',
    'max,500',
    '--seconds',
    '0.2',
    '--warm-up',
    '0.1',
  ];
  const { exitCode, out, err } = await jsp(['bench', 'pubsub', ...args]);
  expect([exitCode, err]).toEqual([0, 'max\n500/s\n']);
  expect(out).toMatch(
    /^1 publisher, 2 subscribers in a shared group, 1 topic, messages of 256 B, QoS 1, durable$/m,
  );
  const [, offered, published, acknowledged, delivered, lost, doubled] =
    /^500\/s +(\d+) +(\d+) +(\d+) +0 +(\d+) +(\d+) +(\d+) +0$/m.exec(out) ?? [];
  expect([offered, acknowledged, lost, doubled]).toEqual(['100', published, '0', '0']);
  expect(delivered).toBe(published);
  expect(out).toMatch(/^load +min +p50 +p90 +p99 +p99\.9 +p99\.99 +max$/m);
  expect(out).toMatch(/^how long messages took at 500\/s$/m);
  expect(out).toMatch(/^ +[\d.,]+ ms {2}[█▏▎▍▌▋▊▉]+ +[\d.]+ % +100\.00 %$/m);
});

test('jsp bench pubsub that is stopped, or has no broker, says so', async () => {
  const bench = new Jsp(['bench', 'pubsub', near.url, '--rate', '100', '--seconds', '60']);
  await bench.until(({ err }) => err.includes('100/s'));
  bench.process.kill('SIGINT');
  const stopped = await bench.ended;
  expect([stopped.exitCode, stopped.err]).toEqual([
    1,
    expect.stringMatching(/stopped by SIGINT before the end \(ERR_JSP_BENCH_INTERRUPTED\)\n$/),
  ]);
  const half = await jsp(['bench', 'pubsub', '--rate', 'half']);
  expect([half.exitCode, half.err]).toEqual([2, expect.stringContaining('ERR_JSP_USAGE')]);
  const nowhere = near.url.replace(/:\d+$/, ':9');
  const none = await jsp(['bench', 'pubsub', nowhere, '--rate', '10']);
  expect([none.exitCode, none.err]).toEqual([1, expect.stringMatching(/\(ERR_JSP_\w+\)\n$/)]);
});
