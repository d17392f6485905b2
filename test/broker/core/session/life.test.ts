import { expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import type { FakeStream } from '../fake-client.ts';
import { type Guest, taken, World } from '../world.ts';

/** What the specification says of one session, in a page: when it is over, and what becomes of its wills. Time is that of the world. */
class Model {
  readonly published: string[] = [];
  private readonly sessions = new Map<string, { expiryMs: number; leftAt: number; will: Will | null }>();
  private readonly orphans: { will: Will; dueAt: number }[] = [];

  /** True: the session was there. [BRK-50] [BRK-101] */
  hello(name: string, expiryMs: number, isClean: boolean, now: number): boolean {
    this.leave(name, now);
    const session = this.sessions.get(name);
    const isPresent = session !== undefined && !isClean;
    if (session !== undefined && isClean) this.over(name);
    this.sessions.set(name, { expiryMs, leftAt: NOT_YET, will: null });
    return isPresent;
  }

  setWill(name: string, will: Will | null): void {
    const session = this.sessions.get(name);
    if (session !== undefined) session.will = will;
  }

  leave(name: string, now: number): void {
    const session = this.sessions.get(name);
    if (session === undefined || session.leftAt !== NOT_YET) return;
    session.leftAt = now;
    if (session.expiryMs === 0) this.over(name);
    else if (session.will?.delayMs === 0) this.publish(session);
  }

  /** [BRK-50] [BRK-100] */
  pass(now: number): void {
    for (const [name, session] of this.sessions) {
      if (session.leftAt === NOT_YET) continue;
      const { leftAt, expiryMs, will } = session;
      if (now - leftAt >= expiryMs) this.over(name);
      else if (will !== null && now - leftAt >= will.delayMs) this.publish(session);
    }
    for (const { will, dueAt } of this.orphans.splice(0)) {
      if (now >= dueAt) this.published.push(will.id);
      else this.orphans.push({ will, dueAt });
    }
  }

  /** The broker was down; nobody is told of anything for 5 s. [BRK-54] [BRK-102] */
  crash(diedAt: number, now: number): void {
    for (const [name, session] of this.sessions) {
      if (session.leftAt === NOT_YET) session.leftAt = diedAt;
      if (now - session.leftAt < session.expiryMs) continue;
      if (session.will !== null) this.orphans.push({ will: session.will, dueAt: now + 5_000 });
      this.sessions.delete(name);
    }
  }

  private over(name: string): void {
    const session = this.sessions.get(name);
    this.sessions.delete(name);
    if (session !== undefined) this.publish(session);
  }

  private publish(session: { will: Will | null }): void {
    if (session.will !== null) this.published.push(session.will.id);
    session.will = null;
  }
}

interface Will {
  readonly id: string;
  readonly delayMs: number;
}

const NOT_YET = Number.POSITIVE_INFINITY;
const NAMES = ['a', 'b', 'c'];

/** A world of three clients that come, go, are taken over, set wills and take them back, and of a broker that dies now and then. */
function live(seed: number): { published: number; taken: number } {
  const random = new Prng(seed);
  const world = new World();
  const model = new Model();
  const current = new Map<string, Guest>();
  const older: Guest[] = [];
  const heard: string[] = [];
  let listener = world.listener('will/#');
  let wills = 0;
  const hear = (stream: FakeStream) => heard.push(...taken(stream).map((line) => line.replace(/.*=/, '')));
  const hello = (name: string, isClean = false) => {
    const expiryMs = [0, 20_000, 60_000][random.below(3)];
    const before = current.get(name);
    if (before !== undefined) older.push(before);
    const guest = world.hello(name, { expiryMs, cleanStart: isClean });
    current.set(name, guest);
    expect(guest.welcome.isPresent, `seed ${seed}`).toBe(model.hello(name, expiryMs, isClean, world.nowMs));
  };
  for (let step = 0; step < 60; step++) {
    const name = NAMES[random.below(NAMES.length)];
    const guest = current.get(name);
    const kind = random.below(100);
    if (kind < 25) hello(name, random.chance(0.15));
    else if (kind < 45 && guest !== undefined) {
      const will = { id: `${++wills}`, delayMs: [0, 5_000, 30_000][random.below(3)] };
      guest.will(`will/${name}`, will.id, will.delayMs);
      model.setWill(name, will);
    } else if (kind < 50 && guest !== undefined) {
      guest.takeBackWill();
      model.setWill(name, null);
    } else if (kind < 65 && guest !== undefined) {
      guest.leave();
      current.delete(name);
      model.leave(name, world.nowMs);
    } else if (kind < 70) older.splice(0).map((each) => each.leave());
    else if (kind < 95) {
      // A second at a time: the model does not know which of several events is first.
      for (let s = random.below(25); s >= 0; s--) {
        world.pass(1_000);
        model.pass(world.nowMs);
      }
    } else {
      hear(listener);
      const diedAt = world.nowMs;
      const downMs = random.chance(0.5) ? 1_000 : 100_000;
      world.crash(downMs);
      // The world's clock has begun anew; the model's has not.
      world.nowMs = diedAt + downMs;
      world.core.advance(world.nowMs, world.wallMs);
      model.crash(diedAt, world.nowMs);
      current.clear();
      older.length = 0;
      listener = world.listener('will/#');
      if (downMs === 1_000) for (const each of NAMES) if (random.chance(0.5)) hello(each);
      world.pass(100_000);
      model.pass(world.nowMs);
    }
    hear(listener);
    expect([...heard].sort(), `seed ${seed}, step ${step}`).toEqual([...model.published].sort());
  }
  for (const each of current.values()) each.leave();
  for (const name of NAMES) model.leave(name, world.nowMs);
  world.pass(100_000);
  model.pass(world.nowMs);
  hear(listener);
  expect([...heard].sort(), `seed ${seed}`).toEqual([...model.published].sort());
  expect([...world.store.state.entries('')].filter(([key]) => !key.startsWith('sessions/'))).toEqual([]);
  expect(world.faults).toEqual([]);
  return { published: heard.length, taken: world.core.metrics().sessionsTaken };
}

test('whatever clients and the broker do, sessions end when they should and each will is published once, or suppressed [BRK-50] [BRK-100] [BRK-101] [BRK-102]', () => {
  let published = 0;
  let takenOver = 0;
  for (let seed = 1; seed <= 80; seed++) {
    const outcome = live(seed);
    published += outcome.published;
    takenOver += outcome.taken;
  }
  expect(published).toBeGreaterThan(150);
  expect(takenOver).toBeGreaterThan(50);
});
