import { describe, expect, test, vi } from 'vitest';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import { AppendFault } from '../../../../src/broker/core/store-port.ts';
import { Command, ReasonCode } from '../../../../src/pubsub/command.ts';
import { StartKind } from '../../../../src/pubsub/subscribe-options.ts';
import { LateStore } from './late-store.ts';
import { LogWorld, type Subscriber } from './log-world.ts';

const durable = { name: 'd' };

describe('a durable subscription', () => {
  test('goes on where it was, with what it left unacknowledged first and marked [BRK-70] [BRK-66]', () => {
    const world = new LogWorld();
    const before = world.subscriber().subscribe('a', durable);
    world.append('a=1', 'a=2', 'a=3');
    before.ack(2);
    before.stream.end();
    world.append('a=4');
    const after = world.subscriber().subscribe('a', durable);
    expect(after.take()).toEqual([
      ...['SUBSCRIBED at 4 recovered', 'POSITION 1', '1!2 a=1', '3!2 a=3', '4 a=4'],
    ]);
    expect(world.core.metrics().redelivered).toBe(2);
  });

  test('is taken over by the newest that asks for it, and the former one is told [BRK-70]', () => {
    const world = new LogWorld();
    const before = world.subscriber().subscribe('a', durable);
    world.append('a=1');
    const after = world.subscriber().subscribe('a', durable);
    expect(before.stream.link.resetWith).toBe(ReasonCode.TAKEN);
    expect(after.messages()).toEqual(['1!2 a=1']);
    after.ack(1);
    world.append('a=2');
    expect(after.messages()).toEqual(['2 a=2']);
    expect(world.core.metrics().durablesTaken).toBe(1);
  });

  test('is as it was when the broker is started anew: all that may have been delivered is marked, nothing is lost [BRK-69]', () => {
    const world = new LogWorld();
    const before = world.subscriber().subscribe('a', durable);
    world.append('a=1', 'a=2', 'a=3');
    expect(before.messages()).toHaveLength(3);
    before.ack(1);
    world.pass(20);
    before.ack(2); // not written yet
    world.restart();
    world.append('a=4');
    const after = world.subscriber().subscribe('a', durable);
    expect(after.messages()).toEqual(['2!2 a=2', '3!2 a=3', '4!1 a=4']);
  });

  test('carries no doubt over when its subscriber went before the broker ended [BRK-69]', () => {
    const world = new LogWorld();
    const before = world.subscriber().subscribe('a', durable);
    world.append('a=1');
    before.ack(1);
    before.stream.end();
    world.restart();
    world.append('a=2');
    expect(world.subscriber().subscribe('a', durable).messages()).toEqual(['2 a=2']);
  });

  test.each([
    ['new', { start: StartKind.NEW }, ['SUBSCRIBED at 7']],
    [
      'the earliest',
      { start: StartKind.EARLIEST },
      ['SUBSCRIBED at 1', 'POSITION 1', '1 a=1', '3 a=3', '5 a=5'],
    ],
    ['the last that matches', { start: StartKind.LAST }, ['SUBSCRIBED at 5', 'POSITION 5', '5 a=5']],
    [
      'an offset',
      { start: StartKind.OFFSET, startValue: 3 },
      ['SUBSCRIBED at 3', 'POSITION 3', '3 a=3', '5 a=5'],
    ],
    [
      'an offset of this epoch',
      { start: StartKind.OFFSET, startValue: 4, epoch: 1 },
      ['SUBSCRIBED at 4 recovered', 'POSITION 5', '5 a=5'],
    ],
    [
      'an offset of another epoch',
      { start: StartKind.OFFSET, startValue: 4, epoch: 2 },
      ['REFUSED EPOCH_MISMATCH'],
    ],
    [
      'an offset that is not there yet',
      { start: StartKind.OFFSET, startValue: 8, epoch: 1 },
      ['REFUSED EPOCH_MISMATCH'],
    ],
    [
      'a time',
      { start: StartKind.TIME, startValue: 1_800_000_000_000 + 30 },
      ['SUBSCRIBED at 4', 'POSITION 5', '5 a=5'],
    ],
  ])('begins with %s [BRK-70]', (_, options, expected) => {
    const world = new LogWorld();
    for (const message of ['a=1', 'b=2', 'a=3', 'b=4', 'a=5', 'b=6']) {
      world.append(message);
      world.pass(10);
    }
    expect(world.subscriber().subscribe('a', options).take()).toEqual(expected);
  });

  test('begins with the last message of each topic, in the order of the log [BRK-70]', () => {
    const world = new LogWorld();
    world.append('t/a=1', 't/b=2', 't/a=3', 'u=4', 't/c=5', 't/a=6');
    const subscriber = world.subscriber().subscribe('t/+', { start: StartKind.LAST_PER_TOPIC });
    world.append('t/a=7');
    expect(subscriber.take()).toEqual([
      'SUBSCRIBED at 2',
      'POSITION 2',
      '2 t/b=2',
      '5 t/c=5',
      '6 t/a=6',
      '7 t/a=7',
    ]);
  });

  test('looks through a long log a stretch a turn, and says where it is [BRK-61] [BRK-63]', () => {
    const world = new LogWorld();
    world.append('a=1');
    world.fill('b=2', 20_000);
    const last = world.subscriber().subscribe('a', { start: StartKind.LAST });
    const all = world.subscriber().subscribe('a', { start: StartKind.EARLIEST });
    expect(last.take()).toEqual([]);
    for (let i = 0; i < 4; i++) world.pass(0);
    const stretches = ['POSITION 8184', 'POSITION 16376', 'POSITION 20002'];
    expect(last.take()).toEqual(['SUBSCRIBED at 1', 'POSITION 1', '1 a=1', ...stretches]);
    expect(all.take()).toEqual(['SUBSCRIBED at 1', 'POSITION 1', '1 a=1', ...stretches]);
  });

  test('is over when nobody has held it for its time, also when that passes while the broker is down [BRK-70]', () => {
    const world = new LogWorld();
    const options = { ...durable, expiryMs: 60_000 };
    world.subscriber().subscribe('a', options).stream.end();
    world.pass(59_999);
    world.append('a=1');
    const again = world.subscriber().subscribe('a', options);
    expect(again.messages()).toEqual(['1 a=1']);
    again.stream.end();
    world.wallMs += 59_999;
    world.restart();
    expect([...world.store.state.entries('durable/')]).toHaveLength(1);
    const forgets = vi.spyOn(world.store, 'forgetSession');
    world.pass(1);
    expect([...world.store.state.entries('durable/')]).toHaveLength(0);
    expect(forgets).toHaveBeenCalledTimes(1); // its number, under which logs know its dead letters
    expect(world.subscriber().subscribe('a', options).take()).toEqual(['SUBSCRIBED at 2']);
    expect(world.core.metrics().durablesExpired).toBe(1);
  });

  test('is forgotten with its last filter [BRK-70]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', durable).subscribe('b', durable);
    subscriber.unsubscribe('a');
    world.append('a=1', 'b=2');
    expect(subscriber.messages()).toEqual(['2 b=2']);
    subscriber.unsubscribe('b');
    expect([...world.store.state.entries('durable/')]).toHaveLength(0);
    subscriber.ack(2); // late, and nobody's
    expect(world.subscriber().subscribe('b', durable).take()).toEqual(['SUBSCRIBED at 3']);
  });

  test('keeps the filters that whoever holds it names, and no others [BRK-70]', () => {
    const world = new LogWorld();
    world.subscriber().subscribe('a', durable).subscribe('b', durable).stream.end();
    world.append('a=1', 'b=2', 'c=3');
    const after = world.subscriber().subscribe('b', durable).subscribe('c', durable);
    expect(after.messages()).toEqual([]);
    world.pass(250);
    expect(after.messages()).toEqual(['2 b=2', '3 c=3']);
  });

  test('is told what the log did not keep for it: when it comes back, and while it reads [BRK-71]', () => {
    const world = new LogWorld({ logs: [{ name: 'default', maxMessages: 4 }] });
    world.subscriber().subscribe('a', durable).stream.end();
    world.append('a=1', 'a=2', 'a=3', 'a=4', 'a=5', 'a=6');
    const slow = world.subscriber(1).subscribe('a', durable);
    expect(slow.take(1)).toEqual(['SUBSCRIBED at 3 missed 2 recovered']);
    world.append('a=7', 'a=8', 'a=9', 'a=10');
    for (let i = 0; i < 10; i++) slow.stream.carry(1);
    expect(slow.take()).toEqual(['POSITION 3', 'DROPPED 4 for 2', '7 a=7', '8 a=8', '9 a=9', '10 a=10']);
  });

  test('counts right when its log is emptied under what it has not acknowledged [BRK-71]', () => {
    const world = new LogWorld({ logs: [{ name: 'default', maxMessages: 2 }] });
    const subscriber = world.subscriber().subscribe('a', { ...durable, unackedMax: 2 });
    const other = world.subscriber().subscribe('a', { name: 'other' });
    world.append('a=1', 'a=2');
    other.ack(1, 2);
    expect(subscriber.messages()).toEqual(['1 a=1', '2 a=2']);
    world.append('a=3', 'a=4');
    expect(subscriber.messages()).toEqual(['3 a=3', '4 a=4']);
    subscriber.ack(1, 2); // of messages that are gone: settles nothing else
    subscriber.nack(4, 0);
    expect(subscriber.messages()).toEqual(['4!2 a=4']);
    subscriber.ack(3, 4);
    world.append('a=5');
    expect(subscriber.messages()).toEqual(['5 a=5']);
    expect(other.messages()).toEqual(['1 a=1', '2 a=2', '3 a=3', '4 a=4', '5 a=5']);
  });

  test('says that its cursor is of another log, and begins with what there is [BRK-71]', () => {
    const world = new LogWorld();
    const before = world.subscriber().subscribe('a', durable);
    world.append('a=1', 'a=2');
    before.ack(1, 2);
    before.stream.end();
    const kept = [...world.store.state.entries('durable/')];
    const store = new MemoryStore([], 2);
    for (const [key, value] of kept) store.state.put(key, value);
    const anew = new LogWorld({ store });
    anew.append('a=x');
    expect(anew.subscriber().subscribe('a', durable).take()).toEqual([
      `SUBSCRIBED at 1 missed ${2 ** 64}`,
      'POSITION 1',
      '1 a=x',
    ]);
  });

  test('is never ahead of its log, when that loses what it was storing as it began [BRK-69]', () => {
    const late = new LateStore(new MemoryStore());
    const world = new LogWorld({ store: late });
    world.append('a=1');
    late.step(1);
    world.append('a=2');
    world.subscriber().subscribe('a', durable);
    world.pass(20);
    late.step(0);
    world.pass(0);
    late.crash();
    world.restart();
    world.append('a=3');
    const after = world.subscriber().subscribe('a', durable);
    for (let i = 0; i < 9; i++) {
      late.step(i);
      world.pass(0);
    }
    expect(after.take()).toEqual(['SUBSCRIBED at 2 recovered', 'POSITION 2', '2 a=3']);
  });

  test('is answered when the store has it, so that one that was SUBSCRIBED is there after a crash, and one that was UNSUBSCRIBED is not [BRK-55]', () => {
    const late = new LateStore(new MemoryStore());
    const world = new LogWorld({ store: late });
    const goOn = ({ stream }: Subscriber) => {
      for (let i = 0; i < 3; i++) late.step(i);
      world.pass(0);
      stream.pump();
    };
    const first = world.subscriber().subscribe('a', durable).subscribe('b', durable);
    expect(first.take()).toEqual([]);
    expect(first.channel.held).toBe(true); // nothing more is read until then
    goOn(first);
    expect(first.take()).toEqual(['SUBSCRIBED at 1']);
    goOn(first);
    expect(first.take()).toEqual(['SUBSCRIBED at 1']);
    late.crash();
    world.restart();
    world.append('a=1', 'b=2');
    const second = world.subscriber().subscribe('a', durable).subscribe('b', durable);
    for (let i = 0; i < 3; i++) goOn(second);
    const lines = second.take();
    expect(lines[0]).toBe('SUBSCRIBED at 1 recovered');
    expect(lines.filter((line) => /^\d/.test(line))).toEqual(['1 a=1', '2 b=2']);
    second.unsubscribe('a');
    second.unsubscribe('b');
    expect(second.take()).toEqual([]);
    goOn(second);
    expect(second.take()).toEqual([`command ${Command.UNSUBSCRIBED} 3`]);
    goOn(second);
    expect(second.take()).toEqual([`command ${Command.UNSUBSCRIBED} 4`]);
    late.crash();
    world.restart();
    expect(world.core.metrics().durables).toBe(0);
  });

  test('is refused where the store cannot take it any more, and nothing is left of it; one that was there before goes on [BRK-55]', () => {
    const late = new LateStore(new MemoryStore());
    const world = new LogWorld({ store: late });
    const old = world.subscriber().subscribe('a', durable);
    late.step(0);
    world.pass(0);
    expect(old.take()).toEqual(['SUBSCRIBED at 1']);
    old.stream.end();
    const again = world.subscriber().subscribe('a', durable);
    const fresh = world.subscriber().subscribe('a', { name: 'new' });
    late.fail({ fault: AppendFault.FULL, message: 'full', cause: null });
    world.pass(0);
    expect(again.take()).toEqual(['SUBSCRIBED at 1 recovered']);
    expect(fresh.take()).toEqual(['REFUSED STORE_FULL']);
    const { durables, filters } = world.core.metrics();
    expect({ durables, filters }).toEqual({ durables: 1, filters: 1 });
  });

  test('passes over what has expired a stretch a turn [BRK-61] [BRK-72]', () => {
    const world = new LogWorld();
    world.fill('a=1', 20_000, { ttlMs: 1 });
    world.pass(1);
    world.append('a=2');
    const subscriber = world.subscriber().subscribe('a', { start: StartKind.EARLIEST });
    expect(subscriber.messages()).toEqual([]);
    for (let i = 0; i < 3; i++) world.pass(0);
    expect(subscriber.messages()).toEqual(['20001 a=2']);
    expect(world.core.metrics().droppedExpired).toBe(20_000);
  });

  test('reads one log: filters of several are refused, and so is another log under its name [BRK-60]', () => {
    const world = new LogWorld({ logs: [{ name: 'orders', filters: ['orders/#', 'bills'] }] });
    expect(world.subscriber().subscribe('#').take()).toEqual(['REFUSED CONTRADICTION']);
    expect(world.subscriber().subscribe('orders/+/x', durable).take()).toEqual(['SUBSCRIBED at 1']);
    expect(world.subscriber().subscribe('a/#', durable).take()).toEqual(['REFUSED CONTRADICTION']);
    expect(world.subscriber().subscribe('a/#').subscribe('bills').take()).toEqual([
      'SUBSCRIBED at 1',
      'REFUSED CONTRADICTION',
    ]);
  });

  test('is refused beyond what the broker allows [BRK-70]', () => {
    const world = new LogWorld({ limits: { durablesMax: 1 } });
    world.subscriber().subscribe('a', durable).stream.end();
    expect(world.subscriber().subscribe('a', { name: 'e' }).take()).toEqual(['REFUSED QUOTA']);
    expect(world.subscriber().subscribe('a', durable).take()).toEqual(['SUBSCRIBED at 1 recovered']);
  });
});
