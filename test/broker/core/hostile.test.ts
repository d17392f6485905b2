/** What a client does that wants to harm others, or to make the broker hold or do more than it pays for. */

import { describe, expect, test } from 'vitest';
import { encodeAckRanges } from '../../../src/pubsub/acknowledgement.ts';
import {
  AckFlag,
  encodeSubscribe,
  Overflow,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
} from '../../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../../src/pubsub/properties.ts';
import { decodeNotice, encodeNotice } from '../../../src/pubsub/session-commands.ts';
import {
  encodeSubscribeOptions,
  StartKind,
  type SubscribeOptionValues,
} from '../../../src/pubsub/subscribe-options.ts';
import { Guest, taken, World } from './world.ts';

const KIB = 1024;

function message(
  topic: string,
  payload: string,
  { flags = 0, id = 0, properties }: { flags?: number; id?: number; properties?: Properties } = {},
): Uint8Array {
  const all = flags | (id > 0 ? PublishFlag.QOS1 : 0) | (properties ? PublishFlag.PROPERTIES : 0);
  const parts = properties ? [encodeProperties(properties)] : [];
  return Buffer.concat([publishPrefix(topic, all, id), ...parts, Buffer.from(payload)]);
}

function subscribe(filter: string, flags: number, options: SubscribeOptionValues): Uint8Array {
  return encodeSubscribe(1, filter, flags, 0, 0, encodeSubscribeOptions(options));
}

/** A log of `count` messages, and a reader that was given them all. */
function reader(count: number, options: SubscribeOptionValues = {}) {
  const world = new World();
  const publisher = world.hello('publisher').client.open();
  const stream = world.hello('reader').client.open();
  stream.send(subscribe('t', SubscribeFlag.QOS1, { unackedMax: 16_384, ...options }));
  for (let id = 1; id <= count; id++) publisher.send(message('t', 'x', { id }));
  stream.carry();
  return { world, stream };
}

describe('what waits for a slow subscriber', () => {
  test('is bounded for wills of others, which are left out and told beyond that [BRK-38]', () => {
    const world = new World({ queueBytesPerClientMax: 100 * KIB });
    const slow = world.connect().open(0);
    slow.subscribe(1, 'w', Overflow.BLOCK, 1, 100);
    for (let i = 0; i < 100; i++) {
      const guest = world.hello('');
      guest.will('w', 'x'.repeat(10 * KIB));
      guest.leave();
    }
    const { willsPublished, publisherStops, droppedNewest } = world.core.metrics();
    expect(willsPublished).toBe(100);
    expect(publisherStops).toBeGreaterThan(5);
    expect(publisherStops).toBeLessThan(11);
    expect(publisherStops + droppedNewest).toBe(99); // one is queued
  });

  test('is bounded over all streams of a publisher, which goes on when there is room [BRK-38]', () => {
    const world = new World({ queueBytesPerClientMax: 100 * KIB });
    const slow = world.connect().open(1);
    slow.subscribe(1, 'w', Overflow.BLOCK, 1, 100);
    const client = world.connect();
    const early = client.open();
    early.publish('other', 'x');
    const streams = Array.from({ length: 12 }, () => client.open());
    for (const stream of streams) stream.publish('w', 'x'.repeat(10 * KIB));
    expect(early.link.paused).toBe(true); // it has nothing that waits
    for (let i = 0; i < 20; i++) slow.carry();
    expect(early.link.paused).toBe(false);
    expect(streams.every((stream) => !stream.link.paused)).toBe(true);

    const greedy = world.connect();
    for (let i = 0; i < 100 && greedy.peer.closedWith === null; i++)
      greedy.open().publish('w', 'x'.repeat(10 * KIB));
    expect(greedy.peer.closedWith).toBe(ReasonCode.LIMITED);
    expect(world.core.metrics().publishersStopped).toBe(0);
  });

  test('leaves no more than some gaps where messages supersede each other and are dropped [BRK-32]', () => {
    const world = new World();
    const slow = world.connect().open(0);
    slow.subscribe(1, '#', Overflow.LATEST, 10, 1_000);
    const publisher = world.connect().open();
    for (let i = 0; i < 1_000; i++) {
      publisher.publish('b', 'x'.repeat(500));
      publisher.publish('a', 'x');
      publisher.publish('a', 'x'.repeat(600));
    }
    expect(slow.channel.delivery.queue.nextPlace).toBeGreaterThan(900);
    const left = slow.channel.delivery.queue;
    let entries = 0;
    for (; !left.empty; entries++) left.shift();
    expect(entries).toBeLessThan(200);
  });
});

