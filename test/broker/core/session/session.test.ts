import { describe, expect, test } from 'vitest';
import { Command, encodePlain, publishPrefix, ReasonCode } from '../../../../src/pubsub/command.ts';
import type { FakeClient } from '../fake-client.ts';
import { Guest, World } from '../world.ts';

describe('a session', () => {
  test('outlives its connection for as long as its client has asked, and is the same when it comes back [BRK-50]', () => {
    const world = new World();
    const first = world.hello('a');
    expect(first.welcome).toMatchObject({ isPresent: false, expiryMs: 60_000, lastIds: [0, 0, 0, 0] });
    expect(first.welcome.epoch).toBeGreaterThan(0);
    first.leave();
    world.pass(59_999);
    const second = world.hello('a');
    expect(second.welcome).toEqual({ ...first.welcome, isPresent: true, serverTimeMs: world.wallMs });
    second.leave();
    world.pass(60_000);
    const third = world.hello('a');
    expect(third.welcome.isPresent).toBe(false);
    expect(third.welcome.epoch).not.toBe(first.welcome.epoch);
    expect(world.core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 0, sessionsExpired: 1 });
  });

  test('counts its absence from the last connection, however often it came and went', () => {
    const world = new World();
    for (let i = 0; i < 5; i++) {
      const guest = world.hello('a');
      expect(guest.welcome.isPresent).toBe(i > 0);
      world.pass(40_000);
      guest.leave();
      world.pass(40_000);
    }
  });

  test('without a name, or for no time, ends with its connection [BRK-50]', () => {
    const world = new World();
    for (const [name, expiryMs] of [
      ['', 60_000],
      ['a', 0],
    ] as const) {
      const guest = world.hello(name, { expiryMs });
      expect(guest.welcome).toMatchObject({ isPresent: false });
      guest.leave();
      expect(world.hello(name, { expiryMs }).welcome.isPresent).toBe(false);
    }
    expect([...world.store.state.entries('session/')]).toEqual([]);
  });

  test('is over with the connection of a client that leaves, also in the store [BRK-57]', () => {
    const world = new World();
    const guest = world.hello('a');
    guest.control.send(encodePlain(Command.LEAVE, 0));
    expect(world.core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 0 });
    guest.leave();
    expect(world.core.metrics()).toMatchObject({ sessions: 0, sessionsAway: 0 });
    world.crash(0);
    expect(world.hello('a').welcome.isPresent).toBe(false);
  });

  test('is kept for no longer than the broker allows, and its client is told', () => {
    const world = new World({ sessionExpiryMaxMs: 1_000 });
    const guest = world.hello('a', { expiryMs: 0xffff_ffff });
    expect(guest.welcome.expiryMs).toBe(1_000);
    guest.leave();
    world.pass(1_000);
    expect(world.core.metrics().sessions).toBe(0);
  });

  test('is kept for ever where its client asks for that and the broker allows it', () => {
    const world = new World({ sessionExpiryMaxMs: 0xffff_ffff });
    const guest = world.hello('a', { expiryMs: 0xffff_ffff });
    expect(guest.welcome.expiryMs).toBe(0xffff_ffff);
    guest.leave();
    expect(world.core.metrics()).toMatchObject({ sessionsAway: 1 });
    world.crash(400 * 86_400_000);
    expect(world.core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 1 });
    expect(world.core.nextTimeoutMs).toBe(Number.POSITIVE_INFINITY);
    expect(world.hello('a').welcome.isPresent).toBe(true);
    expect(world.core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 0 });
  });

  test('takes the expiry that its client asks for last', () => {
    const world = new World();
    world.hello('a').leave();
    world.hello('a', { expiryMs: 500 }).leave();
    world.pass(500);
    expect(world.hello('a').welcome.isPresent).toBe(false);
  });

  test('begins anew where its client wants that [BRK-50]', () => {
    const world = new World();
    const first = world.hello('a');
    first.leave();
    const second = world.hello('a', { cleanStart: true });
    expect(second.welcome.isPresent).toBe(false);
    expect(second.welcome.epoch).not.toBe(first.welcome.epoch);
    expect(world.core.metrics().sessions).toBe(1);
  });

  test('is taken over by a newer connection: the older one is closed once, and what waited for it is gone [BRK-52]', () => {
    const world = new World();
    const older = world.hello('a');
    const stream = older.client.open(1);
    stream.subscribe(1, 't', 0);
    for (let i = 0; i < 20; i++) world.connect().open().publish('t', `${i}`);
    expect(world.core.metrics().queuedMessages).toBeGreaterThan(10);
    const newer = world.hello('a');
    expect(older.closedWith).toBe(ReasonCode.SESSION_TAKEN);
    expect(newer.welcome).toMatchObject({ isPresent: true, epoch: older.welcome.epoch });
    expect(world.core.metrics()).toMatchObject({ queuedMessages: 0, sessionsTaken: 1, clientsFailed: 0 });
    older.leave(); // its transport is told late: the fake refuses a second close
    world.pass(120_000);
    expect(newer.closedWith).toBe(null);
    expect(world.core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 0 });
  });

  test('is taken over as often as somebody comes', () => {
    const world = new World();
    const guests = Array.from({ length: 10 }, () => world.hello('a'));
    expect(guests.map(({ closedWith }) => closedWith)).toEqual([
      ...Array.from({ length: 9 }, () => ReasonCode.SESSION_TAKEN),
      null,
    ]);
    for (const guest of guests) guest.leave();
    world.pass(60_000);
    expect(world.core.metrics()).toMatchObject({ sessions: 0, clients: 0, sessionsTaken: 9 });
  });

  test('is refused beyond as many as the broker allows, while those that there are come back [BRK-56]', () => {
    const world = new World({ sessionsMax: 2 });
    world.hello('a').leave();
    world.hello('b');
    const third = world.hello('c');
    expect(third.answers).toEqual([`REFUSED 1 ${ReasonCode.LIMITED}`]);
    expect(third.closedWith).toBe(null);
    expect(world.hello('a').welcome.isPresent).toBe(true);
    expect(world.hello('', { expiryMs: 0 }).welcome.isPresent).toBe(false);
    world.hello('b', { expiryMs: 0 }).leave();
    third.hello('c');
    expect(third.welcome.isPresent).toBe(false);
  });
});

