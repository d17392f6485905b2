import { describe, expect, test } from 'vitest';
import { EcnState } from '../../../src/protocol/path/ecn.ts';
import type { EcnCounts } from '../../../src/protocol/wire/frames/ack.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { Sender } from './sender.ts';

/** A sender whose packets say ECT(0). */
class EcnSender extends Sender {
  constructor() {
    super({ usesEcn: true });
  }

  get state(): EcnState | undefined {
    return this.recovery.path.ecn?.state;
  }

  get window(): number {
    return this.recovery.path.congestion.window;
  }

  override send(count = 1): number {
    const last = super.send(count);
    for (let number = last - count + 1; number <= last; number++)
      this.recovery.path.ecn?.onPacketSent(PacketSpace.APPLICATION, number);
    this.recovery.path.ecn?.onDatagramSent();
    return last;
  }

  ackWith(ecn: EcnCounts | null, ...ranges: number[]): void {
    const { recovery, now } = this;
    recovery.onAck(PacketSpace.APPLICATION, Float64Array.from(ranges), ranges.length / 2, 0, now, ecn);
  }
}

describe('an acknowledgement with ECN counts', () => {
  test('that is older than another is not held to its counts, whatever it newly acknowledges [REC-84]', () => {
    const sender = new EcnSender();
    sender.send(10);
    sender.now += 10_000;
    sender.ackWith({ ect0: 10, ect1: 0, ce: 0 }, 8, 10);
    expect(sender.state).toBe(EcnState.CAPABLE);
    sender.ackWith({ ect0: 1, ect1: 0, ce: 0 }, 0, 1);
    sender.ackWith(null, 1, 2);
    expect(sender.state).toBe(EcnState.CAPABLE);
  });

  test('of which marks grew reduces the window once, for packets sent before that not again [REC-34]', () => {
    const sender = new EcnSender();
    sender.send(6);
    sender.now += 40_000;
    const { window } = sender;
    sender.ackWith({ ect0: 1, ect1: 0, ce: 1 }, 0, 2);
    const reduced = sender.window;
    expect(reduced).toBeLessThan(window);
    sender.ackWith({ ect0: 1, ect1: 0, ce: 5 }, 0, 6);
    expect(sender.window).toBe(reduced);
    sender.now += 1;
    sender.send(1);
    sender.now += 40_000;
    sender.ackWith({ ect0: 1, ect1: 0, ce: 6 }, 0, 7);
    expect(sender.window).toBeLessThan(reduced);
  });

  test('that do not add up is an acknowledgement all the same, and no signal [REC-82]', () => {
    const sender = new EcnSender();
    sender.send(6);
    sender.now += 40_000;
    const { window } = sender;
    sender.ackWith({ ect0: 0, ect1: 0, ce: 1 }, 0, 2);
    expect(sender.state).toBe(EcnState.FAILED);
    expect(sender.window).toBeGreaterThanOrEqual(window);
    expect(sender.recovery.path.bytesInFlight).toBe(4 * sender.mtu);
  });

  test('that never comes: two probe timeouts in a row, or the loss of the test, end it [REC-83]', () => {
    const silent = new EcnSender();
    silent.sampleRtt(10_000);
    // Its first packet was acknowledged without counts.
    expect(silent.state).toBe(EcnState.FAILED);
    const probing = new EcnSender();
    probing.send(1);
    probing.fireTimeout();
    expect(probing.state).toBe(EcnState.TESTING);
    probing.fireTimeout();
    expect(probing.state).toBe(EcnState.FAILED);
  });
});