describe('what a client can have for little', () => {
  test('an ACK walks over the window once, however often it names it [BRK-64]', () => {
    const { world, stream } = reader(2_000);
    const all = Array.from({ length: 256 }, () => [1, 0xffff_ffff] as const);
    stream.send(encodeAckRanges(all, AckFlag.PROGRESS));
    expect(world.core.metrics().unsettledMessages).toBe(2_000);
    stream.send(
      encodeAckRanges([
        [1_999, 2],
        [5, 10],
        [1, 6],
        [8, 2],
        [3_000, 4],
      ]),
    );
    expect(world.core.metrics().unsettledMessages).toBe(2_000 - 2 - 14);
    stream.send(encodeAckRanges(all));
    expect(world.core.metrics().unsettledMessages).toBe(0);
  });

  test('messages given up together are written together [BRK-68]', () => {
    const { world, stream } = reader(1_000, { name: 'd', deadLetter: 'dead' });
    const before = world.store.state.written;
    stream.send(encodeAckRanges([[1, 1_000]], AckFlag.TERMINATE));
    expect(world.core.metrics()).toMatchObject({ deadLetters: 1_000, unsettledMessages: 0 });
    expect(world.store.state.written - before).toBeLessThan(5);
  });

  test('topics that are told apart are charged: those of a rate, and those of a search [BRK-89] [BRK-70]', () => {
    const world = new World({ queueBytesPerClientMax: 20 * KIB });
    const publisher = world.hello('publisher').client.open();
    const topics = Array.from({ length: 200 }, (_, i) => `${i}/`.padEnd(900, 'x'));
    for (const [i, topic] of topics.entries()) publisher.send(message(topic, 'x', { id: i + 1 }));
    const paced = world.connect();
    const pacedStream = paced.open();
    pacedStream.send(subscribe('#', Overflow.LATEST, { rateMax: 1 }));
    for (const [i, topic] of topics.entries()) publisher.send(message(topic, 'y', { id: 1_000 + i }));
    expect(paced.end.queued.bytes).toBeGreaterThan(15 * KIB);
    expect(paced.end.queued.bytes).toBeLessThan(25 * KIB);
    pacedStream.carry();
    world.pass(3_000);
    expect(paced.end.queued.bytes).toBe(0);

    const searching = world.connect();
    const stream = searching.open();
    stream.send(subscribe('#', SubscribeFlag.QOS1, { start: StartKind.LAST_PER_TOPIC, unackedMax: 10_000 }));
    world.pass(100);
    stream.carry();
    // From the first topic that was one too many on it gets everything, as if it had not asked for the last messages.
    expect(taken(stream)).toHaveLength(402); // SUBSCRIBED and POSITION among them
    expect(searching.end.queued.bytes).toBe(0);
  });
});

describe('what belongs to others', () => {
  test('a will is not taken for a message that another client has given its name [BRK-91] [BRK-102]', () => {
    const world = new World();
    const listener = world.listener('status');
    const liar = world.hello('liar');
    const stream = liar.client.open();
    for (let id = 1; id <= 20; id++) {
      stream.send(message('status', 'forged', { id, properties: { messageId: `$will/${id}` } }));
    }
    stream.carry();
    expect(stream.link.lines).toHaveLength(20);
    expect(stream.link.lines.every((line) => line.startsWith('REFUSED'))).toBe(true);
    expect(taken(listener)).toEqual([]);
    const guest = world.hello('guest', { expiryMs: 0 });
    guest.will('status', 'gone', 0, PublishFlag.QOS1);
    guest.leave();
    world.pass(10);
    expect(taken(listener)).toHaveLength(1);
  });

  test('a value that is owned goes with the session that owns it: nobody changes sessions behind it [BRK-50] [BRK-108]', () => {
    const world = new World();
    const client = world.connect();
    const stream = client.open();
    stream.send(message('room/me', 'hi', { flags: PublishFlag.RETAIN, properties: { owned: 10 } }));
    stream.end();
    const guest = new Guest(client);
    guest.hello('me');
    expect(guest.answers.join()).toMatch(/^REFUSED 1/);
    guest.leave();
    world.pass(1_000);
    expect(world.core.metrics().retainedMessages).toBe(0);
  });
});

test('who takes a subscription back before it is known where it begins has an answer to both [BRK-4]', () => {
  const world = new World();
  Object.assign(world.store.logs[0], { firstAt: () => null }); // it is still being looked for
  const stream = world.connect().open();
  stream.send(subscribe('nothing', SubscribeFlag.QOS1, { start: StartKind.TIME, startValue: 1 }));
  stream.carry();
  expect(stream.link.lines).toEqual([]);
  stream.unsubscribe(2, 'nothing');
  expect(taken(stream)).toEqual(['SUBSCRIBED 1', 'UNSUBSCRIBED 2']);
});

test('a broker that closes in a part of a millisecond, or never, tells so [BRK-47]', () => {
  const world = new World();
  const guest = world.hello('guest');
  world.core.shutDown(1.5);
  expect(guest.answers.at(-1)).toMatch(/^NOTICE/);
  expect(decodeNotice(encodeNotice({ code: 1, value: Number.POSITIVE_INFINITY, text: '' })).value).toBe(
    Number.MAX_SAFE_INTEGER,
  );
});
