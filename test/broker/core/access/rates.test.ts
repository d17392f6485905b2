import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ClientLimits, Principal } from '../../../../src/broker/core/access/principal.ts';
import { EVERYONE } from '../../../../src/broker/core/access/principal.ts';
import { TokenBucket } from '../../../../src/broker/core/access/rates.ts';
import {
  decodeRefused,
  encodeAlias,
  PublishFlag,
  publishPrefix,
  ReasonCode,
} from '../../../../src/pubsub/command.ts';
import type { ConnectionFacts } from '../../../../src/pubsub/message-stream.ts';
import { AuthMethod } from '../../../../src/pubsub/session-commands.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';
import { Guest, taken, World } from '../world.ts';
import { Guarded, message, reader, somebody } from './guarded.ts';

describe('a bucket of tokens', () => {
  test('lets through what it says, to one, whatever the pace [BRK-121]', () => {
    const step = fc.record({ ms: fc.integer({ min: 0, max: 3_000 }), asks: fc.integer({ min: 0, max: 20 }) });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 30 }),
        fc.array(step, { maxLength: 20 }),
        (rate, burst, steps) => {
          const bucket = new TokenBucket(rate, burst, 0);
          const atMs: number[] = [];
          let nowMs = 0;
          let asked = 0;
          for (const { ms, asks } of steps) {
            nowMs += ms;
            for (let i = 0; i < asks; i++) {
              asked++;
              if (bucket.waitMs(1, nowMs) > 0) continue;
              bucket.take(1);
              atMs.push(nowMs);
            }
          }
          // Of each stretch of time no more than a burst and what it brings; and no less where enough was asked.
          for (let i = 0; i < atMs.length; i++) {
            for (let j = i; j < atMs.length; j++) {
              if (j - i + 1 > burst + ((atMs[j] - atMs[i]) * rate) / 1_000 + 1e-3) return false;
            }
          }
          return atMs.length >= Math.min(asked, burst);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('says when it takes what it does not take now, also more than it holds', () => {
    const bucket = new TokenBucket(10, 5, 0);
    bucket.take(5);
    expect(bucket.waitMs(1, 0)).toBe(100);
    expect(bucket.waitMs(5, 0)).toBe(500);
    expect(bucket.waitMs(50, 0)).toBe(500);
    expect(bucket.waitMs(50, 500)).toBe(0);
    bucket.take(50);
    expect(bucket.waitMs(1, 500)).toBe(4_600);
    expect(bucket.isFull(60_000)).toBe(true);
  });
});

describe('who publishes faster than it may', () => {
  test('waits, over all its connections, and nothing is lost [BRK-121]', () => {
    const { world, heard } = listening();
    const anna = limited({ publishesPerSecond: 10, publishesBurst: 3 });
    const streams = [world.enter(anna), world.enter(anna)].map((guest) => guest.client.open());
    for (let i = 0; i < 10; i++)
      for (const [j, stream] of streams.entries()) stream.publish(`t/${j}`, `${i}`);
    const other = world.enter(somebody('other', ['allow publish #'])).client.open();
    other.publish('free', '1');
    const counts: number[] = [];
    for (let ms = 0; ms <= 2_000; ms += 100) {
      for (const stream of streams) stream.pump();
      counts.push(taken(heard).filter((line) => line.startsWith('t/')).length);
      world.pass(100);
    }
    expect(counts.slice(0, 18)).toEqual([3, ...Array.from({ length: 17 }, () => 1)]);
    expect(counts.reduce((sum, count) => sum + count)).toBe(20);
    expect(world.core.trace.filter(({ what }) => what === 'limited').length).toBeLessThanOrEqual(8);
    expect(world.core.trace.some(({ what, principal }) => what === 'limited' && principal === 'anna')).toBe(
      true,
    );
    expect(world.faults).toEqual([]);
  });

  test('keeps the order of each stream, with QoS 1 and 0, and is answered when it was taken [BRK-121]', () => {
    const { world, heard } = listening();
    const stream = world.enter(limited({ publishesPerSecond: 1_000, publishesBurst: 1 }), 's').client.open();
    for (let i = 1; i <= 6; i++) {
      if (i % 2 === 0) stream.publish('t', `${i}`);
      else stream.send(message('t', `${i}`, {}, i));
    }
    stream.flush(9);
    for (let i = 0; i < 20; i++) {
      world.pass(1);
      stream.pump();
    }
    expect(taken(heard)).toEqual(['t=1', 't=2', 't=3', 't=4', 't=5', 't=6']);
    expect(taken(stream)).toEqual(['PUBLISHED 1', 'PUBLISHED 3', 'PUBLISHED 5', 'FLUSHED 9']);
  });

  test('is measured in bytes as well, and a message above the burst goes when it is full [BRK-121]', () => {
    const { world, heard } = listening();
    const stream = world.enter(limited({ bytesPerSecond: 1_000, bytesBurst: 100 })).client.open();
    for (const size of [99, 499, 49]) stream.publish('t', 'x'.repeat(size));
    const came: number[] = [];
    for (let ms = 0; ms <= 1_000; ms += 50) {
      stream.pump();
      came.push(...taken(heard).map(() => ms));
      world.pass(50);
    }
    expect(came).toEqual([0, 100, 550]);
  });

  test('is measured with the topic that an alias stands for [BRK-121]', () => {
    const { world, heard } = listening();
    const stream = world.enter(limited({ bytesPerSecond: 1_000, bytesBurst: 1_000 })).client.open();
    const topic = 't'.repeat(499);
    const aliased = Buffer.concat([publishPrefix('', PublishFlag.ALIAS), Buffer.from('x')]);
    aliased.writeUInt16BE(1, 2);
    stream.send(encodeAlias(1, topic));
    for (let i = 0; i < 6; i++) stream.send(aliased);
    const came: number[] = [];
    for (let ms = 0; ms <= 2_000; ms += 250) {
      stream.pump();
      came.push(...taken(heard).map(() => ms));
      world.pass(250);
    }
    expect(came).toEqual([0, 0, 500, 1_000, 1_500, 2_000]);
  });

  test('does not begin anew with a new connection, nor with other limits [BRK-121]', () => {
    const { world, heard } = listening();
    const anna = limited({ publishesPerSecond: 1, publishesBurst: 5 });
    const burst = (): number => {
      const guest = world.enter(anna);
      const stream = guest.client.open();
      for (let i = 0; i < 10; i++) stream.publish('t', 'x');
      guest.leave();
      return taken(heard).length;
    };
    expect(burst()).toBe(5);
    expect(burst()).toBe(0);
    world.pass(2_000);
    expect(burst()).toBe(2);
    const guest = world.enter(anna);
    world.core.reauthorize((principal) =>
      principal.name === 'anna' ? limited({ publishesPerSecond: 1, publishesBurst: 9 }) : principal,
    );
    guest.client.open().publish('t', 'x');
    expect(taken(heard).length).toBe(0);
    world.pass(1_000);
    expect(taken(heard).length).toBe(1);
    guest.leave();
    world.pass(60_000);
    expect(burst()).toBe(5);
  });

  test('is told when it may come again, where it cannot be made to wait [BRK-121]', () => {
    const { world, heard } = listening();
    const guest = new Guest(connectAs(world, { overLimit: 'refuse', door: 'http' }));
    guest.hello('s', { method: 2, credentials: Buffer.from('k') });
    world.core.answer({ principal: limited({ publishesPerSecond: 2, publishesBurst: 1 }) });
    const stream = guest.client.open();
    for (let id = 1; id <= 2; id++) stream.send(message('t', `${id}`, {}, id));
    stream.publish('t', 'dropped');
    stream.carry();
    expect(stream.link.lines).toEqual(['PUBLISHED 1', `REFUSED 2 ${ReasonCode.LIMITED}`]);
    expect(decodeRefused(Buffer.from(stream.link.delivered[1])).reason).toBe('Too fast: again in 500 ms.');
    expect(guest.answers.at(-1)).toBe('NOTICE 0');
    world.pass(500);
    stream.send(message('t', '2', {}, 2));
    expect(taken(heard)).toEqual(['t=1', 't=2']);
    expect(world.core.metrics().publishesLimited).toBe(2);
  });

  test('is forgotten when it goes while it waits, and others go on', () => {
    const { world, heard } = listening();
    const anna = limited({ publishesPerSecond: 1, publishesBurst: 1 });
    const [first, second] = [world.enter(anna), world.enter(anna)];
    for (const guest of [first, second])
      for (let i = 0; i < 2; i++) guest.client.open().publish('t', guest === first ? '1' : '2');
    first.leave();
    world.pass(2_000);
    expect(taken(heard)).toEqual(['t=1', 't=2', 't=2']);
    expect(world.faults).toEqual([]);
  });
});

describe('connections and filters', () => {
  test('are no more than a principal may have, and a return is no further one [BRK-120]', () => {
    const world = new Guarded();
    const anna = limited({ connections: 2 });
    const [first, second] = [world.enter(anna, 'a'), world.enter(anna, 'b')];
    const third = world.enter(anna, 'c');
    expect(third.answers).toEqual([`REFUSED 1 ${ReasonCode.LIMITED}`]);
    world.pass(1_000);
    expect(third.closedWith).toBe(ReasonCode.LIMITED);
    expect(world.enter(anna, 'b').answers).toEqual(['WELCOME 1']);
    expect(second.closedWith).toBe(ReasonCode.SESSION_TAKEN);
    first.leave();
    expect(world.enter(anna, 'd').answers).toEqual(['WELCOME 1']);
    expect(world.enter(somebody('otto', []), 'o').answers).toEqual(['WELCOME 1']);
  });

  test('are none for a principal that may have none [BRK-120]', () => {
    const world = new Guarded();
    const shut = world.enter(limited({ connections: 0 }), 'a');
    expect(shut.answers).toEqual([`REFUSED 1 ${ReasonCode.LIMITED}`]);
    world.pass(1_000);
    expect(shut.closedWith).toBe(ReasonCode.LIMITED);
  });

  test('of nobody in particular are counted by address, and with IPv6 by network [BRK-120]', () => {
    const anonymous: Principal = { ...EVERYONE, limits: { connections: 1 } };
    const world = new Guarded({}, anonymous);
    const addresses = ['1.1.1.1', '1.1.1.1', '1.1.1.2', '2001:db8::1', '2001:db8::2:1', '2001:db8:0:1::1'];
    const clients = addresses.map((address) => connectAs(world, { address }));
    world.pass(10_000);
    expect(clients.map(({ peer }) => peer.closedWith)).toEqual([
      ...[null, ReasonCode.LIMITED, null],
      ...[null, ReasonCode.LIMITED, null],
    ]);
  });

  test('of nobody in particular keep nobody out who shows who it is [BRK-120]', () => {
    const world = new Guarded({}, { ...EVERYONE, limits: { connections: 1 } });
    const address = '1.1.1.1';
    connectAs(world, { address });
    const [silent, nobody, known] = [0, 1, 2].map(() => new Guest(connectAs(world, { address })));
    nobody.hello('n');
    expect(nobody.answers).toEqual([`REFUSED 1 ${ReasonCode.LIMITED}`]);
    known.hello('k', { method: AuthMethod.API_KEY, credentials: Buffer.from('k') });
    world.core.answer({ principal: somebody('anna', []) });
    expect(known.answers).toEqual(['WELCOME 1']);
    silent.client.open().publish('t', 'x');
    world.pass(10_000);
    expect([silent, nobody, known].map(({ closedWith }) => closedWith)).toEqual([
      ReasonCode.NOT_AUTHORIZED,
      ReasonCode.LIMITED,
      null,
    ]);
  });

  test('are bounded for each connection [BRK-120]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe #'], { limits: { subscriptions: 2 } }));
    const answers = ['a', 'b', 'c'].flatMap((filter) => taken(reader(guest, filter)));
    expect(answers).toEqual([
      'SUBSCRIBED 1',
      'SUBSCRIBED 1',
      `REFUSED 1 ${ReasonCode.TOO_MANY_SUBSCRIPTIONS}`,
    ]);
  });
});

