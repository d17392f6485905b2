import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import { StartKind } from '../../../../src/pubsub/subscribe-options.ts';
import { walkedLevels } from '../levels.ts';
import { LateStore } from './late-store.ts';
import { LogWorld, type Subscriber } from './log-world.ts';

const SEEDS = 50;
const STEPS = 250;
const WINDOW = 5;
const OPTIONS = { start: StartKind.EARLIEST, unackedMax: WINDOW };
/** A time to answer that is over now and then, and one that never is. */
const SHORT_MS = 500;
const LONG_MS = 1_000_000;

/** A durable subscription, or a group of streams, and what it must get of a log: in the words of a user. */
class Reading {
  readonly filter: string;
  readonly streamsMax: number;
  readonly keyOrder: boolean;
  /** Streams that hold it, each with the messages that it has not acknowledged. */
  streams: { subscriber: Subscriber; has: Set<number> }[] = [];
  /** Offsets ever delivered, those of them acknowledged since the broker began, and the last that came unmarked. */
  readonly delivered = new Set<number>();
  readonly acknowledged = new Set<number>();
  readonly everAcknowledged = new Set<number>();
  lastNew = 0;
  /** Offsets that it was told are missing. */
  missed = 0;

  private readonly ackWaitMs: number;

  constructor(filter: string, streamsMax: number, keyOrder: boolean, ackWaitMs: number) {
    this.ackWaitMs = ackWaitMs;
    this.filter = filter;
    this.streamsMax = streamsMax;
    this.keyOrder = keyOrder;
  }

  matches(topic: string): boolean {
    return this.filter.endsWith('#') || this.filter.endsWith(topic);
  }

  join(world: LogWorld, mark: number): void {
    const name = this.streamsMax === 1 ? this.filter : undefined;
    const options = {
      ...OPTIONS,
      ackWaitMs: this.ackWaitMs,
      name,
      keyOrder: this.keyOrder ? true : undefined,
    };
    const subscriber = world.subscriber(mark).subscribe(this.filter, options);
    if (this.streamsMax === 1) this.streams = []; // taken over
    this.streams.push({ subscriber, has: new Set() });
  }

  /** Looks at what has come on one stream. */
  look(index: number, count: number, earliest: number): void {
    const { subscriber, has } = this.streams[index];
    for (const line of subscriber.take(count)) {
      const missed = /missed (\d+)|DROPPED (\d+) for 2/.exec(line);
      if (missed !== null) this.missed += Number(missed[1] ?? missed[2]);
      const message = /^(\d+)(!\d+)? (\S+)=(\d+)$/.exec(line);
      if (message === null) continue;
      const offset = Number(message[1]);
      const isMarked = message[2] !== undefined;
      expect(this.matches(message[3]), `${line} matches ${this.filter}`).toBe(true);
      expect(Number(message[4])).toBe(offset);
      // One that is on its way again when the acknowledgement comes is no fault.
      if (this.ackWaitMs === LONG_MS) {
        expect(this.acknowledged.has(offset), `${line} was acknowledged`).toBe(false);
      }
      if (!isMarked) {
        // The first delivery may be read later than the second, where that went to another stream.
        if (this.streamsMax === 1 || this.ackWaitMs === LONG_MS) {
          expect(this.delivered.has(offset), `${line} comes again without a mark`).toBe(false);
        }
        if (!this.keyOrder) {
          expect(offset, 'first deliveries are in order').toBeGreaterThan(
            this.streamsMax === 1 ? this.lastNew : 0,
          );
        }
        this.lastNew = offset;
      }
      this.delivered.add(offset);
      if (offset >= earliest) has.add(offset); // the log has dropped others on their way
      if (this.ackWaitMs === LONG_MS) expect(has.size, 'the window').toBeLessThanOrEqual(WINDOW);
    }
  }

  ack(index: number, offset: number): void {
    const { subscriber, has } = this.streams[index];
    subscriber.ack(offset);
    has.delete(offset);
    this.acknowledged.add(offset);
    this.everAcknowledged.add(offset);
  }
}

class Model {
  readonly store = new LateStore(new MemoryStore());
  readonly world = new LogWorld({ store: this.store });
  readonly readings: readonly Reading[];
  readonly topics = new Map<number, string>();
  crashes = 0;
  trims = 0;
  private readonly random: Prng;

  constructor(random: Prng, ackWaitMs: number) {
    this.random = random;
    this.readings = [
      new Reading('t/#', 1, false, ackWaitMs),
      new Reading('t/a', 1, false, ackWaitMs),
      new Reading('$share/g/t/#', 3, false, ackWaitMs),
      new Reading('$share/k/t/#', 3, true, ackWaitMs),
    ];
  }

