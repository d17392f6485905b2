import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import type { Client } from '../../../src/broker/core/delivery/client.ts';
import { Overflow } from '../../../src/pubsub/command.ts';
import { slowMatches } from '../../pubsub/slow-topic.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';
import { walkedLevels } from './levels.ts';

const TOPICS = ['a', 'a/b', 'a/c', 'b/b', 'b/b/c'];
const FILTERS = ['a', 'a/b', 'a/+', '+/b', '#', 'a/#', 'b/#', '+'];
/** Above what any message of the model is charged. */
const CHARGE_BYTES_MAX = 90;
const SEEDS = 150;
const STEPS = 300;

/** What the model knows of a subscribing stream: which messages were to be queued for it, in order. */
interface Subscriber {
  client: FakeClient;
  stream: FakeStream;
  overflow: Overflow;
  messagesMax: number;
  filters: Set<string>;
  expected: Uint8Array[];
  /** All queues of its client were at their bound, or a message from it, since this stream last took messages. */
  clientWasFull: boolean;
}

interface Publisher {
  client: FakeClient;
  stream: FakeStream;
  last: Uint8Array;
}

/** A broker under random publishers, subscribers and slow transports, beside a model of what everyone must receive. */
class Model {
  readonly core: DrivenCore;
  readonly subscribers: Subscriber[] = [];
  readonly publishers: Publisher[] = [];
  /** Messages that were waiting when their publisher or a filter went: some subscribers may miss them. */
  readonly abandoned = new Set<Uint8Array>();
  stops = 0;
  /** Stops that no queue's own bound accounts for. */
  clientStops = 0;
  /** Charged bytes that a client's queues may hold together. */
  private readonly clientBytesMax: number;
  private readonly clients: FakeClient[] = [];
  private readonly random: Prng;
  private sent = 0;

  /** @param bounded - clients have a small bound on all their queues together, else one that they never reach */
  constructor(random: Prng, bounded: boolean) {
    this.random = random;
    this.clientBytesMax = bounded ? random.between(1, 1_500) : 1_000_000;
    this.core = new DrivenCore({
      queueMessagesMax: 32,
      queueBytesPerClientMax: this.clientBytesMax,
      routesMax: 8,
    });
  }

  step(): void {
    const kind = this.random.below(100);
    if (kind < 5 || this.clients.length === 0) this.connect();
    else if (kind < 10) this.openSubscriber();
    else if (kind < 14) this.openPublisher();
    else if (kind < 22) this.changeFilter();
    else if (kind < 60) this.publish();
    else if (kind < 96) this.carry();
    else if (kind < 98) this.closeStream();
    else this.disconnect();
    this.check();
  }

  /** Everything on its way arrives. */
  settle(): void {
    for (let busy = true; busy; ) {
      busy = false;
      for (const publisher of this.publishers) {
        busy ||= publisher.stream.inbox.length > 0;
        this.pump(publisher);
      }
      for (const { stream } of this.subscribers) {
        busy ||= stream.link.outbox.length > 0;
        stream.carry();
      }
    }
  }

  disconnectAll(): void {
    while (this.clients.length > 0) this.disconnect();
  }

  private connect(): void {
    this.clients.push(new FakeClient(this.core));
  }

  private openSubscriber(): void {
    const client = this.pick(this.clients);
    const stream = client.open(this.random.between(1, 6));
    const overflow = this.pick<Overflow>([
      Overflow.BLOCK,
      Overflow.BLOCK,
      Overflow.DROP_OLDEST,
      Overflow.DROP_NEWEST,
    ]);
    const messagesMax = this.random.between(1, 12);
    const subscriber: Subscriber = {
      ...{ client, stream, overflow, messagesMax },
      ...{ filters: new Set<string>(), expected: [], clientWasFull: false },
    };
    this.subscribers.push(subscriber);
    this.addFilter(subscriber);
  }

  private openPublisher(): void {
    const client = this.pick(this.clients);
    this.publishers.push({ client, stream: client.open(), last: new Uint8Array() });
  }

  private changeFilter(): void {
    if (this.subscribers.length === 0) return;
    const subscriber = this.pick(this.subscribers);
    if (this.random.chance(0.6)) {
      this.addFilter(subscriber);
      return;
    }
    const filter = this.pick(FILTERS);
    subscriber.filters.delete(filter);
    for (const publisher of this.publishers) this.abandon(publisher);
    subscriber.stream.unsubscribe(1, filter);
    for (const publisher of this.publishers) this.pump(publisher);
  }