describe('HELLO', () => {
  test('comes first, and once [BRK-33] [BRK-50]', () => {
    const world = new World();
    const twice = world.hello('a');
    twice.hello('b');
    expect(twice.answers).toEqual(['WELCOME 1', `REFUSED 2 ${ReasonCode.CONTRADICTION}`]);
    for (const before of [
      (client: FakeClient) => client.open().publish('t', ''),
      (client: FakeClient) => client.open().subscribe(1, 't'),
      (client: FakeClient) => new Guest(client).will('t', ''),
    ]) {
      const late = new Guest(world.connect());
      before(late.client);
      late.hello('b');
      expect(late.answers).toEqual([`REFUSED 1 ${ReasonCode.CONTRADICTION}`]);
    }
    expect(world.core.metrics().sessions).toBe(1);
  });

  test('makes its stream the control stream, on which nothing is published or subscribed [BRK-50]', () => {
    const world = new World();
    for (const command of [publishPrefix('t'), encodePlain(Command.FLUSH, 7)]) {
      const guest = world.hello('a');
      guest.control.send(command);
      expect(guest.closedWith).toBe(ReasonCode.WRONG_STREAM);
    }
    const guest = world.hello('a');
    guest.control.ping(8);
    expect(guest.answers).toEqual(['WELCOME 1', 'PONG 8']);
  });

  test('of another version, or of capabilities that the broker lacks, is refused [BRK-8]', () => {
    const world = new World();
    for (const options of [{ version: 2 }, { capabilities: 1 }]) {
      expect(world.hello('a', options).answers).toEqual([`REFUSED 1 ${ReasonCode.UNSUPPORTED}`]);
    }
    expect(world.core.metrics().sessions).toBe(0);
  });
});

describe('a broker that starts again', () => {
  test('has the sessions whose time is not over [BRK-54]', () => {
    const world = new World();
    const away = world.hello('away');
    const there = world.hello('there');
    away.leave();
    world.pass(10_000);
    world.crash(40_000);
    expect(world.core.metrics()).toMatchObject({ sessions: 2, sessionsAway: 2 });
    expect(world.hello('there').welcome).toMatchObject({ isPresent: true, epoch: there.welcome.epoch });
    expect(world.hello('away').welcome).toMatchObject({ isPresent: true, epoch: away.welcome.epoch });
  });

  test('has none whose time was over while it was down, and keeps nothing of it [BRK-54]', () => {
    const world = new World();
    world.hello('away').leave();
    world.hello('there');
    world.crash(66_000);
    expect(world.core.metrics()).toMatchObject({ sessions: 0, sessionsExpired: 2 });
    expect([...world.store.state.entries('session/')]).toEqual([]);
    expect(world.hello('there').welcome.isPresent).toBe(false);
  });

  test('does not hold the time before it died against those who were connected', () => {
    const world = new World();
    world.hello('a');
    world.pass(3_600_000);
    world.crash(59_000);
    expect(world.hello('a').welcome.isPresent).toBe(true);
  });

  test('counts what was left of the time, and takes a clock that was set back for one that stood still', () => {
    const world = new World();
    world.hello('a').leave();
    world.pass(30_000);
    world.crash(10_000);
    world.pass(19_999);
    expect(world.core.metrics().sessions).toBe(1);
    world.pass(1);
    expect(world.core.metrics().sessions).toBe(0);
    world.hello('b').leave();
    world.crash(-3_600_000);
    world.pass(59_999);
    expect(world.core.metrics().sessions).toBe(1);
    world.pass(1);
    expect(world.core.metrics().sessions).toBe(0);
  });

  test('never gives a session the number of another, so that logs do not take one for the other [BRK-53]', () => {
    const world = new World();
    const numbers = new Set<string>();
    for (let i = 0; i < 12; i++) {
      world.hello(`${i}`);
      for (const [key, value] of world.store.state.entries('session/')) {
        numbers.add(`${key} ${Buffer.from(value).readUIntBE(2, 6)}`);
      }
      if (i % 3 === 2) world.crash(100_000);
    }
    expect(numbers.size).toBe(12);
    expect(new Set([...numbers].map((line) => line.split(' ')[1])).size).toBe(12);
  });
});

test('a broker that stood still hears its clients before it takes them for gone [BRK-51]', () => {
  const world = new World();
  for (let i = 0; i < 50; i++) world.hello(`${i}`).leave();
  world.pass(30_000);
  world.jump(3_600_000);
  expect(world.core.metrics().sessions).toBe(50);
  world.pass(4_000);
  for (let i = 0; i < 25; i++) expect(world.hello(`${i}`).welcome.isPresent).toBe(true);
  world.pass(60_000);
  expect(world.core.metrics()).toMatchObject({ sessions: 25, sessionsAway: 0, sessionsExpired: 25 });
});
