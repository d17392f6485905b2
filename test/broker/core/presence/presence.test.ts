import { describe, expect, test } from 'vitest';
import { Ownership, Presence } from '../../../../src/broker/core/presence/presence.ts';
import { Session } from '../../../../src/broker/core/session/session.ts';
import { Timers } from '../../../../src/broker/core/timers.ts';
import { encodeWill, PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { encodeProperties } from '../../../../src/pubsub/properties.ts';
import type { FakeStream } from '../fake-client.ts';
import { type Guest, World } from '../world.ts';

/** Says who is there, for as long as he is and `graceMs` after. */
function join({ client }: Guest, topic: string, name: string, graceMs = 10_000): FakeStream {
  const stream = client.open();
  const properties = encodeProperties({ owned: graceMs });
  const prefix = publishPrefix(topic, PublishFlag.RETAIN | PublishFlag.PROPERTIES);
  stream.send(Buffer.concat([prefix, properties, Buffer.from(name)]));
  return stream;
}

/** `topic=payload` of the messages that have come since it was asked last, properties left out. */
function heard(stream: FakeStream): string[] {
  stream.carry();
  const lines = stream.link.commands.flatMap(({ name, topic, body, flags }) => {
    if (name !== 'PUBLISH') return [];
    const start = (flags & PublishFlag.PROPERTIES) === 0 ? 0 : 2 + body.readUInt16BE(0);
    return [`${topic}${(flags & PublishFlag.RETAIN) !== 0 ? '!' : '='}${body.subarray(start)}`];
  });
  stream.link.delivered.length = 0;
  return lines;
}

function members(world: World): string[] {
  const stream = world.connect().open();
  stream.subscribe(1, 'room/+');
  return heard(stream).sort();
}

describe('a value that a session owns [BRK-108]', () => {
  test('is there as long as its client is, and for its grace: then it is gone, and an empty message says so', () => {
    const world = new World();
    const lobby = world.listener('room/#');
    const ann = world.hello('ann');
    join(ann, 'room/ann', 'Ann');
    join(world.hello('bob'), 'room/bob', 'Bob');
    expect(heard(lobby)).toEqual(['room/ann=Ann', 'room/bob=Bob']);
    world.pass(100_000);
    expect(members(world)).toEqual(['room/ann!Ann', 'room/bob!Bob']);
    ann.leave();
    world.pass(9_999);
    expect(members(world)).toEqual(['room/ann!Ann', 'room/bob!Bob']);
    expect(heard(lobby)).toEqual([]);
    world.pass(1);
    expect(heard(lobby)).toEqual(['room/ann=']);
    expect(members(world)).toEqual(['room/bob!Bob']);
    world.hello('ann');
    world.pass(100_000);
    expect(heard(lobby)).toEqual([]);
  });

  test('stays where its client comes back within the grace, by a takeover too', () => {
    const world = new World();
    const lobby = world.listener('room/#');
    join(world.hello('ann'), 'room/ann', 'Ann');
    for (let i = 0; i < 3; i++) {
      const guest = world.hello('ann');
      world.pass(20_000);
      guest.leave();
      world.pass(9_999);
    }
    expect(heard(lobby)).toEqual(['room/ann=Ann']);
    world.pass(1);
    expect(heard(lobby)).toEqual(['room/ann=']);
  });

  test('has its grace where its session is over sooner, and stays where another session has said it again', () => {
    const world = new World();
    const lobby = world.listener('room/#');
    for (const session of ['', 'ann']) {
      const before = world.hello(session, { expiryMs: 0 });
      join(before, 'room/ann', 'before');
      before.leave();
      world.pass(9_000);
      const after = world.hello(session, { expiryMs: 0 });
      join(after, 'room/ann', 'after');
      world.pass(60_000);
      expect(heard(lobby)).toEqual(['room/ann=before', 'room/ann=after']);
      after.leave();
      world.pass(10_000);
      expect(heard(lobby)).toEqual(['room/ann=']);
    }
  });

  test('that is said again while it leaves is heard behind the leaving, never before', () => {
    const world = new World();
    const lobby = world.listener('room/#');
    const ann = world.hello('ann');
    join(ann, 'room/ann', '1');
    ann.leave();
    const again = world.hello('other');
    world.pass(9_999);
    // The driver tells the time, and the next message at once: what is due comes first.
    world.nowMs += 1;
    world.core.advance(world.nowMs, world.wallMs);
    join(again, 'room/ann', '2');
    expect(heard(lobby)).toEqual(['room/ann=1', 'room/ann=', 'room/ann=2']);
    expect(members(world)).toEqual(['room/ann!2']);
  });

  test("is nobody's any more where an ordinary value, or none, takes its place", () => {
    const world = new World();
    const lobby = world.listener('room/#');
    const ann = world.hello('ann');
    const stream = join(ann, 'room/ann', 'Ann');
    join(ann, 'room/bob', 'Bob');
    stream.send(Buffer.concat([publishPrefix('room/ann', PublishFlag.RETAIN), Buffer.from('stays')]));
    stream.send(publishPrefix('room/bob', PublishFlag.RETAIN));
    ann.leave();
    world.pass(100_000);
    expect(heard(lobby)).toEqual(['room/ann=Ann', 'room/bob=Bob', 'room/ann=stays', 'room/bob=']);
    expect(members(world)).toEqual(['room/ann!stays']);
  });

  test('outlives the broker with its owner, who has at least 5 s to come back', () => {
    const world = new World();
    for (const name of ['ann', 'bob', 'cy']) join(world.hello(name), `room/${name}`, name);
    join(world.hello(''), 'room/dee', 'dee', 1_000);
    world.crash(30_000);
    expect(members(world)).toEqual(['room/ann!ann', 'room/bob!bob', 'room/cy!cy', 'room/dee!dee']);
    world.hello('ann');
    const lobby = world.listener('room/#');
    heard(lobby);
    world.pass(4_999);
    expect(heard(lobby)).toEqual([]);
    world.pass(1);
    expect(heard(lobby).sort()).toEqual(['room/bob=', 'room/cy=', 'room/dee=']);
    world.pass(1_000_000);
    expect(members(world)).toEqual(['room/ann!ann']);
  });

  test('does not leave because the broker stood still', () => {
    const world = new World();
    const ann = world.hello('ann', { expiryMs: 600_000 });
    join(ann, 'room/ann', 'Ann');
    ann.leave();
    world.pass(5_000);
    world.jump(60_000);
    expect(members(world)).toEqual(['room/ann!Ann']);
    world.hello('ann');
    world.pass(60_000);
    expect(members(world)).toEqual(['room/ann!Ann']);
  });
});

test('nobody owns the value that a will has left', () => {
  const world = new World();
  const ann = world.hello('ann');
  const rest = Buffer.concat([encodeProperties({ owned: 1_000 }), Buffer.from('gone')]);
  ann.control.send(encodeWill(9, 'room/ann', PublishFlag.RETAIN | PublishFlag.PROPERTIES, 0, rest));
  ann.leave();
  world.pass(60_000);
  expect(members(world)).toEqual(['room/ann!gone']);
  world.crash(60_000);
  world.pass(60_000);
  expect(members(world)).toEqual(['room/ann!gone']);
});

test('a session that owns many values frees them all', () => {
  const world = new World();
  const ann = world.hello('ann');
  for (let i = 0; i < 200; i++) join(ann, `room/${i}`, 'x', i);
  ann.leave();
  world.pass(250);
  expect(world.core.metrics()).toMatchObject({ retainedMessages: 0, retainedBytes: 0 });
  expect([...world.store.state.entries('retained/')]).toEqual([]);
});

describe('the values of a session that moves between the nodes of a cluster', () => {
  /** What becomes of the values, by what they are about. */
  function presenceOf() {
    const told: string[] = [];
    const time = { nowMs: 0, wallMs: 0, timers: new Timers() };
    const presence = new Presence(time, {
      leave: (topic) => told.push(`leave ${topic}`),
      hasNode: (node) => node === 'there',
      adopted: ({ topic }) => told.push(`adopted ${topic}`),
    });
    const pass = (ms: number) => {
      time.nowMs += ms;
      for (
        let timer = time.timers.takeDue(time.nowMs);
        timer !== null;
        timer = time.timers.takeDue(time.nowMs)
      )
        timer.run();
    };
    return { presence, told, pass };
  }

  test('are looked after where it comes to, and left alone where it was [CLU-43]', () => {
    const { presence, told, pass } = presenceOf();
    presence.takeForeign(new Ownership('x', 500, 7, null), 'gone');
    presence.takeForeign(new Ownership('y', 500, 8, null), 'there');
    presence.abandon('gone', 0);
    presence.abandon('there', 0);
    const session = new Session(null, 'me', 7);
    presence.onBack(session);
    expect(told).toEqual(['adopted x']);
    pass(600);
    expect(told).toEqual(['adopted x']); // and of y, the node is there
    presence.onAway(session);
    presence.onMoved(session);
    presence.onBack(new Session(null, 'me', 7));
    expect(told).toEqual(['adopted x', 'adopted x']);
  });

  test('leave after their grace where it moves to nowhere [CLU-43]', () => {
    const { presence, told, pass } = presenceOf();
    const session = new Session(null, 'me', 7);
    presence.own(session, 'x', 500);
    presence.onMoved(session);
    pass(499);
    expect(told).toEqual([]);
    pass(2);
    expect(told).toEqual(['leave x']);
    expect([...presence.nodes]).toEqual([]);
  });
});