  private addFilter({ stream, overflow, messagesMax, filters }: Subscriber): void {
    const filter = this.pick(FILTERS);
    filters.add(filter);
    stream.subscribe(1, filter, overflow, messagesMax);
  }

  private publish(): void {
    if (this.publishers.length === 0) return;
    const publisher = this.pick(this.publishers);
    const burst = this.random.between(1, 8);
    for (let i = 0; i < burst; i++) {
      const topic = this.pick(TOPICS);
      const text = Buffer.from(`\x01\0\0${String.fromCharCode(topic.length)}\0\0\0\0${topic}${this.sent++}`);
      publisher.stream.inbox.push(Uint8Array.from(text));
    }
    this.pump(publisher);
  }

  /** The broker reads what `stream` has, and the model notes for whom it is. */
  private pump(publisher: Publisher): void {
    const { stream } = publisher;
    while (stream.inbox.length > 0 && !stream.link.paused) {
      const message = stream.inbox.shift() as Uint8Array;
      const topic = Buffer.from(message).toString('utf8', 8, 8 + message[3]);
      for (const { filters, expected } of this.subscribers) {
        if ([...filters].some((filter) => slowMatches(filter, topic))) expected.push(message);
      }
      publisher.last = message;
      this.core.received(stream.channel, message);
    }
  }

  private carry(): void {
    if (this.subscribers.length === 0) return;
    this.pick(this.subscribers).stream.carry(this.random.between(1, 10));
    for (const publisher of this.publishers) this.pump(publisher);
  }

  private closeStream(): void {
    if (this.random.chance(0.5)) {
      if (this.subscribers.length === 0) return;
      const [{ stream }] = this.subscribers.splice(this.random.below(this.subscribers.length), 1);
      stream.end();
    } else if (this.publishers.length > 0) {
      const [publisher] = this.publishers.splice(this.random.below(this.publishers.length), 1);
      this.abandon(publisher);
      publisher.stream.end();
    }
  }

  private disconnect(): void {
    const [client] = this.clients.splice(this.random.below(this.clients.length), 1);
    for (let i = this.subscribers.length - 1; i >= 0; i--) {
      if (this.subscribers[i].client === client) this.subscribers.splice(i, 1);
    }
    for (let i = this.publishers.length - 1; i >= 0; i--) {
      if (this.publishers[i].client === client) this.abandon(this.publishers.splice(i, 1)[0]);
    }
    client.disconnect();
  }

  private abandon({ stream, last }: Publisher): void {
    if (stream.link.paused) this.abandoned.add(last);
  }

  private check(): void {
    for (const { end } of this.clients) this.checkClient(end);
    let mayStop = false;
    let ownBound = false;
    for (const subscriber of this.subscribers) {
      const { stream, overflow, messagesMax } = subscriber;
      const { messageCount, low } = stream.channel.delivery.queue;
      if (messageCount > messagesMax) throw new Error('a queue above its bound'); // [BRK-18] [BRK-19]
      if (stream.link.paused) throw new Error('a subscribing stream was stopped'); // [BRK-22]
      if (stream.link.full) {
        subscriber.clientWasFull ||= this.isFull(stream.channel.client);
      } else {
        if (!stream.channel.delivery.idle)
          throw new Error('a message waits for a stream that takes messages'); // [BRK-38]
        subscriber.clientWasFull = false;
      }
      if (overflow !== Overflow.BLOCK || !stream.link.full) continue;
      ownBound ||= !low;
      mayStop ||= !low || subscriber.clientWasFull;
    }
    for (const { stream } of this.publishers) {
      if (!stream.link.paused) continue;
      this.stops++;
      if (!ownBound) this.clientStops++;
      if (!mayStop) throw new Error('a publisher stopped for nothing');
    }
  }

  private checkClient(client: Client): void {
    let bytes = 0;
    for (const { delivery } of client.channels) bytes += delivery.queue.bytes;
    if (client.queued.bytes !== bytes) throw new Error('a client is charged something else than it holds');
    if (bytes >= this.clientBytesMax + CHARGE_BYTES_MAX) throw new Error('a client above its bound'); // [BRK-38]
  }

  /** At the bound, or so near that it was there before a queue that drops made room. */
  private isFull(client: Client): boolean {
    return client.queued.bytes > this.clientBytesMax - CHARGE_BYTES_MAX;
  }

  private pick<T>(from: readonly T[]): T {
    return from[this.random.below(from.length)];
  }
}

