import { describe, expect, test } from 'vitest';
import {
  Command,
  encodeSubscribe,
  Overflow,
  ReasonCode,
  SubscribeFlag,
} from '../../../src/pubsub/command.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient } from './fake-client.ts';

/** A subscriber whose transport takes one message and whose queue takes four, and a publisher that has filled both. */
function stopped(core: DrivenCore, overflow: Overflow = Overflow.BLOCK) {
  const client = new FakeClient(core);
  const subscriber = client.open(1);
  subscriber.subscribe(1, 't/#', overflow, 4);
  subscriber.carry();
  const publisher = new FakeClient(core).open();
  for (let i = 0; i < 10; i++) publisher.publish('t/x', `${i}`);
  return { client, subscriber, publisher };
}

/** Lets so many ms pass from `start`, a tenth of a second at a time. */
function pass(core: DrivenCore, start: number, ms: number): number {
  for (let now = start; now <= start + ms; now += 100) core.tick(now);
  return start + ms;
}

describe('a subscription that nobody reads', () => {
  test('is reset with STALLED when its full queue has stood still for stallMs, and its publisher goes on [BRK-23]', () => {
    const core = new DrivenCore();
    const { subscriber, publisher, client } = stopped(core);
    expect(publisher.link.paused).toBe(true);
    let now = pass(core, 5_000, 29_900);
    expect([subscriber.link.resetWith, publisher.link.paused]).toEqual([null, true]);
    now = pass(core, now, 300);
    expect([subscriber.link.resetWith, publisher.link.paused]).toEqual([ReasonCode.STALLED, false]);
    expect(client.peer.closedWith).toBeNull();
    publisher.pump();
    expect(publisher.inbox).toEqual([]);
    expect(core.metrics()).toMatchObject({ subscriptionsStalled: 1, subscriptions: 0, publishersStopped: 0 });
  });

  test('is kept as long as one message leaves now and then, however slowly [BRK-23]', () => {
    const core = new DrivenCore({ stallMs: 1_000 });
    const { subscriber, publisher } = stopped(core);
    for (let i = 0, now = 0; i < 9; i++) {
      now = pass(core, now, 900);
      subscriber.carry(1);
      publisher.pump();
    }
    expect(subscriber.link.resetWith).toBeNull();
    subscriber.carry();
    expect(subscriber.link.lines.slice(1)).toEqual(Array.from({ length: 10 }, (_, i) => `t/x=${i}`));
  });

  test('is kept while bytes leave its transport, though the transport takes no new message [BRK-23]', () => {
    const core = new DrivenCore({ stallMs: 1_000 });
    const { subscriber } = stopped(core);
    let queuedBytes = 1_000;
    Object.defineProperty(subscriber.link, 'queuedBytes', { get: () => queuedBytes });
    for (let i = 0; i < 50; i++, queuedBytes--) core.tick(i * 500);
    expect(subscriber.link.resetWith).toBeNull();
    pass(core, 25_000, 1_600);
    expect(subscriber.link.resetWith).toBe(ReasonCode.STALLED);
  });

  test.each([
    ['a queue that is not full', Overflow.BLOCK, 4],
    ['a policy that drops', Overflow.DROP_OLDEST, 10],
    ['a policy that drops', Overflow.DROP_NEWEST, 10],
  ] as const)('stops nobody, and is kept, with %s [BRK-23]', (_, overflow, count) => {
    const core = new DrivenCore({ stallMs: 1_000 });
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 't', overflow, 4);
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < count - 1; i++) publisher.publish('t', `${i}`);
    pass(core, 0, 100_000);
    expect(subscriber.link.resetWith).toBeNull();
  });

  test.each([
    ['its client', { queueBytesPerClientMax: 900 }],
    ['all clients', { queueBytesTotalMax: 1_900 }],
  ])(
    'is not taken for one because other queues hold all that %s may [BRK-23] [BRK-38] [BRK-41]',
    (_, limits) => {
      const core = new DrivenCore({ ...limits, stallMs: 1_000 });
      const client = new FakeClient(core);
      const greedy = client.open(1);
      greedy.subscribe(1, 'greedy', Overflow.DROP_NEWEST);
      const quiet = client.open();
      quiet.subscribe(1, 'quiet');
      const slow = client.open(1);
      slow.subscribe(1, 'slow');
      const publisher = new FakeClient(core).open();
      publisher.publish('greedy', 'x'.repeat(800));
      publisher.publish('slow', 'one that waits for its reader');
      const pinging = client.open();
      pinging.ping(1);
      expect(core.metrics()).toMatchObject({ queuedMessages: 2, publishersStopped: 0 });
      pass(core, 0, 10_000);
      expect([quiet, slow, greedy, pinging].map(({ link }) => link.resetWith)).toEqual([
        null,
        null,
        null,
        null,
      ]);
      publisher.publish('slow', 'and one that stops its publisher');
      pass(core, 10_000, 2_000);
      expect([quiet.link.resetWith, slow.link.resetWith]).toEqual([null, ReasonCode.STALLED]);
      publisher.publish('quiet', 'still here');
      quiet.carry();
      expect(quiet.link.lines).toEqual(['SUBSCRIBED 1', 'quiet=still here']);
    },
  );

  test('is kept for ever where stallMs is 0 [BRK-23]', () => {
    const core = new DrivenCore({ stallMs: 0 });
    const { subscriber } = stopped(core);
    pass(core, 0, 1_000_000);
    expect(subscriber.link.resetWith).toBeNull();
  });
});

