import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import { QueueWindow } from '../../../src/protocol/congestion/queue-window.ts';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';

const PACKET = 1_200;
const BOUND = 5 * MILLISECOND;

/** A sender that always has packets, behind a bottleneck that never drops one. */
class Sender {
  now: Micros = 0;
  readonly rtt = new RttEstimator();
  readonly window: QueueWindow;
  /** What our packets wait behind besides our own, in bytes. */
  othersBytes = 0;
  /** Bytes a microsecond. */
  rate: number;
  /** Most in flight that something else, such as a congestion controller, allows. */
  limit = Number.POSITIVE_INFINITY;
  delivered = 0;
  path: Micros;
  private inFlight = 0;
  private freeAt: Micros = 0;
  private readonly flights: { sentAt: Micros; ackAt: Micros }[] = [];

  constructor(rate: number, path: Micros, share = 0) {
    this.rate = rate;
    this.path = path;
    this.window = new QueueWindow(this.rtt, BOUND, share, 0);
  }

  /** Mean length of the queue in the last `ms` that this ran. */
  run(ms: number): Micros {
    const end = this.now + ms * MILLISECOND;
    this.delivered = 0;
    let sum = 0;
    for (; this.now < end; this.now += STEP) {
      while (this.flights.length > 0 && this.flights[0].ackAt <= this.now) this.acknowledge();
      while (this.inFlight < Math.min(this.window.bytes, this.limit)) this.send();
      sum += Math.max(0, this.freeAt - this.now);
    }
    return (sum * STEP) / (ms * MILLISECOND);
  }

  private send(): void {
    const others = this.othersBytes / this.rate;
    this.freeAt = Math.max(this.freeAt, this.now) + PACKET / this.rate;
    const last = this.flights.at(-1)?.ackAt ?? 0;
    this.flights.push({ sentAt: this.now, ackAt: Math.max(last, this.freeAt + others + this.path) });
    this.inFlight += PACKET;
    this.window.onSent(this.inFlight, 0);
  }

  private acknowledge(): void {
    const { sentAt, ackAt } = this.flights.shift()!;
    this.inFlight -= PACKET;
    this.delivered += PACKET;
    this.rtt.update(ackAt - sentAt, 0, ackAt);
    this.window.onAck(PACKET, ackAt);
  }
}

describe('A window for a short queue', () => {
  test('keeps it short, whatever rate and path, and the path busy [SCH-6]', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 500, max: 5_000 }),
        fc.integer({ min: 10, max: 200 }),
        (perMs, pathMs) => {
          const sender = new Sender(perMs / 1_000, pathMs * MILLISECOND);
          sender.limit = 10 * PACKET;
          sender.run(20 * pathMs);
          sender.limit = 4 * perMs * (pathMs + 10);
          sender.run(30 * pathMs + 500);
          expect(sender.run(3_000)).toBeLessThan(1.25 * BOUND + (2 * PACKET) / sender.rate);
          expect(sender.delivered).toBeGreaterThan(0.95 * perMs * 3_000);
        },
      ),
      { numRuns: 12 },
    );
  });

  test('is as long as a share of the round trip, where that is more [SCH-10]', () => {
    const sender = new Sender(2, 200 * MILLISECOND, 1 / 10);
    sender.limit = 10 * PACKET;
    sender.run(1_000);
    sender.limit = 2_000_000;
    sender.run(5_000);
    const queue = sender.run(3_000);
    expect(queue).toBeGreaterThan(BOUND);
    expect(queue).toBeLessThan(25 * MILLISECOND);
  });

  test('finds a rate that rises, and one that falls [SCH-6]', () => {
    const sender = new Sender(0.5, 40 * MILLISECOND);
    sender.limit = 10 * PACKET;
    sender.run(500);
    sender.limit = 500_000;
    sender.run(3_000);
    sender.rate = 2.5;
    sender.run(5_000);
    sender.run(2_000);
    expect(sender.delivered / 2_000).toBeGreaterThan(0.9 * 2_500);
    sender.rate = 0.5;
    sender.run(30 * (SECOND / MILLISECOND));
    expect(sender.run(2_000)).toBeLessThan(3 * BOUND);
  });

  test('takes hardly anything from the rate where others fill the queue, or the way became longer [SCH-6]', () => {
    for (const change of [{ othersBytes: 100_000 }, { path: 80 * MILLISECOND }]) {
      const sender = new Sender(2.5, 40 * MILLISECOND);
      sender.limit = 10 * PACKET;
      sender.run(500);
      sender.limit = 150_000;
      sender.run(3_000);
      Object.assign(sender, change);
      // what the limit by itself would let through from now on
      const rate = Math.min(2_500, sender.limit / 80);
      sender.run(1_000);
      sender.run(20_000);
      expect(sender.delivered / 20_000).toBeGreaterThan(0.8 * rate);
    }
  });

  test('is none on a path of less than a millisecond, nor before there is a queue [SCH-6]', () => {
    const short = new Sender(10, 500);
    short.limit = 20 * PACKET;
    short.run(100);
    short.limit = 200_000;
    short.run(1_000);
    expect(short.window.bytes).toBe(Number.POSITIVE_INFINITY);
    const free = new Sender(10, 40 * MILLISECOND);
    free.limit = 20 * PACKET;
    free.run(2_000);
    expect(free.window.bytes).toBe(Number.POSITIVE_INFINITY);
  });
});

const STEP: Micros = 200;
