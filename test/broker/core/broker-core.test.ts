import { describe, expect, test } from 'vitest';
import {
  Command,
  encodePlain,
  encodeSubscribe,
  Overflow,
  publishPrefix,
  ReasonCode,
} from '../../../src/pubsub/command.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient } from './fake-client.ts';

describe('publishing and subscribing', () => {
  test('hands every subscriber the very bytes the publisher sent [BRK-7]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const streams = ['a/+', 'a/b', '#'].map((filter) => {
      const stream = new FakeClient(core).open();
      stream.subscribe(1, filter);
      return stream;
    });
    const message = publisher.publish('a/b', 'payload');
    for (const { link } of streams) {
      link.carry();
      expect(link.lines).toEqual(['SUBSCRIBED 1', 'a/b=payload']);
      expect(link.delivered[1]).toBe(message);
    }
    expect(core.metrics()).toMatchObject({ messagesIn: 1, messagesOut: 3, bytesOut: 3 * message.length });
  });

  test('gives a message once to a stream with overlapping filters, and once to each stream of a client', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const one = client.open();
    const other = client.open();
    one.subscribe(1, 'a/+');
    one.subscribe(2, '#');
    other.subscribe(1, 'a/#');
    client.open().publish('a/b', '1');
    one.carry();
    other.carry();
    expect(one.link.lines).toEqual(['SUBSCRIBED 1', 'SUBSCRIBED 2', 'a/b=1']);
    expect(other.link.lines).toEqual(['SUBSCRIBED 1', 'a/b=1']);
  });

  test('answers a subscription before its first message, and again without an effect [BRK-14] [BRK-26]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const publisher = client.open();
    const stream = client.open();
    publisher.publish('a', 'too early');
    stream.subscribe(1, 'a');
    publisher.publish('a', '1');
    stream.subscribe(2, 'a');
    publisher.publish('a', '2');
    stream.carry();
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', 'a=1', 'SUBSCRIBED 2', 'a=2']);
    expect(core.metrics()).toMatchObject({ messagesUnrouted: 1, subscriptions: 1, filters: 1 });
  });

  test('answers an unsubscription behind what was queued, and sends nothing of the filter after it [BRK-15]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const publisher = client.open();
    const stream = client.open(1);
    stream.subscribe(1, 'a');
    stream.subscribe(2, 'b');
    for (const topic of ['a', 'b', 'a']) publisher.publish(topic, '1');
    stream.unsubscribe(3, 'a');
    for (const topic of ['a', 'b', 'a']) publisher.publish(topic, '2');
    stream.unsubscribe(4, 'a');
    for (let i = 0; i < 20; i++) stream.carry();
    expect(stream.link.lines).toEqual([
      ...['SUBSCRIBED 1', 'SUBSCRIBED 2', 'a=1', 'b=1', 'a=1', 'UNSUBSCRIBED 3', 'b=2'],
      `REFUSED 4 ${ReasonCode.NOT_SUBSCRIBED}`,
    ]);
  });

  test('discards what waits for a filter that goes, and lets its publisher go on [BRK-15]', () => {
    const core = new DrivenCore();
    const stream = new FakeClient(core).open(1);
    const publishers = ['a', 'b'].map(() => new FakeClient(core).open());
    stream.subscribe(1, 'a', Overflow.BLOCK, 1);
    stream.subscribe(2, 'b', Overflow.BLOCK, 1);
    publishers[0].publish('a', '1');
    publishers[0].publish('a', '2');
    publishers[1].publish('b', '1');
    expect(publishers.map(({ link }) => link.paused)).toEqual([true, true]);
    stream.unsubscribe(3, 'a');
    expect(publishers.map(({ link }) => link.paused)).toEqual([false, true]);
    for (let i = 0; i < 10; i++) stream.carry();
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', 'SUBSCRIBED 2', 'a=1', 'UNSUBSCRIBED 3', 'b=1']);
    expect(core.metrics()).toMatchObject({ discarded: 1, publishersStopped: 0 });
  });

  test('follows changes of filters when it has seen the topic before', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const publisher = client.open();
    const stream = client.open();
    const expected: string[] = [];
    for (const [round, filter] of ['a/b', 'a/+', 'a/#', '#', 'a/b'].entries()) {
      publisher.publish('a/b', `before ${round}`);
      stream.subscribe(1, filter);
      publisher.publish('a/b', `${round}`);
      stream.unsubscribe(2, filter);
      expected.push('SUBSCRIBED 1', `a/b=${round}`, 'UNSUBSCRIBED 2');
    }
    stream.carry();
    expect(stream.link.lines).toEqual(expected);
  });

  test('answers a flush behind the publishes before it, and a ping at once [BRK-25] [BRK-34]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    stream.subscribe(1, '#');
    const publisher = client.open();
    publisher.publish('a', '1');
    publisher.flush(9);
    publisher.ping(10, 'echo');
    stream.ping(2);
    publisher.carry();
    stream.carry();
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', 'a=1', 'PONG 2']);
    expect(publisher.link.lines).toEqual(['FLUSHED 9', 'PONG 10']);
    expect(String(publisher.link.commands[1].body)).toBe('echo');
  });
});