describe('a message that is larger than a subscriber takes', () => {
  test('is dropped for this subscriber alone, which is told in its place, and stops nobody [BRK-24]', () => {
    const core = new DrivenCore();
    const small = new FakeClient(core).open(Number.POSITIVE_INFINITY, { messageBytesMax: 4_096 });
    const other = new FakeClient(core).open();
    for (const each of [small, other]) each.subscribe(1, 't/#');
    const publisher = new FakeClient(core).open();
    const sizes = [10, 8_000, 8_000, 10, 4_085, 4_086, 10];
    for (const size of sizes) publisher.publish('t/x', 'x'.repeat(size));
    small.carry();
    other.carry();
    expect(other.link.lines.length).toBe(1 + sizes.length);
    const shown = small.link.lines.map((line) => (line.startsWith('t/x=') ? line.length - 4 : line));
    expect(shown).toEqual(['SUBSCRIBED 1', 10, 'DROPPED 1 4', 'DROPPED 1 4', 10, 4_085, 'DROPPED 1 4', 10]);
    expect(publisher.link.paused).toBe(false);
    expect(core.metrics()).toMatchObject({ droppedTooLarge: 3, publisherStops: 0, queuedMessages: 0 });
  });

  test('counts what is dropped until the subscriber can be told with it, and keeps nothing for it [BRK-24]', () => {
    const core = new DrivenCore();
    const stream = new FakeClient(core).open(1, { messageBytesMax: 100 });
    stream.subscribe(1, 't');
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 5_000; i++) publisher.publish('t', 'x'.repeat(100));
    const { queue } = stream.channel.delivery;
    expect([queue.answerCount, queue.nextPlace]).toEqual([0, 1]);
    for (let i = 0; i < 3; i++) stream.carry();
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', 'DROPPED 5000 4']);
  });

  test('is not a refusal, whose reason is cut to what the client takes, nor the first command of a lane', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open(Number.POSITIVE_INFINITY, { messageBytesMax: 11 });
    stream.send(encodeSubscribe(1, '#/x', 0, 0, 0));
    stream.send(encodeSubscribe(2, 't', SubscribeFlag.LANES, 0, 0));
    new FakeClient(core).open(Number.POSITIVE_INFINITY, { priority: 1 }).publish('t', 'x');
    stream.carry();
    expect(stream.link.delivered.map((bytes) => [bytes[0], bytes.length])).toEqual([
      [Command.REFUSED, 11],
      [Command.SUBSCRIBED, 8],
      [Command.PUBLISH, 10],
    ]);
    expect(client.peer.lanes).toEqual([]);
  });

  test('is no message for a client that takes not even an answer, and costs no one else anything [BRK-24]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open(1, { messageBytesMax: 7 });
    stream.subscribe(1, 't');
    stream.ping(2);
    new FakeClient(core).open().publish('t', 'x');
    expect([stream.link.delivered, stream.link.outbox, client.peer.closedWith]).toEqual([[], [], null]);
    expect(core.idle).toBe(true);
  });
});
