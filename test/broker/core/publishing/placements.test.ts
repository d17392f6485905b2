import { describe, expect, test } from 'vitest';
import { AppendFault } from '../../../../src/broker/core/store-port.ts';
import {
  Command,
  encodePlain,
  Overflow,
  ReasonCode,
  topicEndOf,
  topicOf,
} from '../../../../src/pubsub/command.ts';
import { DeliveryClass, decodeProperties } from '../../../../src/pubsub/properties.ts';
import { DrivenCore } from '../driven-core.ts';
import { LogWorld } from '../durable/log-world.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';
import { World } from '../world.ts';
import { publish, publish1, receipts } from './publishing.ts';
import { RemoteStore } from './remote-store.ts';

function begin(filters: readonly string[] = []) {
  const store = new RemoteStore(filters.length === 0 ? [] : [{ name: 'other', filters }]);
  const faults: unknown[] = [];
  const core = new DrivenCore({}, (error) => faults.push(error), store);
  core.advance(1_000, 1_700_000_000_000);
  const [log, other] = store.logs;
  const publisher = new FakeClient(core).open();
  return { store, core, faults, log, other, publisher };
}

/** What a subscriber was given: topic and payload. */
function given(stream: FakeStream): string[] {
  stream.carry();
  return stream.link.commands.flatMap(({ name, topic, body }) =>
    name === 'PUBLISH' ? [`${topic} ${body}`] : [],
  );
}

