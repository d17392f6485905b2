import { describe, expect, test } from 'vitest';
import {
  encodeAlias,
  encodeSubscribe,
  Overflow,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
} from '../../../../src/pubsub/command.ts';
import { DeliveryClass, decodeProperties } from '../../../../src/pubsub/properties.ts';
import { inboxOf } from '../../../../src/pubsub/topic.ts';
import { DrivenCore } from '../driven-core.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';
import { publish, publish1, receipts } from './publishing.ts';
import { SlowStore } from './slow-store.ts';

describe('a message of QoS 1', () => {
  test('is acknowledged when it is stored, and what is stored together is told together [BRK-27] [BRK-80] [BRK-81]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    for (const id of [1, 2, 3]) publish1(publisher, id, 'a', 'x');
    expect(receipts(publisher)).toEqual([]);
    store.sync('default', 2);
    core.look();
    expect(receipts(publisher)).toEqual(['2* 0 @2']);
    store.sync('default');
    core.look();
    expect(receipts(publisher)).toEqual(['2* 0 @2', '3* 0 @3']);
  });

  test('of several publishers or logs is told by itself where ids and offsets do not run in step, in the order of ids [BRK-81]', () => {
    const store = new SlowStore([{ name: 'b', filters: ['b/#'] }]);
    const core = new DrivenCore({}, undefined, store);
    const [one, other] = [new FakeClient(core).open(), new FakeClient(core).open()];
    publish1(one, 1, 'a', 'x');
    publish1(other, 1, 'a', 'x');
    publish1(one, 2, 'a', 'x');
    publish1(one, 3, 'b/1', 'x');
    publish1(one, 4, 'a', 'x');
    store.sync('default');
    core.look();
    expect(receipts(one)).toEqual(['1* 0 @1', '2* 0 @3']);
    expect(receipts(other)).toEqual(['1* 0 @2']);
    store.sync('b');
    core.look();
    expect(receipts(one).slice(2)).toEqual(['3* 0 @1', '4* 0 @4']);
  });

  test('that a log in memory has is told so, and so is one that is not to be stored [BRK-80] [BRK-87]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    publish1(publisher, 7, 'a', 'stored');
    publish1(publisher, 8, 'a', 'handed on', { deliveryClass: DeliveryClass.RELIABLE });
    publish1(publisher, 9, 'nobody', 'is there', { deliveryClass: DeliveryClass.RELIABLE });
    expect(receipts(publisher)).toEqual(['7* 3 @1', '8* 3', '9* 2']);
    expect(core.metrics()).toMatchObject({ messagesStored: 1 });
  });

  test('reaches subscriptions of QoS 0 at once, as one of QoS 0 [BRK-85]', () => {
    const core = new DrivenCore({}, undefined, new SlowStore());
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    publish1(new FakeClient(core).open(), 7, 'a', 'x');
    subscriber.carry();
    expect(subscriber.link.delivered[1]).toEqual(publish('a', 'x', 0));
  });

  test('that comes again is stored once, and told when the first copy is safe [BRK-53] [BRK-80]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    publish1(publisher, 1, 'a', 'x');
    publish1(publisher, 1, 'a', 'x');
    expect(receipts(publisher)).toEqual([]);
    store.sync('default');
    core.look();
    expect(receipts(publisher)).toEqual(['1* 0 @1', '1* 1']);
    expect(store.log('default').head).toBe(2);
  });

  test('that its log does not take is refused by its id, reaches nobody, and is refused again when it comes again [BRK-83]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    publish1(publisher, 1, 'a', 'before');
    store.fill('default');
    publish1(publisher, 2, 'a', 'x');
    publish1(publisher, 2, 'a', 'x');
    expect(receipts(publisher)).toEqual([
      `2 refused ${ReasonCode.STORE_FULL}`,
      `2 refused ${ReasonCode.STORE_FULL}`,
    ]);
    subscriber.carry();
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'a=before']);
    expect(publisher.link.resetWith).toBeNull();
  });

  test('whose log fails before it is stored is refused, and what was stored is not [BRK-83]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    for (const id of [1, 2, 3]) publish1(publisher, id, 'a', 'x');
    store.sync('default', 2, false);
    store.fail('default');
    core.look();
    publish1(publisher, 4, 'a', 'x');
    publish1(publisher, 3, 'a', 'x');
    expect(receipts(publisher)).toEqual([
      `3 refused ${ReasonCode.STORE_FAILED}`,
      '2* 0 @2',
      `4 refused ${ReasonCode.STORE_FAILED}`,
      `3 refused ${ReasonCode.STORE_FAILED}`,
    ]);
  });

  test('that is not stored is acknowledged when every queue has taken it [BRK-80]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 'a', Overflow.BLOCK, 1);
    const reliable = { deliveryClass: DeliveryClass.RELIABLE };
    publish1(publisher, 1, 'a', 'queued', reliable);
    publish1(publisher, 2, 'a', 'waits', reliable);
    expect(receipts(publisher)).toEqual(['1* 3']);
    for (let i = 0; i < 3; i++) subscriber.carry();
    expect(receipts(publisher)).toEqual(['1* 3', '2* 3']);
  });

  test('that came with others is told with them, as far as that was safe when it came [BRK-80] [BRK-81]', () => {
    const core = new DrivenCore();
    core.owed.isLater = true;
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 'b', Overflow.BLOCK, 1);
    const reliable = { deliveryClass: DeliveryClass.RELIABLE };
    for (const id of [1, 2, 3]) publish1(publisher, id, 'a', 'stored');
    publish1(publisher, 4, 'b', 'queued', reliable);
    publish1(publisher, 5, 'b', 'waits', reliable);
    expect(receipts(publisher)).toEqual([]);
    core.owed.settle();
    core.look();
    expect(receipts(publisher)).toEqual(['3* 3 @3', '4* 3']);
    expect(core.owed.isEmpty).toBe(true);
  });

  test('that is not stored, and that a queue drops by its policy, is refused [BRK-80]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 'a', Overflow.DROP_NEWEST, 1);
    const reliable = { deliveryClass: DeliveryClass.RELIABLE };
    publish1(publisher, 1, 'a', 'queued', reliable);
    publish1(publisher, 2, 'a', 'dropped', reliable);
    publish1(publisher, 3, 'a', 'stored');
    expect(receipts(publisher)).toEqual(['1* 3', `2 refused ${ReasonCode.QUOTA}`, '3* 3 @1']);
    for (let i = 0; i < 3; i++) subscriber.carry();
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'a=queued', 'DROPPED 2 0']);
  });

  test('makes a stream wait that has too many unanswered, until half of them are [BRK-84]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    for (let id = 1; id <= 5_000; id++) publish1(publisher, id, 'a', 'x');
    expect([publisher.inbox.length, publisher.link.paused]).toEqual([5_000 - 4_096, true]);
    store.sync('default', 2_047);
    core.look();
    expect(publisher.link.paused).toBe(true);
    store.sync('default', 2_048);
    core.look();
    expect(publisher.link.paused).toBe(false);
    publisher.pump();
    store.sync('default');
    core.look();
    expect(receipts(publisher).at(-1)).toBe('5000* 0 @5000');
  });

  test('leaves nothing behind when its stream goes before it is stored', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    publish1(publisher, 1, 'a', 'x');
    publisher.end();
    store.sync('default');
    core.look();
    expect(receipts(publisher)).toEqual([]);
    expect(core.metrics()).toMatchObject({ internalErrors: 0, streams: 0 });
  });
});