  step(): void {
    const { world, store, random } = this;
    const reading = this.readings[random.between(0, this.readings.length - 1)];
    const index = random.between(0, Math.max(0, reading.streams.length - 1));
    const stream = reading.streams[index];
    switch (random.between(0, 13)) {
      case 0:
      case 1:
      case 2: {
        const topic = `t/${'abc'[random.between(0, 2)]}`;
        this.topics.set(store.logs[0].head, topic);
        world.append(`${topic}=${store.logs[0].head}`);
        break;
      }
      case 3:
      case 4:
      case 5:
        store.step(random.between(0, 2));
        world.pass(0);
        break;
      case 6:
        if (reading.streams.length < reading.streamsMax || reading.streamsMax === 1) {
          reading.join(world, random.between(1, 8));
        }
        break;
      case 7:
      case 8:
        if (stream !== undefined) reading.look(index, random.between(1, 4), store.logs[0].earliest);
        break;
      case 9:
      case 10:
        if (stream !== undefined && stream.has.size > 0) {
          const offsets = [...stream.has];
          reading.ack(index, offsets[random.between(0, offsets.length - 1)]);
        }
        break;
      case 11:
        if (stream !== undefined && stream.has.size > 0) {
          const [offset] = stream.has;
          stream.has.delete(offset);
          stream.subscriber.nack(offset, random.between(0, 1) * 100);
        }
        break;
      case 12:
        world.pass(random.between(0, 30));
        break;
      case 13:
        this.rare(reading, index);
    }
  }

  /** What does not happen every day. */
  private rare(reading: Reading, index: number): void {
    const { world, store, random } = this;
    switch (random.between(0, 5)) {
      case 0:
        this.crashes++;
        store.crash();
        world.restart();
        for (const offset of this.topics.keys()) if (offset >= store.logs[0].head) this.topics.delete(offset);
        for (const each of this.readings) {
          each.streams = [];
          each.acknowledged.clear();
          each.lastNew = 0;
        }
        break;
      case 1:
        this.trims++;
        store.logs[0].trim(random.between(store.logs[0].earliest, store.logs[0].synced));
        for (const { streams } of this.readings) {
          for (const { has } of streams) {
            for (const offset of has) if (offset < store.logs[0].earliest) has.delete(offset);
          }
        }
        world.pass(0);
        break;
      case 2:
        world.pass(SHORT_MS); // everybody was silent for a while
        break;
      default:
        if (reading.streams[index] === undefined) break;
        reading.streams[index].subscriber.stream.end();
        reading.streams.splice(index, 1);
    }
  }

  /** The weather clears: everything comes, and is acknowledged. */
  settle(): void {
    const { world, store } = this;
    for (let round = 0; round < 200; round++) {
      store.step(round);
      world.pass(round % 10 === 0 ? 120 : 0);
      for (const reading of this.readings) {
        if (reading.streams.length === 0) reading.join(world, 100);
        for (let index = 0; index < reading.streams.length; index++) {
          reading.look(index, 100, store.logs[0].earliest);
          for (const offset of [...reading.streams[index].has]) reading.ack(index, offset);
        }
      }
    }
    world.pass(20);
    const { earliest } = store.logs[0];
    for (const reading of this.readings) {
      const kept = [...this.topics].filter(([offset, topic]) => offset >= earliest && reading.matches(topic));
      const lost = kept.filter(([offset]) => !reading.everAcknowledged.has(offset));
      expect(lost, `${reading.filter} has everything`).toEqual([]);
    }
    expect(world.core.metrics().unsettledMessages).toBe(0);
    expect(world.core.durables().filter(({ lag }) => lag > 0)).toEqual([]);
    expect(world.faults).toEqual([]);
  }
}

describe('a model of durable subscriptions and groups', () => {
  test('gets everything that its log keeps, in order, marked when it comes again, through crashes, takeovers and retention [BRK-61] [BRK-66] [BRK-69] [BRK-74]', () => {
    let crashes = 0;
    let trims = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const model = new Model(new Prng(seed), seed % 2 === 0 ? SHORT_MS : LONG_MS);
      try {
        for (let step = 0; step < STEPS; step++) {
          model.step();
          if (step % 16 === 0)
            expect(model.world.core.metrics()).toMatchObject(walkedLevels(model.world.core));
        }
        model.settle();
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
      crashes += model.crashes;
      trims += model.trims;
    }
    expect(Math.min(crashes, trims)).toBeGreaterThan(SEEDS / 4);
  });
});
