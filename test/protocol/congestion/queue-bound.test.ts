import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import { QueueBound } from '../../../src/protocol/congestion/queue-bound.ts';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';

const PACKET = 1_200;
const BOUND = 50 * MILLISECOND;

/** A sender that always has packets, behind a bottleneck that never drops one. */
class Sender {
  now: Micros = 0;
  readonly rtt = new RttEstimator();
  readonly bound = new QueueBound(this.rtt, BOUND);
  /** What our packets wait behind besides our own, in bytes. */
  othersBytes = 0;
  inFlight = 0;
  /** Bytes a microsecond. */
  rate: number;
  /** Most in flight that something else, such as the application, allows. */
  limit = Number.POSITIVE_INFINITY;
  delivered = 0;
  private readonly path: Micros;
  private freeAt: Micros = 0;
  private readonly flights: { sentAt: Micros; ackAt: Micros }[] = [];

  constructor(rate: number, path: Micros) {
    this.rate = rate;
    this.path = path;
  }

  /** Where the queue was in the last `ms` that this ran, at most. */
  run(ms: number): Micros {
    const end = this.now + ms * MILLISECOND;
    let queueMax = 0;
    for (; this.now < end; this.now += MILLISECOND) {
      while (this.flights.length > 0 && this.flights[0].ackAt <= this.now) this.acknowledge();
      while (this.inFlight < Math.min(this.bound.window, this.limit)) this.send();
      queueMax = Math.max(queueMax, this.freeAt - this.now);
    }
    return queueMax;
  }

  private send(): void {
    const others = this.othersBytes / this.rate;
    this.freeAt = Math.max(this.freeAt, this.now) + PACKET / this.rate;
    this.flights.push({ sentAt: this.now, ackAt: this.freeAt + others + this.path });
    this.inFlight += PACKET;
    this.bound.onSent(this.inFlight, this.inFlight - PACKET);
  }

  private acknowledge(): void {
    const { sentAt, ackAt } = this.flights.shift()!;
    this.inFlight -= PACKET;
    this.delivered += PACKET;
    this.rtt.update(ackAt - sentAt, 0, ackAt);
    this.bound.onAck(ackAt);
  }
}

describe('A bound of the queue', () => {
  test('keeps it there, whatever rate and path, and the path busy [STR-42]', () => {
    fc.assert(
      fc.property(fc.integer({ min: 50, max: 1_000 }), fc.integer({ min: 5, max: 300 }), (perMs, pathMs) => {
        const sender = new Sender(perMs / 1_000, pathMs * MILLISECOND);
        sender.limit = 10 * PACKET;
        sender.run(1_000);
        sender.limit = 5 * perMs * (pathMs + 100); // five times what is good
        sender.run(15 * (pathMs + 100) + 2_000);
        sender.delivered = 0;
        const packetTime = PACKET / sender.rate;
        // what it lets out at once, and the least that it ever does
        const slack =
          2 * packetTime + Math.max(0, 1_200 / sender.rate - pathMs * MILLISECOND) + 5 * MILLISECOND;
        expect(sender.run(5_000)).toBeLessThan(1.25 * BOUND + slack);
        expect(sender.delivered).toBeGreaterThan(0.9 * perMs * 5_000);
      }),
      { numRuns: 15 },
    );
  });

  test('finds a rate that rises, and one that falls [STR-42]', () => {
    const sender = new Sender(0.1, 40 * MILLISECOND);
    sender.limit = 2_400;
    sender.run(500);
    sender.limit = Number.POSITIVE_INFINITY;
    sender.bound.window = 20_000;
    sender.run(3_000);
    sender.rate = 0.5;
    sender.run(3_000);
    sender.delivered = 0;
    sender.run(2_000);
    expect(sender.delivered / 2_000).toBeGreaterThan(0.9 * 500);
    sender.rate = 0.1;
    sender.run(3_000);
    expect(sender.run(2_000)).toBeLessThan(1.5 * BOUND);
  });

  test('says nothing when the queue stays although we send less: it is that of others [STR-42]', () => {
    const sender = new Sender(1, 40 * MILLISECOND);
    sender.limit = 20 * PACKET;
    sender.run(500);
    sender.othersBytes = 300_000;
    sender.run(4_000);
    expect(sender.bound.window).toBe(Number.POSITIVE_INFINITY);
    sender.delivered = 0;
    sender.run(5_000);
    expect(sender.delivered).toBeGreaterThan((0.8 * (20 * PACKET * 5_000)) / 340);
    sender.run(10_000);
    sender.othersBytes = 0;
    sender.limit = 500_000;
    sender.run(20 * (SECOND / MILLISECOND));
    expect(sender.run(1_000)).toBeLessThan(1.5 * BOUND);
  });

  test('is none on a path of less than a millisecond [STR-42]', () => {
    const sender = new Sender(10, 500);
    sender.limit = 20 * PACKET;
    sender.run(100);
    sender.limit = 2_000_000;
    sender.run(2_000);
    expect(sender.bound.window).toBe(Number.POSITIVE_INFINITY);
  });

  test('learns nothing of acknowledgements that bring no sample, and nothing of what is not in flight [STR-42]', () => {
    const sender = new Sender(0.1, 40 * MILLISECOND);
    sender.limit = 20 * PACKET;
    sender.run(150); // the last sample is of a long queue
    const { bound, now } = sender;
    const { rate, window } = bound;
    for (let k = 1; k <= 100; k++) bound.onAck(now + k * SECOND);
    expect([bound.rate, bound.window]).toEqual([rate, window]);
  });
});