describe('memory', () => {
  test('keeps a small part of a large buffer as one copy for all queues, and a whole buffer as it is', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const streams = [1, 2].map(() => {
      const stream = new FakeClient(core).open(1);
      stream.subscribe(1, 'a');
      return stream;
    });
    const datagram = Buffer.alloc(16_384);
    const command = Buffer.concat([publishPrefix('a'), Buffer.from('small')]);
    command.copy(datagram, 100);
    publisher.send(datagram.subarray(100, 100 + command.length));
    const whole = new Uint8Array(9 + 1_000);
    whole.set(publishPrefix('a'));
    publisher.send(whole);
    for (const stream of streams) for (let i = 0; i < 3; i++) stream.carry();
    const [first, second] = streams.map(({ link }) => link.delivered);
    expect(Buffer.from(first[1])).toEqual(command);
    expect(first[1].buffer).not.toBe(datagram.buffer);
    expect(first[1]).toBe(second[1]);
    expect([first[2], second[2]]).toEqual([whole, whole]);
    expect(first[2]).toBe(whole);
  });
});

describe('refusals', () => {
  test.each([
    ['a/b+', ReasonCode.FILTER_INVALID],
    ['a/#/b', ReasonCode.FILTER_INVALID],
    ['$share/group/a/#/b', ReasonCode.FILTER_INVALID],
    ['$share', ReasonCode.FILTER_INVALID],
    ['$share/group', ReasonCode.FILTER_INVALID],
    ['$share/+/a', ReasonCode.FILTER_INVALID],
  ])('refuses the filter %s with a code [BRK-12]', (filter, code) => {
    const core = new DrivenCore();
    const stream = new FakeClient(core).open();
    stream.subscribe(7, filter);
    stream.carry();
    expect(stream.link.lines).toEqual([`REFUSED 7 ${code}`]);
    expect(core.metrics()).toMatchObject({ requestsRefused: 1, filters: 0 });
  });

  test('takes a topic field of more than 1,024 bytes for a fault of layout, whatever the command [BRK-6] [BRK-12]', () => {
    for (const command of [Command.PUBLISH, Command.SUBSCRIBE, Command.UNSUBSCRIBE]) {
      const outcomes = [1_024, 1_025].map((length) => {
        const client = new FakeClient(new DrivenCore());
        const header = Buffer.from([command, 0, length >> 8, length & 0xff, 0, 0, 0, Number(command !== 1)]);
        client.open().send(Buffer.concat([header, Buffer.alloc(length, 'x')]));
        return client.peer.closedWith;
      });
      expect(outcomes).toEqual([null, ReasonCode.COMMAND_ENCODING_ERROR]);
    }
  });

  test('refuses more filters than a connection may hold, over all its streams [BRK-16]', () => {
    const client = new FakeClient(new DrivenCore({ filtersPerClientMax: 2 }));
    const one = client.open();
    const other = client.open();
    one.subscribe(1, 'a');
    one.subscribe(2, 'a');
    other.subscribe(3, 'b');
    one.subscribe(4, 'c');
    other.unsubscribe(5, 'b');
    one.subscribe(6, 'c');
    one.carry();
    expect(one.link.lines).toEqual([
      ...['SUBSCRIBED 1', 'SUBSCRIBED 2', `REFUSED 4 ${ReasonCode.TOO_MANY_SUBSCRIPTIONS}`, 'SUBSCRIBED 6'],
    ]);
  });

  test('refuses another policy or other bounds on a stream that has its own [BRK-17]', () => {
    const stream = new FakeClient(new DrivenCore()).open();
    stream.subscribe(1, 'a', Overflow.DROP_OLDEST, 10, 1_000);
    stream.subscribe(2, 'b', Overflow.DROP_NEWEST, 10, 1_000);
    stream.subscribe(3, 'b', Overflow.DROP_OLDEST, 10, 999);
    stream.subscribe(4, 'b', Overflow.DROP_OLDEST, 10, 1_000);
    stream.carry();
    const refused = (id: number) => `REFUSED ${id} ${ReasonCode.POLICY_MISMATCH}`;
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', refused(2), refused(3), 'SUBSCRIBED 4']);
  });
});