/** What DROPPED has told. */
function toldMissing(stream: FakeStream): number {
  const dropped = stream.link.commands.filter(({ name }) => name === 'DROPPED');
  return dropped.reduce((sum, { body }) => sum + Number(body.readBigUInt64BE(0)), 0);
}

function deliveries(stream: FakeStream): Uint8Array[] {
  return stream.link.delivered.filter((bytes) => bytes[0] === 1);
}

/** True when `part` is `whole` with some elements left out. */
function isSubsequence(part: readonly unknown[], whole: readonly unknown[]): boolean {
  let at = 0;
  for (const item of whole) if (at < part.length && part[at] === item) at++;
  return at === part.length;
}

describe('the broker core beside a model', () => {
  test(`loses, doubles and reorders nothing, and counts every drop, over ${SEEDS} seeds [BRK-7] [BRK-19] [BRK-20] [BRK-38]`, () => {
    let stops = 0;
    let clientStops = 0;
    let drops = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const bounded = seed % 2 === 0;
      const model = new Model(new Prng(seed), bounded);
      try {
        for (let i = 0; i < STEPS; i++) {
          model.step();
          if (i % 16 === 0) expect(model.core.metrics()).toMatchObject(walkedLevels(model.core));
        }
        model.settle();
        const before = model.core.metrics();
        expect(before).toMatchObject({
          queuedMessages: 0,
          queuedBytes: 0,
          publishersStopped: 0,
          clientsFailed: 0,
        });
        for (const { stream, overflow, expected } of model.subscribers) {
          const received = deliveries(stream);
          if (overflow === Overflow.BLOCK) {
            const arrived = new Set(received);
            assert.deepEqual(
              received,
              expected.filter((bytes) => arrived.has(bytes) || !model.abandoned.has(bytes)),
            );
          }
          expect(isSubsequence(received, expected)).toBe(true);
          if (overflow === Overflow.DROP_OLDEST && !bounded) expect(received.at(-1)).toBe(expected.at(-1));
        }
        model.disconnectAll();
        expect(model.core.metrics()).toMatchObject({ clients: 0, streams: 0, subscriptions: 0, filters: 0 });
        stops += model.stops;
        clientStops += model.clientStops;
        drops += before.droppedOldest + before.droppedNewest;
      } catch (error) {
        throw new Error(`Seed ${seed} failed; run it alone with new Model(new Prng(${seed}), ${bounded}).`, {
          cause: error,
        });
      }
    }
    expect(stops).toBeGreaterThan(1_000);
    expect(clientStops).toBeGreaterThan(100);
    expect(drops).toBeGreaterThan(1_000);
  });

  test.each([
    ['on a client of its own', false],
    ['on one client with a bound for all', true],
  ])(
    'accounts for every message that was to be queued, each stream %s: delivered, or told to be dropped [BRK-19] [BRK-38] [BRK-92]',
    (_, shared) => {
      for (let seed = 1; seed <= 40; seed++) {
        const random = new Prng(seed);
        const core = new DrivenCore(shared ? { queueBytesPerClientMax: random.between(70, 4_000) } : {});
        const publisher = new FakeClient(core).open();
        const client = new FakeClient(core);
        const streams = Array.from({ length: 6 }, (_, i) => {
          const stream = (shared ? client : new FakeClient(core)).open(random.between(1, 4));
          const overflow = i % 2 === 0 ? Overflow.DROP_OLDEST : Overflow.DROP_NEWEST;
          stream.subscribe(1, '#', overflow, random.between(1, 20), random.between(70, 3_000));
          return { stream, overflow };
        });
        for (let i = 0; i < 300; i++) {
          publisher.publish('t', 'x'.repeat(random.below(100)));
          if (random.chance(0.5)) streams[random.below(streams.length)].stream.carry(random.between(1, 4));
        }
        for (let i = 0; i < 50; i++) for (const { stream } of streams) stream.carry();
        for (const { stream } of streams) {
          expect(deliveries(stream).length + toldMissing(stream), `seed ${seed}`).toBe(300);
        }
        const missing = (wanted: Overflow) =>
          streams
            .filter(({ overflow }) => overflow === wanted)
            .reduce((sum, { stream }) => sum + 300 - deliveries(stream).length, 0);
        expect(core.metrics(), `seed ${seed}`).toMatchObject({
          droppedOldest: missing(Overflow.DROP_OLDEST),
          droppedNewest: missing(Overflow.DROP_NEWEST),
        });
      }
    },
  );
});
