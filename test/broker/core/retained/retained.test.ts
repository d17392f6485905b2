import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import {
  Command,
  encodePlain,
  encodeSubscribe,
  LARGE_BYTES_MIN,
  Overflow,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
  topicEndOf,
} from '../../../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../../../src/pubsub/properties.ts';
import { encodeSubscribeOptions, RetainedHandling } from '../../../../src/pubsub/subscribe-options.ts';
import type { FakeStream } from '../fake-client.ts';
import type { FakeLane } from '../fake-link.ts';
import { taken, World } from '../world.ts';

/** A PUBLISH with RETAIN. */
function retain(
  stream: FakeStream,
  topic: string,
  payload: string,
  properties: Properties = {},
  id = 0,
): void {
  const encoded = encodeProperties(properties);
  const hasProperties = encoded.length > 2;
  const flags =
    PublishFlag.RETAIN | (hasProperties ? PublishFlag.PROPERTIES : 0) | (id > 0 ? PublishFlag.QOS1 : 0);
  const body = [publishPrefix(topic, flags, id), ...(hasProperties ? [encoded] : []), Buffer.from(payload)];
  stream.send(Buffer.concat(body));
}

/** A new stream with this subscription, and what it is given. */
function subscribed(world: World, filter: string, mark?: number): FakeStream {
  const stream = world.connect().open(mark);
  stream.subscribe(1, filter);
  return stream;
}

/** What a stream has been given, `!` for a last value. */
function told(world: World, stream: FakeStream): string[] {
  for (let before = -1; before !== stream.link.delivered.length; ) {
    before = stream.link.delivered.length;
    world.pass(1);
    stream.carry();
  }
  return stream.link.commands.flatMap(({ name, topic, body, flags }) =>
    name === 'PUBLISH' ? [`${topic}${(flags & PublishFlag.RETAIN) !== 0 ? '!' : '='}${body}`] : [],
  );
}

