import { describe, expect, test } from 'vitest';
import { encodeSubscribe, Overflow, ReasonCode, SubscribeFlag } from '../../../../src/pubsub/command.ts';
import { DeliveryClass, decodeProperties } from '../../../../src/pubsub/properties.ts';
import {
  encodeSubscribeOptions,
  type SubscribeOptionValues,
} from '../../../../src/pubsub/subscribe-options.ts';
import { DrivenCore } from '../driven-core.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';
import { publish, publish1, receipts } from '../publishing/publishing.ts';

function subscribe(stream: FakeStream, filter: string, options: SubscribeOptionValues, flags = 0): void {
  stream.send(encodeSubscribe(1, filter, flags, 0, 0, encodeSubscribeOptions(options)));
}

/** What has come since the last time. */
function news(stream: FakeStream): string[] {
  const before = stream.link.delivered.length;
  for (let i = 0; i < 20; i++) stream.carry();
  return stream.link.lines.slice(before);
}

describe('a subscription with a maximum rate', () => {
  test('gets the first message of a topic at once, and then the newest when its time has come [BRK-89]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const stream = new FakeClient(core).open();
    subscribe(stream, '#', { rateMax: 10 });
    for (let i = 0; i < 5; i++) publisher.publish('a', `${i}`);
    publisher.publish('b', '0');
    expect(news(stream)).toEqual(['SUBSCRIBED 1', 'a=0', 'b=0']);
    core.goOn(99);
    expect(news(stream)).toEqual([]);
    core.goOn(1);
    expect(news(stream)).toEqual(['a=4']);
    publisher.publish('b', '1');
    expect(news(stream)).toEqual(['b=1']);
    core.goOn(1_000);
    publisher.publish('a', '5');
    expect(news(stream)).toEqual(['a=5']);
    expect(core.metrics()).toMatchObject({ superseded: 3, queuedBytes: 321 });
  });

  test('gets no more than that however many come, and the last in the end [BRK-89]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const stream = new FakeClient(core).open();
    subscribe(stream, '#', { rateMax: 4 });
    news(stream);
    for (let i = 0; i < 1_000; i++) {
      publisher.publish('a', `${i}`);
      core.goOn(1);
    }
    core.goOn(250);
    expect(news(stream)).toEqual(['a=0', 'a=249', 'a=499', 'a=749', 'a=999']);
  });

  test('gets nothing whose time to live is over while it is held, and is told [BRK-89] [BRK-86]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const stream = new FakeClient(core).open();
    subscribe(stream, '#', { rateMax: 1 });
    publisher.publish('a', '0');
    publisher.send(publish('a', '1', 0, { ttlMs: 300 }));
    core.goOn(299);
    expect(news(stream)).toEqual(['SUBSCRIBED 1', 'a=0']);
    core.goOn(1);
    expect(news(stream)).toEqual(['DROPPED 1 1']);
    publisher.send(publish('a', '2', 0, { ttlMs: 1_000 }));
    core.goOn(700);
    expect(news(stream)).toEqual(['a=2']);
    expect(decodeProperties(stream.link.commands.at(-1)?.body as Buffer, 0)).toEqual({ ttlMs: 300 });
    expect(core.metrics()).toMatchObject({ droppedExpired: 1, queuedBytes: 321 });
  });

  test('holds a message for another interval while its queue is full, and stops nobody [BRK-89]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const stream = new FakeClient(core).open(1);
    stream.send(encodeSubscribe(1, '#', 0, 1, 0, encodeSubscribeOptions({ rateMax: 10 })));
    publisher.publish('a', '0');
    publisher.publish('a', '1');
    core.goOn(100);
    publisher.publish('a', '2');
    expect(publisher.link.paused).toBe(false);
    expect(news(stream)).toEqual(['SUBSCRIBED 1', 'a=0']);
    core.goOn(100);
    expect(news(stream)).toEqual(['a=2']);
  });

  test('leaves nothing behind when it goes, whatever it holds, or one of its filters [BRK-89] [BRK-15]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const stream = new FakeClient(core).open();
    subscribe(stream, 'a', { rateMax: 1 });
    subscribe(stream, 'b', { rateMax: 1 });
    for (const topic of ['a', 'b', 'a', 'b']) publisher.publish(topic, 'x');
    stream.unsubscribe(3, 'a');
    core.goOn(1_000);
    expect(news(stream).slice(-2)).toEqual(['UNSUBSCRIBED 3', 'b=x']);
    publisher.publish('b', 'x');
    expect(core.metrics().queuedBytes).toBeGreaterThan(0);
    stream.end();
    core.goOn(10_000);
    expect(core.metrics()).toMatchObject({ queuedBytes: 0, internalErrors: 0 });
    expect(core.nextTimeoutMs).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('the class of a message', () => {
  test('is lowered to unreliable by itself or by the subscription: it is sent best effort, for no longer than it lives [BRK-90] [BRK-32]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const [plain, unreliable] = [{}, { deliveryClass: DeliveryClass.UNRELIABLE }].map((options) => {
      const stream = new FakeClient(core).open();
      subscribe(stream, '#', options);
      return stream;
    });
    publisher.publish('a', '1');
    publisher.send(publish('a', '2', 0, { deliveryClass: DeliveryClass.UNRELIABLE, ttlMs: 70 }));
    publisher.send(publish('a', '3', 0, { ttlMs: 80 }));
    expect(plain.link.asked).toEqual([
      { lifetimeMs: 70, isBestEffort: true },
      { lifetimeMs: 80, isBestEffort: false },
    ]);
    expect(unreliable.link.asked).toEqual([
      { lifetimeMs: 0, isBestEffort: true },
      { lifetimeMs: 70, isBestEffort: true },
      { lifetimeMs: 80, isBestEffort: true },
    ]);
    expect(news(unreliable).slice(1)).toEqual(['a=1', 'a=2', 'a=3']);
  });

  test('is lowered to latest by itself or by the subscription: a newer one of its topic takes its place [BRK-88] [BRK-32]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const [plain, latest] = [{}, { deliveryClass: DeliveryClass.LATEST }].map((options) => {
      const stream = new FakeClient(core).open(1);
      subscribe(stream, '#', options);
      return stream;
    });
    const itself = { deliveryClass: DeliveryClass.LATEST };
    publisher.publish('a', '1');
    publisher.send(publish('a', '2', 0, itself));
    publisher.publish('b', '3');
    publisher.send(publish('a', '4', 0, itself));
    publisher.publish('b', '5');
    expect(news(plain)).toEqual(['SUBSCRIBED 1', 'a=1', 'a=4', 'b=3', 'b=5']);
    expect(news(latest)).toEqual(['SUBSCRIBED 1', 'a=4', 'b=5']);
  });
});

