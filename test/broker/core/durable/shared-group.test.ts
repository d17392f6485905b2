import { describe, expect, test } from 'vitest';
import { Overflow, publishPrefix } from '../../../../src/pubsub/command.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';
import { LogWorld, type Subscriber } from './log-world.ts';

const GROUP = '$share/g/t/#';

describe('a shared subscription of QoS 1', () => {
  test('gives each message to one member, in turn, and no more than its window [BRK-13] [BRK-74]', () => {
    const world = new LogWorld();
    const [one, other] = members(world, 2, { unackedMax: 2 });
    world.append('t/1=1', 't/2=2', 't/3=3', 't/4=4', 't/5=5');
    expect(one.messages()).toEqual(['1 t/1=1', '3 t/3=3']);
    expect(other.messages()).toEqual(['2 t/2=2', '4 t/4=4']);
    other.ack(4);
    expect(other.messages()).toEqual(['5 t/5=5']);
    expect(one.messages()).toEqual([]);
  });

  test('gives what waits to whoever is free, not to whoever does not read [BRK-74]', () => {
    const world = new LogWorld();
    const stalled = world.subscriber(1).subscribe(GROUP);
    const [reading] = members(world, 1);
    for (let i = 1; i <= 100; i++) world.append(`t=${i}`);
    expect(reading.messages().length + stalled.messages(2).length).toBe(100);
  });

  test('gives what a member leaves to the others, first, in order and marked [BRK-74]', () => {
    const world = new LogWorld();
    const [one, other] = members(world, 2);
    world.append('t=1', 't=2', 't=3', 't=4');
    expect(other.messages()).toEqual(['2 t=2', '4 t=4']);
    one.stream.end();
    world.append('t=5');
    expect(other.messages()).toEqual(['1!2 t=1', '3!2 t=3', '5 t=5']);
  });

  test('keeps what nobody is there for, once, and gives it to the first who comes back, in order [BRK-74]', () => {
    const world = new LogWorld();
    for (const member of members(world, 2)) member.stream.end();
    world.append('t=1', 't=2', 'u=3', 't=4');
    const [first] = members(world, 1);
    expect(first.messages()).toEqual(['1 t=1', '2 t=2', '4 t=4']);
    const [second] = members(world, 1);
    world.append('t=5', 't=6');
    expect([first.messages(), second.messages()]).toEqual([['5 t=5'], ['6 t=6']]);
  });

  test('outlives the broker, as one cursor and one set of what is not settled [BRK-74] [BRK-69]', () => {
    const world = new LogWorld();
    const [one, other] = members(world, 2);
    world.append('t=1', 't=2', 't=3');
    one.ack(1);
    other.ack(2);
    world.pass(20);
    world.restart();
    const [again] = members(world, 1);
    expect(again.messages()).toEqual(['3!2 t=3']);
  });

  test('is settled by one member, even late, and by nobody who was never given it [BRK-74]', () => {
    const world = new LogWorld();
    const [one, other] = members(world, 2, { ackWaitMs: 1_000 });
    world.append('t=1');
    expect(one.messages()).toEqual(['1 t=1']);
    other.ack(1, [0, 100]);
    world.pass(1_000);
    expect(other.messages()).toEqual(['1!2 t=1']);
    one.ack(1);
    world.pass(5_000);
    expect([one.messages(), other.messages()]).toEqual([[], []]);
  });

  test('is over when nobody has held it for an hour, or with its last member that takes it back [BRK-74]', () => {
    const world = new LogWorld();
    members(world, 1)[0].stream.end();
    world.append('t=1');
    world.pass(3_600_000);
    const [one, other] = members(world, 2);
    expect(one.take()).toEqual(['SUBSCRIBED at 2']);
    one.unsubscribe(GROUP);
    world.append('t=2');
    expect(other.messages()).toEqual(['2 t=2']);
    other.unsubscribe(GROUP);
    expect(members(world, 1)[0].take()).toEqual(['SUBSCRIBED at 3']);
  });
});

