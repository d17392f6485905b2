import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { World } from '../world.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Bytes that the process holds. */
function held(): number {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What each of `count` sessions costs, in the core and in a store in memory. */
function bytesEach(world: World, count: number, come: (world: World, name: string) => void): number {
  come(world, 'first');
  const before = held();
  for (let i = 0; i < count; i++) come(world, `device-${i}`);
  return (held() - before) / count;
}

test('a session costs less than 2 KB, whether its client is away or connected and idle [BRK-56]', () => {
  const world = new World();
  const away = bytesEach(world, 10_000, (w, name) => w.hello(name, { expiryMs: 3_600_000 }).leave());
  expect(away).toBeGreaterThan(200); // they are there
  expect(away).toBeLessThan(1_000);
  expect(world.core.metrics().sessionsAway).toBe(10_001);
  const other = new World();
  const idle = bytesEach(other, 10_000, (w, name) => {
    const { control } = w.hello(name);
    control.carry();
    control.link.delivered.length = 0;
  });
  expect(idle).toBeLessThan(2_048);
  expect(other.core.metrics()).toMatchObject({ clients: 10_001, sessionsAway: 0 });
});

test('time costs nothing for those who are away and not due, and nothing is left of those who are [BRK-56]', () => {
  const world = new World();
  const before = held();
  for (let i = 0; i < 10_000; i++) world.hello(`${i}`, { expiryMs: 60_000 + i }).leave();
  let looks = 0;
  const { core } = world;
  const advance = core.advance.bind(core);
  core.advance = (nowMs, wallMs) => {
    looks++;
    advance(nowMs, wallMs);
  };
  const startMs = performance.now();
  world.pass(50_000);
  expect(looks).toBeLessThan(70); // one a second
  world.pass(30_000);
  expect(performance.now() - startMs).toBeLessThan(2_000);
  expect(core.metrics()).toMatchObject({ sessions: 0, sessionsExpired: 10_000 });
  expect(held() - before).toBeLessThan(10_000 * 100);
  expect(world.faults).toEqual([]);
});
