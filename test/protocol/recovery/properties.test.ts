import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { NEVER } from '../../../src/base/time.ts';
import type { CongestionName } from '../../../src/protocol/congestion/controller.ts';
import { Recovery } from '../../../src/protocol/recovery/recovery.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { pathOf } from '../path/path-of.ts';
import { PING } from './frames.ts';
import { holds, numbersOf } from './sender.ts';

const { APPLICATION } = PacketSpace;

type Fate = 'outstanding' | 'acked' | 'lost' | 'spurious' | 'untracked';

/** Random sends, acknowledgements and timeouts against Recovery, beside a plain map of what must be true. */
class Model {
  readonly recovery: Recovery;
  private readonly random: Prng;
  private readonly fates = new Map<number, Fate>();
  private readonly bytes = new Map<number, number>();
  private readonly received = new Set<number>();
  private now = 1_000;
  private next = 0;

  constructor(seed: number, congestion: CongestionName) {
    this.recovery = new Recovery(pathOf({ mtu: 1_200, congestion }), true);
    this.random = new Prng(seed);
    this.recovery.onHandshakeConfirmed(25_000);
  }

  step(): void {
    this.now += this.random.between(0, 3_000);
    const choice = this.random.below(10);
    if (choice < 5) this.send();
    else if (choice < 9) this.ack();
    else this.fireTimeout();
    this.check();
  }

  private send(): void {
    for (let i = this.random.below(20); i > 0; i--) {
      if (this.random.chance(0.05)) this.next += this.random.between(1, 3);
      const number = this.next++;
      const inFlight = this.random.chance(0.9);
      const bytes = inFlight ? this.random.between(100, 1_200) : 40;
      const sent = this.recovery.sentPackets(APPLICATION);
      sent.begin(number, this.now);
      for (let e = this.random.below(4); e > 0; e--) sent.frames.ofStream(PING, number);
      this.recovery.onSent(APPLICATION, bytes, inFlight, inFlight, this.now);
      this.fates.set(number, inFlight ? 'outstanding' : 'untracked');
      if (inFlight) this.bytes.set(number, bytes);
    }
  }

  /** The peer receives some more of what was sent, in any order, and acknowledges a window of it. */
  private ack(): void {
    for (const number of this.fates.keys()) {
      if (number >= this.next - 60 && this.random.chance(0.3)) this.received.add(number);
    }
    const ranges: number[] = [];
    const floor = this.next - this.random.between(1, 120);
    for (let n = this.next - 1; n >= Math.max(0, floor); n--) {
      if (!this.received.has(n)) continue;
      if (ranges.length > 0 && ranges[ranges.length - 2] === n + 1) ranges[ranges.length - 2] = n;
      else ranges.push(n, n + 1);
    }
    const code = this.recovery.onAck(APPLICATION, Float64Array.from(ranges), ranges.length / 2, 0, this.now);
    assert.equal(code, 0);
    this.settle();
  }

  private fireTimeout(): void {
    const at = this.recovery.nextTimeout();
    if (at === NEVER) return;
    this.now = Math.max(this.now, at);
    this.recovery.onTimeout(this.now);
    this.settle();
  }

  private settle(): void {
    const sent = this.recovery.sentPackets(APPLICATION);
    for (const number of numbersOf(this.recovery.fates.acked)) {
      this.expectEntries(number);
      assert.equal(this.received.has(number), true);
      if (this.fates.get(number) === 'untracked') {
        this.fates.set(number, 'acked');
        continue;
      }
      this.move(number, 'outstanding', 'acked');
    }
    for (const number of numbersOf(this.recovery.fates.spurious)) {
      this.expectEntries(number);
      this.move(number, 'lost', 'spurious');
    }
    for (const number of numbersOf(this.recovery.fates.lost)) {
      this.expectEntries(number);
      assert.ok(sent.largestAcked > number);
      this.move(number, 'outstanding', 'lost');
    }
  }

  private expectEntries(number: number): void {
    const sent = this.recovery.sentPackets(APPLICATION);
    assert.equal(holds(sent, number), true);
    for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
      assert.equal(sent.frames.read(i).stream, number);
    }
  }

  private move(number: number, from: Fate, to: Fate): void {
    assert.equal(this.fates.get(number), from, `packet ${number}`);
    this.fates.set(number, to);
  }

  private check(): void {
    let bytes = 0;
    let packets = 0;
    for (const [number, size] of this.bytes) {
      if (this.fates.get(number) !== 'outstanding') continue;
      bytes += size;
      packets++;
    }
    assert.equal(this.recovery.path.bytesInFlight, bytes);
    assert.equal(this.recovery.sentPackets(APPLICATION).flight.ackEliciting, packets);
    if (packets > 0) assert.notEqual(this.recovery.nextTimeout(), NEVER);
    const { lossFloor, name, pacingRate, window } = this.recovery.path.congestion;
    assert.ok(window >= (name === 'bbr' ? 4 : 2) * 1_200);
    assert.ok(window < 2 ** 31);
    assert.ok(pacingRate > 0);
    assert.ok(lossFloor >= 0);
    assert.ok(lossFloor <= 0.2);
    assert.ok(this.recovery.allowance(this.now) >= 0);
  }
}

describe('recovery, whatever happens', () => {
  for (const congestion of ['cubic', 'bbr'] as const) {
    test(`settles each packet once and counts what is in flight, and ${congestion} keeps its window and rate within bounds [REC-24] [REC-74]`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
          const model = new Model(seed, congestion);
          for (let i = 0; i < 150; i++) model.step();
        }),
        { numRuns: congestion === 'bbr' ? 60 : 30 },
      );
    });
  }
});