describe('a group ordered by key', () => {
  const ordered = { keyOrder: true };

  test('gives all messages of a key to one member, and several keys to several [BRK-75]', () => {
    const world = new LogWorld();
    const [one, other] = members(world, 2, ordered);
    for (let i = 0; i < 100; i++) world.appendWith(`t/${i}=x`, { key: `k${i % 20}` });
    const keysOf = (lines: string[]) => new Set(lines.map((line) => Number(/t\/(\d+)/.exec(line)?.[1]) % 20));
    const [left, right] = [one.messages(), other.messages()];
    expect(left.length + right.length).toBe(100);
    expect(keysOf(left).size + keysOf(right).size).toBe(20);
    expect(Math.min(left.length, right.length)).toBeGreaterThan(10);
  });

  test('does not wait for a member that does not take its own, and loses none of them [BRK-75]', () => {
    const world = new LogWorld();
    const all = members(world, 2, { ...ordered, unackedMax: 1 });
    for (let i = 0; i < 40; i++) world.append(`t/${i % 8}=${i}`);
    const [left, right] = all.map((member) => member.messages());
    expect([left.length, right.length]).toEqual([1, 1]);
    const seen = [...drain(all[1], right)];
    expect(seen.length).toBeGreaterThan(4);
    all[0].stream.end();
    seen.push(...drain(all[1], all[1].messages()));
    expect(seen.map(payloadOf).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    for (let topic = 0; topic < 8; topic++) {
      const ofTopic = seen.map(payloadOf).filter((i) => i % 8 === topic);
      expect(ofTopic).toEqual([...ofTopic].sort((a, b) => a - b));
    }
  });

  test('holds a key where it has unsettled messages while members come [BRK-75]', () => {
    const world = new LogWorld();
    const [one] = members(world, 1, ordered);
    for (let i = 0; i < 20; i++) world.append(`t/${i}=1`);
    const held = one.messages();
    const [newcomer] = members(world, 1, ordered);
    for (let i = 0; i < 20; i++) world.append(`t/${i}=2`);
    expect([one.messages().length, newcomer.messages().length]).toEqual([20, 0]);
    for (const line of held) one.ack(Number.parseInt(line, 10));
    for (let offset = 21; offset <= 40; offset++) one.ack(offset);
    for (let i = 0; i < 20; i++) world.append(`t/${i}=3`);
    const taken = newcomer.messages().length;
    expect(taken).toBeGreaterThan(2);
    expect(one.messages()).toHaveLength(20 - taken);
  });

  test('keeps what is behind a message that is to come again behind it [BRK-75]', () => {
    const world = new LogWorld();
    const [one] = members(world, 1, ordered);
    world.append('t/a=1');
    one.nack(1, 1_000);
    world.append('t/a=2', 't/b=3');
    expect(one.messages()).toEqual(['1 t/a=1', '3 t/b=3']);
    world.pass(1_000);
    expect(one.messages()).toEqual(['1!2 t/a=1', '2 t/a=2']);
  });

  test('outlives the broker with what was put aside [BRK-75] [BRK-69]', () => {
    const world = new LogWorld();
    members(world, 2, { ...ordered, unackedMax: 1 });
    for (let i = 0; i < 20; i++) world.append(`t/${i % 4}=${i}`);
    world.pass(20);
    world.restart();
    const [again] = members(world, 1, ordered);
    expect(again.messages().map(payloadOf)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });
});

describe('a shared subscription of QoS 0', () => {
  test('gives each message to one member, in turn, whatever others hold the topic [BRK-73]', () => {
    const { streams, publisher, client } = live(3);
    const alone = client.open();
    alone.subscribe(1, 't/+');
    for (let i = 0; i < 6; i++) publisher.publish('t/a', `${i}`);
    for (const stream of [...streams, alone]) stream.carry();
    expect(streams.map(({ link }) => link.lines.slice(1))).toEqual([
      ['t/a=0', 't/a=3'],
      ['t/a=1', 't/a=4'],
      ['t/a=2', 't/a=5'],
    ]);
    expect(alone.link.lines).toHaveLength(7);
  });

  test('gives none to a member that takes none, as long as another does; then its policy decides [BRK-73]', () => {
    const { streams, publisher } = live(2, { marks: [1, 3], messages: 1 });
    for (let i = 0; i < 3; i++) publisher.publish('t', `${i}`);
    expect(publisher.link.paused).toBe(false);
    streams[1].carry();
    expect(streams[1].link.lines).toEqual(['SUBSCRIBED 1', 't=0', 't=1', 't=2'].slice(0, 3));
    for (let i = 3; i < 8; i++) publisher.publish('t', `${i}`);
    expect(publisher.link.paused).toBe(true);
    for (let i = 0; i < 10; i++) for (const stream of streams) stream.carry();
    publisher.pump();
    for (let i = 0; i < 10; i++) for (const stream of streams) stream.carry();
    const all = streams.flatMap(({ link }) => link.lines.slice(1));
    expect(all.sort()).toEqual(Array.from({ length: 8 }, (_, i) => `t=${i}`));
  });

  test('is what is left of it when members go, and keeps keys together where it is asked to [BRK-73] [BRK-75]', () => {
    const { streams, publisher } = live(2);
    publisher.publish('t/a', '1');
    streams[1].end();
    publisher.publish('t/a', '2');
    streams[0].unsubscribe(2, GROUP);
    publisher.publish('t/a', '3');
    streams[0].carry();
    expect(streams[0].link.lines).toEqual(['SUBSCRIBED 1', 't/a=1', 't/a=2', 'UNSUBSCRIBED 2']);
  });

  test('judges a filter by what is behind the group [BRK-13]', () => {
    const world = new LogWorld();
    const stream = new FakeClient(world.core).open();
    stream.subscribe(1, '$share/g/$inbox/other/#');
    stream.carry();
    expect(stream.link.lines).toEqual(['REFUSED 1 9']);
  });
});

describe('what is in no log', () => {
  test('comes to those who read logs at once, with QoS 0, and to one member of a group [BRK-61] [BRK-74]', () => {
    const world = new LogWorld();
    const alone = world.subscriber().subscribe('t');
    const group = members(world, 2);
    const publisher = new FakeClient(world.core).open();
    publisher.publish('t', 'x');
    expect(alone.messages()).toEqual(['0 t=x']);
    expect(group.flatMap((member) => member.messages())).toEqual(['0 t=x']);
  });

  test('and what is stored comes from the log alone [BRK-61]', () => {
    const world = new LogWorld();
    const alone = world.subscriber().subscribe('t');
    const publisher = new FakeClient(world.core).open();
    publisher.send(Buffer.concat([publishPrefix('t', 1, 1), Buffer.from('x')]));
    expect(alone.messages()).toEqual(['1 t=x']);
  });
});

function members(world: LogWorld, count: number, options = {}): Subscriber[] {
  return Array.from({ length: count }, () => world.subscriber().subscribe(GROUP, options));
}

/** Takes and acknowledges one by one until nothing comes. */
function drain(member: Subscriber, first: string[]): string[] {
  const seen: string[] = [];
  for (let lines = first; lines.length > 0; lines = member.messages()) {
    seen.push(...lines);
    for (const line of lines) member.ack(Number.parseInt(line, 10));
  }
  return seen;
}

function payloadOf(line: string): number {
  return Number(line.split('=')[1]);
}

function live(
  count: number,
  { marks = [] as number[], messages = 0 } = {},
): { streams: FakeStream[]; publisher: FakeStream; client: FakeClient } {
  const { core } = new LogWorld();
  const streams = Array.from({ length: count }, (_, i) => {
    const stream = new FakeClient(core).open(marks[i]);
    stream.subscribe(1, GROUP, Overflow.BLOCK, messages);
    return stream;
  });
  const client = new FakeClient(core);
  return { streams, publisher: client.open(), client };
}
