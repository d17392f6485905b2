import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { type Channel, type Client, Role } from '../../src/broker/core/delivery/client.ts';
import {
  Command,
  encodePlain,
  encodeSubscribe,
  encodeUnsubscribe,
  LARGE_BYTES_MIN,
  PublishFlag,
  publishPrefix,
  SubscribeFlag,
} from '../../src/pubsub/command.ts';
import { DrivenCore } from '../broker/core/driven-core.ts';
import { FakeClient, type FakeStream } from '../broker/core/fake-client.ts';

const FILTERS = ['a', 'a/b', '+', '#', 'a/#', 'b'];
const TOPICS = ['a', 'a/b', 'b', 'c', 'b/c'];
const LARGE = new Uint8Array(LARGE_BYTES_MIN);

/**
 * Clients that do all that they may, in any order: subscribe with lanes and every policy, publish in every class, read or not, answer marks,
 * end, come and go.
 */
class Chaos {
  private readonly random: Prng;
  readonly faults: unknown[] = [];
  readonly core: DrivenCore;
  private readonly clients: { client: FakeClient; streams: FakeStream[] }[] = [];
  private readonly answered = new Map<Channel, Uint8Array>();
  private nowMs = 0;

  constructor(seed: number) {
    this.random = new Prng(seed);
    const { random } = this;
    this.core = new DrivenCore(
      {
        queueMessagesMax: random.between(1, 6),
        queueBytesMax: random.chance(0.5) ? 2_000 : 200_000,
        queueBytesPerClientMax: random.chance(0.5) ? 3_000 : 400_000,
        queueBytesTotalMax: random.chance(0.5) ? 5_000 : 600_000,
        filtersPerClientMax: 4,
        routesMax: 8,
        stallMs: random.chance(0.5) ? 300 : 0,
      },
      (error) => this.faults.push(error),
    );
    for (let i = 0; i < 3; i++) this.come();
  }

  private come(): void {
    const { random } = this;
    const client = new FakeClient(this.core);
    client.peer.laneMark = random.between(1, 4);
    client.peer.openableStreams = random.chance(0.3) ? random.below(3) : 64;
    const streams = Array.from({ length: 4 }, () => this.open(client));
    this.clients.push({ client, streams });
  }

  private open(client: FakeClient): FakeStream {
    const { random } = this;
    const messageBytesMax = random.chance(0.1) ? random.between(8, 60) : 2 ** 30;
    return client.open(random.between(1, 4), { priority: random.below(4), messageBytesMax });
  }

  step(): void {
    const { random, core } = this;
    const at = random.below(this.clients.length);
    const { client, streams } = this.clients[at];
    const stream = streams[random.below(streams.length)];
    const filter = FILTERS[random.below(FILTERS.length)];
    const topic = TOPICS[random.below(TOPICS.length)];
    const id = random.between(1, 4);
    const half = random.below(streams.length >> 1) + (streams.length >> 1);
    switch (random.below(16)) {
      case 0:
      case 1: {
        const lanes = random.chance(0.6) ? SubscribeFlag.LANES : 0;
        const flags = lanes | (random.chance(0.5) ? SubscribeFlag.COMPRESSED : 0) | random.below(3);
        streams[half]?.send(
          encodeSubscribe(id, filter, flags, random.below(4), random.chance(0.5) ? 0 : 1_500),
        );
        break;
      }
      case 2:
        streams[half]?.send(encodeUnsubscribe(id, filter));
        break;
      case 3:
      case 4:
      case 5:
      case 6: {
        const body = random.chance(0.2) ? LARGE : new Uint8Array(random.below(900));
        streams[random.below(streams.length >> 1)]?.send(
          Buffer.concat([publishPrefix(topic, random.chance(0.3) ? PublishFlag.COMPRESSED : 0), body]),
        );
        break;
      }
      case 7:
        stream.send(encodePlain(Command.PING, id, new Uint8Array(random.below(900))));
        break;
      case 8:
        if (random.chance(0.3)) streams[0].send(encodePlain(Command.FLUSH, id));
        break;
      case 9:
        if (random.chance(0.1)) core.ended(stream.channel);
        if (random.chance(0.05)) {
          const lane = client.peer.lanes[random.below(client.peer.lanes.length + 1)];
          if (lane !== undefined) core.ended(lane.channel);
        }
        break;
      case 10:
        if (random.chance(0.05)) {
          client.disconnect();
          this.clients.splice(at, 1);
          this.come();
        } else if (streams.length < 8 && random.chance(0.2)) streams.push(this.open(client));
        break;
      case 11:
        this.nowMs += random.below(200);
        core.tick(this.nowMs);
        break;
      default:
        this.read(client, streams, random.below(4), random.chance(0.8));
    }
    for (const each of this.clients) for (const waiting of each.streams) waiting.pump();
    this.check();
  }

