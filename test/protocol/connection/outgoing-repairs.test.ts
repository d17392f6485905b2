import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import { OutgoingRepairs } from '../../../src/protocol/connection/outgoing-repairs.ts';
import { ConnectionProtection } from '../../../src/protocol/fec/connection-protection.ts';
import {
  PlanMode,
  PROTECTION_AUTO,
  ProtectionMode,
  type ProtectionOptions,
} from '../../../src/protocol/fec/protection.ts';
import { StreamProtection } from '../../../src/protocol/fec/stream-protection.ts';
import { ConnectionCounters } from '../../../src/protocol/trace/counters.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { pathOf } from '../path/path-of.ts';

/** What protects the packets of one stream, without a connection around it. */
class Harness {
  readonly counters = new ConnectionCounters();
  readonly path = pathOf();
  readonly protection = new ConnectionProtection(this.path);
  readonly repairs = new OutgoingRepairs(this.counters, this.path, this.protection);
  readonly stream: StreamProtection;
  now: Micros = SECOND;
  private number = 0;
  private readonly writer = new FrameWriter();

  constructor(data: number, parity: number, more: Partial<ProtectionOptions> = {}) {
    this.protection.mayRepair = true;
    const asked = { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data, parity, ...more };
    this.stream = new StreamProtection({ id: 0, ordered: true, isBulk: false }, asked, this.protection);
  }

  /** Every tenth packet is lost, and the path knows. */
  lose(packets: number): this {
    for (let i = 0; i < packets; i++) {
      if (i % 10 === 0) this.path.loss.onLost(i, this.now, true, this.now);
      else this.path.loss.onAcked(i, this.now);
    }
    return this;
  }

  /** Sends a packet with a message of the stream, or only with what is due. */
  send(bytes: number): void {
    this.now += MILLISECOND;
    const w = this.writer;
    w.begin(new Uint8Array(1_200), 0, 1_200);
    w.now = this.now;
    if (this.repairs.isOn) this.repairs.write(w, this.number, true);
    const start = w.at;
    this.protection.beginPacket(this.now);
    if (bytes > 0) {
      w.at += bytes;
      this.stream.onSent(bytes, this.now);
    }
    if (this.repairs.isOn) this.repairs.onPacked(this.number, w, start);
    this.number++;
  }
}

describe('repairs that bring nothing back', () => {
  test('are not sent for a minute after a thousand of them, and then again [FEC-55]', () => {
    const one = new Harness(1, 1).lose(100);
    for (let i = 0; i < 2_000; i++) one.send(20);
    expect(one.counters.repairsSent).toBe(1_000);
    one.now += 60 * SECOND;
    for (let i = 0; i < 50; i++) one.send(20);
    expect(one.counters.repairsSent).toBeGreaterThan(1_040);
  });

  test('go on while some of them do, and on a path that loses next to nothing [FEC-55]', () => {
    const fruitful = new Harness(1, 1).lose(100);
    const clean = new Harness(1, 1);
    for (let i = 0; i < 2_000; i++) {
      fruitful.send(20);
      clean.send(20);
      if (i % 900 === 0) fruitful.repairs.onRecovered();
    }
    expect(fruitful.counters.repairsSent).toBeGreaterThan(1_900);
    expect(clean.counters.repairsSent).toBeGreaterThan(1_900);
  });
});

test.each([
  [1_176, 1],
  [1_177, 0],
])(
  'a symbol of %i bytes is protected only if a repair of it fits into a packet [FEC-42]',
  (bytes, repairs) => {
    const one = new Harness(1, 1);
    one.send(20);
    one.send(0); // takes the repair of it
    one.send(bytes);
    one.send(0);
    expect(one.counters).toMatchObject({ packetsProtected: 1 + repairs, repairsSent: 1 + repairs });
  },
);

test.each([
  ['windows', [10, 10, 10, 10, 900]],
  ['bursts', [1_100, 1_100, 1_100, 1_100, 10]],
])(
  'repairs of %s cost at most the share that was asked for, and two packets, at any time [FEC-3]',
  (_, sizes) => {
    for (const overheadMax of [0.05, 0.2, 0.5, 1]) {
      const asked = { mode: ProtectionMode.AUTO, overheadMax, latencyMs: 100, residual: 1e-6 };
      const one = new Harness(1, 1, asked).lose(1_000);
      one.path.rtt.update(100_000, 0, one.now);
      let most = 0;
      for (let i = 0; i < 3_000; i++) {
        one.send(sizes[i % sizes.length]);
        if (i % 3 === 0) {
          one.repairs.onDrained();
          one.send(0);
        }
        most = Math.max(most, one.counters.repairBytesSent - one.stream.budget.earnedBytes);
      }
      expect(one.counters.repairsSent).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(2 * one.path.mtu);
    }
  },
);

test('repairs of windows go with every so many packets as are planned, while messages come', () => {
  const asked = { mode: ProtectionMode.AUTO, overheadMax: 0.2, latencyMs: 100, residual: 1e-6 };
  const one = new Harness(1, 1, asked).lose(1_000);
  one.path.rtt.update(100_000, 0, one.now);
  for (let i = 0; i < 200; i++) {
    one.send(10);
    expect(one.stream.plan).toMatchObject({ mode: PlanMode.WINDOW, every: 2 });
    expect(one.counters.repairsSent).toBe(i >> 1); // in the packet behind
  }
});