describe('which log a message is stored in', () => {
  test('is the first that has a filter for its topic, and else the default one, for which QoS 0 is not enough [BRK-82]', () => {
    const store = new SlowStore([
      { name: 'orders', filters: ['shop/+/orders'] },
      { name: 'shop', filters: ['shop/#', 'till'] },
    ]);
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    const topics = ['shop/1/orders', 'shop/1/visits', 'till', 'shop', 'other', 'shop/1/orders'];
    topics.forEach((topic, i) => {
      publish1(publisher, i + 1, topic, 'x');
      publisher.publish(topic, 'y');
    });
    const stored = store.logs.map(({ name, head }) => `${name} ${head - 1}`);
    expect(stored).toEqual(['default 1', 'orders 4', 'shop 6']);
    expect(store.log('orders').records.map(({ id, session }) => [id, session])).toEqual([
      [1, 0],
      [0, 0],
      [6, 0],
      [0, 0],
    ]);
  });
});

describe('properties', () => {
  test('are passed on as they came, unknown ones among them [BRK-31] [BRK-7]', () => {
    const core = new DrivenCore();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    const block = Buffer.concat([
      Buffer.of(0, 12),
      Buffer.of(200, 0, 2, 1, 2),
      Buffer.of(5, 0, 4),
      Buffer.from('text'),
    ]);
    const message = Buffer.concat([publishPrefix('a', PublishFlag.PROPERTIES), block, Buffer.from('x')]);
    new FakeClient(core).open().send(message);
    subscriber.carry();
    expect(subscriber.link.delivered[1]).toBe(message);
  });

  test('that are malformed close the connection [BRK-31]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    client
      .open()
      .send(Buffer.concat([publishPrefix('a', PublishFlag.PROPERTIES), Buffer.of(0, 4, 1, 0, 4, 0)]));
    expect(client.peer.closedWith).toBe(ReasonCode.COMMAND_ENCODING_ERROR);
  });
});

