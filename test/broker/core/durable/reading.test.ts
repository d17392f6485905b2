import { describe, expect, test } from 'vitest';
import { AckFlag } from '../../../../src/pubsub/command.ts';
import { StartKind } from '../../../../src/pubsub/subscribe-options.ts';
import { LogWorld } from './log-world.ts';

describe('reading a log', () => {
  test('gives what is stored from the subscription on, with the low half of its offset as its id, behind a position [BRK-28] [BRK-61] [BRK-63]', () => {
    const world = new LogWorld();
    world.append('a=0', 'a=1');
    const subscriber = world.subscriber().subscribe('a');
    world.append('a=2', 'b=3', 'a=4');
    expect(subscriber.take()).toEqual(['SUBSCRIBED at 3', 'POSITION 3', '3 a=2', '5 a=4']);
  });

  test('goes from history to what is live without a gap and without a double, however they meet [BRK-61]', () => {
    const world = new LogWorld();
    for (let i = 1; i <= 3_000; i++) world.append(`t/${i % 3}=${i}`);
    const subscriber = world
      .subscriber(1)
      .subscribe('t/1', { start: StartKind.EARLIEST, unackedMax: 10_000 });
    const seen: string[] = [];
    for (let i = 3_001; seen.length < 2_000; i++) {
      if (i <= 6_000) world.append(`t/${i % 3}=${i}`);
      seen.push(...subscriber.messages());
    }
    expect(seen).toEqual(Array.from({ length: 2_000 }, (_, i) => `${3 * i + 1} t/1=${3 * i + 1}`));
  });

  test('costs others nothing while it does not read, and holds no messages [BRK-61]', () => {
    const world = new LogWorld();
    const slow = world.subscriber(1).subscribe('#');
    const fast = world.subscriber().subscribe('#');
    for (let i = 1; i <= 500; i++) world.append(`a=${i}`);
    expect(fast.messages()).toHaveLength(500);
    expect(world.core.metrics().queuedMessages).toBe(0);
    for (let i = 0; i < 503; i++) slow.stream.carry(1);
    expect(slow.messages()).toHaveLength(500);
  });

  test('leaves no more unacknowledged than the window, and goes on with each acknowledgement [BRK-62]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { unackedMax: 2 });
    world.append('a=1', 'a=2', 'a=3', 'a=4', 'a=5');
    expect(subscriber.messages()).toEqual(['1 a=1', '2 a=2']);
    subscriber.ack(2);
    expect(subscriber.messages()).toEqual(['3 a=3']);
    subscriber.ackWith(AckFlag.ALL, 3);
    expect(subscriber.messages()).toEqual(['4 a=4', '5 a=5']);
  });

  test('gives history in turns, between which others have theirs, and all of it; what is live it gives at once [BRK-61]', () => {
    const world = new LogWorld();
    const payload = 'x'.repeat(1_000);
    for (let i = 0; i < 1_000; i++) world.append(`a=${payload}`);
    const subscriber = world.subscriber().subscribe('a', { start: StartKind.EARLIEST, unackedMax: 16_384 });
    const turns = [subscriber.messages().length];
    for (let all = turns[0]; all < 1_000; all += turns[turns.length - 1]) {
      expect(world.core.nextTimeoutMs).toBeLessThanOrEqual(world.nowMs); // it goes on as soon as others had their turn
      world.pass(0);
      turns.push(subscriber.messages().length);
      expect(turns[turns.length - 1]).toBeGreaterThan(0);
    }
    expect(Math.max(...turns)).toBeLessThan(200);
    world.pass(0);
    world.fill(`a=${payload}`, 100);
    expect(subscriber.messages()).toHaveLength(100);
  });
});
