import { describe, expect, test } from 'vitest';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import { AckFlag, PublishFlag } from '../../../../src/pubsub/command.ts';
import { decodeProperties, type Origin } from '../../../../src/pubsub/properties.ts';
import { StartKind } from '../../../../src/pubsub/subscribe-options.ts';
import { LateStore } from './late-store.ts';
import { LogWorld } from './log-world.ts';

const options = { name: 'd', deliveriesMax: 2, deadLetter: 'dead', ackWaitMs: 1_000 };

describe('a dead letter', () => {
  test('has the payload and the properties of the message, and says where it was, how often it was delivered, and why it is there [BRK-68]', () => {
    const world = new LogWorld();
    world.append('b=0');
    const subscriber = world.subscriber().subscribe('a', options);
    world.appendWith('a=x', { ttlMs: 60_000, correlation: Buffer.of(7), headers: { n: 'v' }, attempt: 9 });
    subscriber.nack(2, 0, 'first');
    subscriber.nack(2, 0, 'last');
    const [letter] = lettersIn(world);
    expect(letter).toMatchObject({
      ...{ payload: 'x', correlation: Buffer.of(7), headers: { n: 'v' } },
      origin: { epoch: 1, offset: 2, topic: 'a', attempts: 2, reason: 'last' },
    });
    expect(letter).not.toHaveProperty('ttlMs');
    expect(letter).not.toHaveProperty('attempt');
    expect(subscriber.messages()).toEqual(['2 a=x ttl 60000', '2!2 a=x ttl 60000']);
    expect(world.core.metrics()).toMatchObject({ deadLetters: 1, rejected: 0 });
    expect(unsettled(world)).toBe(0);
  });

  test('is one, whichever of three consumers of a group gives up [BRK-68] [BRK-74]', () => {
    const world = new LogWorld();
    const members = Array.from({ length: 3 }, () =>
      world.subscriber().subscribe('$share/g/a', { ...options, name: undefined, deliveriesMax: 3 }),
    );
    world.append('a=x');
    for (let i = 0; i < 4; i++) world.pass(1_000);
    expect(members.flatMap((member) => member.messages())).toHaveLength(3);
    for (const member of members) member.nack(1, 0, 'late');
    expect(lettersIn(world).map(({ origin }) => origin)).toEqual([
      { epoch: 1, offset: 1, topic: 'a', attempts: 3, reason: 'The subscriber did not answer in time.' },
    ]);
  });

  test('is also for what a subscriber gives up itself, and for what it had when it went for the last time [BRK-64] [BRK-68]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('a', { ...options, deliveriesMax: 1 });
    world.append('a=1', 'a=2', 'a=3');
    subscriber.take();
    subscriber.ackWith(AckFlag.TERMINATE, 1);
    subscriber.stream.end();
    expect(lettersIn(world).map(({ origin }) => origin?.reason)).toEqual([
      'The subscriber has given it up.',
      'The subscriber went away.',
      'The subscriber went away.',
    ]);
    world.append('a=4');
    expect(
      world
        .subscriber()
        .subscribe('a', { ...options, deliveriesMax: 1 })
        .messages(),
    ).toEqual(['7 a=4']);
  });

  test('reaches who reads its topic, from a log and without one [BRK-68]', () => {
    const world = new LogWorld({ logs: [{ name: 'dead', filters: ['dead'] }] });
    const reader = world.subscriber().subscribe('dead', { start: StartKind.EARLIEST });
    const live = world.subscriber();
    live.stream.subscribe(1, 'dead');
    const subscriber = world.subscriber().subscribe('a', { ...options, deliveriesMax: 1 });
    world.append('a=x');
    subscriber.nack(1, 0);
    expect(reader.messages()).toEqual(['1 dead=x']);
    expect(live.messages()).toEqual(['0 dead=x']);
  });

  test('does not breed: one that is given up itself is dropped and told [BRK-68]', () => {
    const world = new LogWorld();
    const subscriber = world.subscriber().subscribe('#', { ...options, deliveriesMax: 1 });
    world.append('a=x');
    subscriber.nack(1, 0);
    subscriber.nack(2, 0);
    expect(subscriber.take().slice(2)).toEqual(['1 a=x', '2 dead=x', 'DROPPED 1 for 6']);
    expect(lettersIn(world)).toHaveLength(1);
  });

  test('is refused a topic that is none [BRK-68]', () => {
    const world = new LogWorld();
    expect(world.subscriber().subscribe('a', { deadLetter: 'a/#' }).take()).toEqual([
      'REFUSED TOPIC_INVALID',
    ]);
  });

  test('waits for a log that is full, and its message with it [BRK-68]', () => {
    const world = new LogWorld({
      logs: [{ name: 'dead', filters: ['dead'], maxMessages: 1, discard: 'new' }],
    });
    const [, log] = world.store.logs;
    world.appendWith('dead=0', {}, log);
    const subscriber = world.subscriber().subscribe('a', { ...options, deliveriesMax: 1 });
    world.append('a=x');
    subscriber.nack(1, 0);
    world.pass(1_000);
    world.pass(20);
    expect(unsettled(world)).toBe(1);
    expect(subscriber.messages()).toEqual(['1 a=x']);
  });

  test('is one of each message, also where a later one is in memory and an earlier one has to be loaded [BRK-68]', () => {
    const late = new LateStore(new MemoryStore([{ name: 'dead', filters: ['dead'] }]));
    const world = new LogWorld({ store: late });
    const subscriber = world.subscriber().subscribe('a', { ...options, deliveriesMax: 1 });
    for (const [i, message] of ['a=x', 'a=y', 'a=z'].entries()) {
      world.append(message);
      settle(world, late);
      expect(subscriber.messages()).toEqual([`${i + 1} ${message}`]);
    }
    const [log] = late.logs;
    log.read(2, 3, 0);
    log.load();
    for (const offset of [1, 2, 3]) subscriber.nack(offset, 0, 'why');
    late.step(0);
    world.pass(20);
    log.store();
    for (let i = 0; i < 3; i++) {
      settle(world, late);
      world.pass(20);
    }
    expect(lettersIn(world, late.logs[1].records).map(({ payload }) => payload)).toEqual(['x', 'y', 'z']);
    expect(unsettled(world)).toBe(0);
  });

  // Wherever the broker ends on the way, after each step of a store that is slow to store.
  test.each([0, 1, 2, 3, 4, 5, 6])(
    'is one when the broker ends after %i steps of its store [BRK-68] [BRK-69]',
    (steps) => {
      const late = new LateStore(new MemoryStore([{ name: 'dead', filters: ['dead'] }]));
      const world = new LogWorld({ store: late });
      const subscriber = world.subscriber().subscribe('a', { ...options, deliveriesMax: 1 });
      world.append('a=x');
      settle(world, late);
      expect(subscriber.messages()).toEqual(['1 a=x']);
      world.pass(20);
      settle(world, late);
      subscriber.nack(1, 0, 'why');
      for (let i = 0; i < steps; i++) {
        late.step(i);
        world.pass(i % 2 === 0 ? 20 : 0);
      }
      late.crash();
      world.restart();
      settle(world, late);
      const again = world.subscriber().subscribe('a', { ...options, deliveriesMax: 1 });
      settle(world, late);
      world.pass(20);
      settle(world, late);
      for (const line of again.messages()) again.nack(Number.parseInt(line, 10), 0, 'why');
      world.pass(20);
      settle(world, late);
      const letters = lettersIn(world, late.logs[1].records);
      expect(letters.map(({ origin }) => origin?.offset)).toEqual([1]);
      expect(unsettled(world)).toBe(0);
    },
  );
});

interface Letter {
  payload: string;
  origin?: Origin | undefined;
}

function lettersIn({ log }: LogWorld, records = log.read(log.earliest, log.head, 2 ** 20) ?? []): Letter[] {
  return records.flatMap(({ command, topicEnd }) => {
    const bytes = Buffer.from(command);
    if (bytes.toString('utf8', 8, topicEnd) !== 'dead' || (bytes[1] & PublishFlag.PROPERTIES) === 0)
      return [];
    const payloadStart = topicEnd + 2 + bytes.readUInt16BE(topicEnd);
    return [{ payload: bytes.toString('utf8', payloadStart), ...decodeProperties(bytes, topicEnd) }];
  });
}

/** Of all durable subscriptions, as the store has them. */
function unsettled(world: LogWorld): number {
  world.pass(20);
  return world.core.metrics().unsettledMessages;
}

function settle(world: LogWorld, late: LateStore): void {
  for (let i = 0; i < 20; i++) {
    late.step(i);
    world.pass(0);
  }
}