describe('a message that is in no log', () => {
  test('comes to a subscription of QoS 1 at once, with QoS 0 [BRK-61] [BRK-87]', () => {
    const core = new DrivenCore();
    const publisher = new FakeClient(core).open();
    const stream = new FakeClient(core).open();
    stream.send(encodeSubscribe(1, '#', SubscribeFlag.QOS1, 0, 0));
    publisher.publish('a', 'live');
    publish1(publisher, 1, 'a', 'stored', { replyTopic: 'r' });
    publish1(publisher, 2, 'a', 'lowered', { deliveryClass: DeliveryClass.RELIABLE });
    expect(receipts(publisher)).toEqual(['1* 3 @1', '2* 3']);
    expect(news(stream).filter((line) => line.startsWith('a='))).toEqual(['a=live', 'a=stored', 'a=lowered']);
    const ids = stream.link.commands.filter(({ name }) => name === 'PUBLISH').map(({ id }) => id);
    expect(ids).toEqual([0, 1, 0]);
  });

  test('cannot be overheard in an inbox by way of a shared group [BRK-12]', () => {
    const stream = new FakeClient(new DrivenCore()).open();
    stream.send(encodeSubscribe(1, '$share/g/$inbox/me/#', SubscribeFlag.QOS1 | Overflow.BLOCK, 0, 0));
    expect(news(stream)).toEqual([`REFUSED 1 ${ReasonCode.NOT_AUTHORIZED}`]);
  });
});