describe('the last value of a topic', () => {
  test('comes to each new subscription, as the message was, and to those that there are as any message [BRK-29]', () => {
    const world = new World();
    const listener = world.listener();
    const publisher = world.connect().open();
    retain(publisher, 'a/b', '1');
    retain(publisher, 'a/b', '2');
    retain(publisher, 'c', '3');
    expect(taken(listener)).toEqual(['a/b=1', 'a/b=2', 'c=3']);
    expect(told(world, subscribed(world, 'a/+'))).toEqual(['a/b!2']);
    expect(told(world, subscribed(world, '#')).sort()).toEqual(['a/b!2', 'c!3']);
    expect(told(world, subscribed(world, 'b'))).toEqual([]);
    expect(told(world, listener).length).toBe(0);
    expect(world.core.metrics()).toMatchObject({ retainedMessages: 2, messagesIn: 3 });
  });

  test('has its flag only where it is sent because of a subscription, and never one of a publisher', () => {
    const world = new World();
    const listener = world.listener();
    retain(world.connect().open(), 'a', '1', { contentType: 'x' });
    const late = subscribed(world, 'a');
    told(world, late);
    listener.carry();
    expect(listener.link.commands.map(({ flags, id }) => [flags, id])).toEqual([[PublishFlag.PROPERTIES, 0]]);
    expect(late.link.commands.map(({ flags }) => flags)).toEqual([
      0,
      PublishFlag.PROPERTIES | PublishFlag.RETAIN,
    ]);
  });

  test('is gone with an empty one, which goes out as any message [BRK-104]', () => {
    const world = new World();
    const listener = world.listener();
    const publisher = world.connect().open();
    retain(publisher, 'a', '1');
    retain(publisher, 'a', '');
    retain(publisher, 'b', '');
    expect(taken(listener)).toEqual(['a=1', 'a=', 'b=']);
    expect(told(world, subscribed(world, '#'))).toEqual([]);
    expect(world.core.metrics()).toMatchObject({ retainedMessages: 0, retainedBytes: 0 });
    expect([...world.store.state.entries('retained/')]).toEqual([]);
  });

  test('lives as long as it says, is freed without a reader, and says what is left of its time [BRK-104]', () => {
    const world = new World();
    const publisher = world.connect().open();
    retain(publisher, 'a', '1', { ttlMs: 10_000 });
    retain(publisher, 'b', '2', { ttlMs: 3_000 });
    retain(publisher, 'c', '3', { ttlMs: 0 });
    world.pass(3_000);
    const late = subscribed(world, '#');
    expect(told(world, late)).toEqual(['a!\0\x07\x01\0\x04\0\0\x1b\x581']); // 7,000 ms
    expect(world.core.metrics().retainedMessages).toBe(1);
    world.pass(7_000);
    expect(world.core.metrics()).toMatchObject({ retainedMessages: 0, retainedBytes: 0 });
    expect([...world.store.state.entries('retained/')]).toEqual([]);
  });

  test('that takes the place of another has its own time', () => {
    const world = new World();
    const publisher = world.connect().open();
    retain(publisher, 'a', '1', { ttlMs: 1_000 });
    retain(publisher, 'a', '2');
    world.pass(5_000);
    expect(told(world, subscribed(world, 'a'))).toEqual(['a!2']);
    retain(publisher, 'a', '3', { ttlMs: 1_000 });
    world.pass(1_000);
    expect(told(world, subscribed(world, 'a'))).toEqual([]);
  });

  test('outlives the broker with what is left of its time [BRK-104]', () => {
    const world = new World();
    const publisher = world.connect().open();
    retain(publisher, 'a', '1');
    retain(publisher, 'b', '2', { ttlMs: 10_000 });
    retain(publisher, 'c', '3', { ttlMs: 60_000 });
    const { retainedBytes } = world.core.metrics();
    world.crash(0);
    expect(world.core.metrics()).toMatchObject({ retainedMessages: 3, retainedBytes });
    world.crash(20_000);
    world.pass(39_999);
    expect(
      told(world, subscribed(world, '+'))
        .map((line) => line[0])
        .sort(),
    ).toEqual(['a', 'c']);
    world.pass(1);
    expect(told(world, subscribed(world, '+'))).toEqual(['a!1']);
  });
});

describe('what last values may take is bounded [BRK-105]', () => {
  test('one beyond is refused at QoS 1, done not at all, and handed on but not kept at QoS 0', () => {
    const world = new World({ retainedBytesMax: 20_000 });
    const listener = world.listener();
    const guest = world.hello('publisher');
    const publisher = guest.client.open();
    for (let i = 1; i <= 30; i++) retain(publisher, `t/${i}`, 'x'.repeat(1_000), {}, i);
    publisher.carry();
    const { retainedMessages, retainedBytes } = world.core.metrics();
    expect(retainedMessages).toBeGreaterThan(5);
    expect(retainedBytes).toBeLessThanOrEqual(20_000);
    expect(taken(listener).length).toBe(retainedMessages);
    const refused = publisher.link.lines.filter((line) => line.startsWith('REFUSED'));
    expect(refused.length).toBe(30 - retainedMessages);
    expect(refused[0]).toBe(`REFUSED ${retainedMessages + 1} ${ReasonCode.QUOTA}`);
    retain(publisher, 't/99', 'x'.repeat(1_000));
    expect(taken(listener).length).toBe(1);
    expect(guest.answers).toEqual(['WELCOME 1', 'NOTICE 0']);
    // What is not to be kept needs no room.
    publisher.send(Buffer.concat([publishPrefix('t/98', PublishFlag.QOS1, 31), Buffer.alloc(1_000)]));
    expect(taken(listener).length).toBe(1);
    retain(publisher, 't/1', 'y', {}, 32); // less than what it replaces
    retain(publisher, 't/2', '', {}, 33);
    publisher.carry();
    expect(publisher.link.lines.slice(-1)[0]).toMatch(/^PUBLISHED 33/);
    expect(world.core.metrics()).toMatchObject({
      retainedMessages: retainedMessages - 1,
      retainedRefused: 31 - retainedMessages,
    });
  });

  test('counts the levels of topics, which cost more than their bytes', () => {
    const world = new World({ retainedBytesMax: 100_000 });
    const publisher = world.connect().open();
    for (let i = 0; i < 1_000; i++) retain(publisher, `${i}${'/x'.repeat(31)}`, '1');
    expect(world.core.metrics().retainedMessages).toBeLessThan(13);
  });
});

