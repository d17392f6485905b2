import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { TimeoutResult } from '../../../src/protocol/recovery/recovery.ts';
import { numbersOf, Sender } from './sender.ts';

/** Sends one window of packets and has it acknowledged after `rtt`, two packets at a time. */
function fillRound(sender: Sender, rtt: number): void {
  const first = sender.send() + 1;
  let last = first - 1;
  while (sender.recovery.path.congestion.window - sender.recovery.path.bytesInFlight >= sender.mtu)
    last = sender.send();
  sender.now += rtt;
  for (let n = first - 1; n <= last; n += 2) {
    sender.ack([first - 1, Math.min(n + 2, last + 1)]);
  }
}

describe('recovery', () => {
  test('lets out what the window has room for [REC-24]', () => {
    const sender = new Sender();
    expect(sender.recovery.allowance(sender.now)).toBe(12_000);
    sender.send(9);
    expect(sender.recovery.allowance(sender.now)).toBe(1_200);
    sender.send(1);
    expect(sender.recovery.allowance(sender.now)).toBe(0);
    expect(sender.recovery.nextSend(sender.now)).toBe(NEVER);
  });

  test('grows the window only when the sender fills it [REC-25]', () => {
    const sender = new Sender();
    for (let i = 0; i < 50; i++) sender.sampleRtt(40_000);
    expect(sender.recovery.path.congestion.window).toBe(12_000);
    fillRound(sender, 40_000);
    expect(sender.recovery.path.congestion.window).toBe(24_000);
  });

  test('grows the window for packets that were sent before it was full, and for those in flight while it is [REC-25]', () => {
    const sender = new Sender();
    sender.send(5);
    sender.now += 1_000;
    sender.send(5);
    sender.now += 40_000;
    sender.ack([0, 5]);
    expect(sender.recovery.path.congestion.window).toBe(18_000);
    // The second half was full until this acknowledgement took it off, and is not any more.
    sender.ack([5, 10]);
    expect(sender.recovery.path.congestion.window).toBe(24_000);
    sender.now += 1;
    const first = sender.send(5) - 4;
    sender.now += 40_000;
    sender.ack([first, first + 5]);
    expect(sender.recovery.path.congestion.window).toBe(24_000);
  });

  test('answers a loss with one reduction a recovery period [REC-26] [REC-27]', () => {
    const sender = new Sender();
    fillRound(sender, 40_000);
    const { window } = sender.recovery.path.congestion;
    const first = sender.send(20) - 19;
    sender.now += 40_000;
    sender.ack([first + 4, first + 5]);
    expect(sender.recovery.path.congestion.window).toBeCloseTo(0.7 * window);
    sender.ack([first + 10, first + 12]);
    expect(sender.recovery.fates.lost.count).toBeGreaterThan(0);
    expect(sender.recovery.path.congestion.window).toBeCloseTo(0.7 * window);
  });

  for (const congestion of ['newreno', 'cubic'] as const) {
    test(`does not undo a reduction of ${congestion} for a late packet of an earlier recovery period [REC-23]`, () => {
      const sender = new Sender({ congestion });
      fillRound(sender, 40_000);
      const first = sender.send(10) - 9;
      sender.now += 40_000;
      sender.ack([first + 1, first + 10]); // the first period: one packet is lost
      expect(numbersOf(sender.recovery.fates.lost)).toEqual([first]);
      sender.now += 1_000;
      const second = sender.send(10) - 9;
      const { window } = sender.recovery.path.congestion;
      sender.now += 40_000;
      sender.ack([second + 1, second + 10]); // the second: another one
      expect(numbersOf(sender.recovery.fates.lost)).toEqual([second]);
      const reduced = sender.recovery.path.congestion.window;
      expect(reduced).toBeLessThan(window);
      sender.ack([first, first + 10]);
      expect(numbersOf(sender.recovery.fates.spurious)).toEqual([first]);
      expect(sender.recovery.path.congestion.window).toBe(reduced);
      sender.ack([second, second + 10]);
      expect(sender.recovery.path.congestion.window).toBeGreaterThanOrEqual(window);
    });

    test(`undoes a reduction of ${congestion} when all its losses turn out to be late [REC-23]`, () => {
      const sender = new Sender({ congestion });
      fillRound(sender, 40_000);
      const { window } = sender.recovery.path.congestion;
      const first = sender.send(10) - 9;
      sender.now += 40_000;
      sender.ack([first + 5, first + 8]);
      expect(sender.recovery.fates.lost.count).toBe(5);
      expect(sender.recovery.path.congestion.window).toBeLessThan(window);
      sender.now += 500;
      sender.ack([first + 5, first + 8, first + 1, first + 4]);
      expect(sender.recovery.path.congestion.window).toBeLessThan(window);
      sender.ack([first, first + 8]);
      expect(numbersOf(sender.recovery.fates.spurious)).toEqual([first + 4, first]);
      expect(sender.recovery.path.congestion.window).toBeGreaterThanOrEqual(window);
    });
  }

  test('lets a reduction stand when one of its losses was real [REC-23]', () => {
    const sender = new Sender();
    fillRound(sender, 40_000);
    const { window } = sender.recovery.path.congestion;
    const first = sender.send(10) - 9;
    sender.now += 40_000;
    sender.ack([first + 5, first + 8]);
    sender.ack([first + 1, first + 8]);
    expect(sender.recovery.path.congestion.window).toBeLessThan(window);
  });

  test('takes losses over a long time for persistent congestion [REC-22]', () => {
    const sender = new Sender();
    for (let i = 0; i < 20; i++) sender.sampleRtt(40_000);
    const duration = 3 * (sender.recovery.path.rtt.probeTimeout + 25_000);
    const first = sender.send();
    sender.now += duration;
    sender.send(2);
    sender.now += 1;
    sender.send();
    sender.now += 1;
    sender.send(3);
    sender.now += 40_000;
    sender.ack([first + 6, first + 7]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0, 1, 2, 3].map((n) => first + n));
    expect(sender.recovery.path.congestion.window).toBe(2 * 1_200);
  });

  test('takes no shorter time, and no time with an acknowledgement in it, for that [REC-22]', () => {
    const shorter = new Sender();
    for (let i = 0; i < 20; i++) shorter.sampleRtt(40_000);
    const first = shorter.send();
    shorter.now += 3 * (shorter.recovery.path.rtt.probeTimeout + 25_000);
    shorter.send(5);
    shorter.now += 40_000;
    shorter.ack([first + 5, first + 6]);
    expect(shorter.recovery.fates.lost.count).toBe(3);
    expect(shorter.recovery.path.congestion.window).toBeGreaterThan(2_400);

    const broken = new Sender();
    for (let i = 0; i < 20; i++) broken.sampleRtt(40_000);
    const start = broken.send();
    broken.now += 300_000;
    broken.send();
    broken.now += 300_000;
    broken.send(5);
    broken.now += 40_000;
    broken.ack([start + 6, start + 7, start + 1, start + 2]);
    expect(numbersOf(broken.recovery.fates.lost)).toEqual([start, start + 2, start + 3]);
    expect(broken.recovery.path.congestion.window).toBeGreaterThan(2_400);
  });

  test('takes the acknowledgement of any packet in between for one, also of a packet that only acknowledges [REC-22]', () => {
    const sender = new Sender();
    for (let i = 0; i < 20; i++) sender.sampleRtt(40_000);
    const first = sender.send();
    sender.now += 300_000;
    const between = sender.sendAckOnly();
    sender.now += 300_000;
    sender.send(5);
    sender.now += 40_000;
    sender.ack([between + 5, between + 6, between, between + 1]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([first, between + 1, between + 2]);
    expect(sender.recovery.path.congestion.window).toBeGreaterThan(2_400);
  });

  test('sees persistent congestion whose losses are declared in several passes [REC-22]', () => {
    const sender = new Sender();
    for (let i = 0; i < 20; i++) sender.sampleRtt(40_000);
    const first = sender.send();
    sender.now += 600_000;
    sender.send(3);
    sender.now += 40_000;
    sender.ack([first + 3, first + 4]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([first]);
    expect(sender.recovery.path.congestion.window).toBeGreaterThan(2_400);
    expect(sender.fireTimeout()).toBe(TimeoutResult.LOST);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([first + 1, first + 2]);
    expect(sender.recovery.path.congestion.window).toBe(2_400);
  });

  test('does not call it persistent before the first RTT sample [REC-22]', () => {
    const sender = new Sender();
    const first = sender.send();
    sender.now += 10_000_000;
    sender.send(5);
    sender.now += 40_000;
    sender.ack([first + 5, first + 6]);
    expect(sender.recovery.fates.lost.count).toBe(3);
    expect(sender.recovery.path.congestion.window).toBeCloseTo(8_400);
  });

  test('does not mind the loss of a size probe [REC-32]', () => {
    const sender = new Sender();
    sender.sampleRtt(40_000);
    const { window } = sender.recovery.path.congestion;
    const probe = sender.send(1, 2, true);
    sender.send(4);
    sender.now += 40_000;
    sender.ack([probe + 1, probe + 5]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([probe]);
    expect(sender.recovery.sentPackets(2).isSizeProbe(probe)).toBe(true);
    expect(sender.recovery.fates.smallestLostBytes).toBe(0);
    expect(sender.recovery.path.congestion.window).toBeGreaterThanOrEqual(window);
    expect(sender.recovery.path.bytesInFlight).toBe(0);
  });

  test('says how large the packets were that arrived and that were lost', () => {
    const sender = new Sender();
    sender.send(5);
    sender.sendAckOnly();
    sender.now += 40_000;
    sender.ack([3, 6]);
    expect(sender.recovery.fates.largestAckedBytes).toBe(1_200);
    expect(sender.recovery.fates.smallestLostBytes).toBe(1_200);
  });

  test('never lets the window grow above its bound', () => {
    const sender = new Sender({ windowBytesMax: 20_000 });
    for (let i = 0; i < 10; i++) fillRound(sender, 40_000);
    expect(sender.recovery.path.congestion.window).toBe(20_000);
  });

  for (const congestion of ['newreno', 'cubic'] as const) {
    test(`can be given a lower bound for the window of ${congestion} later, which an undo keeps [REC-49]`, () => {
      const sender = new Sender({ congestion });
      for (let i = 0; i < 4; i++) fillRound(sender, 40_000);
      const first = sender.send(10) - 9;
      sender.now += 40_000;
      sender.ack([first + 4, first + 10]);
      expect(sender.recovery.fates.lost.count).toBe(4);
      sender.recovery.path.congestion.limitWindow(30_000);
      expect(sender.recovery.path.congestion.window).toBe(30_000);
      sender.ack([first, first + 10]);
      expect(sender.recovery.fates.spurious.count).toBe(4);
      expect(sender.recovery.path.congestion.window).toBe(30_000);
      sender.recovery.path.congestion.limitWindow(50_000);
      fillRound(sender, 40_000);
      expect(sender.recovery.path.congestion.window).toBe(30_000);
    });
  }

  test('raises the window with the packet size [REC-33]', () => {
    const sender = new Sender();
    const { path } = sender.recovery;
    path.mtuDiscovery.limit(20_000);
    path.mtuDiscovery.onProbeAcked(16_384);
    path.onMtu(sender.now);
    expect(sender.recovery.path.congestion.window).toBe(163_840);
  });

  test('gives memory back when nothing is outstanding', () => {
    const sender = new Sender();
    sender.send(500);
    sender.now += 40_000;
    sender.ack([0, 500]);
    sender.recovery.trim();
    expect(sender.recovery.sentPackets(2).ring.state.length).toBe(0);
    sender.sampleRtt(40_000);
  });
});
