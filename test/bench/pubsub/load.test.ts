import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Histogram } from '../../../src/base/histogram.ts';
import { sharedMicros } from '../../../src/bench/metronome.ts';
import { Arrivals, overlapOf } from '../../../src/bench/pubsub/arrivals.ts';
import { numberOf, type PubsubLoad, Schedule, topicOf } from '../../../src/bench/pubsub/load.ts';
import type { LoadClient } from '../../../src/bench/pubsub/load-client.ts';
import { LoadPublisher } from '../../../src/bench/pubsub/publisher.ts';

const LOAD: PubsubLoad = {
  prefix: 'p',
  topics: 1,
  size: 64,
  publishers: 1,
  subscribers: 1,
  shared: false,
  overflow: 'block',
  qos: 0,
  window: 1,
  durable: false,
  rate: 1_000,
  warmUpSeconds: 1,
  seconds: 2,
};

describe('the schedule of a load', () => {
  test('has as many messages as the rate has, evenly spaced over all publishers, whatever their number', () => {
    const number = fc.integer({ min: 1, max: 40 });
    const tenths = fc.integer({ min: 1, max: 30 });
    fc.assert(
      fc.property(
        number,
        fc.integer({ min: 10, max: 2_000 }),
        tenths,
        tenths,
        (publishers, rate, warm, long) => {
          const load = { ...LOAD, publishers, rate, warmUpSeconds: warm / 10, seconds: long / 10 };
          const schedules = Array.from({ length: publishers }, (_, i) => new Schedule(load, i, 5_000));
          const due = schedules.flatMap((schedule) =>
            Array.from({ length: schedule.warmUp + schedule.measured }, (_, i) => schedule.dueMicros(i)),
          );
          due.sort((a, b) => a - b);
          const offMicros = due.map((micros, i) => Math.abs(micros - (5_000 + (i * 1e6) / rate)));
          expect(Math.max(...offMicros)).toBeLessThan(0.001);
          const measured = schedules.reduce((sum, schedule) => sum + schedule.measured, 0);
          expect(measured).toBe(Math.round(rate * load.seconds));
          const first = Math.min(
            ...schedules.filter((s) => s.measured > 0).map((s) => s.dueMicros(s.warmUp)),
          );
          expect(first).toBeGreaterThanOrEqual(5_000 + load.warmUpSeconds * 1e6 - 1e6 / rate);
        },
      ),
    );
  });
});

describe('what a subscriber got', () => {
  test('is counted once; what came again or behind a later message of its topic is counted apart', () => {
    const arrivals = new Arrivals({ ...LOAD, publishers: 2, topics: 2 });
    for (const number of [1, 2, 4, 3, 6, 5, 4, 4]) arrivals.take(0, number, false);
    arrivals.take(0, 6, true);
    arrivals.take(1, 100_000, false);
    arrivals.take(1, 99_998, false);
    arrivals.take(7, 1, false); // of another run
    // 3 and 5 are of the other topic than what they came behind; 99,998 is not.
    expect(arrivals.counts).toEqual({ delivered: 8, doubled: 3, redelivered: 1, disordered: 1 });
  });

  test('agrees with a plain set of numbers', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20_000 })), (numbers) => {
        const arrivals = new Arrivals(LOAD);
        for (const number of numbers) arrivals.take(0, number, false);
        const different = new Set(numbers).size;
        expect(arrivals.counts).toMatchObject({ delivered: different, doubled: numbers.length - different });
      }),
    );
  });

  test('of a shared group overlaps in what came to two of its members', () => {
    const members = [[1, 2, 3], [3, 4], [3, 9_000], []].map((numbers) => {
      const arrivals = new Arrivals(LOAD);
      for (const number of numbers) arrivals.take(0, number, false);
      return arrivals.seen;
    });
    expect(overlapOf(members)).toBe(2);
    expect(overlapOf([])).toBe(0);
  });
});

test('a publisher that is late sends each message of its schedule once, those of the warm-up without a number', () => {
  const load = { ...LOAD, topics: 3, rate: 100, warmUpSeconds: 0.05, seconds: 0.1 };
  const sent: [topic: string, number: number][] = [];
  const client: LoadClient = {
    publish: (topic, message) => sent.push([topic, numberOf(message)]) > 0,
    publishAcknowledged: async () => {},
    ...{ onDrain: null, onEnd: null },
    subscribe: async () => {},
    flush: async () => 0,
    close: async () => {},
  };
  const publisher = new LoadPublisher(client, load, 0, sharedMicros() - 1e6, new Histogram());
  publisher.goOn();
  const warmUp = [0, 1, 2, 3, 4].map((i) => [topicOf(load, i % 3), 0]);
  const measured = Array.from({ length: 10 }, (_, i) => [topicOf(load, (i + 1) % 3), i + 1]);
  expect(sent).toEqual([...warmUp, ...measured]);
  expect(publisher.counts).toMatchObject({ offered: 10, published: 10 });
});