describe('a replay of last values', () => {
  test('gives each value once to a stream, whatever its filters [BRK-107]', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (const topic of ['a', 'a/b', 'a/c', 'b']) retain(publisher, topic, '1');
    const stream = world.connect().open();
    stream.subscribe(1, 'a/+');
    stream.subscribe(2, 'a/#');
    stream.subscribe(3, '#');
    expect(told(world, stream).sort()).toEqual(['a!1', 'a/b!1', 'a/c!1', 'b!1']);
    stream.subscribe(4, '+');
    expect(told(world, stream).length).toBe(4);
    stream.unsubscribe(5, '#');
    stream.unsubscribe(6, 'a/#');
    stream.unsubscribe(7, '+');
    stream.subscribe(8, 'a/#');
    expect(told(world, stream).slice(4)).toEqual(['a!1']); // the rest is still matched by a/+
    const other = world.connect().open();
    other.send(encodeSubscribe(1, 'a/#', SubscribeFlag.NO_RETAINED, 0, 0));
    other.subscribe(2, 'a/+');
    expect(told(world, other).sort()).toEqual(['a/b!1', 'a/c!1']);
  });

  test('goes at the pace of the subscriber, and takes no memory however much there is [BRK-106]', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (let i = 0; i < 500; i++) retain(publisher, `t/${i}`, 'x'.repeat(100));
    const slow = subscribed(world, '#', 4);
    expect(slow.link.outbox.length).toBe(4);
    expect(world.core.metrics()).toMatchObject({ queuedMessages: 0, queuedBytes: 0 });
    const fast = world.listener('live');
    publisher.publish('live', '1');
    expect(publisher.link.paused).toBe(false);
    expect(taken(fast)).toEqual(['live=1']);
    slow.carry(4);
    expect(slow.link.outbox.length).toBe(4);
    expect(told(world, slow).length).toBe(501);
  });

  test('lets others have their turn, and goes on by itself [BRK-106]', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (let i = 0; i < 1_200; i++) retain(publisher, `t/${i}`, '1');
    const stream = subscribed(world, '#');
    expect(stream.link.outbox.length).toBeLessThan(600);
    expect(told(world, stream).length).toBe(1_200);
    expect(world.core.nextTimeoutMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('leaves out what a message has superseded: retained, not retained, empty, or expired meanwhile [BRK-106]', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (const topic of ['a', 'b', 'c', 'd', 'e', 'f']) retain(publisher, topic, 'old');
    retain(publisher, 'g', 'old', { ttlMs: 10 });
    const stream = subscribed(world, '#', 2);
    expect(stream.link.outbox.length).toBe(2);
    retain(publisher, 'b', 'new');
    publisher.publish('c', 'live');
    retain(publisher, 'd', '');
    world.pass(10);
    expect(told(world, stream).sort()).toEqual(['a!old', 'b=new', 'c=live', 'd=', 'e!old', 'f!old']);
    expect(told(world, subscribed(world, '#')).sort()).toEqual(['a!old', 'b!new', 'c!old', 'e!old', 'f!old']);
  });

  test('is not kept up by messages that come without end, nor keeps them up', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (let i = 0; i < 50; i++) retain(publisher, `t/${i}`, '1');
    const stream = world.connect().open(2);
    stream.subscribe(1, '#', Overflow.DROP_OLDEST, 4);
    for (let i = 0; i < 200; i++) {
      publisher.publish('live', `${i}`);
      publisher.publish('live', `${i}+`);
      stream.carry(2);
    }
    const lines = told(world, stream);
    expect(lines.filter((line) => line.includes('!')).length).toBe(50);
    expect(lines.slice(0, 110).filter((line) => line.includes('=')).length).toBeGreaterThan(40);
  });

  test('of one filter has also what another one was bringing that ended in the middle [BRK-107]', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (let i = 0; i < 50; i++) retain(publisher, `t/${i}`, '1');
    const stream = subscribed(world, 't/#', 2);
    stream.subscribe(2, '#');
    stream.unsubscribe(3, 't/#');
    expect(new Set(told(world, stream))).toEqual(new Set(Array.from({ length: 50 }, (_, i) => `t/${i}!1`)));
  });

  test('ends with its filter, its stream and its connection', () => {
    const world = new World();
    const publisher = world.connect().open();
    for (let i = 0; i < 50; i++) retain(publisher, `t/${i}`, '1');
    const stream = subscribed(world, '#', 2);
    stream.unsubscribe(2, '#');
    expect(told(world, stream).length).toBeLessThan(4);
    for (const end of [
      (s: FakeStream) => s.end(),
      (s: FakeStream) => world.core.disconnected(s.channel.client),
    ]) {
      const other = subscribed(world, '#', 2);
      end(other);
      for (let i = 0; i < 10; i++) other.carry();
      expect(other.link.delivered.length).toBeLessThan(4);
    }
    expect(world.faults).toEqual([]);
  });

  test('leaves out what the subscriber does not take, and says how many', () => {
    const world = new World();
    const publisher = world.connect().open();
    retain(publisher, 'large', 'x'.repeat(500));
    retain(publisher, 'small', '1');
    publisher.send(
      Buffer.concat([publishPrefix('packed', PublishFlag.RETAIN | PublishFlag.COMPRESSED), Buffer.from('?')]),
    );
    const stream = world.connect().open(undefined, { messageBytesMax: 100 });
    stream.subscribe(1, '#');
    expect(told(world, stream)).toEqual(['small!1']);
    const dropped = stream.link.lines.filter((line) => line.startsWith('DROPPED'));
    expect(dropped.sort()).toEqual(['DROPPED 1 4', 'DROPPED 1 5']);
  });

  test('comes to a subscription that reads a log as well, behind its SUBSCRIBED', () => {
    const world = new World();
    const publisher = world.connect().open();
    retain(publisher, 'a', '1', {}, 1);
    const stream = world.hello('s').client.open();
    stream.send(encodeSubscribe(1, 'a', SubscribeFlag.QOS1, 0, 0));
    retain(publisher, 'a', '2', {}, 2);
    const names = () => stream.link.commands.map(({ name }) => name);
    told(world, stream);
    expect(names()[0]).toBe('SUBSCRIBED');
    expect(stream.link.lines).toContain('a=2');
    const late = world.hello('t').client.open();
    late.send(encodeSubscribe(1, 'a', SubscribeFlag.QOS1, 0, 0));
    expect(told(world, late)).toEqual(['a!2']);
    expect(late.link.commands[0].name).toBe('SUBSCRIBED');
  });

  test('is not for shared subscriptions, nor for those that want none or are not new [BRK-109]', () => {
    const world = new World();
    retain(world.connect().open(), 'a', '1');
    const subscribe = (stream: FakeStream, retained: RetainedHandling) =>
      stream.send(encodeSubscribe(1, 'a', 0, 0, 0, encodeSubscribeOptions({ retained })));
    const none = world.connect().open();
    subscribe(none, RetainedHandling.NONE);
    expect(told(world, none)).toEqual([]);
    const answers: number[] = [];
    for (const session of ['s', 's', '', '']) {
      const guest = world.hello(session);
      const stream = guest.client.open();
      subscribe(stream, RetainedHandling.IF_NEW);
      answers.push(told(world, stream).length);
      guest.leave();
    }
    expect(answers).toEqual([1, 0, 1, 1]);
    const guest = world.hello('s');
    const stream = guest.client.open();
    subscribe(stream, RetainedHandling.IF_NEW);
    stream.unsubscribe(2, 'a');
    subscribe(stream, RetainedHandling.IF_NEW);
    expect(told(world, stream)).toEqual(['a!1']);
    const group = world.hello('g').client.open();
    group.send(encodeSubscribe(1, '$share/g/a', SubscribeFlag.QOS1, 0, 0));
    expect(told(world, group)).toEqual([]);
    expect(group.link.commands[0].name).toBe('SUBSCRIBED');
  });

  test('goes on the lanes of the messages of a topic, so that nothing older comes behind something newer [BRK-106]', () => {
    const large = 'x'.repeat(LARGE_BYTES_MIN);
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Prng(seed);
      const world = new World();
      const publishers = [0, 1, 2, 3].map((priority) => world.connect().open(undefined, { priority }));
      let count = 0;
      const publish = (isRetained: boolean) => {
        const priority = random.below(4);
        const payload = `${String(++count).padStart(4)} ${random.chance(0.1) ? large : ''}`;
        // Each topic has its class: between classes there is no order.
        const topic = `${priority}/${random.below(4)}`;
        const message = Buffer.concat([
          publishPrefix(topic, isRetained ? PublishFlag.RETAIN : 0),
          Buffer.from(payload),
        ]);
        publishers[priority].send(message);
      };
      for (let i = 0; i < 30; i++) publish(true);
      const client = world.connect();
      client.peer.laneMark = 2;
      const main = client.open(2);
      main.send(encodeSubscribe(1, '#', SubscribeFlag.LANES, 0, 0));
      const streams = () => [{ link: main.link, channel: main.channel }, ...client.peer.lanes];
      const seen = new Map<string, number>();
      const read = new Map<object, number>();
      const carry = ({ link, channel }: FakeLane, messages?: number) => {
        if (link.carry(messages)) world.core.drained(channel);
        for (let at = read.get(link) ?? 0; at < link.delivered.length; at++) {
          read.set(link, at + 1);
          const bytes = Buffer.from(link.delivered[at]);
          if (bytes[0] === Command.MARK) {
            world.core.received(channel, encodePlain(Command.MARKED, bytes.readUInt32BE(4)));
          } else if (bytes[0] === Command.PUBLISH) {
            const topicEnd = topicEndOf(bytes);
            const number = Number(bytes.toString('latin1', topicEnd, topicEnd + 4));
            const topic = bytes.toString('latin1', 8, topicEnd);
            expect(number, `seed ${seed}, topic ${topic}`).toBeGreaterThan(seen.get(topic) ?? 0);
            seen.set(topic, number);
          }
        }
      };
      for (let step = 0; step < 60; step++) {
        if (random.chance(0.3)) publish(random.chance(0.5));
        const all = streams();
        carry(all[random.below(all.length)], random.below(3));
      }
      for (let i = 0; i < 100; i++) {
        world.pass(10);
        world.core.tick(world.nowMs);
        for (const stream of streams()) carry(stream);
      }
      expect([...seen.keys()].length, `seed ${seed}`).toBeGreaterThan(8);
      expect(world.core.metrics()).toMatchObject({ queuedMessages: 0, publishersStopped: 0 });
      // What is there last is what a subscriber has last.
      const late = told(world, subscribed(world, '#'));
      for (const line of late) {
        const [topic, rest] = line.split('!');
        expect(seen.get(topic), `seed ${seed}, topic ${topic}`).toBeGreaterThanOrEqual(
          Number(rest.slice(0, 4)),
        );
      }
      expect(world.faults).toEqual([]);
    }
  });
});
