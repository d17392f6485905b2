import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import { PathLoss } from '../../../src/protocol/path/path-loss.ts';

describe('the losses of a path', () => {
  test('are none before a packet is lost', () => {
    const loss = new PathLoss();
    for (let number = 0; number < 1_000; number++) loss.onAcked(number, number);
    expect([loss.rate, loss.rateUpper, loss.runPackets, loss.runTime]).toEqual([0, 0, 1, 0]);
    expect(loss.isLossy).toBe(false);
  });

  test('are a share of what was settled, acknowledged before the first loss or after it [REC-55]', () => {
    const loss = new PathLoss();
    for (let number = 0; number < 60; number++) loss.onAcked(number, 0);
    loss.onLost(60, 0, true, 0);
    for (let number = 61; number < 100; number++) loss.onAcked(number, 0);
    expect(loss.rate).toBe(0.01);
    expect(loss.rateUpper).toBeCloseTo(0.01 + Math.sqrt((0.01 * 0.99) / 100), 10);
  });

  test('count for two seconds, the newest 64 for longer [REC-55]', () => {
    const loss = new PathLoss();
    for (let number = 0; number < 100; number++) loss.onLost(number, 0, true, 0);
    loss.onAcked(100, 2 * SECOND - 1);
    expect(loss.rate).toBeCloseTo(100 / 101, 10);
    loss.onAcked(101, 2 * SECOND);
    expect(loss.rate).toBeCloseTo(62 / 64, 10);
  });

  test('that proved to be spurious are none [REC-55]', () => {
    const loss = new PathLoss();
    loss.onAcked(0, 0);
    loss.onLost(1, 0, true, 0);
    expect(loss.rate).toBe(0.5);
    loss.onSpurious(1);
    loss.onSpurious(1);
    expect(loss.rate).toBe(0);
  });

  test('bunch in runs of numbers, as long as they were in sending', () => {
    const loss = new PathLoss();
    for (const number of [3, 4, 5, 9]) loss.onLost(number, number * MILLISECOND, true, 0);
    expect([loss.runPackets, loss.runTime]).toEqual([2, MILLISECOND]);
    loss.onSpurious(4);
    expect([loss.runPackets, loss.runTime]).toEqual([1, 0]);
  });

  test('make the path lossy when two of them are calm, and 0.5 % [REC-56]', () => {
    const loss = new PathLoss();
    for (let number = 0; number < 50; number++) loss.onLost(number, 0, false, 0);
    expect(loss.isLossy).toBe(false); // all of them behind a queue
    loss.onLost(50, 0, true, 0);
    expect(loss.isLossy).toBe(false);
    loss.onLost(51, 0, true, 0);
    expect(loss.isLossy).toBe(true);
  });

  test('are forgotten after ten seconds with next to none [REC-56]', () => {
    const loss = new PathLoss();
    loss.onLost(0, 0, true, 0);
    loss.onLost(1, 0, true, 0);
    let number = 2;
    let now: Micros = 0;
    const acknowledgeFor = (time: Micros) => {
      for (const end = now + time; now < end; now += 10 * MILLISECOND) loss.onAcked(number++, now);
    };
    acknowledgeFor(11 * SECOND);
    expect(loss.isLossy).toBe(true); // they count for two seconds more than they are old
    acknowledgeFor(2 * SECOND);
    expect(loss.isLossy).toBe(false);
    loss.onLost(number++, now, true, now);
    expect(loss.isLossy).toBe(false);
    loss.onLost(number++, now, true, now);
    expect(loss.isLossy).toBe(true);
  });

  test('are counted as a list of all packets would count them', () => {
    const step = fc.record({
      kind: fc.constantFrom('ack', 'ack', 'ack', 'lost', 'lost', 'spurious'),
      elapsed: fc.constantFrom(0, 1_000, 10_000, 400_000),
      skipped: fc.constantFrom(0, 0, 0, 1),
      isCalm: fc.boolean(),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 700, size: 'max' }), (steps) => {
        const loss = new PathLoss();
        const slow = new SlowLoss();
        let now: Micros = 0;
        let number = 0;
        const lost: number[] = [];
        for (const { kind, elapsed, skipped, isCalm, pick } of steps) {
          now += elapsed;
          number += skipped;
          if (kind === 'spurious') {
            const [late] = lost.splice(pick % Math.max(1, lost.length), 1);
            if (late === undefined) continue;
            loss.onSpurious(late);
            slow.onSpurious(late);
          } else if (kind === 'ack') {
            loss.onAcked(number, now);
            slow.push({ number: number++, now, isLost: false, sentTime: now });
          } else {
            lost.push(number);
            loss.onLost(number, now, isCalm, now);
            slow.push({ number: number++, now, isLost: true, sentTime: now });
          }
          assert.ok(Math.abs(loss.rate - slow.rate) < 0.5e-10, `${loss.rate}, not ${slow.rate}`);
          assert.ok(loss.rateUpper >= loss.rate);
          assert.ok(loss.rateUpper <= 1);
          assert.ok(loss.runPackets >= 1);
          assert.ok(loss.runTime >= 0);
        }
      }),
      { numRuns: 30 },
    );
  });
});

interface Settled {
  readonly number: number;
  readonly now: Micros;
  isLost: boolean;
  readonly sentTime: Micros;
}

/** Keeps every packet. Before the first loss the real one does not know when packets were settled: this one is told at the first loss. */
class SlowLoss {
  private all: Settled[] = [];
  private hasLoss = false;

  push(packet: Settled): void {
    if (packet.isLost && !this.hasLoss) {
      this.hasLoss = true;
      this.all = this.all.slice(-256).map((earlier) => ({ ...earlier, now: packet.now }));
    }
    this.all.push(packet);
    let recent = Math.min(this.all.length, 256);
    while (recent > 64 && this.all[this.all.length - recent].now + 2 * SECOND <= packet.now) recent--;
    if (this.hasLoss) this.all = this.all.slice(-recent);
  }

  onSpurious(number: number): void {
    for (const packet of this.all) if (packet.number === number) packet.isLost = false;
  }

  get rate(): number {
    return this.all.length === 0 ? 0 : this.all.filter(({ isLost }) => isLost).length / this.all.length;
  }
}