describe('a message whose log is kept elsewhere', () => {
  test('is acknowledged, and handed on to those who read no log, when the log has it and not before [CLU-30]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    for (const id of [1, 2, 3]) publish1(publisher, id, 'a', `${id}`);
    core.look();
    expect([receipts(publisher), given(subscriber)]).toEqual([[], []]);
    log.place(2);
    core.look();
    expect([receipts(publisher), given(subscriber)]).toEqual([
      ['1* 0 @1', '2* 0 @2'],
      ['a 1', 'a 2'],
    ]);
    log.place(1);
    core.look();
    expect(receipts(publisher).at(-1)).toBe('3* 0 @3');
    expect(core.metrics()).toMatchObject({ messagesStored: 3 });
  });

  test('has what is left of its time when it is handed on, and is not where that was over before [CLU-30] [BRK-86]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    publish1(publisher, 1, 'a', 'short', { ttlMs: 100 });
    publish1(publisher, 2, 'a', 'long', { ttlMs: 5_000 });
    core.advance(1_200, 1_700_000_000_200);
    log.place(2);
    core.look();
    expect(receipts(publisher).at(-1)).toBe('2* 0 @2');
    subscriber.carry();
    const deliveries = subscriber.link.delivered.filter(([command]) => command === Command.PUBLISH);
    expect(deliveries.map((each) => decodeProperties(each, topicEndOf(each)).ttlMs)).toEqual([4_800]);
    expect(core.metrics().droppedExpired).toBe(1);
  });

  test('that is a request whose time was over before is told as one that nobody got [BRK-86] [BRK-80]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    publish1(publisher, 1, 'a', 'in time', { ttlMs: 5_000, replyTopic: 'answers' });
    publish1(publisher, 2, 'a', 'too late', { ttlMs: 100, replyTopic: 'answers' });
    core.advance(1_200, 1_700_000_000_200);
    log.place(1);
    core.look();
    log.place(1);
    core.look();
    expect(receipts(publisher)).toEqual(['1* 0 @1', '2* 2 @2']);
  });

  test('waits where its stream is stopped, for one message of that waits for a queue and no more [CLU-30] [BRK-18]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 'a', Overflow.BLOCK, 1);
    for (let id = 1; id <= 6; id++) publish1(publisher, id, 'a', `${id}`);
    log.place(6);
    core.look();
    expect(publisher.link.paused).toBe(true);
    const taken: string[] = [];
    for (let i = 0; i < 20; i++) {
      taken.push(...given(subscriber));
      subscriber.link.delivered.length = 0;
    }
    expect(taken).toEqual(['a 1', 'a 2', 'a 3', 'a 4', 'a 5', 'a 6']);
    expect(publisher.link.paused).toBe(false);
    expect(receipts(publisher).at(-1)).toBe('6* 0 @6');
  });

  test('goes to nobody where the log does not take it, and is refused again if it comes again [CLU-30] [BRK-83]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    for (const id of [1, 2, 3]) publish1(publisher, id, 'a', `${id}`);
    log.place(1);
    log.place(1, AppendFault.UNREACHABLE);
    log.place(1);
    core.look();
    publish1(publisher, 2, 'a', '2');
    const failed = `2 refused ${ReasonCode.STORE_FAILED}`;
    expect(receipts(publisher)).toEqual(['1* 0 @1', failed, '3* 0 @2', failed]);
    expect(given(subscriber)).toEqual(['a 1', 'a 3']);
    expect(core.metrics()).toMatchObject({ publishesRefused: 1, messagesStored: 2 });
  });

  test('is refused at once where its log cannot be reached', () => {
    const { log, publisher } = begin();
    log.isReachable = false;
    publish1(publisher, 1, 'a', 'x');
    expect(receipts(publisher)).toEqual([`1 refused ${ReasonCode.STORE_FAILED}`]);
  });

  test('that the log knows as a repetition is told as that, and handed on no second time [CLU-30]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    publish1(publisher, 1, 'a', 'x');
    log.repeat(7);
    log.synced = 8;
    core.look();
    expect([receipts(publisher), given(subscriber)]).toEqual([['1* 1 @7'], []]);
    expect(core.metrics()).toMatchObject({ duplicates: 1, messagesStored: 0 });
  });

  test('comes again while it is on its way: that is answered when it is known what becomes of it, and others behind it [CLU-30]', () => {
    for (const fault of [null, AppendFault.FULL]) {
      const { core, log, publisher } = begin();
      publish1(publisher, 1, 'a', 'x');
      publish1(publisher, 1, 'a', 'x');
      publish1(publisher, 2, 'a', 'y');
      core.look();
      expect(receipts(publisher)).toEqual([]);
      log.place(1, fault);
      log.place(1);
      core.look();
      const full = `1 refused ${ReasonCode.STORE_FULL}`;
      expect(receipts(publisher)).toEqual(
        fault === null ? ['1* 0 @1', '1* 1', '2* 0 @2'] : [full, full, '2* 0 @1'],
      );
      expect(log.records).toHaveLength(fault === null ? 2 : 1);
    }
  });

  test('keeps its place before what its stream publishes behind it, and FLUSHED comes behind both [CLU-30]', () => {
    const { core, log, publisher } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, '#');
    publish1(publisher, 1, 'a', 'stored');
    publisher.send(publish('a', 'not asked', 0));
    publish1(publisher, 2, 'a', 'handed on', { deliveryClass: DeliveryClass.RELIABLE });
    publish1(publisher, 3, 'a', 'stored, too');
    publisher.send(encodePlain(Command.FLUSH, 9));
    new FakeClient(core).open().send(publish('b', 'of another', 0)); // nobody else waits
    core.look();
    expect([receipts(publisher), given(subscriber)]).toEqual([[], ['b of another']]);
    log.place(1);
    core.look();
    expect(given(subscriber).slice(1)).toEqual([
      'a stored',
      'a not asked',
      expect.stringMatching(/^a .*handed on$/s),
    ]);
    expect(receipts(publisher)).toEqual(['1* 0 @1', '2* 3']);
    log.place(1);
    core.look();
    expect(given(subscriber).slice(4)).toEqual(['a stored, too']);
    expect(receipts(publisher).slice(2)).toEqual(['3* 0 @2', 'FLUSHED']);
  });

  test('of two logs is told in the order of ids, whichever log is first [BRK-81] [CLU-30]', () => {
    const { core, log, other, publisher } = begin(['b']);
    publish1(publisher, 1, 'a', 'x');
    publish1(publisher, 2, 'b', 'x');
    publish1(publisher, 3, 'a', 'x');
    other.place(1);
    core.look();
    expect(receipts(publisher)).toEqual([]);
    log.place(2);
    core.look();
    expect(receipts(publisher)).toEqual(['1* 0 @1', '2* 0 @1', '3* 0 @2']);
  });

  test('that a log keeps of its own accord is handed on whether the log takes it or not', () => {
    const { core, other, publisher } = begin(['b']);
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'b');
    for (const text of ['kept', 'lost']) publisher.send(publish('b', text, 0));
    core.look();
    expect(given(subscriber)).toEqual([]);
    other.place(1);
    other.place(1, AppendFault.FULL);
    core.look();
    expect(given(subscriber)).toEqual(['b kept', 'b lost']);
  });

  test('is handed on although its publisher has left, and what waited behind it is not [CLU-30] [BRK-18]', () => {
    const { core, faults, log } = begin();
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, 'a');
    const client = new FakeClient(core);
    const publisher = client.open();
    publish1(publisher, 1, 'a', 'stored');
    publisher.send(publish('a', 'behind', 0));
    client.disconnect();
    log.place(1);
    core.look();
    expect(given(subscriber)).toEqual(['a stored']);
    expect(faults).toEqual([]);
  });

  test('holds its stream up when too many are on their way [BRK-84]', () => {
    const { core, other } = begin(['b']);
    const publisher = new FakeClient(core).open();
    let sent = 0;
    for (; !publisher.channel.held && sent < 10_000; sent++) publisher.send(publish('b', 'x', 0));
    expect(sent).toBe(4_096);
    other.place(2_048);
    core.look();
    expect(publisher.channel.held).toBe(false);
  });
});