describe('the time to live of a message', () => {
  const ttl = (ttlMs: number) => ({ ttlMs, contentType: 'text/plain' });
  const timesLeft = (stream: FakeStream) =>
    stream.link.commands
      .filter(({ name }) => name === 'PUBLISH')
      .map(({ body }) => decodeProperties(body, 0).ttlMs);

  test('is less in a delivery by the time it has waited, and else the very bytes are delivered [BRK-86] [BRK-7]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(2);
    subscriber.subscribe(1, 'a');
    const message = publish('a', 'x', 0, ttl(1_000));
    publisher.send(message);
    publisher.send(message);
    core.goOn(300.5);
    subscriber.carry();
    subscriber.carry();
    expect(subscriber.link.delivered[1]).toBe(message);
    expect(timesLeft(subscriber)).toEqual([1_000, 700]);
  });

  test.each([
    ['block', Overflow.BLOCK],
    ['drop oldest', Overflow.DROP_OLDEST],
    ['latest', Overflow.LATEST],
  ] as const)('ends where it waits in a queue that is not read: %s [BRK-86]', (_, overflow) => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, '#', overflow);
    ['a', 'b', 'c', 'd', 'e'].forEach((topic, i) => {
      publisher.send(publish(topic, 'x', 0, i % 2 === 0 ? undefined : ttl(100 * i)));
    });
    core.goOn(99);
    expect(core.metrics()).toMatchObject({ queuedMessages: 5, droppedExpired: 0 });
    core.goOn(1);
    expect(core.metrics()).toMatchObject({ queuedMessages: 4, droppedExpired: 1 });
    core.goOn(1_000);
    expect(core.metrics()).toMatchObject({ queuedMessages: 3, droppedExpired: 2 });
    for (let i = 0; i < 9; i++) subscriber.carry();
    expect(subscriber.link.lines).toEqual([
      'SUBSCRIBED 1',
      'a=x',
      'DROPPED 1 1',
      'c=x',
      'DROPPED 1 1',
      'e=x',
    ]);
    expect(core.metrics()).toMatchObject({ queuedBytes: 0 });
  });

  test('ends also while the message waits to enter a queue, and its publisher goes on [BRK-86] [BRK-18]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 'a', Overflow.BLOCK, 1);
    publisher.publish('a', '1');
    publisher.send(publish('a', '2', 0, ttl(50)));
    expect(publisher.link.paused).toBe(true);
    core.goOn(50);
    expect(publisher.link.paused).toBe(false);
    for (let i = 0; i < 5; i++) subscriber.carry();
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'a=1', 'DROPPED 1 1']);
  });

  test('tells a store when it ends, by the clock on the wall', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    core.advance(10, 1_000_000);
    const publisher = new FakeClient(core).open();
    publish1(publisher, 1, 'a', 'x', ttl(500));
    publish1(publisher, 2, 'a', 'x');
    expect(
      store.log('default').records.map(({ expiresAt, publishedAt }) => [expiresAt, publishedAt]),
    ).toEqual([
      [1_000_500, 1_000_000],
      [0, 1_000_000],
    ]);
  });

  test('of a message that nobody has to wait for does not matter [BRK-86]', () => {
    const core = new DrivenCore();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    new FakeClient(core).open().send(publish('a', 'x', 0, { ttlMs: 0 }));
    subscriber.carry();
    expect(subscriber.link.lines.length).toBe(2);
  });
});

describe('the queue policy latest', () => {
  test('keeps the newest message of each topic, in the place of the oldest, and else drops the oldest [BRK-88] [BRK-92]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, '#', Overflow.LATEST, 3);
    for (const [topic, payload] of ['a1', 'b1', 'a2', 'c1', 'b2', 'a3', 'd1', 'b3'])
      publisher.publish(topic, payload);
    expect(publisher.link.paused).toBe(false);
    expect(core.metrics()).toMatchObject({ superseded: 4, droppedOldest: 1, queuedMessages: 3 });
    for (let i = 0; i < 9; i++) subscriber.carry();
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'DROPPED 1 0', 'b=3', 'c=1', 'd=1']);
    expect(core.metrics()).toMatchObject({ queuedBytes: 0 });
  });

  test('takes a larger message for its topic only within its bounds [BRK-88]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, '#', Overflow.LATEST, 10, 300);
    for (const topic of ['a', 'b', 'c']) publisher.publish(topic, 'x');
    publisher.publish('b', 'y'.repeat(100));
    const { queue } = subscriber.channel.delivery;
    expect(queue.bytes).toBeLessThanOrEqual(300);
    for (let i = 0; i < 9; i++) subscriber.carry();
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'DROPPED 1 0', 'c=x', `b=${'y'.repeat(100)}`]);
  });
});

