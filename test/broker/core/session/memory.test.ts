import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { FakeLink, FakePeer } from '../fake-link.ts';
import { World } from '../world.ts';

// What a session costs whose client is away is measured in ../attacks.test.ts, with 100,000 of them.

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** So many that what else comes and goes in a process, such as compiled code, is little beside them. */
const COUNT = 10_000;

/** Bytes that the process holds. What one collection lets go keeps other things until the next. */
function held(): number {
  for (let i = 0; i < 6; i++) gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('a session whose client is connected and idle costs the core less than 2 KB [BRK-56]', () => {
  const count = COUNT;
  const world = new World();
  const fakes: unknown[] = [new FakeLink(), new FakePeer(world.core)];
  world.hello('first');
  const start = held();
  for (let i = 0; i < count; i++) fakes.push(new FakeLink(), new FakePeer(world.core));
  const before = held();
  for (let i = 0; i < count; i++) {
    const { control } = world.hello(`device-${i}`);
    control.carry();
    control.link.delivered.length = 0;
  }
  const each = (held() - before - (before - start)) / count;
  expect(each).toBeGreaterThan(500); // they are there
  expect(each).toBeLessThan(2_048);
  expect(fakes.length).toBe(2 * count + 2);
  expect(world.core.metrics()).toMatchObject({ clients: count + 1, sessionsAway: 0 });
});

/** As many clients come and go, and their sessions expire. Returns how often the core was looked at before the first did. */
function comeAndGo(world: World, count: number): number {
  for (let i = 0; i < count; i++) world.hello(`${i}`, { expiryMs: 60_000 + i }).leave();
  let looks = 0;
  const { core } = world;
  const advance = core.advance.bind(core);
  core.advance = (nowMs, wallMs) => {
    looks++;
    advance(nowMs, wallMs);
  };
  world.pass(50_000);
  const looksBefore = looks;
  world.pass(30_000);
  return looksBefore;
}

test('time costs nothing for those who are away and not due, and nothing is left of those who are [BRK-56]', () => {
  const count = COUNT;
  comeAndGo(new World(), 3_000); // what is compiled for it is no memory of theirs
  const world = new World();
  const before = held();
  expect(comeAndGo(world, count)).toBeLessThan(70); // one a second, however many there are
  expect(world.core.metrics()).toMatchObject({ sessions: 0, sessionsExpired: count });
  expect(held() - before).toBeLessThan(count * 200);
  expect(world.faults).toEqual([]);
});