describe('faults of a client', () => {
  const FLUSH = encodePlain(Command.FLUSH, 1);
  const bad = (bytes: number[], topic: string) => Buffer.concat([Buffer.from(bytes), Buffer.from(topic)]);

  test.each([
    ['bytes that are no command', Buffer.from('?'), ReasonCode.COMMAND_ENCODING_ERROR],
    ['two commands in one message', Buffer.concat([FLUSH, FLUSH]), ReasonCode.COMMAND_ENCODING_ERROR],
    ['an unknown command', Buffer.alloc(8), ReasonCode.UNKNOWN_COMMAND],
    ['an answer', encodePlain(Command.FLUSHED, 1), ReasonCode.UNKNOWN_COMMAND],
    ['a publish to a filter', bad([1, 0, 0, 3, 0, 0, 0, 0], 'a/#'), ReasonCode.TOPIC_INVALID],
    ['a publish to a topic of the broker', bad([1, 0, 0, 4, 0, 0, 0, 0], '$SYS'), ReasonCode.TOPIC_INVALID],
    ['a subscription on the publishing stream', encodeSubscribe(1, 'a', 0, 0, 0), ReasonCode.WRONG_STREAM],
  ])('closes the connection for %s, and cleans up [BRK-2] [BRK-3] [BRK-6] [BRK-12]', (_, bytes, code) => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    client.open().subscribe(1, '#');
    stream.publish('fine', '1');
    stream.send(bytes);
    expect(client.peer.closedWith).toBe(code);
    stream.publish('late', '2');
    client.disconnect();
    expect(core.metrics()).toMatchObject({
      clients: 0,
      streams: 0,
      filters: 0,
      messagesIn: 1,
      clientsFailed: 1,
    });
  });

  test('closes the connection for publishing on a subscribing stream [BRK-3]', () => {
    for (const command of ['publish', 'flush'] as const) {
      const client = new FakeClient(new DrivenCore());
      const stream = client.open();
      stream.subscribe(1, 'a');
      if (command === 'publish') stream.publish('a', '');
      else stream.flush(2);
      expect(client.peer.closedWith).toBe(ReasonCode.WRONG_STREAM);
    }
  });
});

