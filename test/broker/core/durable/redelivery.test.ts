import { describe, expect, test } from 'vitest';
import { AckFlag } from '../../../../src/pubsub/command.ts';
import { LogWorld } from './log-world.ts';

describe('delivering again', () => {
  test('comes when a delivery was not answered in its time, with the flag and a count [BRK-66] [BRK-67]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000 });
    world.append('a=1');
    world.pass(999);
    expect(subscriber.messages()).toEqual(['1 a=1']);
    world.pass(1);
    expect(subscriber.messages()).toEqual(['1!2 a=1']);
    world.pass(1_000);
    expect(subscriber.messages()).toEqual(['1!3 a=1']);
    subscriber.ack(1);
    world.pass(5_000);
    expect(subscriber.messages()).toEqual([]);
  });

  test('waits as the back-off says, whose last step stands for all further ones [BRK-67]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000, backoffMs: [100, 300] });
    world.append('a=1');
    expect(subscriber.messages()).toEqual(['1 a=1']);
    for (const [attempt, waitMs] of [
      [2, 1_100],
      [3, 1_300],
      [4, 1_300],
    ]) {
      world.pass(1_000);
      world.pass(waitMs - 1_001);
      expect(subscriber.messages()).toEqual([]);
      world.pass(1);
      expect(subscriber.messages()).toEqual([`1!${attempt} a=1`]);
    }
  });

  test('comes at once, after the delay, or after the back-off, as a NACK says, and does not hold up what is behind [BRK-65]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a');
    world.append('a=1', 'a=2', 'a=3');
    subscriber.nack(1, 500);
    subscriber.nack(2, 0);
    subscriber.nack(3);
    world.append('a=4');
    expect(subscriber.messages()).toEqual(['1 a=1', '2 a=2', '3 a=3', '2!2 a=2', '4 a=4']);
    world.pass(500);
    expect(subscriber.messages()).toEqual(['1!2 a=1']);
    world.pass(500);
    expect(subscriber.messages()).toEqual(['3!2 a=3']);
  });

  test('is put off by PROGRESS, for one message or a range [BRK-64]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000 });
    world.append('a=1', 'a=2');
    world.pass(900);
    subscriber.ackWith(AckFlag.PROGRESS, 1);
    world.pass(100);
    expect(subscriber.messages()).toEqual(['1 a=1', '2 a=2', '2!2 a=2']);
    world.pass(899);
    expect(subscriber.messages()).toEqual([]);
    world.pass(1);
    expect(subscriber.messages()).toEqual(['1!2 a=1']);
  });

  test('takes no more of the window than the first delivery did [BRK-62]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000, unackedMax: 2 });
    world.append('a=1', 'a=2', 'a=3');
    for (let i = 0; i < 5; i++) world.pass(1_000);
    expect(subscriber.messages().filter((line) => line.includes('a=3'))).toEqual([]);
    subscriber.ack(1);
    expect(subscriber.messages()).toEqual(['3 a=3']);
  });

  test('ends when the subscriber gives a message up, which is told where there is no topic for it [BRK-64] [BRK-68]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000 });
    world.append('a=1');
    subscriber.take();
    subscriber.ackWith(AckFlag.TERMINATE, 1);
    expect(subscriber.take()).toEqual(['DROPPED 1 for 6']);
    world.pass(5_000);
    expect(subscriber.take()).toEqual([]);
    expect(world.core.metrics().rejected).toBe(1);
  });

  test('ends with the last delivery that is allowed [BRK-68]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000, deliveriesMax: 2 });
    world.append('a=1', 'a=2');
    subscriber.nack(2, 0);
    subscriber.nack(2, 0);
    expect(subscriber.take().slice(2)).toEqual(['1 a=1', '2 a=2', '2!2 a=2', 'DROPPED 1 for 6']);
    world.pass(1_000);
    world.pass(1_000);
    expect(subscriber.take()).toEqual(['1!2 a=1', 'DROPPED 1 for 6']);
  });

  test('answers that come too late, twice, or from nobody settle nothing else [BRK-64]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000 });
    world.append('a=1', 'a=2');
    world.pass(1_000);
    subscriber.ack(1, 1, 77, [4_000_000_000, 4_000_000_000]);
    subscriber.nack(1, 0);
    subscriber.take();
    world.pass(1_000);
    expect(subscriber.messages()).toEqual(['2!3 a=2']);
    expect(world.core.metrics()).toMatchObject({ clientsFailed: 0, internalErrors: 0 });
  });

  test('acknowledges ranges, which name what is in them and no more [BRK-64]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000 });
    world.append('a=1', 'a=2', 'b=3', 'a=4', 'a=5');
    subscriber.take();
    subscriber.ack([0, 3], [4, 1]);
    world.pass(1_000);
    expect(subscriber.messages()).toEqual(['5!2 a=5']);
  });

  test('leaves out what has expired, counts it and says so; the time that is left goes down, rounded up [BRK-72] [BRK-86]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ackWaitMs: 1_000, unackedMax: 1 });
    world.appendWith('a=1', { ttlMs: 1_500 });
    world.appendWith('a=2', { ttlMs: 1_200 });
    expect(subscriber.messages()).toEqual(['1 a=1 ttl 1500']);
    world.pass(1_000.5);
    expect(subscriber.messages()).toEqual(['1!2 a=1 ttl 500']);
    world.append('a=3');
    world.pass(1_000);
    expect(subscriber.take()).toEqual(['DROPPED 2 for 1', '3 a=3']);
    expect(world.core.metrics().droppedExpired).toBe(2);
  });
});