test('a session that is taken over is told of ids when it is known what has become of their messages [CLU-30] [BRK-55]', () => {
  const store = new RemoteStore();
  const world = new World({}, store);
  const first = world.hello('s');
  publish1(first.client.open(), 1, 'a', 'x');
  const second = world.hello('s');
  expect(second.answers).toEqual([]);
  store.logs[0].place(1, AppendFault.UNREACHABLE);
  world.core.look();
  expect(Math.max(...second.welcome.lastIds)).toBe(1);
  const again = second.client.open();
  publish1(again, 1, 'a', 'x');
  again.carry();
  expect(again.link.lines).toEqual([`REFUSED 1 ${ReasonCode.STORE_FAILED}`]);
});

test('a subscription begins with what its log has when it is made, which is asked for first [CLU-33]', () => {
  const store = new RemoteStore();
  const world = new LogWorld({ store });
  const [log] = store.logs;
  const subscriber = world.subscriber().subscribe('a');
  expect(subscriber.take()).toEqual([]);
  log.write('a', 'of another broker, before');
  log.tellHead();
  world.core.look();
  expect(subscriber.take()).toEqual(['SUBSCRIBED at 2']);
  log.write('a', 'of another broker, behind');
  world.core.look();
  expect(subscriber.messages()).toEqual(['2 a=of another broker, behind']);
  expect(log.isFollowed).toBe(true);
  subscriber.stream.end();
  expect(log.isFollowed).toBe(false);
});

test('a dead letter is there when its log has it, and is tried again until it has [BRK-68] [CLU-30]', () => {
  const store = new RemoteStore();
  const world = new LogWorld({ store });
  const [log] = store.logs;
  const listener = world.subscriber();
  listener.stream.subscribe(1, 'dead');
  const subscriber = world.subscriber().subscribe('a', { name: 'd', deliveriesMax: 1, deadLetter: 'dead' });
  log.tellHead();
  world.core.look();
  log.write('a', 'x');
  world.core.look();
  subscriber.nack(1);
  world.core.look();
  log.place(1, AppendFault.UNREACHABLE);
  world.core.look();
  expect(world.core.durables()).toMatchObject([{ unsettled: 1 }]);
  world.pass(1_000);
  log.place(1);
  world.core.look();
  expect(log.records.map(({ command }) => topicOf(command))).toEqual(['a', 'dead']);
  expect(listener.messages()).toEqual(['0 dead=x']);
  expect(world.core.durables()).toMatchObject([{ unsettled: 0 }]);
  expect(world.core.metrics()).toMatchObject({ deadLetters: 1 });
  const box = world.core.inspection.deadLetters;
  const listed = () => {
    let count = -1;
    box.list(log, { below: 9, limit: 9, all: false, isWanted: () => true }, ({ letters }) => {
      count = letters.length;
    });
    return count;
  };
  const sendBack = () => box.find(log, 2, (letter) => letter !== null && box.redrive(log, letter));
  for (const [fault, left] of [
    [AppendFault.UNREACHABLE, 1],
    [null, 0],
  ] as const) {
    expect(listed()).toBe(1);
    sendBack();
    expect(listed()).toBe(0); // on its way
    log.place(1, fault);
    world.core.look();
    expect(listed()).toBe(left);
  }
});