describe('clients that come all at once', () => {
  test('are let in one after the other, and those for whom that takes too long are sent away [BRK-122]', () => {
    const world = new World({ connectRate: 10 });
    const come = () => {
      const client = world.connect();
      const stream = client.open();
      stream.ping(1);
      return { client, stream };
    };
    const all = Array.from({ length: 70 }, come);
    const closed = all.filter(({ client }) => client.peer.closedWith !== null);
    expect(closed.map(({ client }) => client.peer.closedWith)).toEqual(
      Array.from({ length: 10 }, () => ReasonCode.LIMITED),
    );
    all[12].client.disconnect();
    const answered: number[] = [];
    for (let i = 0; i <= 50; i++) {
      for (const { stream } of all) if (!stream.channel.closed) stream.pump();
      answered.push(all.filter(({ stream }) => taken(stream).length > 0).length);
      world.pass(100);
    }
    expect(answered.slice(0, 50)).toEqual([10, ...Array.from({ length: 49 }, () => 1)]);
    expect(come().stream.link.paused).toBe(false);
    expect(world.faults).toEqual([]);
  });

  test('are let in as soon as one comes when no rate holds any more [BRK-122]', () => {
    const world = new World({ connectRate: 1 });
    const come = () => {
      const client = world.connect();
      return { client, stream: client.open() };
    };
    const all = [come(), come(), come()];
    expect(all.map(({ stream }) => stream.link.paused)).toEqual([false, true, true]);
    world.core.changeLimits({ connectRate: 0 });
    all.push(come());
    expect(all.map(({ client }) => client.peer.closedWith)).toEqual([null, null, null, null]);
    expect(all.map(({ stream }) => stream.link.paused)).toEqual([false, false, false, false]);
  });
});

function limited(limits: ClientLimits): Principal {
  return somebody('anna', ['allow publish #'], { limits });
}

function listening(): { world: Guarded; heard: FakeStream } {
  const world = new Guarded();
  const heard = reader(world.enter(somebody('all', ['allow subscribe #'])), '#');
  taken(heard);
  return { world, heard };
}

function connectAs(world: World, facts: Partial<ConnectionFacts>): FakeClient {
  const client = new FakeClient(world.core, {
    door: 'native',
    address: '',
    overLimit: 'wait',
    exporter: () => null,
    link: () => null,
    ...facts,
  });
  return client;
}