  /** The client takes what there is, up to `count` a stream, and answers marks. */
  private read(client: FakeClient, streams: readonly FakeStream[], count: number, answers: boolean): boolean {
    let isNews = false;
    const all = [
      ...streams.map(({ link, channel }) => ({ link, channel })),
      ...client.peer.lanes.map(({ link, channel }) => ({ link, channel })),
    ];
    for (const { link, channel } of all) {
      const before = link.delivered.length;
      const drained = link.carry(count);
      if (drained) this.core.drained(channel);
      if (link.delivered.length > before) isNews = true;
      if (!answers || link.paused) continue;
      const mark = link.delivered.findLast((bytes) => bytes[0] === Command.MARK);
      if (mark === undefined || this.answered.get(channel) === mark) continue;
      this.answered.set(channel, mark);
      isNews = true;
      this.core.received(channel, encodePlain(Command.MARKED, Buffer.from(mark).readUInt32BE(4)));
    }
    return isNews;
  }

  /** No fault came up, and all sums are those of their parts. */
  private check(): void {
    assert.deepEqual(this.faults, []);
    const { clients, budget } = (this.core as unknown as { state: Held }).state;
    let total = 0;
    for (const client of clients.keys()) {
      let bytes = 0;
      let transport = 0;
      let lanes = 0;
      for (const channel of client.channels) {
        const { queue } = channel.delivery;
        bytes += queue.bytes;
        transport += (channel.delivery as unknown as InTransport).transportBytes;
        if (channel.role === Role.LANE) lanes++;
        assert.ok(queue.messageCount >= 0);
      }
      assert.equal(client.queued.bytes, bytes);
      assert.equal(client.transportBytes, transport);
      assert.equal(client.laneCount, lanes);
      assert.equal(client.lanesOpening, 0);
      total += bytes;
    }
    assert.equal(budget.usedBytes, total);
  }

  /** Everybody reads and answers everything: nothing is left waiting, nobody stopped. */
  finish(): void {
    for (let round = 0; round < 3_000; round++) {
      let isNews = false;
      for (const { client, streams } of this.clients) {
        if (this.read(client, streams, 100, true)) isNews = true;
        for (const stream of streams) {
          if (stream.inbox.length > 0 && !stream.link.paused) isNews = true;
          stream.pump();
        }
      }
      this.nowMs += 20;
      this.core.tick(this.nowMs);
      if (!isNews && this.core.idle && round > 5) break;
    }
    const { publishersStopped, queuedMessages } = this.core.metrics();
    expect({ publishersStopped, queuedMessages, idle: this.core.idle }).toEqual({
      publishersStopped: 0,
      queuedMessages: 0,
      idle: true,
    });
    for (const { client } of this.clients) client.disconnect();
    expect(this.core.metrics()).toMatchObject({
      clients: 0,
      streams: 0,
      filters: 0,
      lanes: 0,
      queuedBytes: 0,
      subscriptions: 0,
    });
    expect(this.faults).toEqual([]);
  }
}

/** What the core keeps to itself. */
interface Held {
  readonly clients: ReadonlyMap<Client, unknown>;
  readonly budget: { readonly usedBytes: number };
}

interface InTransport {
  readonly transportBytes: number;
}

const FIRST_SEED = 1;
const SEEDS = Number(process.env.BROKER_SEEDS ?? 20);

test('clients that do all that they may, in any order, cost no client a fault of the broker, and leave nothing behind', () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const chaos = new Chaos(seed);
      for (let i = 0; i < 250; i++) chaos.step();
      chaos.finish();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