describe('back-pressure', () => {
  /** A publisher and a subscriber whose transport takes 2 messages and whose queue takes 4. */
  function slowPair(core: DrivenCore, overflow: Overflow = Overflow.BLOCK) {
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(2);
    subscriber.subscribe(1, 'slow/#', overflow, 4);
    subscriber.carry();
    return { publisher, subscriber };
  }

  test('stops a publisher at a full queue and lets it go on when the queue has drained to half [BRK-18]', () => {
    const core = new DrivenCore();
    const { publisher, subscriber } = slowPair(core);
    for (let i = 0; i < 10; i++) publisher.publish('slow/x', `${i}`);
    expect(publisher.link.paused).toBe(true);
    expect(publisher.inbox.length).toBe(3);
    expect(core.metrics()).toMatchObject({ publishersStopped: 1, publisherStops: 1, queuedMessages: 4 });
    subscriber.carry(1);
    expect([publisher.link.paused, subscriber.channel.delivery.queue.messageCount]).toEqual([true, 3]);
    subscriber.carry(1);
    expect([publisher.link.paused, subscriber.channel.delivery.queue.messageCount]).toEqual([false, 3]);
    for (let i = 0; i < 10; i++) {
      publisher.pump();
      subscriber.carry();
    }
    expect(subscriber.link.lines.slice(1)).toEqual(Array.from({ length: 10 }, (_, i) => `slow/x=${i}`)); // [BRK-20]
  });

  test('counts bytes as well as messages [BRK-18]', () => {
    const core = new DrivenCore({ queueBytesMax: 1_000 });
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, '#');
    for (let i = 0; i < 10; i++) publisher.publish('a', 'x'.repeat(400));
    expect(core.metrics()).toMatchObject({ queuedMessages: 3, queuedBytes: 3 * (8 + 1 + 400 + 64) });
    for (let i = 0; i < 20; i++) {
      subscriber.carry();
      publisher.pump();
    }
    expect(subscriber.link.delivered.length).toBe(11);
  });

  test('leaves publishers of other topics, and other subscribers, alone [BRK-18]', () => {
    const core = new DrivenCore();
    const { publisher } = slowPair(core);
    const fast = new FakeClient(core).open();
    fast.subscribe(1, '#');
    const other = new FakeClient(core).open();
    for (let i = 0; i < 10; i++) publisher.publish('slow/x', `${i}`);
    for (let i = 0; i < 10; i++) other.publish('quick', `${i}`);
    expect([publisher.link.paused, other.link.paused]).toEqual([true, false]);
    fast.carry();
    expect(fast.link.lines.length).toBe(1 + 7 + 10);
  });

  test('keeps one message of each stopped stream waiting, and takes them in the order they came [BRK-18]', () => {
    const core = new DrivenCore();
    const { subscriber } = slowPair(core);
    const publishers = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
      name,
      stream: new FakeClient(core).open(),
    }));
    for (let i = 0; i < 10; i++)
      for (const { name, stream } of publishers) stream.publish('slow/x', `${name}${i}`);
    expect(publishers.every(({ stream }) => stream.link.paused)).toBe(true);
    expect(subscriber.channel.delivery.queue.messageCount).toBe(4);
    subscriber.carry(2);
    expect(publishers.map(({ stream }) => stream.link.paused)).toEqual([true, false, false, true, true]);
    for (let i = 0; i < 60; i++) {
      subscriber.carry(1);
      for (const { stream } of publishers) stream.pump();
    }
    const first = subscriber.link.lines.slice(1, 13).map((line) => line.slice('slow/x='.length));
    expect(first).toEqual(['a0', 'b0', 'c0', 'd0', 'e0', 'a1', 'b1', 'c1', 'd1', 'e1', 'a2', 'b2']);
    expect(subscriber.link.lines.length).toBe(51);
  });

  test('goes on only when the last of several full queues has drained', () => {
    const core = new DrivenCore();
    const { publisher, subscriber } = slowPair(core);
    const second = new FakeClient(core).open(1);
    second.subscribe(1, '#', Overflow.BLOCK, 4);
    for (let i = 0; i < 10; i++) publisher.publish('slow/x', `${i}`);
    for (let i = 0; i < 5; i++) subscriber.carry();
    expect(publisher.link.paused).toBe(true);
    for (let i = 0; i < 3; i++) second.carry();
    expect(publisher.link.paused).toBe(false);
  });

  test.each(['end', 'disconnect'] as const)(
    'lets publishers go on when the slow subscriber goes by %s [BRK-5]',
    (how) => {
      const core = new DrivenCore();
      const publisher = new FakeClient(core).open();
      const client = new FakeClient(core);
      const subscriber = client.open(1);
      subscriber.subscribe(1, '#', Overflow.BLOCK, 4);
      for (let i = 0; i < 10; i++) publisher.publish('a', `${i}`);
      expect(publisher.link.paused).toBe(true);
      if (how === 'end') subscriber.end();
      else client.disconnect();
      expect(subscriber.link.ended).toBe(how === 'end');
      publisher.pump();
      expect(publisher.inbox.length).toBe(0);
      expect(core.metrics()).toMatchObject({
        filters: 0,
        queuedMessages: 0,
        discarded: 5,
        publishersStopped: 0,
      });
    },
  );

  test('forgets a stopped publisher that goes, and its waiting message [BRK-18]', () => {
    const core = new DrivenCore();
    const publishing = new FakeClient(core);
    const publisher = publishing.open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, '#', Overflow.BLOCK, 1);
    for (let i = 0; i < 10; i++) publisher.publish('a', `${i}`);
    publishing.disconnect();
    for (let i = 0; i < 10; i++) subscriber.carry();
    expect(core.metrics()).toMatchObject({ clients: 1, publishersStopped: 0, messagesIn: 2, discarded: 1 });
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'a=0']);
  });

  test.each([
    ['oldest', Overflow.DROP_OLDEST, [0, 1, 'DROPPED 4 0', 6, 7, 8, 9]],
    ['newest', Overflow.DROP_NEWEST, [0, 1, 2, 3, 4, 5, 'DROPPED 4 0']],
  ] as const)(
    'drops the %s where a subscription asks for it, counts it, tells it in the place of the gap, and stops nobody [BRK-19] [BRK-92]',
    (name, overflow, kept) => {
      const core = new DrivenCore();
      const { publisher, subscriber } = slowPair(core, overflow);
      for (let i = 0; i < 10; i++) publisher.publish('slow/x', `${i}`);
      expect(publisher.link.paused).toBe(false);
      for (let i = 0; i < 10; i++) subscriber.carry();
      expect(subscriber.link.lines.slice(1)).toEqual(
        kept.map((line) => (typeof line === 'number' ? `slow/x=${line}` : line)),
      );
      const drops =
        name === 'oldest' ? { droppedOldest: 4, droppedNewest: 0 } : { droppedOldest: 0, droppedNewest: 4 };
      expect(core.metrics()).toMatchObject({ ...drops, publisherStops: 0, messagesOut: 6 });
    },
  );

  test('lets a client that is stopped by its own subscription read it, unsubscribe, and ping [BRK-4] [BRK-22]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const publisher = client.open();
    const subscriber = client.open(1);
    subscriber.subscribe(1, '#', Overflow.BLOCK, 2);
    for (let i = 0; i < 10; i++) publisher.publish('a', `${i}`);
    publisher.flush(5);
    expect(publisher.link.paused).toBe(true);
    expect(subscriber.link.paused).toBe(false);
    const control = client.open();
    control.ping(1);
    control.carry();
    expect(control.link.lines).toEqual(['PONG 1']);
    subscriber.unsubscribe(2, '#');
    expect(publisher.link.paused).toBe(false);
    for (let i = 0; i < 5; i++) subscriber.carry();
    publisher.pump();
    publisher.carry();
    expect(subscriber.link.lines.at(-1)).toBe('UNSUBSCRIBED 2');
    expect(publisher.link.lines).toEqual(['FLUSHED 5']);
  });

  test('stops reading a stream whose client does not take its answers [BRK-21]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    for (const stream of [client.open(1), client.open(1)]) {
      for (let i = 1; i <= 200; i++) stream.ping(i);
      expect(stream.link.paused).toBe(true);
      expect(stream.channel.delivery.queue.answerCount).toBe(64);
      for (let i = 0; i < 300; i++) {
        stream.carry();
        stream.pump();
      }
      expect(stream.link.lines).toEqual(Array.from({ length: 200 }, (_, i) => `PONG ${i + 1}`));
      expect(stream.link.paused).toBe(false);
    }
  });

  test('takes bounds from the subscriber, but not above its own [BRK-17]', () => {
    const core = new DrivenCore({ queueMessagesMax: 8 });
    const publisher = new FakeClient(core).open();
    for (const [wanted, held] of [
      [3, 3],
      [0, 8],
      [1_000_000, 8],
    ]) {
      const stream = new FakeClient(core).open(1);
      stream.subscribe(1, '#', Overflow.DROP_NEWEST, wanted);
      for (let i = 0; i < 20; i++) publisher.publish('a', `${i}`);
      expect(stream.channel.delivery.queue.messageCount).toBe(held);
      stream.end();
    }
  });
});

describe('the end of a broker', () => {
  test('reads no more publishers and sends what is queued [BRK-35]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const publisher = client.open();
    const subscriber = client.open(1);
    subscriber.subscribe(1, '#');
    for (let i = 0; i < 3; i++) publisher.publish('a', `${i}`);
    core.shutDown();
    publisher.publish('a', 'late');
    const newcomer = client.open();
    newcomer.publish('a', '3');
    newcomer.publish('a', 'late');
    expect(core.idle).toBe(false);
    for (let i = 0; i < 10; i++) subscriber.carry();
    expect(core.idle).toBe(true);
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'a=0', 'a=1', 'a=2', 'a=3']);
  });
});