describe('NO_LOCAL', () => {
  test('leaves out what the connection itself publishes [BRK-94]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    stream.send(encodeSubscribe(1, '#', SubscribeFlag.NO_LOCAL, 0, 0));
    client.open().publish('a', 'mine');
    new FakeClient(core).open().publish('a', 'yours');
    stream.carry();
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', 'a=yours']);
  });
});

describe('an inbox', () => {
  test('takes messages of everyone, and has no subscriber but its session [BRK-12] [BRK-82]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    stream.subscribe(1, '$inbox/me/#');
    stream.subscribe(2, '$inbox/#');
    stream.subscribe(3, '#');
    const publisher = client.open();
    publish1(publisher, 1, '$inbox/me/1', 'x');
    publisher.publish('$inbox/me/2', 'y');
    stream.carry();
    const refused = (id: number) => `REFUSED ${id} ${ReasonCode.NOT_AUTHORIZED}`;
    expect(stream.link.lines).toEqual([refused(1), refused(2), 'SUBSCRIBED 3']);
    expect(receipts(publisher)).toEqual(['1* 2']);
  });

  test('of a session whose name has characters of topics is still one level [BRK-12]', () => {
    expect(inboxOf('a/+#%')).toBe('$inbox/a%2F%2B%23%25/');
  });
});

describe('an alias', () => {
  const aliased = (alias: number, payload: string) => {
    const command = Buffer.concat([publishPrefix('', PublishFlag.ALIAS), Buffer.from(payload)]);
    command.writeUInt16BE(alias, 2);
    return command;
  };

  test('stands for a topic on its stream, which the broker puts back once for all subscribers [BRK-30]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const publisher = client.open();
    const subscribers = [1, 2].map(() => {
      const stream = new FakeClient(core).open();
      stream.subscribe(1, '#');
      return stream;
    });
    publisher.send(encodeAlias(5, 'a/b'));
    publisher.send(aliased(5, 'x'));
    publisher.send(encodeAlias(5, 'c'));
    publisher.send(aliased(5, 'y'));
    for (const stream of subscribers) stream.carry();
    expect(subscribers[0].link.lines).toEqual(['SUBSCRIBED 1', 'a/b=x', 'c=y']);
    expect(subscribers[1].link.delivered[1]).toBe(subscribers[0].link.delivered[1]);
    expect(core.metrics().queuedBytes).toBeGreaterThan(0);
    publisher.end();
    expect(core.metrics().queuedBytes).toBe(0);
  });

  test('that was not defined on its stream, or stands for no topic, closes the connection; so does one too many [BRK-30]', () => {
    const core = new DrivenCore();
    const closing = (command: Buffer) => {
      const client = new FakeClient(core);
      client.open().send(encodeAlias(5, 'a'));
      client.open().send(command);
      return client.peer.closedWith;
    };
    expect(closing(aliased(5, 'x'))).toBe(ReasonCode.TOPIC_INVALID);
    expect(closing(encodeAlias(1, 'a/+'))).toBe(ReasonCode.TOPIC_INVALID);
    expect(closing(encodeAlias(256, 'a'))).toBeNull();
    expect(closing(encodeAlias(257, 'a'))).toBe(ReasonCode.LIMITED);
  });
});

describe('a request', () => {
  test('that nobody is subscribed to is answered at once: by status 503 at QoS 0, by its result at QoS 1 [BRK-93]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const replies = client.open();
    replies.subscribe(1, 'replies/me');
    const publisher = client.open();
    const asks = { replyTopic: 'replies/me', correlation: Buffer.from('17') };
    publisher.send(publish('service', '?', 0, asks));
    publish1(publisher, 1, 'service', '?', asks);
    replies.carry();
    const [, reply, ...others] = replies.link.commands;
    expect(reply.topic.toString()).toBe('replies/me');
    expect(decodeProperties(reply.body, 0)).toEqual({ status: 503, correlation: Buffer.from('17') });
    expect(others).toEqual([]);
    expect(receipts(publisher)).toEqual(['1* 2 @1']);
    expect(core.metrics()).toMatchObject({ requestsUnanswered: 1 });
  });

  test('that somebody is subscribed to is not [BRK-93]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    stream.subscribe(1, '#');
    client.open().send(publish('service', '?', 0, { replyTopic: 'replies/me' }));
    stream.carry();
    expect(stream.link.lines.length).toBe(2);
  });
});
