import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { DelayLine } from '../../src/udp/impaired-socket.ts';
import { type Impairment, RandomImpairment } from '../../src/udp/impairment.ts';

const SEED = 42;

describe('a random impairment', () => {
  it('lets everything through at once when nothing is asked of it', () => {
    const way = new RandomImpairment(SEED, {});
    const data = Uint8Array.of(1, 2, 3);
    const [arrival, ...more] = way.send(data, 500);
    expect(arrival).toEqual({ at: 500, data });
    expect(arrival.data).not.toBe(data);
    expect(more).toEqual([]);
  });

  it('gives the same fates for the same seed, and others for another', () => {
    const options: Impairment = { loss: 0.2, delayMs: 30, jitterMs: 20, duplicate: 0.1, reorder: 0.1 };
    expect(fates(SEED, options)).toEqual(fates(SEED, options));
    expect(fates(SEED, options)).not.toEqual(fates(SEED + 1, options));
  });

  it('loses and doubles as many as the chances say', () => {
    const way = new RandomImpairment(SEED, { loss: 0.2, duplicate: 0.1 });
    let arrived = 0;
    let twice = 0;
    for (let i = 0; i < 10_000; i++) {
      const { length } = way.send(new Uint8Array(10), i);
      if (length > 0) arrived++;
      if (length > 1) twice++;
    }
    expect(arrived / 10_000).toBeCloseTo(0.8, 1);
    expect(twice / arrived).toBeCloseTo(0.1, 1);
  });

  it('delays within its bounds and keeps the order', () => {
    const way = new RandomImpairment(SEED, { delayMs: 30, jitterMs: 20 });
    let before = 0;
    let longest = 0;
    for (let now = 0; now < SECOND; now += MILLISECOND) {
      const [{ at }] = way.send(new Uint8Array(10), now);
      expect(at).toBeGreaterThanOrEqual(now + 30 * MILLISECOND);
      expect(at).toBeLessThanOrEqual(now + 50 * MILLISECOND);
      expect(at).toBeGreaterThanOrEqual(before);
      longest = Math.max(longest, at - now);
      before = at;
    }
    expect(longest).toBeGreaterThan(45 * MILLISECOND); // the jitter is drawn over all of its range
  });

  it('holds back for 5 ms and queues 256 KiB where it is not told otherwise', () => {
    const held = new RandomImpairment(SEED, { reorder: 1 });
    expect(held.send(new Uint8Array(10), 0)[0].at).toBe(5 * MILLISECOND);
    const queue = new RandomImpairment(SEED, { bitsPerSecond: 1_000_000 });
    let queued = 0;
    while (queue.send(new Uint8Array(1_024), 0).length > 0) queued++;
    expect(queued).toBe(256);
  });

  it('lets later datagrams overtake those it holds back', () => {
    const way = new RandomImpairment(SEED, { reorder: 0.1, reorderHoldMs: 3 });
    let held = 0;
    for (let now = 0; now < SECOND; now += MILLISECOND) {
      const [{ at }] = way.send(new Uint8Array(10), now);
      if (at === now + 3 * MILLISECOND) held++;
      else expect(at).toBe(now);
    }
    expect(held).toBeGreaterThan(60);
    expect(held).toBeLessThan(140);
  });

  it('lets through no more than its rate, and drops what finds the queue full', () => {
    const way = new RandomImpairment(SEED, { bitsPerSecond: 8_000_000, queueBytesMax: 10_000 });
    const arrivals: number[] = [];
    for (let i = 0; i < 20; i++) arrivals.push(...way.send(new Uint8Array(1_000), 0).map((a) => a.at));
    // 1,000 bytes take 1 ms; the queue holds 10 of them.
    expect(arrivals).toEqual(Array.from({ length: 10 }, (_, i) => (i + 1) * MILLISECOND));
    expect(way.send(new Uint8Array(1_000), SECOND)[0].at).toBe(SECOND + MILLISECOND);
  });

  it.each([{ loss: 1.1 }, { duplicate: -1 }, { delayMs: Number.NaN }, { bitsPerSecond: 0 }])(
    'refuses %o',
    (options) => {
      expect(() => new RandomImpairment(SEED, options)).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
      );
    },
  );
});

describe('a delay line', () => {
  it('gives out what is due, by time and then by order, whatever the order it came in', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.nat(3))), (steps) => {
        const line = new DelayLine(Number.POSITIVE_INFINITY);
        let waiting: { at: number; port: number }[] = [];
        let now = 0;
        let port = 0;
        for (const [delay, advance] of steps) {
          const at = now + delay;
          port++;
          line.add({ at, data: new Uint8Array(1), host: '', port, local: 0 });
          waiting.push({ at, port });
          now += advance;
          const due = waiting.filter((d) => d.at <= now).sort((a, b) => a.at - b.at || a.port - b.port);
          waiting = waiting.filter((d) => d.at > now);
          for (const { port } of due) expect(line.takeDue(now)?.port).toBe(port);
          expect(line.takeDue(now)).toBeUndefined();
        }
      }),
    );
  });

  it('refuses what it has no room for, empty datagrams too', () => {
    const line = new DelayLine(1_000);
    let taken = 0;
    while (line.add({ at: 1, data: new Uint8Array(0), host: '', port: 1, local: 0 })) taken++;
    expect(taken).toBeGreaterThan(0);
    line.takeDue(1);
    expect(line.add({ at: 1, data: new Uint8Array(0), host: '', port: 1, local: 0 })).toBe(true);
    line.clear();
    expect(line.takeDue(1)).toBeUndefined();
    expect(line.add({ at: 1, data: new Uint8Array(700), host: '', port: 1, local: 0 })).toBe(true);
  });
});

function fates(seed: number, options: Impairment): number[][] {
  const way = new RandomImpairment(seed, options);
  return Array.from({ length: 100 }, (_, i) => way.send(new Uint8Array(100), i * 1_000).map((a) => a.at));
}
