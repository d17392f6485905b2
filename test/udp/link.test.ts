import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { EcnCodepoint } from '../../src/protocol/datagram/index.ts';
import { type Arrival, type BurstLoss, Link, type LinkOptions } from '../../src/udp/link.ts';

describe('link', () => {
  test('a perfect link delivers a copy at once', () => {
    const link = makeLink({});
    const data = Uint8Array.of(1, 2, 3);
    const [arrival] = link.send(data, 500);
    data.fill(0);
    expect(arrival).toEqual({ at: 500, data: Uint8Array.of(1, 2, 3), ecn: EcnCodepoint.NOT_ECT });
  });

  test('the delay is added to the time of sending', () => {
    const [arrival] = makeLink({ delayMs: 12.5 }).send(new Uint8Array(10), 1_000);
    expect(arrival.at).toBe(13_500);
  });

  test('jitter stays within its bound and keeps the order unless it may change it', () => {
    const inOrder = sendMany(makeLink({ delayMs: 10, jitterMs: 5 }), 2_000, 100);
    expect(isSorted(inOrder)).toBe(true);
    const free = makeLink({ delayMs: 10, jitterMs: 5, jitterReorders: true });
    const arrivals = sendMany(free, 2_000, 100);
    expect(isSorted(arrivals)).toBe(false);
    expect(free.counters.overtook).toBeGreaterThan(0);
    for (const [i, { at }] of arrivals.entries()) {
      expect(at - i * 100).toBeGreaterThanOrEqual(10 * MILLISECOND);
      expect(at - i * 100).toBeLessThanOrEqual(15 * MILLISECOND);
    }
  });

  test('loss drops about the share it says and counts each', () => {
    const link = makeLink({ loss: 0.3 });
    const arrivals = sendMany(link, 20_000, 10);
    expect(arrivals.length / 20_000).toBeCloseTo(0.7, 1);
    expect(link.counters.droppedLoss).toBe(20_000 - arrivals.length);
    expect(link.counters.dropped + link.counters.delivered).toBe(20_000);
  });

  test('burst loss comes in bursts of the length its chance of leaving says', () => {
    const link = makeLink({ burstLoss: { enter: 0.01, leave: 0.1 } });
    sendMany(link, 50_000, 10);
    const { bursts, droppedBurst, droppedLoss } = link.counters;
    expect(bursts).toBeGreaterThan(300);
    expect(droppedBurst / bursts).toBeGreaterThan(8);
    expect(droppedBurst / bursts).toBeLessThan(12);
    expect(droppedLoss).toBe(0);
  });

  test('a burst ends in time even when hardly anything is sent', () => {
    const link = makeLink({ burstLoss: { enter: 1, leave: 0, longestMs: 10 } });
    const lost = [0, 5_000, 10_000].map((at) => link.send(new Uint8Array(1), at).length === 0);
    expect(lost).toEqual([true, true, true]);
    link.change({ burstLoss: { enter: 0, leave: 0, longestMs: 10 } }, 10_000);
    expect(link.send(new Uint8Array(1), 10_001)).toHaveLength(1);
  });

  test('a datagram that is held back is overtaken by later ones', () => {
    const link = makeLink({ delayMs: 1, reorder: 0.2, reorderHoldMs: 3 });
    const arrivals = sendMany(link, 1_000, 100);
    expect(isSorted(arrivals)).toBe(false);
    expect(link.counters.heldBack).toBeGreaterThan(100);
    expect(link.counters.overtook).toBeGreaterThan(link.counters.heldBack / 2);
  });

  test('a duplicate arrives as bytes of its own, no earlier than the first', () => {
    const link = makeLink({ duplicate: 1, duplicateLagMs: 2 });
    const [first, second] = link.send(Uint8Array.of(7), 0);
    expect(second.data).toEqual(first.data);
    expect(second.data).not.toBe(first.data);
    expect(second.at).toBeGreaterThanOrEqual(first.at);
    expect(link.counters).toMatchObject({ sent: 1, delivered: 2, duplicated: 1 });
  });

  test('loses and doubles as many as the chances say', () => {
    const link = makeLink({ loss: 0.2, duplicate: 0.1 }, 42);
    let arrived = 0;
    let twice = 0;
    for (let i = 0; i < 10_000; i++) {
      const { length } = link.send(new Uint8Array(10), i);
      if (length > 0) arrived++;
      if (length > 1) twice++;
    }
    expect(arrived / 10_000).toBeCloseTo(0.8, 1);
    expect(twice / arrived).toBeCloseTo(0.1, 1);
  });

  test('jitter is drawn over all of its range', () => {
    const link = makeLink({ delayMs: 30, jitterMs: 20 }, 42);
    const waits = sendMany(link, 1_000, MILLISECOND).map(({ at }, i) => at - i * MILLISECOND);
    expect(Math.max(...waits)).toBeGreaterThan(45 * MILLISECOND);
    expect(Math.max(...waits)).toBeLessThanOrEqual(50 * MILLISECOND);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(30 * MILLISECOND);
  });

  test('holds back for 5 ms and queues 256 KiB where it is not told otherwise', () => {
    expect(makeLink({ reorder: 1 }).send(new Uint8Array(10), 0)[0].at).toBe(5 * MILLISECOND);
    const queue = makeLink({ bitsPerSecond: 1_000_000 });
    let queued = 0;
    while (queue.send(new Uint8Array(1_024), 0).length > 0) queued++;
    expect(queued).toBe(256);
  });

  test('those that are not held back keep their time', () => {
    const link = makeLink({ reorder: 0.1, reorderHoldMs: 3 }, 42);
    let held = 0;
    for (let now = 0; now < SECOND; now += MILLISECOND) {
      const [{ at }] = link.send(new Uint8Array(10), now);
      if (at === now + 3 * MILLISECOND) held++;
      else expect(at).toBe(now);
    }
    expect(held).toBeGreaterThan(60);
    expect(held).toBeLessThan(140);
  });

  test('corruption flips one to three bits', () => {
    const link = makeLink({ corrupt: 1 });
    const seen = new Set<number>();
    for (let i = 0; i < 500; i++) {
      const [{ data }] = link.send(new Uint8Array(1 + (i % 40)), 0);
      seen.add(data.reduce((sum, byte) => sum + bitsSet(byte), 0));
    }
    expect([...seen].sort()).toEqual([1, 2, 3]);
    expect(link.counters.corrupted).toBe(500);
  });

  test('a rate spaces datagrams out by the time their bits take', () => {
    const link = makeLink({ bitsPerSecond: 8_000_000, delayMs: 1 });
    const times = sendMany(link, 5, 0, 1_000).map(({ at }) => at);
    expect(times).toEqual([2_000, 3_000, 4_000, 5_000, 6_000]);
  });

  test('a policer lets pass at once what is within its rate and bucket, and drops the rest', () => {
    const link = makeLink({ bitsPerSecond: 8_000_000, queueBytesMax: 3_000, polices: true });
    const burst = Array.from({ length: 5 }, () => link.send(new Uint8Array(1_000), 0));
    expect(burst.flat().map(({ at }) => at)).toEqual([0, 0, 0]);
    expect(link.counters.droppedQueue).toBe(2);
    expect(link.send(new Uint8Array(1_000), 1_000)).toHaveLength(1);
    expect(link.send(new Uint8Array(1_000), 1_999)).toHaveLength(0);
    expect(link.send(new Uint8Array(3_000), SECOND)[0].at).toBe(SECOND);
  });

  test('a full queue drops the newest, and a lone datagram always has room', () => {
    const link = makeLink({ bitsPerSecond: 8_000_000, queueBytesMax: 3_000 });
    expect(sendMany(link, 10, 0, 1_000)).toHaveLength(3);
    expect(link.counters.droppedQueue).toBe(7);
    expect(link.counters.queueBytesPeak).toBe(3_000);
    expect(link.send(new Uint8Array(9_000), SECOND)).toHaveLength(1);
  });

  test('beyond so many that wait, datagrams that may be marked are, and the others go as they are', () => {
    const link = makeLink({ bitsPerSecond: 8_000_000, ecnMarkBytes: 2_000 });
    const send = (ecn: EcnCodepoint) => link.send(new Uint8Array(1_000), 0, ecn)[0].ecn;
    const { NOT_ECT, ECT0, ECT1, CE } = EcnCodepoint;
    expect([ECT0, ECT0, ECT0].map(send)).toEqual([ECT0, ECT0, ECT0]);
    expect([ECT0, NOT_ECT, ECT1].map(send)).toEqual([CE, NOT_ECT, CE]);
    expect(link.counters.marked).toBe(2);
  });

  test('bytes that wait when the rate changes leave at the new rate', () => {
    const link = makeLink({ bitsPerSecond: 8_000_000 });
    sendMany(link, 4, 0, 1_000);
    link.change({ bitsPerSecond: 4_000_000 }, 1_000);
    expect(link.queuedBytes(1_000)).toBeCloseTo(3_000);
    const [arrival] = link.send(new Uint8Array(1_000), 1_000);
    expect(arrival.at).toBe(1_000 + 8_000);
  });

  test('datagrams above the mtu, and all in a black hole, are dropped and counted', () => {
    const link = makeLink({ mtu: 1_200 });
    expect(link.send(new Uint8Array(1_200), 0)).toHaveLength(1);
    expect(link.send(new Uint8Array(1_201), 0)).toHaveLength(0);
    link.change({ blackHole: true }, 0);
    expect(link.send(new Uint8Array(1), 0)).toHaveLength(0);
    link.change({ blackHole: false }, 0);
    expect(link.send(new Uint8Array(1), 0)).toHaveLength(1);
    expect(link.counters).toMatchObject({ droppedMtu: 1, droppedBlackHole: 1, delivered: 2 });
  });

  test('what never happened is counted as 0', () => {
    expect(new Set(Object.values(makeLink({}).counters))).toEqual(new Set([0]));
  });

  test('the same seed does the same, another seed does not', () => {
    const options = { loss: 0.2, jitterMs: 5, duplicate: 0.1, corrupt: 0.1, reorder: 0.1 };
    const run = (seed: number) => sendMany(makeLink(options, seed), 500, 100);
    expect(run(3)).toEqual(run(3));
    expect(run(3)).not.toEqual(run(4));
  });

  test.each([
    { loss: 1.5 },
    { duplicate: -1 },
    { corrupt: -0.1 },
    { delayMs: Number.NaN },
    { delayMs: Number.POSITIVE_INFINITY },
    { bitsPerSecond: 0 },
    { burstLoss: { enter: 2, leave: 0.1 } },
    { burstLoss: { enter: 0.1 } as BurstLoss },
    { delay: 5 } as LinkOptions,
  ])('options out of range are refused: %o', (options) => {
    expect(() => makeLink(options)).toThrow(expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }));
  });
});

function makeLink(options: LinkOptions, seed = 1): Link {
  return new Link(new Prng(seed), options);
}

function sendMany(link: Link, count: number, spacing: number, bytes = 50): Arrival[] {
  const arrivals: Arrival[] = [];
  for (let i = 0; i < count; i++) arrivals.push(...link.send(new Uint8Array(bytes), i * spacing));
  return arrivals;
}

function isSorted(arrivals: readonly Arrival[]): boolean {
  return arrivals.every(({ at }, i) => i === 0 || arrivals[i - 1].at <= at);
}

function bitsSet(byte: number): number {
  return byte.toString(2).replaceAll('0', '').length;
}
